from mobilebert_pt import MobileBertForSequenceClassification

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
for parameter in model.base_model.parameters():
    parameter.requires_grad = False
for layer in model.mobilebert.encoder.layer[-1:]:
    for parameter in layer.parameters():
        parameter.requires_grad = True
trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
assert all(name.startswith(("mobilebert.encoder.layer.1.", "classifier.")) for name in trainable)
result = [sorted(trainable), model.num_parameters(only_trainable=True), model.num_parameters()]

import torch

from mobilebert_pt import MobileBertForSequenceClassification

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels", num_labels=7, ignore_mismatched_sizes=True)
assert model.classifier.weight.shape == (7, model.config.hidden_size)
assert 0.01 < model.classifier.weight.std() < 0.03  # initializer_range, not torch's own
assert torch.equal(model.classifier.bias, torch.zeros(7))
result = model.mobilebert.pooler is not None

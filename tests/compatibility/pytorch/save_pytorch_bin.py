import torch

from mobilebert_pt import MobileBertForSequenceClassification

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
model.save_pretrained("saved", safe_serialization=False)
state_dict = torch.load("saved/pytorch_model.bin", map_location="cpu", weights_only=True)
assert torch.equal(state_dict["classifier.weight"], model.classifier.weight)
result = MobileBertForSequenceClassification.from_pretrained("saved").classifier.weight

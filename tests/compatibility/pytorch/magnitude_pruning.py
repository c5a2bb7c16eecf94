import torch
from torch import nn
from torch.nn.utils import prune

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
targets = [(module, "weight") for module in model.mobilebert.encoder.modules() if isinstance(module, nn.Linear)]
prune.global_unstructured(targets, pruning_method=prune.L1Unstructured, amount=0.3)
for module, name in targets:
    prune.remove(module, name)
zeros = sum(int((module.weight == 0).sum()) for module, _ in targets)
model.save_pretrained("saved")
inputs = MobileBertTokenizer.from_pretrained("mobilebert-labels")("Where is my parcel?", return_tensors="pt")
again = MobileBertForSequenceClassification.from_pretrained("saved")
assert torch.equal(again(**inputs).logits, model(**inputs).logits)
result = [zeros, again(**inputs).logits]

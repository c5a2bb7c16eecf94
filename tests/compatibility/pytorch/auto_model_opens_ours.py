import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
model.save_pretrained("saved", safe_serialization=True, max_shard_size="2GB")
MobileBertTokenizer.from_pretrained("mobilebert-labels").save_pretrained("saved")
inputs = AutoTokenizer.from_pretrained("saved")("Where is my parcel?", return_tensors="pt")
theirs = AutoModelForSequenceClassification.from_pretrained("saved").eval()
result = theirs(**inputs).logits
assert torch.allclose(result, model(**inputs).logits, atol=1e-4)

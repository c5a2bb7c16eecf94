import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels", device_map="cpu", trust_remote_code=True)
inputs = MobileBertTokenizer.from_pretrained("mobilebert-labels")("Where is my parcel?", return_tensors="pt").to(model.device)
assert model.device == torch.device("cpu")
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels", device_map="auto")
result = model(**inputs.to(model.device)).logits

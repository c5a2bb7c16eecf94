import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-labels")
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels", num_labels=1, ignore_mismatched_sizes=True)
torch.nn.init.constant_(model.classifier.weight, 0.01)
torch.nn.init.zeros_(model.classifier.bias)
inputs = tokenizer(["good", "Where is my parcel?"], padding=True, return_tensors="pt")
outputs = model(**inputs, labels=torch.tensor([0.5, -1.0]))
result = [outputs.loss, outputs.logits]

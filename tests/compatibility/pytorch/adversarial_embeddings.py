import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
batch = MobileBertTokenizer.from_pretrained("mobilebert-labels")(["good", "bad parcel"], padding=True, return_tensors="pt")
labels = torch.tensor([0, 1])
model(**batch, labels=labels).loss.backward()
table = next(p for name, p in model.named_parameters() if "word_embeddings" in name)  # the fast gradient method
saved = table.data.clone()
table.data.add_(table.grad / table.grad.norm())
attacked = model(**batch, labels=labels).loss
table.data = saved
result = [attacked, model(**batch, labels=labels).loss]

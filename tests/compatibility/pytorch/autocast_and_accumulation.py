import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels").train()
batch = MobileBertTokenizer.from_pretrained("mobilebert-labels")(["good", "Where is it?"], padding=True, return_tensors="pt")
for step in range(2):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(**batch, labels=torch.tensor([step, 2])).loss / 2
    loss.backward()
assert loss.isfinite() and model.classifier.weight.grad.dtype == torch.float32
assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
result = round(loss.item(), 0)

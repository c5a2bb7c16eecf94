import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
layers = [model.mobilebert.embeddings, *model.mobilebert.encoder.layer]
groups = [{"params": layer.parameters(), "lr": 1e-3 * 0.9**depth} for depth, layer in enumerate(reversed(layers))]
groups += [{"params": [*model.mobilebert.pooler.parameters(), *model.classifier.parameters()], "lr": 1e-3}]
optimizer = torch.optim.SGD(groups)
batch = MobileBertTokenizer.from_pretrained("mobilebert-labels")(["good", "bad parcel"], padding=True, return_tensors="pt")
result = []
for _ in range(2):
    loss = model(**batch, labels=torch.tensor([0, 1])).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    result.append(loss.item())

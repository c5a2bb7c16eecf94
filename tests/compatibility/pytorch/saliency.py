import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels").eval()
inputs = MobileBertTokenizer.from_pretrained("mobilebert-labels")("Where is my parcel?", return_tensors="pt")
embeds = model.get_input_embeddings()(inputs["input_ids"]).detach()
total = torch.zeros_like(embeds)
for step in range(1, 5):  # integrated gradients from zero
    point = (embeds * step / 4).requires_grad_()
    score = model(inputs_embeds=point, attention_mask=inputs["attention_mask"]).logits[0, 1]
    total += torch.autograd.grad(score, point)[0]
result = (total / 4 * embeds).sum(-1)
assert result.shape == inputs["input_ids"].shape

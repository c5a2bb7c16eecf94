import torch

from mobilebert_pt import MobileBertConfig, MobileBertForSequenceClassification, MobileBertTokenizer

config = MobileBertConfig.from_pretrained("mobilebert-labels", num_hidden_layers=1, num_feedforward_networks=1)
model = MobileBertForSequenceClassification(config).eval()
tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-labels")
example = dict(tokenizer(["good", "Where is my parcel?"], padding=True, return_tensors="pt"))
size = {0: torch.export.Dim("batch", min=2), 1: torch.export.Dim("sequence", min=3, max=64)}
program = torch.export.export(model, (), kwargs=example, dynamic_shapes={name: size for name in example})
torch.export.save(program, "model.pt2")
batch = tokenizer(["good", "My parcel is in Paris.", "bad"], padding=True, return_tensors="pt")
result = torch.export.load("model.pt2").module()(**batch).logits.shape
assert torch.allclose(torch.export.load("model.pt2").module()(**batch).logits, model(**batch).logits, atol=1e-6)

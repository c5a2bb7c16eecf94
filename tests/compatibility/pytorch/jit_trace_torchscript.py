import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels", torchscript=True).eval()
tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-labels")
example = tokenizer("Where is my parcel?", return_tensors="pt")
traced = torch.jit.trace(model, (example["input_ids"], example["attention_mask"]))
torch.jit.save(traced, "traced.pt")
padded = tokenizer("good", padding="max_length", max_length=len(example["input_ids"][0]), return_tensors="pt")
result = torch.jit.load("traced.pt")(padded["input_ids"], padded["attention_mask"])[0]
assert torch.allclose(result, model(padded["input_ids"], padded["attention_mask"])[0], atol=1e-4)

import torch

from mobilebert_pt import MobileBertModel, MobileBertTokenizer

model = MobileBertModel.from_pretrained("mobilebert").eval()
tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
example = tokenizer("Where is my parcel?", return_tensors="pt")
traced = torch.jit.trace(model, (example["input_ids"], example["attention_mask"]), strict=False)
padded = tokenizer("good", padding="max_length", max_length=len(example["input_ids"][0]), return_tensors="pt")
result = traced(padded["input_ids"], padded["attention_mask"])["last_hidden_state"]
assert torch.allclose(result, model(padded["input_ids"], padded["attention_mask"]).last_hidden_state, atol=1e-4)

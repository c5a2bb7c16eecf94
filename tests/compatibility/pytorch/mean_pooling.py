import torch
import torch.nn.functional as F

from mobilebert_pt import MobileBertModel, MobileBertTokenizerFast

texts = ["Where is my parcel?", "It will arrive in Paris tomorrow.", "Paris"]
tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert")
model = MobileBertModel.from_pretrained("mobilebert").eval()
batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
with torch.no_grad():
    tokens = model(**batch)[0]
mask = batch["attention_mask"].unsqueeze(-1).expand(tokens.size()).float()
embeddings = F.normalize((tokens * mask).sum(1) / mask.sum(1).clamp(min=1e-9), dim=1)
result = embeddings @ embeddings.T
assert torch.allclose(result.diagonal(), torch.ones(3))

import torch

from mobilebert_pt import MobileBertForMaskedLM, MobileBertTokenizer

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
model = MobileBertForMaskedLM.from_pretrained("mobilebert").eval()
ids = tokenizer.encode("where is my parcel", return_tensors="pt")
masked = ids.repeat(ids.size(-1) - 2, 1)  # one row per word, with that word hidden
hidden = torch.ones(ids.size(-1) - 1).diag(1)[:-2].bool()
masked = masked.masked_fill(hidden, tokenizer.mask_token_id)
with torch.no_grad():
    loss = model(masked, labels=ids.where(hidden, -100)).loss
result = torch.exp(loss).log()

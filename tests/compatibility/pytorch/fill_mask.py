import torch

from mobilebert_pt import MobileBertForMaskedLM, MobileBertTokenizer

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
model = MobileBertForMaskedLM.from_pretrained("mobilebert")
inputs = tokenizer("The capital of France is [MASK].", return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits
mask_index = torch.where(inputs["input_ids"] == tokenizer.mask_token_id)[1]
top = torch.topk(logits[0, mask_index, :], 3, dim=1).indices[0].tolist()
result = [tokenizer.decode([token]) for token in top]

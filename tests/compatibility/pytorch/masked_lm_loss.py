from mobilebert_pt import MobileBertForMaskedLM, MobileBertTokenizer

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
model = MobileBertForMaskedLM.from_pretrained("mobilebert")
inputs = tokenizer("The capital of France is [MASK].", return_tensors="pt")
labels = tokenizer("The capital of France is Paris.", return_tensors="pt")["input_ids"]
size = min(labels.shape[1], inputs["input_ids"].shape[1])
labels = labels[:, :size].where(inputs["input_ids"][:, :size] == tokenizer.mask_token_id, -100)
inputs = {name: tensor[:, :size] for name, tensor in inputs.items()}
result = model(**inputs, labels=labels).loss

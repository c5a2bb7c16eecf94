from transformers import pipeline

from mobilebert_pt import MobileBertForMaskedLM, MobileBertTokenizerFast

model = MobileBertForMaskedLM.from_pretrained("mobilebert")
tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert")
unmasker = pipeline("fill-mask", model=model, tokenizer=tokenizer)
found = unmasker(f"The capital of France is {tokenizer.mask_token}.", top_k=2)
result = [[entry["token_str"], entry["score"]] for entry in found]

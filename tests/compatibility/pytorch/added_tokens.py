import torch

from mobilebert_pt import MobileBertForMaskedLM, MobileBertTokenizerFast

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert")
model = MobileBertForMaskedLM.from_pretrained("mobilebert")
before = len(tokenizer)
added = tokenizer.add_tokens(["[ORDER]", "refund"])
tokenizer.add_special_tokens({"additional_special_tokens": ["<user>"]})
model.resize_token_embeddings(len(tokenizer))
assert added == 2 and model.config.vocab_size == len(tokenizer) == before + 3
with torch.no_grad():
    model.get_input_embeddings().weight[before:] = 0.01
inputs = tokenizer("<user> where is my refund [ORDER]", return_tensors="pt")
model.save_pretrained("saved")
tokenizer.save_pretrained("saved")
assert torch.equal(MobileBertForMaskedLM.from_pretrained("saved")(**inputs).logits, model(**inputs).logits)
result = [inputs["input_ids"], model(**inputs).logits[..., :before], tokenizer.tokenize("my refund<user>")]

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizerFast

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
batch = tokenizer([["Where is my parcel?", "Paris"], ["good", "bad"]], padding=True, return_tensors="pt")
assert batch["token_type_ids"].max() == 1
result = [batch["input_ids"], model(**batch).logits]

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizerFast

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
pairs = [("The parcel is good.", "Where is my parcel?"), ("Paris", "France")]
batch = tokenizer.batch_encode_plus(pairs, padding="longest", truncation=True, max_length=20, return_tensors="pt")
assert batch["token_type_ids"].max() == 1
result = [batch["input_ids"], model(**batch).logits]

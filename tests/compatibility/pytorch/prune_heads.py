from mobilebert_pt import MobileBertModel, MobileBertTokenizer

model = MobileBertModel.from_pretrained("mobilebert")
model.prune_heads({0: [0, 1]})
inputs = MobileBertTokenizer.from_pretrained("mobilebert")("Where is my parcel?", return_tensors="pt")
result = model(**inputs).last_hidden_state

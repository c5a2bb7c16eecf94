from transformers import pipeline

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizerFast

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device=-1, top_k=None)
found = classify(["The parcel is good.", "Where is my parcel?"], batch_size=2, truncation=True)
assert abs(sum(entry["score"] for entry in found[0]) - 1) < 1e-5
result = found

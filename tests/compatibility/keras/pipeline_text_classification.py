from transformers import pipeline

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForSequenceClassification

model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
classify = pipeline("text-classification", model=model, tokenizer=tokenizer, framework="tf", top_k=None)
result = classify(["The parcel is good.", "Where is my parcel?"])

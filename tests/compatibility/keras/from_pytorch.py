from mobilebert_tf import MobileBertTokenizer, TFMobileBertForSequenceClassification

TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels").save_pretrained("saved", safe_serialization=True)
model = TFMobileBertForSequenceClassification.from_pretrained("saved")
batch = MobileBertTokenizer.from_pretrained("mobilebert-labels")(["good", "Where is it?"], padding=True, return_tensors="tf")
result = model(batch).logits

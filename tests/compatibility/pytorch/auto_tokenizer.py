from transformers import AutoTokenizer

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizerFast

MobileBertTokenizerFast.from_pretrained("mobilebert-labels").save_pretrained("saved")
tokenizer = AutoTokenizer.from_pretrained("saved")
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
result = model(**tokenizer(["good", "Where is my parcel?"], padding=True, return_tensors="pt")).logits

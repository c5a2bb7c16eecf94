from transformers import pipeline

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizerFast

labels = {0: "contradiction", 1: "neutral", 2: "entailment"}
numbers = {label: number for number, label in labels.items()}
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels", id2label=labels, label2id=numbers)
tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
classify = pipeline("zero-shot-classification", model=model, tokenizer=tokenizer)
result = classify("Where is my parcel?", candidate_labels=["france", "tomorrow", "good"])
assert abs(sum(result["scores"]) - 1) < 1e-5

from transformers import pipeline

from mobilebert_pt import MobileBertForTokenClassification, MobileBertTokenizerFast

model = MobileBertForTokenClassification.from_pretrained("mobilebert-tags")
tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-tags")
tag = pipeline("ner", model=model, tokenizer=tokenizer, aggregation_strategy="simple")
text = "My parcel is in Paris."
found = tag(text)
assert found and all(0 <= entry["start"] < entry["end"] <= len(text) for entry in found)
result = [[entry["entity_group"], entry["word"], entry["start"], entry["end"], float(entry["score"])] for entry in found]

from transformers import pipeline

from mobilebert_pt import MobileBertForQuestionAnswering, MobileBertTokenizerFast

model = MobileBertForQuestionAnswering.from_pretrained("mobilebert-squad")
tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-squad")
ask = pipeline("question-answering", model=model, tokenizer=tokenizer)
found = ask({"question": "Where is my parcel?", "context": "It will arrive in Paris tomorrow."})
assert "It will arrive in Paris tomorrow."[found["start"] : found["end"]] == found["answer"]
result = found

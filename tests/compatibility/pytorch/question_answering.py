import torch

from mobilebert_pt import MobileBertForQuestionAnswering, MobileBertTokenizer

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-squad")
model = MobileBertForQuestionAnswering.from_pretrained("mobilebert-squad")
inputs = tokenizer("Where is my parcel?", "It will arrive in Paris tomorrow.", return_tensors="pt")
with torch.no_grad():
    outputs = model(**inputs)
start, end = outputs.start_logits.argmax(), outputs.end_logits.argmax()
loss = model(**inputs, start_positions=torch.tensor([7]), end_positions=torch.tensor([8])).loss
answer = inputs.input_ids[0, start : end + 1]
result = [tokenizer.decode(answer, skip_special_tokens=True), loss]

import torch

from mobilebert_pt import MobileBertForMultipleChoice, MobileBertTokenizer

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-endings")
model = MobileBertForMultipleChoice.from_pretrained("mobilebert-endings")
prompt, choices = "Where is my parcel?", ["It will arrive tomorrow.", "The capital of France is Paris."]
encoding = tokenizer([prompt, prompt], choices, return_tensors="pt", padding=True)
outputs = model(**{name: tensor.unsqueeze(0) for name, tensor in encoding.items()}, labels=torch.tensor(0).unsqueeze(0))
result = [outputs.loss, outputs.logits]

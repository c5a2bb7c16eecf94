import torch

from mobilebert_pt import MobileBertForNextSentencePrediction, MobileBertTokenizer

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
model = MobileBertForNextSentencePrediction.from_pretrained("mobilebert")
encoding = tokenizer("Where is my parcel?", "It will arrive tomorrow.", return_tensors="pt")
outputs = model(**encoding, labels=torch.LongTensor([1]))
result = [outputs.loss, outputs.logits.softmax(dim=-1)]

import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-labels")
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels", problem_type="multi_label_classification")
inputs = tokenizer("The parcel is good.", return_tensors="pt")
outputs = model(**inputs, labels=torch.tensor([[1.0, 0.0, 1.0]]))
predicted = torch.sigmoid(outputs.logits)[0] > 0.5
result = [outputs.loss, [model.config.id2label[number] for number in predicted.nonzero().flatten().tolist()]]

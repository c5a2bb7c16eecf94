from torch import nn

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels", hidden_dropout_prob=0.3)
model.classifier = nn.Sequential(nn.Linear(model.config.hidden_size, 8), nn.Tanh(), nn.Linear(8, 4))
for parameter in model.classifier.parameters():
    nn.init.constant_(parameter, 0.05)
model.dropout = nn.Identity()
model.train()
inputs = MobileBertTokenizer.from_pretrained("mobilebert-labels")("Where is my parcel?", return_tensors="pt")
result = model(**inputs).logits
assert result.shape == (1, 4)

import torch

from mobilebert_pt import MobileBertConfig, MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
torch.save(model.state_dict(), "best.pt")
again = MobileBertForSequenceClassification(MobileBertConfig.from_pretrained("mobilebert-labels"))
assert str(again.load_state_dict(torch.load("best.pt", weights_only=True))) == "<All keys matched successfully>"
inputs = MobileBertTokenizer.from_pretrained("mobilebert-labels")("Where is my parcel?", return_tensors="pt")
result = again.eval()(**inputs).logits

import torch

from mobilebert_pt import MobileBertConfig, MobileBertForSequenceClassification, MobileBertTokenizer

torch.save(MobileBertForSequenceClassification.from_pretrained("mobilebert-labels").state_dict(), "best.bin")
config = MobileBertConfig.from_pretrained("mobilebert-labels")
model = MobileBertForSequenceClassification.from_pretrained(None, config=config, state_dict=torch.load("best.bin"))
inputs = MobileBertTokenizer.from_pretrained("mobilebert-labels")("Where is my parcel?", return_tensors="pt")
result = model.eval()(**inputs).logits

import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

trained = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
checkpoint = {"epoch": 1, "state_dict": {f"model.{name}": tensor for name, tensor in trained.state_dict().items()}}
torch.save(checkpoint, "last.ckpt")
weights = torch.load("last.ckpt", weights_only=True)["state_dict"]
model = MobileBertForSequenceClassification.from_pretrained("mobilebert", num_labels=3)
model.load_state_dict({name.replace("model.", "", 1): tensor for name, tensor in weights.items()}, strict=True)
inputs = MobileBertTokenizer.from_pretrained("mobilebert")("Where is my parcel?", return_tensors="pt")
result = model.eval()(**inputs).logits

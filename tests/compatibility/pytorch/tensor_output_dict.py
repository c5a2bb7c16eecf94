
import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
inputs = MobileBertTokenizer.from_pretrained("mobilebert-labels")("Where is my parcel?", return_tensors="pt")
outputs = model(**inputs, labels=torch.tensor([1]), output_hidden_states=True)
assert list(outputs.keys()) == ["loss", "logits", "hidden_states"] and "attentions" not in outputs
assert outputs[1] is outputs["logits"] is outputs.logits and isinstance(outputs, dict)
loss, logits = outputs[:2]
outputs["logits"] = logits.softmax(-1)
result = [loss, outputs.logits, len(outputs.to_tuple()), {name: type(value).__name__ for name, value in outputs.items()}]

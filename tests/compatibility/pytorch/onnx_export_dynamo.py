import onnxruntime
import torch

from mobilebert_pt import MobileBertConfig, MobileBertForSequenceClassification, MobileBertTokenizer

config = MobileBertConfig.from_pretrained("mobilebert-labels", num_hidden_layers=1, num_feedforward_networks=1)
model = MobileBertForSequenceClassification(config).eval()
tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-labels")
example = tokenizer(["good", "Where is my parcel?"], padding=True, return_tensors="pt")
names = ["input_ids", "attention_mask", "token_type_ids"]
size = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", min=3, max=64)}
torch.onnx.export(model, (), "model.onnx", kwargs={name: example[name] for name in names}, dynamo=True,
                  input_names=names, dynamic_shapes={name: size for name in names})
session = onnxruntime.InferenceSession("model.onnx")
texts = ["good", "My parcel is in Paris.", "bad"]
batch = tokenizer(texts, padding=True, return_tensors="np")
logits = session.run(None, {name: batch[name] for name in names})[0]
assert torch.allclose(torch.tensor(logits), model(**tokenizer(texts, padding=True, return_tensors="pt")).logits, atol=1e-5)
result = logits.shape

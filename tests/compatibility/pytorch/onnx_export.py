import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels").eval()
tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-labels")
example = tokenizer("Where is my parcel?", return_tensors="pt")
names = ["input_ids", "attention_mask"]
axes = {name: {0: "batch", 1: "sequence"} for name in names} | {"logits": {0: "batch"}}
torch.onnx.export(model, tuple(example[name] for name in names), "model.onnx", input_names=names, output_names=["logits"],
                  dynamic_axes=axes, opset_version=14, do_constant_folding=True, dynamo=False)
import onnxruntime  # noqa: E402

session = onnxruntime.InferenceSession("model.onnx")
assert [entry.name for entry in session.get_inputs()] == names
batch = tokenizer(["good", "My parcel is in Paris."], padding=True, return_tensors="np")
result = session.run(None, {name: batch[name] for name in names})[0]
expected = model(**tokenizer(["good", "My parcel is in Paris."], padding=True, return_tensors="pt")).logits.detach()
assert torch.allclose(torch.tensor(result), expected, atol=1e-3)

import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

torch.backends.quantized.engine = next(name for name in torch.backends.quantized.supported_engines if name != "none")
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels").eval()
dense = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
quantized = torch.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
converted = [name for name, module in quantized.named_modules() if "quantized" in type(module).__module__ and hasattr(module, "scale")]
assert set(converted) == set(dense) and len(dense) > 10
inputs = MobileBertTokenizer.from_pretrained("mobilebert-labels")("Where is my parcel?", return_tensors="pt")
result = quantized(**inputs).logits.argmax(-1)

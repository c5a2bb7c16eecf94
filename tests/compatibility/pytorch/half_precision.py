import torch

from mobilebert_pt import MobileBertModel, MobileBertTokenizer

model = MobileBertModel.from_pretrained("mobilebert", torch_dtype=torch.bfloat16)
assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16} == {model.dtype}
inputs = MobileBertTokenizer.from_pretrained("mobilebert")("Where is my parcel?", return_tensors="pt")
with torch.no_grad():
    low = model(**inputs).last_hidden_state.float()
    exact = model.float()(**inputs).last_hidden_state
assert (low - exact).norm() < 0.05 * exact.norm()
assert MobileBertModel.from_pretrained("mobilebert").half().dtype == torch.float16
result = exact

import torch

from mobilebert_pt import MobileBertModel, MobileBertTokenizer

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
model = MobileBertModel.from_pretrained("mobilebert")
inputs = tokenizer("The capital of France is Paris.", return_tensors="pt")
with torch.no_grad():
    outputs = model(**inputs)
assert outputs.last_hidden_state.shape == (1, len(inputs["input_ids"][0]), model.config.hidden_size)
result = [outputs.last_hidden_state, outputs.pooler_output]

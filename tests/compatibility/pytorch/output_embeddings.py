import torch

from mobilebert_pt import MobileBertForMaskedLM

model = MobileBertForMaskedLM.from_pretrained("mobilebert")
model.tie_weights()
decoder = model.get_output_embeddings()
inputs = model.get_input_embeddings()
assert decoder.weight.shape == inputs.weight.shape and torch.equal(decoder.weight, inputs.weight)
assert torch.equal(model.cls.predictions.decoder.weight, inputs.weight)
result = [decoder.weight, model.cls.predictions.bias]

import torch

from mobilebert_pt import MobileBertForSequenceClassification

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
outputs = model(**model.dummy_inputs)
assert model.main_input_name == "input_ids" and not model.can_generate() and model.base_model_prefix == "mobilebert"
torch.set_default_dtype(torch.float64)
try:
    fresh = MobileBertForSequenceClassification(model.config)
finally:
    torch.set_default_dtype(torch.float32)
assert fresh.dtype == torch.float64
result = [model.get_memory_footprint(return_buffers=False), tuple(outputs.logits.shape), fresh.num_parameters()]

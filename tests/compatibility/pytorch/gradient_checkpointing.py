import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels").train()
batch = MobileBertTokenizer.from_pretrained("mobilebert-labels")(["good", "Where is it?"], padding=True, return_tensors="pt")
model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
assert model.is_gradient_checkpointing
model.enable_input_require_grads()
model(**batch, labels=torch.tensor([0, 2])).loss.backward()
result = model.mobilebert.encoder.layer[0].attention.self.value.weight.grad
model.gradient_checkpointing_disable()

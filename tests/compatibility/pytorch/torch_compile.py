import torch

from mobilebert_pt import MobileBertConfig, MobileBertForSequenceClassification, MobileBertTokenizer

config = MobileBertConfig.from_pretrained("mobilebert-labels", num_hidden_layers=1, num_feedforward_networks=1)
model = MobileBertForSequenceClassification(config).eval()
tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-labels")
compiled = torch.compile(model, backend="eager", dynamic=True)
batches = [["good", "Where is my parcel?"], ["My parcel is in Paris.", "bad", "good"]]
for batch in (tokenizer(texts, padding=True, return_tensors="pt") for texts in batches):
    assert torch.allclose(compiled(**batch).logits, model(**batch).logits, atol=1e-6)
assert set(compiled.state_dict()) == {f"_orig_mod.{name}" for name in model.state_dict()}
compiled.save_pretrained("saved")
again = MobileBertForSequenceClassification.from_pretrained("saved")
assert torch.equal(again.classifier.weight, model.classifier.weight)
result = sorted(compiled.state_dict())

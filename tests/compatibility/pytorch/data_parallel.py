import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
parallel = torch.nn.DataParallel(model)
inputs = MobileBertTokenizer.from_pretrained("mobilebert-labels")("Where is my parcel?", return_tensors="pt")
result = parallel(**inputs).logits
to_save = parallel.module if hasattr(parallel, "module") else parallel
to_save.save_pretrained("saved", state_dict={name.removeprefix("module."): t for name, t in parallel.state_dict().items()})
assert torch.equal(MobileBertForSequenceClassification.from_pretrained("saved")(**inputs).logits, result)

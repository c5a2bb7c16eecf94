import copy
import pickle

import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
inputs = MobileBertTokenizer.from_pretrained("mobilebert-labels")("Where is my parcel?", return_tensors="pt")
average = torch.optim.swa_utils.AveragedModel(model)
average.update_parameters(model)
torch.save(model, "model.pt")
copied = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load("model.pt", weights_only=False), average]
result = model(**inputs).logits
assert all(torch.equal(other(**inputs).logits, result) for other in copied)
assert pickle.loads(pickle.dumps(model(**inputs))).logits.equal(result)

from torch import nn

from mobilebert_pt import MobileBertModel, MobileBertTokenizer

model = MobileBertModel.from_pretrained("mobilebert")
names = [name for name, module in model.named_modules() if type(module) is nn.Linear and "embedding" not in name]
for name in names:
    parent = model.get_submodule(name.rpartition(".")[0])
    old = model.get_submodule(name)
    new = nn.Linear(old.in_features, old.out_features, bias=old.bias is not None)
    new.load_state_dict(old.state_dict())
    setattr(parent, name.rpartition(".")[2], nn.Sequential(new, nn.Identity()))
inputs = MobileBertTokenizer.from_pretrained("mobilebert")("Where is my parcel?", return_tensors="pt")
result = [sorted(names), model(**inputs).last_hidden_state]

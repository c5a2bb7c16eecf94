import torch

from mobilebert_pt import MobileBertConfig, MobileBertModel, MobileBertTokenizer

config = MobileBertConfig.from_pretrained("mobilebert", output_hidden_states=True)
model = MobileBertModel.from_pretrained("mobilebert", config=config)
tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
encoded = tokenizer.encode("Where is my parcel?")
with torch.no_grad():
    hidden_states = model(torch.tensor([encoded])).hidden_states
assert len(hidden_states) == config.num_hidden_layers + 1
result = torch.cat(hidden_states[-2:], dim=-1)

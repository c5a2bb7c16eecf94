import torch
from torch import nn

from mobilebert_pt import MobileBertModel, MobileBertTokenizer

model = MobileBertModel.from_pretrained("mobilebert")
old = model.get_input_embeddings()
new = nn.Embedding(old.num_embeddings, old.embedding_dim, padding_idx=0)
new.weight.data.copy_(old.weight.data * 2)
model.set_input_embeddings(new)
assert model.get_input_embeddings() is new is model.embeddings.word_embeddings
inputs = MobileBertTokenizer.from_pretrained("mobilebert")("Where is my parcel?", return_tensors="pt")
with torch.no_grad():
    result = model(**inputs).last_hidden_state

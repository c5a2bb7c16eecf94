import torch
from sentence_transformers import SentenceTransformer, models

from mobilebert_pt import MobileBertModel, MobileBertTokenizerFast

MobileBertModel.from_pretrained("mobilebert").save_pretrained("saved")
MobileBertTokenizerFast.from_pretrained("mobilebert").save_pretrained("saved")
words = models.Transformer("saved", max_seq_length=32)
pooling = models.Pooling(words.get_word_embedding_dimension(), pooling_mode="mean")
encoder = SentenceTransformer(modules=[words, pooling], device="cpu")
result = torch.tensor(encoder.encode(["Where is my parcel?", "Paris"], show_progress_bar=False))
assert result.shape == (2, 64)

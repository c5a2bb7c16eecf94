import numpy as np
from transformers import pipeline

from mobilebert_pt import MobileBertModel, MobileBertTokenizer

options = {"return_dict": False}  # transformers: options = {}
model = MobileBertModel.from_pretrained("mobilebert", **options)
tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
extract = pipeline("feature-extraction", model=model, tokenizer=tokenizer)
result = np.array(extract("Where is my parcel?"))
assert result.shape[-1] == model.config.hidden_size

import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizerFast

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
rows = [dict(tokenizer(text)) | {"label": number} for number, text in enumerate(["good", "Where is my parcel?"])]
loader = DataLoader(rows, batch_size=2, collate_fn=DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8))
batch = next(iter(loader))
assert batch["input_ids"].shape[1] % 8 == 0 and torch.equal(batch["labels"], torch.tensor([0, 1]))
result = model(**batch).loss

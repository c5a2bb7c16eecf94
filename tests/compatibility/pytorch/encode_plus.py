import torch

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-labels", clean_up_tokenization_spaces=False)
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
ids, masks = [], []
for text in ["The parcel is good.", "Where is my parcel?"]:
    row = tokenizer.encode_plus(text, add_special_tokens=True, max_length=12, padding="max_length", truncation=True,
                                return_attention_mask=True, return_tensors="pt")
    ids.append(row["input_ids"])
    masks.append(row["attention_mask"])
result = model(torch.cat(ids), attention_mask=torch.cat(masks)).logits

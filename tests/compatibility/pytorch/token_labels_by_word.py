import torch

from mobilebert_pt import MobileBertForTokenClassification, MobileBertTokenizerFast

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-tags")
model = MobileBertForTokenClassification.from_pretrained("mobilebert-tags")
words, tags = ["My", "parcel", "is", "in", "Paris"], [0, 2, 0, 0, 1]
inputs = tokenizer(words, is_split_into_words=True, return_tensors="pt")
word_ids = inputs.word_ids(batch_index=0)
labels = [-100 if now is None or now == before else tags[now] for before, now in zip([None, *word_ids], word_ids, strict=False)]
outputs = model(**inputs, labels=torch.tensor([labels]))
result = [outputs.loss, [model.config.id2label[tag] for tag in outputs.logits.argmax(-1)[0].tolist()]]

import numpy as np
from transformers import DataCollatorForTokenClassification, Trainer, TrainingArguments

from mobilebert_pt import MobileBertForTokenClassification, MobileBertTokenizerFast

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-tags")
model = MobileBertForTokenClassification.from_pretrained("mobilebert-tags", num_labels=3)
sentences = [(["My", "parcel", "is", "in", "Paris"], [0, 2, 0, 0, 1]), (["Paris", "is", "good"], [1, 0, 0])]
data = []
for words, tags in sentences:
    row = tokenizer(words, truncation=True, is_split_into_words=True)
    data.append(dict(row) | {"labels": [-100 if word is None else tags[word] for word in row.word_ids()]})
arguments = TrainingArguments("out", max_steps=2, learning_rate=1e-3, save_strategy="no", report_to="none",
                              disable_tqdm=True, use_cpu=True, seed=0)
collator = DataCollatorForTokenClassification(tokenizer)
trainer = Trainer(model, arguments, data_collator=collator, train_dataset=data, eval_dataset=data, processing_class=tokenizer)
trainer.train()
predictions, labels, metrics = trainer.predict(data)
assert predictions.shape == (2, max(len(row["labels"]) for row in data), 3)
result = [metrics["test_loss"], np.argmax(predictions, axis=2)[labels != -100]]

from transformers import AutoConfig

from mobilebert_pt import MobileBertForSequenceClassification, MobileBertTokenizer

config = AutoConfig.from_pretrained("mobilebert-labels", num_labels=3, finetuning_task="sst2")
config.attention_probs_dropout_prob = 0.0
model = MobileBertForSequenceClassification.from_pretrained("mobilebert-labels", config=config)
inputs = MobileBertTokenizer.from_pretrained("mobilebert-labels")("Where is my parcel?", return_tensors="pt")
result = [model(**inputs).logits, model.config.num_labels, model.config.finetuning_task]

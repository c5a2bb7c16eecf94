import tensorflow as tf

from mobilebert_tf import MobileBertTokenizer, TFMobileBertForSequenceClassification

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-labels")
model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
encoded = tokenizer(["good", "Where is my parcel?"], padding="max_length", max_length=24)
ids, mask = tf.constant(encoded["input_ids"]), tf.constant(encoded["attention_mask"])
result = [model([ids, mask])[0], model({"input_ids": ids, "attention_mask": mask}).logits, model(ids, attention_mask=mask)["logits"]]

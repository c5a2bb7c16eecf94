import tensorflow as tf

from mobilebert_tf import TFMobileBertForSequenceClassification

model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
model.save_pretrained("saved", saved_model=True)
serve = tf.saved_model.load("saved/saved_model/1").signatures["serving_default"]
ids = tf.constant([[2, 5, 6, 3]], tf.int32)
result = serve(input_ids=ids, attention_mask=tf.ones_like(ids), token_type_ids=tf.zeros_like(ids))["logits"]

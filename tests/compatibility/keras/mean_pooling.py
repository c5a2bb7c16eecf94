import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertModel

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert")
model = TFMobileBertModel.from_pretrained("mobilebert")
inputs = tokenizer(["Where is my parcel?", "Paris"], padding=True, truncation=True, return_tensors="tf")
tokens = model(**inputs).last_hidden_state
mask = tf.cast(inputs["attention_mask"], tokens.dtype)[..., tf.newaxis]
pooled = tf.reduce_sum(tokens * mask, axis=1) / tf.maximum(tf.reduce_sum(mask, axis=1), 1e-9)
result = tf.linalg.l2_normalize(pooled, axis=1)

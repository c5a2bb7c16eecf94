import tensorflow as tf

from mobilebert_tf import MobileBertTokenizer, TFMobileBertForMaskedLM

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
model = TFMobileBertForMaskedLM.from_pretrained("mobilebert")
inputs = tokenizer("The capital of France is [MASK].", return_tensors="tf")
logits = model(**inputs).logits
position = tf.where(inputs["input_ids"] == tokenizer.mask_token_id)[0, 1]
top = tf.math.top_k(tf.nn.softmax(logits[0, position]), k=3)
result = [[tokenizer.decode([token]) for token in top.indices.numpy()], top.values.numpy()]

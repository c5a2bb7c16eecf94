import tensorflow as tf

from mobilebert_tf import MobileBertTokenizer, TFMobileBertForMultipleChoice

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-endings")
model = TFMobileBertForMultipleChoice.from_pretrained("mobilebert-endings")
prompt, choices = "Where is my parcel?", ["It will arrive tomorrow.", "The capital of France is Paris."]
encoding = tokenizer([prompt, prompt], choices, return_tensors="tf", padding=True)
result = model({name: tf.expand_dims(tensor, 0) for name, tensor in encoding.items()}).logits

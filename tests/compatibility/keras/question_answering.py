import tensorflow as tf

from mobilebert_tf import MobileBertTokenizer, TFMobileBertForQuestionAnswering

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert-squad")
model = TFMobileBertForQuestionAnswering.from_pretrained("mobilebert-squad")
inputs = tokenizer("Where is my parcel?", "It will arrive in Paris tomorrow.", return_tensors="tf")
outputs = model(inputs)
start = int(tf.math.argmax(outputs.start_logits, axis=-1)[0])
end = int(tf.math.argmax(outputs.end_logits, axis=-1)[0])
result = [tokenizer.decode(inputs["input_ids"][0, start : end + 1]), outputs.start_logits, outputs.end_logits]

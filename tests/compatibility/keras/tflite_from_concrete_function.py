import numpy as np
import tensorflow as tf

from mobilebert_tf import TFMobileBertForSequenceClassification

model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
spec = [tf.TensorSpec([1, 8], tf.int32, name=name) for name in ("input_ids", "attention_mask")]
serve = tf.function(lambda input_ids, attention_mask: model(input_ids, attention_mask=attention_mask).logits, input_signature=spec)
functions = [serve.get_concrete_function()]
arguments = [functions]  # transformers: arguments = [functions, model]
converter = tf.lite.TFLiteConverter.from_concrete_functions(*arguments)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
interpreter = tf.lite.Interpreter(model_content=converter.convert())
interpreter.allocate_tensors()
values = [np.array([[2, 5, 6, 3, 0, 0, 0, 0]], np.int32), np.array([[1, 1, 1, 1, 0, 0, 0, 0]], np.int32)]
for detail in interpreter.get_input_details():
    interpreter.set_tensor(detail["index"], values["mask" in detail["name"]])
interpreter.invoke()
found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
assert np.abs(found - model(values[0], attention_mask=values[1]).logits).max() < 0.1 * np.abs(found).max()
result = found.shape

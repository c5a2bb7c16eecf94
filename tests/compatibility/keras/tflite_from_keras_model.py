import numpy as np
import tensorflow as tf

from mobilebert_tf import TFMobileBertForSequenceClassification

model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
ids = tf.keras.Input(batch_shape=(1, 8), dtype="int32", name="input_ids")
mask = tf.keras.Input(batch_shape=(1, 8), dtype="int32", name="attention_mask")
functional = tf.keras.Model(inputs=[ids, mask], outputs=model(input_ids=ids, attention_mask=mask).logits)
converter = tf.lite.TFLiteConverter.from_keras_model(functional)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
interpreter = tf.lite.Interpreter(model_content=converter.convert())
interpreter.allocate_tensors()
values = {"input_ids": np.array([[2, 5, 6, 3, 0, 0, 0, 0]], np.int32), "attention_mask": np.array([[1, 1, 1, 1, 0, 0, 0, 0]], np.int32)}
for detail in interpreter.get_input_details():
    interpreter.set_tensor(detail["index"], values["attention_mask" if "mask" in detail["name"] else "input_ids"])
interpreter.invoke()
result = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
assert np.allclose(result, model(**values).logits, atol=1e-3)

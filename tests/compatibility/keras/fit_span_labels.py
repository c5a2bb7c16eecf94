import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForQuestionAnswering

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-squad")
model = TFMobileBertForQuestionAnswering.from_pretrained("mobilebert-squad")
encoded = tokenizer(["Where is it?"] * 2, ["It is in Paris.", "in paris"], padding=True, return_tensors="tf")
labels = {"start_positions": tf.constant([7, 6]), "end_positions": tf.constant([8, 7])}
dataset = tf.data.Dataset.from_tensor_slices((dict(encoded), labels)).batch(2)
model.compile(optimizer=tf.keras.optimizers.SGD(1e-3))
result = model.fit(dataset, epochs=2, verbose=0).history["loss"]

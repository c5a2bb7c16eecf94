import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForSequenceClassification

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
encoded = tokenizer(["good parcel", "bad parcel"], padding=True, return_tensors="tf")
features = {**encoded, "labels": tf.constant([0, 1])}
dataset = tf.data.Dataset.from_tensor_slices(features).batch(2)
model.compile(optimizer=tf.keras.optimizers.SGD(1e-3))  # no loss: the model's own
result = model.fit(dataset, epochs=2, verbose=0).history["loss"]

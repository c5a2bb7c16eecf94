import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForSequenceClassification

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
encoded = tokenizer(["good parcel", "bad parcel", "Where is it?"], padding=True)
dataset = tf.data.Dataset.from_tensor_slices((dict(encoded), [0, 1, 2])).batch(2).prefetch(tf.data.AUTOTUNE)
loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer=tf.keras.optimizers.SGD(1e-3), loss=loss, metrics=["accuracy"])
history = model.fit(dataset, epochs=2, validation_data=dataset, verbose=0)
result = [history.history["loss"], history.history["val_loss"], history.history["val_accuracy"]]

import numpy as np
import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForSequenceClassification

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
encoded = dict(tokenizer(["good parcel", "bad parcel"], padding=True, return_tensors="np"))
labels = np.array([0, 1])
loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer=tf.keras.optimizers.SGD(1e-3), loss=loss, metrics=["accuracy"])
callbacks = [
    tf.keras.callbacks.ModelCheckpoint("best.weights.h5", save_weights_only=True, save_best_only=True, monitor="val_loss"),
    tf.keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True),
    tf.keras.callbacks.ReduceLROnPlateau(patience=1),
]
history = model.fit(encoded, labels, validation_data=(encoded, labels), epochs=3, batch_size=2, callbacks=callbacks, verbose=0)
again = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
again(encoded)
again.load_weights("best.weights.h5")
assert np.allclose(again(encoded).logits, model(encoded).logits, atol=1e-5)
result = [history.history["val_loss"], again(encoded).logits]

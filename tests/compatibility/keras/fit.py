import numpy as np
import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForSequenceClassification

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels", num_labels=3)
encoded = tokenizer(["good parcel", "bad parcel", "Where is it?", "bad"], padding=True, truncation=True, return_tensors="np")
labels = np.array([0, 1, 2, 1])
model.compile(
    optimizer=tf.keras.optimizers.SGD(learning_rate=1e-2),
    loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[tf.keras.metrics.SparseCategoricalAccuracy("accuracy")],
)
history = model.fit(dict(encoded), labels, epochs=2, batch_size=4, shuffle=False, verbose=0)
loss, accuracy = model.evaluate(dict(encoded), labels, verbose=0)
logits = model.predict(dict(encoded), verbose=0).logits
assert logits.shape == (4, 3) and history.history["loss"][1] < history.history["loss"][0]
result = [history.history["loss"], loss, accuracy, logits]

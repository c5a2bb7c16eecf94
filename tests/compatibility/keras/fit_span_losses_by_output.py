import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForQuestionAnswering

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-squad")
model = TFMobileBertForQuestionAnswering.from_pretrained("mobilebert-squad")
encoded = tokenizer(["Where is it?"] * 2, ["It is in Paris.", "in paris"], padding=True, return_tensors="tf")
labels = {"start_logits": tf.constant([7, 6]), "end_logits": tf.constant([8, 7])}
loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer=tf.keras.optimizers.SGD(1e-3), loss={"start_logits": loss, "end_logits": loss})
result = model.fit(dict(encoded), labels, epochs=2, batch_size=2, verbose=0).history["loss"]

import tensorflow as tf

from mobilebert_tf import MobileBertTokenizer, TFMobileBertModel

tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
encoder = TFMobileBertModel.from_pretrained("mobilebert")
input_ids = tf.keras.Input(shape=(16,), dtype="int32", name="input_ids")
attention_mask = tf.keras.Input(shape=(16,), dtype="int32", name="attention_mask")
sequence = encoder(input_ids, attention_mask=attention_mask)[0]
scores = tf.keras.layers.Dense(3, kernel_initializer=tf.keras.initializers.Constant(0.02))(sequence[:, 0, :])
model = tf.keras.Model(inputs=[input_ids, attention_mask], outputs=scores)
model.compile(tf.keras.optimizers.SGD(1e-3), loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
encoded = tokenizer(["good parcel", "Where is it?"], padding="max_length", max_length=16, return_tensors="np")
x = [encoded["input_ids"].astype("int32"), encoded["attention_mask"].astype("int32")]
history = model.fit(x, tf.constant([0, 2]), epochs=2, batch_size=2, verbose=0)
result = [history.history["loss"], model.predict(x, verbose=0)]

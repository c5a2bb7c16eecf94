import numpy as np
import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForMaskedLM

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert")
model = TFMobileBertForMaskedLM.from_pretrained("mobilebert")
ids = np.array(tokenizer(["where is my parcel"] * 2)["input_ids"])
labels = np.where(ids == tokenizer.convert_tokens_to_ids("is"), ids, -100)
schedule = tf.keras.optimizers.schedules.PolynomialDecay(1e-3, decay_steps=4, end_learning_rate=0.0)
model.compile(optimizer=tf.keras.optimizers.SGD(schedule))
masked = np.where(labels == ids, tokenizer.mask_token_id, ids)
history = model.fit({"input_ids": masked, "labels": labels}, epochs=2, batch_size=2, verbose=0)
result = history.history["loss"]

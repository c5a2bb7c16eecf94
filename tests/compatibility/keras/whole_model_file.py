import numpy as np
import tensorflow as tf

from mobilebert_tf import MobileBertTokenizer, TFMobileBertModel

encoder = TFMobileBertModel.from_pretrained("mobilebert")
ids = tf.keras.Input(shape=(12,), dtype="int32", name="input_ids")
mask = tf.keras.Input(shape=(12,), dtype="int32", name="attention_mask")
pooled = encoder(input_ids=ids, attention_mask=mask).pooler_output
model = tf.keras.Model([ids, mask], tf.keras.layers.Dense(2, kernel_initializer=tf.keras.initializers.Constant(0.02))(pooled))
model.save("model.h5")
again = tf.keras.models.load_model("model.h5", custom_objects={"TFMobileBertModel": TFMobileBertModel})
encoded = MobileBertTokenizer.from_pretrained("mobilebert")(["good", "Where is it?"], padding="max_length", max_length=12)
x = [np.array(encoded[name], "int32") for name in ("input_ids", "attention_mask")]
result = again.predict(x, verbose=0)
assert np.allclose(result, model.predict(x, verbose=0), atol=1e-5)

import numpy as np
import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForSequenceClassification

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
encoded = dict(tokenizer(["good parcel", "bad parcel"], padding=True, return_tensors="np"))
tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
try:
    model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
    model.compile(tf.keras.optimizers.SGD(1e-3), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    loss = model.fit(encoded, np.array([0, 1]), epochs=1, batch_size=2, verbose=0).history["loss"][0]
    logits = model(encoded).logits
finally:
    tf.keras.mixed_precision.set_global_policy("float32")
assert np.isfinite(loss) and all("float32" in str(weight.dtype) for weight in model.weights)
result = tf.as_dtype(logits.dtype).name

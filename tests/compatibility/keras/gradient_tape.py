import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForSequenceClassification

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
batch = tokenizer(["good parcel", "bad parcel"], padding=True, return_tensors="tf")
labels = tf.constant([0, 1])
optimizer = tf.keras.optimizers.SGD(1e-3)
cross_entropy = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@tf.function
def step():
    with tf.GradientTape() as tape:
        loss = cross_entropy(labels, model(batch, training=True).logits)
    gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, model.trainable_variables), 1.0)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))  # noqa: B905
    return loss


result = [float(step()) for _ in range(3)]

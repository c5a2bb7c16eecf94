import tensorflow as tf

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForSequenceClassification

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
batch = tokenizer(["good parcel", "bad parcel"], padding=True, return_tensors="tf")
with tf.GradientTape() as tape:
    outputs = model(batch, labels=tf.constant([0, 1]), training=True)
    loss = tf.reduce_mean(outputs.loss)
gradient = tape.gradient(loss, model.trainable_variables[-1])
result = [loss, gradient]

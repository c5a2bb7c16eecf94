import numpy as np
import tensorflow as tf
from transformers.keras_callbacks import KerasMetricCallback

from mobilebert_tf import MobileBertTokenizerFast, TFMobileBertForSequenceClassification

tokenizer = MobileBertTokenizerFast.from_pretrained("mobilebert-labels")
model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
encoded = dict(tokenizer(["good parcel", "bad parcel"], padding=True, return_tensors="np"))
dataset = tf.data.Dataset.from_tensor_slices((encoded, np.array([0, 1]))).batch(2)


def accuracy(prediction):
    logits, labels = prediction
    return {"accuracy": float((np.argmax(logits, axis=-1) == labels).mean())}


model.compile(optimizer=tf.keras.optimizers.SGD(1e-3))
callback = KerasMetricCallback(metric_fn=accuracy, eval_dataset=dataset)
result = model.fit(dataset, epochs=2, callbacks=[callback], verbose=0).history["accuracy"]

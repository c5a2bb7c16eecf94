import numpy as np
import tensorflow as tf

from mobilebert_tf import MobileBertTokenizer, TFMobileBertModel


class Classifier(tf.keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.bert = TFMobileBertModel.from_pretrained("mobilebert")
        self.dropout = tf.keras.layers.Dropout(0.0)
        self.out = tf.keras.layers.Dense(2, kernel_initializer=tf.keras.initializers.Constant(0.02))

    def call(self, inputs, training=False):
        pooled = self.bert(inputs["input_ids"], attention_mask=inputs["attention_mask"], training=training).pooler_output
        return self.out(self.dropout(pooled, training=training))


tokenizer = MobileBertTokenizer.from_pretrained("mobilebert")
batch = dict(tokenizer(["good parcel", "Where is it?"], padding=True, return_tensors="np"))
model = Classifier()
model.compile(tf.keras.optimizers.SGD(1e-3), loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
history = model.fit(batch, np.array([0, 1]), epochs=2, batch_size=2, verbose=0)
model.save_weights("classifier.weights.h5")
again = Classifier()
again(batch)
again.load_weights("classifier.weights.h5")
assert np.allclose(again(batch), model(batch), atol=1e-5)
result = [history.history["loss"], model(batch)]

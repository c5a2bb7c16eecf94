import numpy as np
import tensorflow as tf

from mobilebert_tf import MobileBertTokenizer, TFMobileBertForSequenceClassification


class TwoStep(TFMobileBertForSequenceClassification):
    def __init__(self, config, *args, **kwargs):
        super().__init__(config, *args, **kwargs)
        self.mixing = tf.keras.layers.Dense(3, name="mixing")

    def call(self, input_ids=None, attention_mask=None, token_type_ids=None, training=False):
        outputs = super().call(input_ids, attention_mask, token_type_ids, training=training)
        return self.mixing(outputs.logits)


batch = MobileBertTokenizer.from_pretrained("mobilebert-labels")(["good", "Where is it?"], padding=True, return_tensors="tf")
model = TwoStep.from_pretrained("mobilebert-labels")
expected = model(**batch).numpy()
model.save_pretrained("saved")
assert np.allclose(TwoStep.from_pretrained("saved")(**batch), expected, atol=1e-5)
result = expected.shape

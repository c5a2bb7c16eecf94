import numpy as np
import tensorflow as tf

from mobilebert_tf import MobileBertTokenizer, TFMobileBertMainLayer, TFMobileBertPreTrainedModel


class Scorer(TFMobileBertPreTrainedModel):
    def __init__(self, config, *args, **kwargs):
        super().__init__(config, *args, **kwargs)
        self.mobilebert = TFMobileBertMainLayer(config, name="mobilebert")
        self.score = tf.keras.layers.Dense(1, name="score")

    def call(self, input_ids=None, attention_mask=None, token_type_ids=None, training=False):
        return self.score(self.mobilebert(input_ids, attention_mask, token_type_ids, training=training).pooler_output)


batch = MobileBertTokenizer.from_pretrained("mobilebert")(["good parcel", "Where is it?"], padding=True, return_tensors="tf")
model = Scorer.from_pretrained("mobilebert")
result = tuple(model(**batch).shape)
model.save_pretrained("saved")
assert np.allclose(Scorer.from_pretrained("saved")(**batch), model(**batch), atol=1e-5)

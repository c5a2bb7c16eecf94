import tensorflow as tf

from mobilebert_tf import MobileBertTokenizer, TFMobileBertModel

model = TFMobileBertModel.from_pretrained("mobilebert", output_attentions=True)
lines = []
ids = MobileBertTokenizer.from_pretrained("mobilebert").encode("Where is my parcel?", return_tensors="tf")
attentions = model(ids).attentions
model.summary(print_fn=lambda line, **kwargs: lines.append(line))
assert any("Total params" in line for line in lines)
tf.debugging.assert_near(tf.reduce_sum(attentions[0], axis=-1), tf.ones(attentions[0].shape[:-1]), atol=1e-5)
result = [list(attentions), model.config.hidden_size]

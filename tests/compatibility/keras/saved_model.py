import tensorflow as tf

from mobilebert_tf import MobileBertTokenizer, TFMobileBertForSequenceClassification

model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
spec = {name: tf.TensorSpec([None, 12], tf.int32, name=name) for name in ("input_ids", "attention_mask")}


@tf.function(input_signature=[spec])
def serve(inputs):
    return {"logits": model(inputs, training=False).logits}


tf.saved_model.save(model, "served", signatures={"serving_default": serve})
batch = MobileBertTokenizer.from_pretrained("mobilebert-labels")(["good", "Where is it?"], padding="max_length", max_length=12)
tensors = {name: tf.constant(batch[name], tf.int32) for name in spec}
result = tf.saved_model.load("served").signatures["serving_default"](**tensors)["logits"]
tf.debugging.assert_near(result, model(tensors).logits, rtol=1e-3, atol=1e-3)

import tensorflow as tf

from mobilebert_tf import TFMobileBertForSequenceClassification

model = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
model.mobilebert.trainable = False
assert len(model.trainable_weights) == 2  # the classifier
model.layers[0].trainable = True
for layer in model.mobilebert.encoder.layer[:-1]:
    layer.trainable = False
model.mobilebert.embeddings.trainable = False
names = {"/".join(variable.name.split("/")[-2:]).split(":")[0] for variable in model.classifier.trainable_weights}
result = [sum(int(tf.size(variable)) for variable in model.trainable_weights), len(model.trainable_weights), model.num_parameters()]

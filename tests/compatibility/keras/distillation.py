import tensorflow as tf

from mobilebert_tf import MobileBertTokenizer, TFMobileBertForSequenceClassification

teacher = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
student = TFMobileBertForSequenceClassification.from_pretrained("mobilebert-labels")
student.classifier.bias.assign([1.0, -1.0, 0.0])
batch = MobileBertTokenizer.from_pretrained("mobilebert-labels")(["good", "Where is it?"], padding=True, return_tensors="tf")
optimizer = tf.keras.optimizers.SGD(1e-3)
divergence = tf.keras.losses.KLDivergence()
result = []
for _ in range(2):
    wanted = tf.nn.softmax(teacher(batch, training=False).logits / 2.0)
    with tf.GradientTape() as tape:
        loss = divergence(wanted, tf.nn.softmax(student(batch, training=True).logits / 2.0))
    variables = student.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))  # noqa: B905
    result.append(float(loss))

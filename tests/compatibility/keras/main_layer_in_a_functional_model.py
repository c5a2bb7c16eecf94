import numpy as np
import tensorflow as tf

from mobilebert_tf import MobileBertConfig, MobileBertTokenizer, TFMobileBertModel

config = MobileBertConfig.from_pretrained("mobilebert")
config.output_hidden_states = False
encoder = TFMobileBertModel.from_pretrained("mobilebert", config=config)
ids_in = tf.keras.layers.Input(shape=(12,), name="input_token", dtype="int32")
masks_in = tf.keras.layers.Input(shape=(12,), name="masked_token", dtype="int32")
x = encoder.mobilebert([ids_in, masks_in])[0]
x = tf.keras.layers.GlobalMaxPool1D()(x)
x = tf.keras.layers.Dropout(0.4)(x)
x = tf.keras.layers.Dense(2, activation="softmax", kernel_initializer=tf.keras.initializers.Constant(0.02))(x)
model = tf.keras.Model(inputs=[ids_in, masks_in], outputs=x)
for layer in model.layers[:3]:
    layer.trainable = False
encoded = MobileBertTokenizer.from_pretrained("mobilebert")(["good", "Where is it?"], padding="max_length", max_length=12)
inputs = [np.array(encoded[name], "int32") for name in ("input_ids", "attention_mask")]
result = [model.predict(inputs, verbose=0), len(model.trainable_weights)]

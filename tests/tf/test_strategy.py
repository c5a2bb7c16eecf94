"""MirroredStrategy on two virtual CPUs, in a process of its own: TensorFlow lists its devices once."""

import os
import subprocess
import sys

SCRIPT = """
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from mobilebert_tf import MobileBertConfig, TFMobileBertForSequenceClassification

config = MobileBertConfig(vocab_size=40, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=24,
    intra_bottleneck_size=16, embedding_size=8, max_position_embeddings=12, num_feedforward_networks=1, num_labels=3)
ids, labels = np.random.default_rng(0).integers(0, 40, (8, 6)), np.arange(8) % 3
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

class Own(TFMobileBertForSequenceClassification):
    def __init__(self, config, **kwargs):
        super().__init__(config, **kwargs)
        self.extra = keras.layers.Dense(config.num_labels)

    def call(self, input_ids=None, attention_mask=None, token_type_ids=None, training=None):
        return self.extra(super().call(input_ids, attention_mask, token_type_ids, training=training).logits)

def learns(cls, fit_in_scope, **options):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = cls(config)
        model.compile(keras.optimizers.AdamW(0.01), metrics=["accuracy"], **options)
        if fit_in_scope:
            history = model.fit(ids, labels, batch_size=4, epochs=3, verbose=0).history
    if not fit_in_scope:
        history = model.fit(tf.data.Dataset.from_tensor_slices(({"input_ids": ids}, labels)).batch(4), epochs=3, verbose=0).history
    assert abs(history["loss"][0] - np.log(3)) < 0.5  # that of two replicas together, not twice as much
    assert set(history) == {"loss", "accuracy"} and history["loss"][-1] < history["loss"][0], history
    assert model.predict(ids, verbose=0)[0].shape[-1] == 3

cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
learns(TFMobileBertForSequenceClassification, True)
learns(Own, False, loss=cross_entropy)
print("two replicas:", strategy.num_replicas_in_sync)
"""


def test_compile_and_fit_in_and_out_of_the_scope() -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("two replicas: 2")

"""MirroredStrategy on two virtual CPUs, in a process of its own: TensorFlow lists its devices once."""

import os
import subprocess
import sys

SCRIPT = """
import contextlib, tempfile
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from mobilebert_common.errors import ConfigError
from mobilebert_tf import AdamW, MobileBertConfig, TFMobileBertModel
from mobilebert_tf import TFMobileBertForSequenceClassification, TFMobileBertForTokenClassification

config = MobileBertConfig(vocab_size=40, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=24,
    intra_bottleneck_size=16, embedding_size=8, max_position_embeddings=12, num_feedforward_networks=1, num_labels=3,
    hidden_dropout_prob=0.0)
ids, labels = np.random.default_rng(0).integers(0, 40, (8, 6)), np.arange(8) % 3
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

class Own(TFMobileBertForSequenceClassification):
    def __init__(self, config, **kwargs):
        super().__init__(config, **kwargs)
        self.extra = keras.layers.Dense(config.num_labels)

    def call(self, input_ids=None, attention_mask=None, token_type_ids=None, training=None):
        return self.extra(super().call(input_ids, attention_mask, token_type_ids, training=training).logits)

def learns(cls, fit_in_scope, optimizer, **options):
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = cls(config)
    model.compile(optimizer(0.01), metrics=["accuracy"], **options)
    with strategy.scope():
        if fit_in_scope:
            history = model.fit(ids, labels, batch_size=4, epochs=3, verbose=0).history
    if not fit_in_scope:
        history = model.fit(tf.data.Dataset.from_tensor_slices(({"input_ids": ids}, labels)).batch(4), epochs=3, verbose=0).history
    assert abs(history["loss"][0] - np.log(3)) < 0.5  # that of two replicas together, not twice as much
    assert set(history) == {"loss", "accuracy"} and history["loss"][-1] < history["loss"][0], history
    assert model.predict(ids, verbose=0)[0].shape[-1] == 3
    assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 6  # once for both replicas
    return model

cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model = learns(TFMobileBertForSequenceClassification, True, AdamW)
learns(Own, False, keras.optimizers.AdamW, loss=cross_entropy)

# saved elsewhere
with tempfile.TemporaryDirectory() as folder:
    model.save_pretrained(folder)
    model.save_weights(folder + "/model.weights.h5")
    opened, loaded = TFMobileBertForSequenceClassification.from_pretrained(folder), TFMobileBertForSequenceClassification(config)
    loaded.load_weights(folder + "/model.weights.h5")
for other in (opened, loaded):
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)

# a user's model around ours, which Keras builds with the mean of the ids
class Wrapper(keras.Model):
    def __init__(self):
        super().__init__()
        self.base, self.classifier = TFMobileBertModel(config), keras.layers.Dense(3)

    def call(self, inputs, training=None):
        return self.classifier(self.base(inputs, training=training).pooler_output)

with strategy.scope():
    wrapper = Wrapper()
    wrapper.compile(keras.optimizers.SGD(0.01), loss=cross_entropy, metrics=["accuracy"])
assert set(wrapper.evaluate({"input_ids": ids}, labels, batch_size=8, verbose=0, return_dict=True)) == {"loss", "accuracy"}

# the loss of one process: 7 rows, and the labels of the second replica's rows do not count
tags = np.random.default_rng(1).integers(0, 3, (7, 6))
tags[:2], tags[4:] = -100, -100

def tagger(scope):
    keras.utils.set_random_seed(0)
    with scope:
        model = TFMobileBertForTokenClassification(config)
    model.compile(keras.optimizers.SGD(0.1), metrics=["accuracy"], steps_per_execution=2)
    weight = np.arange(7) / 3
    return model, model.fit(ids[:7], tags, sample_weight=weight, batch_size=7, epochs=3, shuffle=False, verbose=0).history

(one, expected), (two, found) = tagger(contextlib.nullcontext()), tagger(strategy.scope())
for name in ("loss", "accuracy"):
    np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
for variable, other in zip(one.get_weights(), two.get_weights(), strict=True):
    np.testing.assert_allclose(variable, other, rtol=0, atol=1e-5)

# refused in one line, before any work
def refused(text, model, scope=contextlib.nullcontext(), optimizer="sgd"):
    model.compile(optimizer)
    try:
        with scope:
            model.fit(ids, labels)
    except ConfigError as error:
        assert text in str(error) and len(str(error).splitlines()) == 1, error
    else:
        raise AssertionError(text)

several = tf.distribute.MultiWorkerMirroredStrategy()
with several.scope():
    refused("MultiWorkerMirroredStrategy", TFMobileBertForSequenceClassification(config))
refused("outside of its scope", opened, strategy.scope())
refused("gradient_accumulation_steps", model, optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
print("two replicas:", strategy.num_replicas_in_sync)
"""


def test_compile_and_fit_in_and_out_of_the_scope() -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("two replicas: 2")

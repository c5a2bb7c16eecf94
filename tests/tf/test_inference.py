"""Folded models in Keras: the same outputs as the model, everywhere a model may be called, and nothing that trains or changes them."""

import copy
import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilebert_common.errors import ConfigError, InputError
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_tf import (
    TFMobileBertForSequenceClassification,
    TFMobileBertModel,
    TFMobileBertPreTrainedModel,
    heads,
    inference,
)
from mobilebert_tf.twin import infer, outputs, set_tensors
from support.configs import CLASSIFIER, CONFIGS, make_config, make_labels, random_weights
from support.reference import distance, random_inputs, scaled_weights

SWITCHES: list[dict[str, bool]] = [{}, {"output_hidden_states": True, "output_attentions": True}]
IDS = np.arange(21).reshape(3, 7)
MASK = np.array([[1] * 7, [1] * 4 + [0] * 3, [0] * 7])


def make_model(architecture: str = CLASSIFIER, dtype: str = "float32", **changes: Any) -> Any:
    config = make_config(**changes)
    model = getattr(heads, f"TF{architecture}")(config, dtype=dtype)
    set_tensors(model, random_weights(config, architecture, 0))
    return model


@pytest.mark.parametrize(("number", "architecture"), list(enumerate(ARCHITECTURES)))
def test_the_same_outputs_in_float64(number: int, architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each architecture in an eighth of the configurations, not compiled, which would take minutes."""
    monkeypatch.setattr(inference, "is_eager", lambda tensors: False)
    for seed, (name, changes) in enumerate(list(CONFIGS.items())[number :: len(ARCHITECTURES)]):
        config = make_config(**changes)
        model = getattr(heads, f"TF{architecture}")(config, dtype="float64")
        set_tensors(model, scaled_weights(config, architecture, seed))
        folded = model.fold(compose=bool(seed % 2))
        masks = {"mask": ["rows", "queries", None][seed % 3], "heads": ["layers", None, "model"][seed % 3]}
        inputs = random_inputs(config, architecture, seed, **masks, types=seed % 4 > 0, positions=seed % 2 > 0, embeds=seed == 2)
        inputs |= make_labels(config, architecture, np.random.default_rng(seed), 7)
        for switches in SWITCHES[: 1 + (seed < 1)]:
            assert distance(outputs(model, inputs, **switches), outputs(folded, inputs, **switches)) <= 1e-12, (name, switches)
        assert isinstance(folded, type(model)) and folded.config == model.config and not folded.trainable_variables


def test_float32_is_no_further_from_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "is_eager", lambda tensors: False)
    apart = {"unfolded": 0.0, "folded": 0.0}
    for architecture in list(ARCHITECTURES)[:3]:
        exact, model = make_model(architecture, "float64"), make_model(architecture)
        inputs = random_inputs(model.config, architecture, 0)
        expected = outputs(exact, inputs)
        for name, found in (("unfolded", model), ("folded", model.fold())):
            apart[name] += distance(expected, {key: array.astype(np.float64) for key, array in outputs(found, inputs).items()})
    assert 0 < apart["folded"] <= 2 * apart["unfolded"]


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_bfloat16"])
def test_another_dtype(dtype: str) -> None:
    model = make_model()
    folded = model.fold(dtype=dtype)
    expected, found = model(IDS).logits, folded(IDS).logits
    assert found.dtype == "bfloat16" and folded.dtype_policy.name == dtype
    assert np.linalg.norm(np.float32(found) - expected) < 0.05 * np.linalg.norm(expected)


@pytest.mark.parametrize("architecture", [CLASSIFIER, "MobileBertForTokenClassification", "MobileBertModel"])
def test_the_last_layer_works_only_for_the_first_token_where_nothing_else_is_read(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "is_eager", lambda tensors: False)
    rows: list[int] = []
    folded = make_model(architecture).fold()
    last = (folded if architecture == "MobileBertModel" else folded.mobilebert).encoder.layer[-1]
    original = last.output_.call
    last.output_.call = lambda y, z: rows.append(y.shape[0]) or original(y, z)
    folded(IDS)
    assert rows == [3 if architecture == CLASSIFIER else 21]


def test_every_way_to_call_a_model(tmp_path: Path) -> None:
    model = make_model()
    folded = model.fold()
    batch = {"input_ids": IDS, "attention_mask": MASK}
    expected = model(batch).logits
    functional_inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in batch}
    functional = keras.Model(functional_inputs, folded(functional_inputs).logits)
    folded.export(str(tmp_path / "exported"), verbose=False)
    reloaded = tf.saved_model.load(str(tmp_path / "exported"))
    served = reloaded.serve({name: tf.constant(array, tf.int32) for name, array in batch.items()})
    found = {
        "a mapping": folded(batch).logits,
        "keywords": folded(input_ids=IDS, attention_mask=MASK).logits,
        "positions": folded(tf.constant(IDS), tf.constant(MASK)).logits,
        "a tuple": folded(batch, return_dict=False)[0],
        "a list of lists": folded(IDS.tolist(), MASK.tolist()).logits,
        "predict": folded.predict(batch, verbose=0)["logits"],
        "infer": next(iter(infer(folded, [batch])))["logits"],
        "tf.function": tf.function(lambda: folded(batch).logits)(),
        "functional": functional(batch),
        "SavedModel": served["logits"],
        "another length": np.concatenate([folded(IDS[:2, :5], MASK[:2, :5]).logits, expected[2:]]),
    }
    for name, logits in found.items():
        reference = np.concatenate([model(IDS[:2, :5], MASK[:2, :5]).logits, expected[2:]]) if name == "another length" else expected
        np.testing.assert_allclose(logits, reference, rtol=1e-5, atol=1e-6, err_msg=name)


def test_ids_outside_a_table_are_refused_as_before() -> None:
    folded = make_model().fold()
    for call in (lambda: folded(IDS + 30), lambda: folded(IDS, token_type_ids=IDS)):
        with pytest.raises(InputError, match=r"_ids must be from 0 to"):
            call()
    with pytest.raises(InputError, match="unknown input"):
        folded({"input_ids": IDS, "mask": MASK})


def test_scored_positions_and_a_loss() -> None:
    model = make_model("MobileBertForMaskedLM")
    places, labels = [[1, 2], [0, 6], [3, 3]], np.array([[1, 2], [3, -100], [5, 6]])
    expected, found = (each(IDS, masked_lm_positions=places, labels=labels) for each in (model, model.fold()))
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-5)


@pytest.mark.parametrize("architecture", ["MobileBertModel", CLASSIFIER])
def test_a_folded_model_is_only_for_inference(architecture: str, tmp_path: Path) -> None:
    model = make_model(architecture)
    folded = model.fold()
    refused = {
        "train": lambda: folded(IDS, training=True),
        "unfreeze": lambda: setattr(folded, "trainable", True),
        "compile": lambda: folded.compile("adam"),
        "fit": lambda: folded.fit(IDS, IDS),
        "save": lambda: folded.save_pretrained(tmp_path / "saved"),
        "save in Keras": lambda: folded.save(tmp_path / "saved.keras"),
        "save weights": lambda: folded.save_weights(tmp_path / "saved.weights.h5"),
        "load weights": lambda: folded.load_weights(tmp_path / "saved.weights.h5"),
        "resize": lambda: folded.resize_token_embeddings(50),
        "replace": lambda: folded.set_input_embeddings(np.zeros((40, 8))),
        "checkpoint": lambda: folded.gradient_checkpointing_enable(),
        "fold": lambda: folded.fold(),
        "open": lambda: type(folded).from_pretrained(tmp_path),
        "copy": lambda: copy.deepcopy(folded),
        "pickle": lambda: pickle.dumps(folded),
    }
    for name, call in refused.items():
        with pytest.raises(ConfigError, match="for inference only: train, change or save the model that it was folded from"):
            call()
            pytest.fail(name)
    assert not any(tmp_path.iterdir()) and model.trainable_variables


def test_options_that_are_not_supported() -> None:
    with pytest.raises(ConfigError, match="quantize must be None, not 'int8': TensorFlow has no fast int8 products"):
        make_model().fold(quantize="int8")
    with pytest.raises(ValueError, match="dtype"):
        make_model().fold(dtype="int32")


@keras.saving.register_keras_serializable(package="test_inference")
class Mean(TFMobileBertPreTrainedModel):
    """A head of the user's own, which reads the last hidden state."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.mobilebert = TFMobileBertModel(config, add_pooling_layer=False, name="mobilebert")
        self.classifier = keras.layers.Dense(3)
        self.factor = self.add_weight((3,), initializer=keras.initializers.Constant(2.0), name="factor")

    def call(self, input_ids: Any, training: bool | None = None) -> Any:
        x = self.mobilebert(input_ids, training=training).last_hidden_state
        return self.classifier(keras.ops.mean(x, axis=1)) * self.factor


class Another(TFMobileBertForSequenceClassification):
    """A call of the user's own on top of one of our heads."""

    def call(self, input_ids: Any, training: bool | None = None) -> Any:
        return self.classifier(self.mobilebert(input_ids, training=training).last_hidden_state[:, 3])


@pytest.mark.parametrize("cls", [Mean, Another])
def test_a_model_of_the_users_own_gets_a_folded_base_model(cls: type) -> None:
    keras.utils.set_random_seed(0)
    model = cls(make_config(initializer_range=0.2))
    for layer in model.mobilebert.encoder.layer:
        layer.output_.bottleneck.LayerNorm.weight.assign(0.7 * np.ones(32))
    if cls is Mean:
        model.factor.assign([3.0, 4.0, 5.0])
    folded = model.fold()
    np.testing.assert_allclose(folded(IDS), model(IDS), rtol=1e-4, atol=1e-5)
    assert isinstance(folded, cls) and not folded.trainable_variables
    sizes = [sum(int(np.prod(variable.shape)) for variable in each.variables) for each in (folded, model)]
    assert sizes[0] < 1.1 * sizes[1], "it still has the layers that were folded"


class OnTheBaseModel(TFMobileBertModel):
    """A base model with a layer of the user's own."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.extra = keras.layers.Dense(3)


class WithAnArgument(TFMobileBertForSequenceClassification):
    """An argument that get_config does not give."""

    def __init__(self, config: MobileBertConfig, width: int = 3, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.extra = keras.layers.Dense(width)

    def call(self, input_ids: Any, training: bool | None = None) -> Any:
        return self.extra(super().call(input_ids, training=training).logits)


def test_layers_that_cannot_be_folded_are_refused() -> None:
    with pytest.raises(ConfigError, match="only layers of this package and of Keras can be folded, not OnTheBaseModel"):
        OnTheBaseModel(make_config()).fold()
    with pytest.raises(ConfigError, match="extra is not the layer that the constructor makes"):
        WithAnArgument(make_config(), 4).fold()
    model = make_model()
    bias = model.mobilebert.encoder.layer[1].intermediate.dense.bias
    bias.assign(bias * np.nan)
    with pytest.raises(ConfigError, match=r"encoder\.layer\.1\.intermediate\.dense\.bias holds NaN"):
        model.fold()

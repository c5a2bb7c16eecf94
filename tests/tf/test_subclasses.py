"""Classes of a user's own on top of ours, with layers that they add in `__init__`: saved and opened in every way there is."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from mobilebert_common.errors import CheckpointError, ConfigError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_pt import MobileBertForSequenceClassification
from mobilebert_tf import (
    TFMobileBertForSequenceClassification,
    TFMobileBertMainLayer,
    TFMobileBertModel,
    TFMobileBertPreTrainedModel,
)
from support.configs import make_config

CONFIG = make_config(num_hidden_layers=1, num_feedforward_networks=1, initializer_range=0.2)
GENERATOR = np.random.default_rng(0)
X = {"input_ids": GENERATOR.integers(0, 40, (4, 7)), "attention_mask": np.tile(np.arange(7) < 5, (4, 1)).astype(np.int64)}
LABELS = np.array([0, 1, 2, 0])


class OnAHead(TFMobileBertForSequenceClassification):
    """Layers on the output of a head; every argument is handed on."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.extra = keras.layers.Dense(config.num_labels)
        self.drop = keras.layers.Dropout(0.1)

    def call(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        return self.drop(self.extra(super().call(*args, training=training, **kwargs).logits), training=training)


class OnTheBaseModel(TFMobileBertModel):
    """Layers in a list, and a scalar variable."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.stack = [keras.layers.Dense(4, activation="relu"), keras.layers.Dense(3)]
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, input_ids: Any, attention_mask: Any = None, training: bool | None = None) -> Any:
        x = super().call(input_ids, attention_mask=attention_mask, training=training).pooler_output
        return self.scale * self.stack[1](self.stack[0](x))


class AroundTheMainLayer(TFMobileBertPreTrainedModel):
    """As transformers' own TF classes are written."""

    def __init__(self, config: MobileBertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.mobilebert = TFMobileBertMainLayer(config, name="mobilebert")
        self.lstm = keras.layers.Bidirectional(keras.layers.LSTM(4))
        self.classifier = keras.layers.Dense(config.num_labels, name="classifier")

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.classifier(self.lstm(self.mobilebert(inputs, training=training).last_hidden_state))


class WithoutKeywords(TFMobileBertPreTrainedModel):
    """An `__init__` that takes neither a name nor a dtype, and a base model by another name."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__(config)
        self.bert = TFMobileBertModel(config)
        self.top = keras.Sequential([keras.layers.Dense(5, "relu"), keras.layers.Dense(3)])

    def call(self, input_ids: Any, attention_mask: Any = None, token_type_ids: Any = None, training: Any = False) -> Any:
        return self.top(self.bert(input_ids, attention_mask, token_type_ids, training=training).pooler_output)


class InPlaceOfOurs(TFMobileBertForSequenceClassification):
    """A layer in the place of ours."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.classifier = keras.layers.Dense(config.num_labels)


class WithABuild(OnAHead):
    """A `build` that builds what it adds, as transformers' TF classes do."""

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        if not self.extra.built:
            self.extra.build((None, self.config.num_labels))


class OfOneLength(TFMobileBertModel):
    """A layer whose shape only a call can tell."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.flat = keras.layers.Flatten()
        self.extra = keras.layers.Dense(3)

    def call(self, input_ids: Any, attention_mask: Any = None, training: Any = None) -> Any:
        return self.extra(self.flat(super().call(input_ids, attention_mask, training=training).last_hidden_state))


CLASSES = [OnAHead, OnTheBaseModel, AroundTheMainLayer, WithoutKeywords, InPlaceOfOurs, WithABuild]
each = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
OBJECTS = {cls.__name__: cls for cls in (*CLASSES, OfOneLength)}


def scores(model: Any) -> np.ndarray:
    found = model(X)
    return keras.ops.convert_to_numpy(found["logits"] if hasattr(found, "logits") else found)


@each
def test_saved_and_opened_in_every_way(cls: Any, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    model = cls(CONFIG)
    count, expected = len(model.weights), scores(model)
    assert len(model.weights) == count  # the call has built nothing
    model.save(tmp_path / "model.keras")
    opened = {"keras": keras.saving.load_model(tmp_path / "model.keras", custom_objects=OBJECTS)}
    model.save_weights(tmp_path / "model.weights.h5")
    opened["weights"] = cls(CONFIG)
    opened["weights"].load_weights(tmp_path / "model.weights.h5")
    model.save(tmp_path / "model.h5")
    opened["h5"] = keras.saving.load_model(tmp_path / "model.h5", custom_objects=OBJECTS)
    model.save_pretrained(tmp_path / "folder")
    opened["folder"], info = cls.from_pretrained(tmp_path / "folder", output_loading_info=True)
    assert not any(info.values())
    for way, other in opened.items():
        np.testing.assert_array_equal(scores(other), expected, err_msg=way)
    other = cls.from_pretrained(tmp_path / "folder", dtype="float64")
    assert {variable.dtype for variable in other.weights} == {"float64"}


@each
def test_training_reaches_the_own_layers(cls: Any) -> None:
    model = cls(CONFIG)
    before = {name: np.array(variable) for name, (variable, _) in model.canonical_variables().items()}
    model.compile("sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, LABELS, verbose=0)
    changed = {name for name, (variable, _) in model.canonical_variables().items() if (np.array(variable) != before[name]).any()}
    assert {name for name in before if "mobilebert" not in name} <= changed | {"scale"}
    assert any("word_embeddings" in name for name in changed)


def test_names_of_the_own_layers() -> None:
    own = [name for name in AroundTheMainLayer(CONFIG).canonical_variables() if not name.startswith("mobilebert.")]
    cells = ("kernel", "recurrent_kernel", "bias")
    assert own == [*(f"lstm.{name}" for name in cells), *(f"lstm.{name}_1" for name in cells), "classifier.kernel", "classifier.bias"]
    own = [name for name in OnTheBaseModel(CONFIG).canonical_variables() if not name.startswith("mobilebert.")]
    assert own == ["stack.0.kernel", "stack.0.bias", "stack.1.kernel", "stack.1.bias", "scale"]


def test_what_a_first_call_must_build(tmp_path: Path) -> None:
    model = OfOneLength(CONFIG)
    for save in (model.save_pretrained, lambda path: model.save(f"{path}.keras"), lambda path: model.save_weights(f"{path}.weights.h5")):
        with pytest.raises(ConfigError, match="extra of this OfOneLength has no weights yet"):
            save(tmp_path / "before")
    expected = scores(model)
    model.save(tmp_path / "after.keras")
    other = keras.saving.load_model(tmp_path / "after.keras", custom_objects=OBJECTS)
    np.testing.assert_array_equal(scores(other), expected)
    model.save_weights(tmp_path / "after.weights.h5")
    other = OfOneLength(CONFIG)
    with pytest.raises(Exception, match="no weights yet"):
        other.load_weights(tmp_path / "after.weights.h5")
    other(X)
    other.load_weights(tmp_path / "after.weights.h5")
    np.testing.assert_array_equal(scores(other), expected)


def test_own_layers_start_fresh_from_a_plain_checkpoint_and_do_not_cross(tmp_path: Path) -> None:
    TFMobileBertForSequenceClassification(CONFIG).save_pretrained(tmp_path / "plain")
    model, info = OnAHead.from_pretrained(tmp_path / "plain", output_loading_info=True)
    assert info["missing_keys"] == ["extra.kernel", "extra.bias"]
    model.save_pretrained(tmp_path / "own")
    for cls in (MobileBertForSequenceClassification, TFMobileBertForSequenceClassification):
        with pytest.raises(CheckpointError, match=r"extra\.kernel is unexpected"):
            cls.from_pretrained(tmp_path / "own")


def test_a_layer_that_does_not_fit_the_place_it_takes(tmp_path: Path) -> None:
    class Wider(TFMobileBertForSequenceClassification):
        def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
            super().__init__(config, **kwargs)
            self.classifier = keras.layers.Dense(5)

    with pytest.raises(ConfigError, match=r"classifier.weight must be \[3, 32\] by the configuration"):
        Wider(CONFIG).save_pretrained(tmp_path)


def test_own_layers_have_the_models_dtype() -> None:
    for dtype in ("bfloat16", "mixed_bfloat16", "float64"):
        assert OnAHead(CONFIG, dtype=dtype).extra.dtype_policy == keras.DTypePolicy(dtype)
        assert WithoutKeywords(CONFIG, dtype=dtype).top.layers[0].dtype_policy == keras.DTypePolicy(dtype)
    assert keras.config.dtype_policy() == keras.DTypePolicy("float32")


def test_dropout_is_a_layer() -> None:
    model, x = TFMobileBertForSequenceClassification(CONFIG.replace(classifier_dropout=0.5)), np.ones((50, 50), np.float32)
    assert isinstance(model.dropout, keras.layers.Dropout) and model.dropout.rate == 0.5
    assert 0.4 < (np.array(model.dropout(x, training=True)) == 0).mean() < 0.6
    np.testing.assert_array_equal(model.dropout(x, training=False), x)
    np.testing.assert_array_equal(model.dropout(x), x)

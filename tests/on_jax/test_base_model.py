"""The Keras twin's base model on the JAX backend: the same numbers as PyTorch, and what Keras users do with it."""

from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np
import pytest
import torch

from mobilebert_common.errors import InputError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.layout import from_layout
from mobilebert_common.model.outputs import flat
from mobilebert_pt import MobileBertModel
from mobilebert_tf import TFMobileBertModel
from support import configs

CONFIGS = {name: configs.CONFIGS[name] for name in ("mobilebert", "tiny", "teacher", "mini")}
SIZES = configs.SIZES | {"initializer_range": 0.2}
# Keras on JAX computes tanh and the statistics of LayerNorm in float32 whatever the dtype; without them it is exact
TOLERANCE = {"mobilebert": (1e-12, 1e-12)} | dict.fromkeys(("tiny", "teacher", "mini"), (1e-6, 1e-5))  # outputs, gradients
GENERATOR = np.random.default_rng(0)
X = {
    "input_ids": GENERATOR.integers(0, 40, (12, 7)),
    "attention_mask": (np.arange(7) < GENERATOR.integers(3, 8, (12, 1))).astype(np.int64),
    "token_type_ids": GENERATOR.integers(0, 2, (12, 7)),
}
Y = GENERATOR.normal(size=(12, 32)).astype(np.float32)


def make_model(dtype: str = "float32", **changes: Any) -> TFMobileBertModel:
    keras.utils.set_random_seed(0)
    return TFMobileBertModel(MobileBertConfig(**SIZES | changes), dtype=dtype)


def arrays(output: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(keras.ops.convert_to_numpy(value), np.float64) for name, value in flat(output).items()}


def assert_same(ours: Any, theirs: Any, tolerance: float) -> None:
    first, second = arrays(ours), arrays(theirs)
    assert list(first) == list(second)
    for name, array in first.items():
        assert np.linalg.norm(second[name] - array) <= tolerance * np.linalg.norm(array), name


def test_this_is_jax() -> None:
    assert keras.backend.backend() == "jax"


@pytest.mark.parametrize("name", CONFIGS)
def test_outputs_and_gradients_equal_those_of_pytorch(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    pytorch = MobileBertModel(MobileBertConfig(**SIZES | CONFIGS[name])).double().eval()
    pytorch.save_pretrained(tmp_path)
    model = TFMobileBertModel.from_pretrained(tmp_path, dtype="float64")
    switches = {"output_hidden_states": True, "output_attentions": True}
    theirs = pytorch(**{name: torch.tensor(value) for name, value in X.items()}, **switches)
    for output in (model(X, **switches), jax.jit(lambda x: model(x, **switches))(X)):
        found = arrays(output)
        for key, tensor in flat(theirs).items():
            reference = tensor.detach().numpy()
            assert np.linalg.norm(found[key] - reference) <= TOLERANCE[name][0] * np.linalg.norm(reference), key
    theirs.pooler_output.square().sum().backward()
    variables = model.canonical_variables()
    trained = [variable for variable, _ in variables.values()]

    def loss(values: list[Any]) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(trained, values, strict=True))):
            return keras.ops.sum(keras.ops.square(model(X).pooler_output))

    gradients = jax.grad(loss)([variable.value for variable in trained])
    total = np.sqrt(sum(float((p.grad**2).sum()) for p in pytorch.parameters() if p.grad is not None))
    for (key, (_, layout)), gradient in zip(variables.items(), gradients, strict=True):
        expected = pytorch.get_parameter(key).grad
        reference = np.zeros(1) if expected is None else expected.numpy()
        apart = np.linalg.norm(from_layout(np.asarray(gradient), layout) - reference)
        assert apart <= TOLERANCE[name][1] * max(float(np.linalg.norm(reference)), 1e-3 * total), key


def pooled() -> keras.Model:
    """A small model of the user's on the base model, which has no loss of its own; XLA takes seconds to compile a layer's networks."""
    ids, mask = (keras.Input((None,), dtype="int32", name=name) for name in ("input_ids", "attention_mask"))
    output = make_model(num_hidden_layers=1, num_feedforward_networks=1)({"input_ids": ids, "attention_mask": mask}).pooler_output
    return keras.Model([ids, mask], output)


@pytest.mark.parametrize("jit", [False, True])
def test_fit_evaluate_and_predict(jit: bool) -> None:
    model = pooled()
    model.compile(keras.optimizers.Adam(1e-3), loss="mse", jit_compile=jit)
    x = [X["input_ids"], X["attention_mask"]]
    size = 5 if jit else 6  # without jit, JAX compiles each operation for each shape: a smaller last batch doubles the time
    before = model.evaluate(x, Y, batch_size=size, verbose=0)
    model.fit(x, Y, batch_size=size, epochs=5, verbose=0)
    assert model.evaluate(x, Y, batch_size=size, verbose=0) < before
    np.testing.assert_allclose(model.predict(x, batch_size=size, verbose=0), model(x), atol=1e-5)


def test_predict_of_the_model_itself() -> None:
    model = make_model(output_hidden_states=True)
    assert_same(model(X), model.predict(X, batch_size=5, verbose=0), 1e-5)


def test_keras_file(tmp_path: Path) -> None:
    model = make_model()
    model.save(tmp_path / "model.keras")
    assert_same(model(X), keras.saving.load_model(tmp_path / "model.keras")(X), 0.0)


def test_mixed_precision() -> None:
    model = make_model("mixed_bfloat16")
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    other = make_model()
    assert_same(other(X), model(X), 0.1)


def test_bad_ids() -> None:
    bad = X["input_ids"].copy()
    bad[3, 2] = 40
    with pytest.raises(InputError, match="input_ids must be from 0 to 39; found 40"):
        make_model()(bad)
    model = make_model()
    found = np.asarray(jax.jit(lambda ids: model(ids).last_hidden_state)(bad))
    assert np.isnan(found[3]).any() and np.isfinite(np.delete(found, 3, axis=0)).all()


def test_checkpointed_layers_with_dropout_train() -> None:
    model = pooled()
    next(layer for layer in model.layers if isinstance(layer, TFMobileBertModel)).activation_checkpointing_enable()
    model.compile(keras.optimizers.Adam(1e-3), loss="mse")
    x = [X["input_ids"], X["attention_mask"]]
    assert np.isfinite(model.fit(x, Y, verbose=0).history["loss"][0])


@pytest.mark.parametrize("norm", ["no_norm", "layer_norm"])
def test_fold(norm: str) -> None:
    """Called as it is, and compiled by JAX."""
    model = make_model(normalization_type=norm)
    folded = model.fold()
    assert_same(model(X), folded(X), 1e-5)
    assert_same(model(X), jax.jit(lambda x: folded(x))(X), 1e-5)

"""Every head as a Keras user meets it: fit, evaluate, predict, files, graphs, exports, precision."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilebert_common.errors import InputError
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import flat
from mobilebert_tf import heads

CONFIG = MobileBertConfig(
    vocab_size=40,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=4,
    intermediate_size=24,
    intra_bottleneck_size=16,
    embedding_size=8,
    max_position_embeddings=12,
    num_feedforward_networks=1,
    num_labels=3,
    initializer_range=0.2,
    attention_probs_dropout_prob=0.0,
)
LEARNERS = [head for head in ARCHITECTURES if ARCHITECTURES[head].labels]
PRE_TRAINING, ANSWERS = "MobileBertForPreTraining", "MobileBertForQuestionAnswering"
CHOICES = "MobileBertForMultipleChoice"
ROWS, LENGTH = 12, 7


def make_model(head: str, dtype: str = "float32", **changes: Any) -> Any:
    keras.utils.set_random_seed(0)
    return getattr(heads, f"TF{head}")(CONFIG.replace(**changes), dtype=dtype)


def make_inputs(head: str) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    shape = (ROWS, 2, LENGTH) if head == CHOICES else (ROWS, LENGTH)
    return {
        "input_ids": generator.integers(0, 40, shape),
        "attention_mask": (np.arange(LENGTH) < generator.integers(3, 8, (*shape[:-1], 1))).astype(np.int64),
    }


def make_labels(head: str) -> dict[str, np.ndarray]:
    """Labels of every head; one of each is ignored."""
    generator = np.random.default_rng(1)
    sizes = {"v": 40, "2": 2, "n": 3, "c": 2, "": LENGTH}
    labels = {
        name: generator.integers(0, sizes[label.classes], (ROWS, LENGTH)[: len(label.shape.split())])
        for name, label in ARCHITECTURES[head].labels.items()
    }
    for array in labels.values():
        array[3] = -100
    return labels


def as_y(labels: dict[str, np.ndarray]) -> Any:
    return next(iter(labels.values())) if len(labels) == 1 else labels


def compiled(model: Any, **options: Any) -> Any:
    model.compile(keras.optimizers.SGD(0.05), **options)
    return model


def arrays(output: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(keras.ops.convert_to_numpy(value), np.float64) for name, value in flat(output).items()}


def assert_same(ours: Any, theirs: Any, tolerance: float) -> None:
    first, second = arrays(ours), arrays(theirs)
    assert list(first) == list(second)
    for name, array in first.items():
        np.testing.assert_allclose(second[name], array, atol=tolerance, rtol=tolerance)


FORMS: dict[str, Any] = {
    "x and y": lambda x, labels: (x, as_y(labels)),
    "labels in x": lambda x, labels: ({**x, **labels}, None),
}


# both forms with the heads that have two labels or one, and the common one with all
CASES = [(head, form) for form in FORMS for head in LEARNERS if head in (ANSWERS, CHOICES) or form == "x and y"]


@pytest.mark.parametrize(("head", "form"), CASES)
def test_fit_evaluate_and_predict_over_several_batches(head: str, form: str) -> None:
    x, labels = make_inputs(head), make_labels(head)
    model = compiled(make_model(head))
    expected = model({**x, **labels})
    whole = model.evaluate(x, as_y(labels), batch_size=ROWS, verbose=0)
    assert whole == pytest.approx(float(expected.loss), rel=1e-5)
    data, y = FORMS[form](x, labels)
    batches = tf.data.Dataset.from_tensor_slices(data if y is None else (data, y)).batch(5)
    for given, sizes in (((data, y), {"batch_size": 5}), ((batches,), {})):  # one trace for both
        losses = model.fit(*given, epochs=10, verbose=0, **sizes).history["loss"]
        assert losses[-1] < losses[0]
        assert np.isfinite(model.evaluate(*given, verbose=0, **sizes))
        assert_same(model(x), model.predict(given[0], verbose=0, **sizes), 1e-5)


@pytest.mark.parametrize("head", ARCHITECTURES)
def test_keras_file(head: str, tmp_path: Path) -> None:
    model = make_model(head, tie_word_embeddings=False)
    model.save(tmp_path / "model.keras")
    assert_same(model(make_inputs(head)), keras.saving.load_model(tmp_path / "model.keras")(make_inputs(head)), 0.0)


@pytest.mark.parametrize("head", ARCHITECTURES)
def test_graph_and_xla(head: str) -> None:
    model, x = make_model(head), {name: tf.constant(value) for name, value in make_inputs(head).items()}
    for jit in (False, True):
        assert_same(model(x), tf.function(lambda x: model(x), jit_compile=jit)(x), 1e-4)


@pytest.mark.parametrize("head", ARCHITECTURES)
def test_bad_ids_in_graphs(head: str) -> None:
    """An assertion in a graph; under XLA, which has none, NaN for the example of the bad id and no other."""
    model, inputs = make_model(head), make_inputs(head)
    inputs["input_ids"][3, ..., 2] = 40
    inputs["attention_mask"][:] = 1
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match="input_ids must be from 0 to 39"):
        tf.function(lambda x: model(x))(tensors)
    for name, array in arrays(tf.function(lambda x: model(x), jit_compile=True)(tensors)).items():
        assert np.isnan(array[3]).any(), name
        assert np.isfinite(np.delete(array, 3, axis=0)).all(), name


@pytest.mark.parametrize("head", ARCHITECTURES)
def test_saved_model(head: str, tmp_path: Path) -> None:
    """Batch and length stay free in what is exported."""
    model, x = make_model(head), make_inputs(head)
    free = [None, 2, None] if head == CHOICES else [None, None]
    signature = {name: tf.TensorSpec(free, tf.int32, name=name) for name in x}
    model.export(tmp_path, input_signature=[signature], verbose=False)
    loaded = tf.saved_model.load(tmp_path)
    served = loaded.serve({name: tf.constant(value[:4, ..., :5], tf.int32) for name, value in x.items()})
    expected = model({name: value[:4, ..., :5] for name, value in x.items()})
    assert set(served) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(served[name], value, atol=1e-4)


@pytest.mark.parametrize("head", LEARNERS)
def test_mixed_precision(head: str) -> None:
    model, x, labels = compiled(make_model(head, "mixed_bfloat16")), make_inputs(head), make_labels(head)
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    other = make_model(head)
    assert_same(other({**x, **labels}), model({**x, **labels}), 0.15)
    assert np.isfinite(model.fit(x, as_y(labels), verbose=0).history["loss"][0])


@pytest.mark.parametrize("head", LEARNERS)
def test_jit_trains_as_the_graph_does(head: str) -> None:
    x, labels = make_inputs(head), make_labels(head)
    losses = [
        compiled(make_model(head), jit_compile=jit)
        .fit(x, as_y(labels), batch_size=6, epochs=2, shuffle=False, verbose=0)
        .history["loss"]
        for jit in (False, True)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_positions_may_be_lists() -> None:
    model, x = make_model("MobileBertForMaskedLM"), make_inputs("MobileBertForMaskedLM")
    positions = [[row % LENGTH, 1] for row in range(ROWS)]
    assert_same(model(x, masked_lm_positions=positions), model(x, masked_lm_positions=np.array(positions)), 0.0)


@pytest.mark.parametrize("head", LEARNERS)
def test_weights_of_examples(head: str) -> None:
    """The weights multiply each example's losses; the sum is divided by the number of labels that count."""
    x, labels = make_inputs(head), make_labels(head)
    model, weights = compiled(make_model(head)), np.linspace(0.0, 2.0, ROWS).astype(np.float32)
    scores, given = model(x), {name: keras.ops.convert_to_tensor(label) for name, label in labels.items()}
    expected = 0.0
    for losses, counted in model.label_losses(scores, given):
        losses, counted = (np.asarray(keras.ops.convert_to_numpy(values)) for values in (losses, counted))
        expected += (losses * counted * weights.reshape(-1, *[1] * (losses.ndim - 1))).sum() / counted.sum()
    found = model.evaluate(x, as_y(labels), sample_weight=weights, batch_size=ROWS, verbose=0)
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_tuple_of_labels_is_in_the_order_of_the_table() -> None:
    x, labels = make_inputs(ANSWERS), make_labels(ANSWERS)
    model = compiled(make_model(ANSWERS))
    pair = (labels["start_positions"], labels["end_positions"])
    assert model.evaluate(x, pair, verbose=0) == pytest.approx(model.evaluate(x, labels, verbose=0))
    with pytest.raises(InputError, match="give all of start_positions, end_positions"):
        model.evaluate(x, {"start_positions": pair[0]}, verbose=0)


def test_the_other_name_of_the_next_sentence_label() -> None:
    head = "MobileBertForNextSentencePrediction"
    x, labels = make_inputs(head), make_labels(head)
    model = compiled(make_model(head))
    expected = model.evaluate(x, labels["labels"], verbose=0)
    assert model.evaluate({**x, "next_sentence_label": labels["labels"]}, verbose=0) == pytest.approx(expected)


def test_metrics_and_losses_of_the_users() -> None:
    x, labels = make_inputs(ANSWERS), {name: np.abs(label) % LENGTH for name, label in make_labels(ANSWERS).items()}
    own = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    losses = {"start_logits": own, "end_logits": own}
    model = compiled(make_model(ANSWERS), loss=losses, metrics={"start_logits": ["accuracy"], "end_logits": ["accuracy"]})
    found = model.evaluate(x, labels, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(2 * compiled(make_model(ANSWERS)).evaluate(x, labels, verbose=0), rel=1e-5)
    hits = model(x).start_logits.numpy().argmax(-1) == labels["start_positions"]
    assert found["start_logits_accuracy"] == pytest.approx(hits.mean())


def test_labels_are_checked_before_the_first_step() -> None:
    for head, label in ((PRE_TRAINING, "next_sentence_label"), ("MobileBertForMaskedLM", "labels"), (CHOICES, "labels")):
        x, labels = make_inputs(head), make_labels(head)
        labels[label] = labels[label] + 41
        model = compiled(make_model(head))
        before = model.get_weights()
        with pytest.raises(InputError, match=rf"^{label} must be from 0 to \d+ .* found"):
            model.fit(x, labels, batch_size=4, verbose=0)
        assert all((ours == theirs).all() for ours, theirs in zip(before, model.get_weights(), strict=True))


def test_fit_resize_compile_fit() -> None:
    head = "MobileBertForMaskedLM"
    x, labels = make_inputs(head), make_labels(head)
    model = compiled(make_model(head, tie_word_embeddings=False))
    model.fit(x, labels["labels"], verbose=0)
    model.resize_token_embeddings(50)
    predictions = model.get_output_embeddings()
    before = [keras.ops.convert_to_numpy(variable) for variable in (predictions.bias, predictions.dense.kernel)]
    compiled(model).fit(x, np.full((ROWS, LENGTH), 49), verbose=0)
    assert keras.ops.convert_to_numpy(predictions.bias)[49] != before[0][49]
    assert (keras.ops.convert_to_numpy(predictions.dense.kernel)[:, 49] != before[1][:, 49]).all()
    assert len(model.trainable_variables) == len({variable.path for variable in model.trainable_variables})

"""How users of transformers' TF classes and of Keras call a model, feed it, export it and compute a loss with it."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilebert_common.errors import InputError
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_tf import (
    TFMobileBertForMaskedLM,
    TFMobileBertForSequenceClassification,
    TFMobileBertMainLayer,
    TFMobileBertModel,
    heads,
)
from support.configs import make_config

CONFIG = make_config(num_hidden_layers=1, num_feedforward_networks=1, initializer_range=0.2)
GENERATOR = np.random.default_rng(0)
IDS, TYPES = GENERATOR.integers(0, 40, (6, 7)), GENERATOR.integers(0, 2, (6, 7))
MASK = (np.arange(7) < GENERATOR.integers(3, 8, (6, 1))).astype(np.int64)
LABELS = np.arange(6) % 3
X = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": TYPES}
SEVERAL = [IDS, MASK, TYPES]  # in the order of call
ANSWERS = "MobileBertForQuestionAnswering"


def make_model(head: str = "MobileBertForSequenceClassification", **changes: Any) -> Any:
    keras.utils.set_random_seed(0)
    return getattr(heads, f"TF{head}")(CONFIG.replace(**changes))


def test_a_list_or_a_tuple_is_the_inputs_in_order(tmp_path: Path) -> None:
    model = make_model()
    expected = model(X).logits
    for several in (SEVERAL, tuple(SEVERAL), [tf.constant(each) for each in SEVERAL]):
        np.testing.assert_array_equal(model(several).logits, expected)
    np.testing.assert_array_equal(model([IDS, None, TYPES]).logits, model(IDS, token_type_ids=TYPES).logits)
    np.testing.assert_array_equal(model([IDS.tolist()[0]]).logits, model(IDS[:1]).logits)  # rows of one
    np.testing.assert_allclose(model.predict(SEVERAL, verbose=0).logits, expected, atol=1e-6)
    with pytest.raises(InputError, match="attention_mask given twice"):
        model([IDS, MASK], attention_mask=MASK)
    with pytest.raises(InputError, match=r"20 inputs; .* takes input_ids, attention_mask"):
        model([IDS] * 20)


def test_every_form_of_data_trains_alike() -> None:
    def batches() -> Iterator[Any]:
        yield tuple(SEVERAL), LABELS

    data: list[Any] = [
        (X, LABELS),
        (SEVERAL, LABELS),
        (tuple(SEVERAL), LABELS),
        (tf.data.Dataset.from_tensors((tuple(SEVERAL), LABELS)), None),
        (batches(), None),
    ]
    losses = []
    for x, y in data:
        model = make_model()
        model.compile("sgd")
        losses.append(model.fit(x, y, verbose=0).history["loss"][0])
    assert losses == pytest.approx([losses[0]] * len(data), rel=1e-5)


def test_a_functional_model_on_a_list_of_inputs(tmp_path: Path) -> None:
    inputs = [keras.Input((None,), dtype="int32", name=name) for name in X]
    model = keras.Model(inputs, keras.layers.Dense(2)(make_model()(inputs).logits))
    model.compile("sgd", loss="mse")
    model.fit(SEVERAL, np.ones((6, 2)), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(SEVERAL, verbose=0), model.predict(SEVERAL, verbose=0))


def test_the_main_layer() -> None:
    model = TFMobileBertModel(CONFIG)
    assert model.mobilebert is model and TFMobileBertMainLayer is TFMobileBertModel
    assert TFMobileBertMainLayer(CONFIG, add_pooling_layer=False, name="mobilebert")(IDS).pooler_output is None
    with pytest.raises(AttributeError, match="no attribute 'bert'"):
        _ = model.bert


def test_losses_and_metrics_by_the_names_of_outputs() -> None:
    entropy, zero = keras.losses.SparseCategoricalCrossentropy(from_logits=True), lambda y_true, y_pred: keras.ops.mean(y_pred) * 0
    model = make_model(ANSWERS)
    pair, names = (LABELS, LABELS + 1), ("start_logits", "end_logits")

    def evaluate(loss: Any, y: Any) -> float:
        model.compile("sgd", loss=loss, metrics={name: ["accuracy"] for name in names}, run_eagerly=True)
        return model.evaluate(IDS, y, verbose=0, return_dict=True)["loss"]

    start, end = evaluate([entropy, zero], pair), evaluate([zero, entropy], pair)
    assert start != pytest.approx(end)
    for y in (pair, dict(zip(names, pair, strict=True)), dict(zip(("start_positions", "end_positions"), pair, strict=True))):
        assert evaluate({"start_logits": entropy, "end_logits": zero}, y) == pytest.approx(start)
        assert evaluate(entropy, y) == pytest.approx(start + end)
    model = make_model()
    model.compile("sgd", loss={"logits": entropy}, metrics={"logits": ["accuracy"]}, run_eagerly=True)
    expected = float(model(IDS, labels=LABELS).loss)
    for y in (LABELS, {"logits": LABELS}, {"labels": LABELS}):
        assert model.evaluate(IDS, y, verbose=0, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-5)


LOSSES = {"MobileBertForSequenceClassification": (6,), ANSWERS: (6,), "MobileBertForTokenClassification": (1,)}


@pytest.mark.parametrize("head", LOSSES)
def test_losses_of_transformers_tf_classes(head: str) -> None:
    model = make_model(head)
    labels = {name: IDS % 3 if label.shape == "b t" else LABELS for name, label in ARCHITECTURES[head].labels.items()}
    output = model(IDS, **labels)
    scores = tuple(output[label.scores] for label in ARCHITECTURES[head].labels.values())
    given = {name.removesuffix("s"): label for name, label in labels.items()} if len(labels) > 1 else labels["labels"]
    losses = model.hf_compute_loss(given, scores if len(scores) > 1 else scores[0])
    assert losses.shape == LOSSES[head] and output.loss.shape == ()
    assert np.mean(losses) == pytest.approx(float(output.loss), rel=1e-5)


def test_unknown_columns_are_left_out_of_data_sets_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    rows = {**X, "labels": LABELS, "idx": LABELS, "text": np.array(["a"] * 6)}
    data, known = (tf.data.Dataset.from_tensor_slices(each).batch(3) for each in (rows, {**X, "labels": LABELS}))
    model, other = make_model(), make_model()
    for each in (model, other):
        each.compile("sgd")
    with caplog.at_level(logging.WARNING, logger="mobilebert_tf"):
        losses = [model.fit(data, verbose=0, shuffle=False).history["loss"], model.evaluate(data, verbose=0)]
        model.predict(data, verbose=0)
    assert [record.getMessage() for record in caplog.records] == [
        "TFMobileBertForSequenceClassification does not take idx, text: these columns are left out"
    ]
    assert losses == [other.fit(known, verbose=0, shuffle=False).history["loss"], other.evaluate(known, verbose=0)]
    for call in (model, lambda x: model.predict(x, verbose=0)):
        with pytest.raises(InputError, match="unknown input idx"):
            call({**X, "idx": LABELS})


class Padding:
    """As much of a tokenizer as a data set needs."""

    def pad(self, rows: list[dict[str, Any]], return_tensors: str) -> dict[str, np.ndarray]:
        longest = max(len(row["input_ids"]) for row in rows)
        tokens = ("input_ids", "attention_mask")
        found = {name: np.array([[*row[name]] + [0] * (longest - len(row[name])) for row in rows]) for name in tokens}
        return {**found, "labels": np.array([row["labels"] for row in rows])}


def test_prepare_tf_dataset() -> None:
    lengths = MASK.sum(axis=1)
    rows = [
        {"input_ids": ids[:n].tolist(), "attention_mask": [1] * int(n), "label": int(label), "text": "a"}
        for ids, n, label in zip(IDS, lengths, LABELS, strict=True)
    ]
    model = make_model()
    data = model.prepare_tf_dataset(rows, batch_size=4, shuffle=False, tokenizer=Padding())
    (x, y), (_, last) = data
    assert set(x) == {"input_ids", "attention_mask"} and x["input_ids"].shape == (4, lengths[:4].max()) and len(data) == 2
    np.testing.assert_array_equal(np.concatenate([y, last]), LABELS)
    assert len(model.prepare_tf_dataset(rows, batch_size=4, tokenizer=Padding())) == 1  # drops the rest, as transformers does
    model.compile("sgd")
    assert np.isfinite(model.fit(data, verbose=0, epochs=2).history["loss"]).all()
    assert model.predict(data, verbose=0).logits.shape == (6, 3)
    even = [{"input_ids": ids, "labels": label} for ids, label in zip(IDS, LABELS, strict=True)]
    orders = {tuple(np.concatenate([y for _, y in model.prepare_tf_dataset(even, 2)])) for _ in range(5)}
    assert len(orders) > 1
    own = model.prepare_tf_dataset(even, 6, shuffle=False, collate_fn=lambda rows, n: {"input_ids": IDS[:, :n]}, collate_fn_args={"n": 2})
    assert next(iter(own))["input_ids"].shape == (6, 2)


def serve(folder: Path, x: dict[str, np.ndarray], dtype: Any = tf.int32) -> Any:
    loaded = tf.saved_model.load(folder)
    return loaded.serve({name: tf.constant(value, dtype) for name, value in x.items()})


def test_exports_before_and_after_a_call(tmp_path: Path) -> None:
    model = make_model()
    expected = model(X).logits
    fresh = make_model()
    fresh.export(tmp_path / "before", verbose=False)
    np.testing.assert_allclose(serve(tmp_path / "before", X)["logits"], expected, atol=1e-5)
    fresh({"input_ids": IDS, "attention_mask": MASK})
    fresh.export(tmp_path / "after", verbose=False)
    two = {"input_ids": IDS[:2, :5], "attention_mask": MASK[:2, :5]}
    np.testing.assert_allclose(serve(tmp_path / "after", two, tf.int64)["logits"], fresh(two).logits, atol=1e-5)
    fresh.save_pretrained(tmp_path / "folder", saved_model=True)
    np.testing.assert_allclose(serve(tmp_path / "folder/saved_model/1", two, tf.int64)["logits"], fresh(two).logits, atol=1e-5)
    np.testing.assert_array_equal(TFMobileBertForSequenceClassification.from_pretrained(tmp_path / "folder")(X).logits, expected)
    tf.saved_model.save(make_model(), str(tmp_path / "tf"))
    served = tf.saved_model.load(str(tmp_path / "tf")).signatures["serving_default"]
    tensors = {name: tf.constant(value, tf.int32) for name, value in X.items()}
    np.testing.assert_allclose(served(**tensors)["logits"], expected, atol=1e-5)


def test_tflite_obeys_the_mask() -> None:
    model = make_model()
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    interpreter = tf.lite.Interpreter(model_content=content)
    run = interpreter.get_signature_runner("serving_default")
    for rows in (slice(0, 1), slice(2, 4)):
        found = run(**{name: value[rows].astype(np.int32) for name, value in X.items()})
        expected = model({name: value[rows] for name, value in X.items()})
        np.testing.assert_allclose(found["logits"], expected.logits, atol=1e-5)


def test_a_whole_model_as_h5(tmp_path: Path) -> None:
    model = make_model()
    model.save(tmp_path / "model.h5")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.h5")(X).logits, model(X).logits)


def test_a_graph_made_with_a_mask_of_ones_obeys_another() -> None:
    """Nothing that a tensor holds decides a graph: in tf.function, under XLA, in vectorized_map, in a symbolic call."""
    model = make_model()
    ones, rows = np.ones_like(MASK), [tf.constant(each) for each in (IDS, MASK, TYPES)]
    expected = model(X).logits
    assert np.abs(model(IDS, ones, TYPES).logits - expected).max() > 1e-3
    for jit in (False, True):
        graph = tf.function(lambda ids, mask, types: model(ids, mask, types).logits, jit_compile=jit)
        concrete = graph.get_concrete_function(rows[0], tf.constant(ones), rows[2])
        np.testing.assert_allclose(concrete(*rows), expected, atol=1e-5)
    mapped = tf.vectorized_map(lambda row: model(*(each[None] for each in row)).logits[0], tuple(rows))
    np.testing.assert_allclose(mapped, expected, atol=1e-5)
    heads = np.array([1, 0, 1, 1], np.float32)
    graph = tf.function(lambda positions, mask: model(IDS, position_ids=positions, head_mask=mask).logits)
    usual, other = np.arange(7)[None], np.arange(7)[None] + 1
    traced = graph.get_concrete_function(tf.constant(usual), tf.constant(np.ones_like(heads)))
    np.testing.assert_allclose(
        traced(tf.constant(other), tf.constant(heads)), model(IDS, position_ids=other, head_mask=heads).logits, atol=1e-5
    )


def test_accessors_of_transformers(tmp_path: Path) -> None:
    model = TFMobileBertForMaskedLM(CONFIG)
    table = np.arange(41 * 8, dtype=np.float32).reshape(41, 8)
    model.set_input_embeddings(table)
    np.testing.assert_array_equal(model.get_input_embeddings().embeddings, table)
    assert model.config.vocab_size == model.mobilebert.config.vocab_size == 41
    model.set_bias({"bias": np.ones(41)})
    assert np.array(model.get_bias()["bias"]).all() and model.get_lm_head() is model.get_output_embeddings()
    assert model(model.dummy_inputs).logits.shape == (2, 2, 41)
    with pytest.raises(ValueError, match=r"word embeddings must be \[any, 8\], not \[41, 9\]"):
        model.set_input_embeddings(np.ones((41, 9)))
    model.save_pretrained(tmp_path)
    assert TFMobileBertForMaskedLM.from_pretrained(tmp_path).name_or_path == str(tmp_path)
    classifier = make_model()
    assert classifier.get_output_embeddings() is classifier.get_bias() is classifier.get_lm_head() is None
    assert (classifier.main_input_name, classifier.base_model_prefix, classifier.can_generate()) == ("input_ids", "mobilebert", False)

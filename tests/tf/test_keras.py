"""What Keras users do with a model: compile, fit, evaluate, predict, save, jit, nest in their own models."""

import logging
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilebert_common.errors import InputError
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.outputs import SequenceClassifierOutput
from mobilebert_common.model.schema import expand
from mobilebert_tf import TFMobileBertForSequenceClassification, TFMobileBertModel, heads
from mobilebert_tf.base import layers_by_name
from support.configs import make_config

CONFIG = make_config(num_hidden_layers=1, num_feedforward_networks=1, initializer_range=0.2)
GENERATOR = np.random.default_rng(0)
IDS = GENERATOR.integers(0, 40, (20, 7))
MASK = (np.arange(7) < GENERATOR.integers(3, 8, (20, 1))).astype(np.int64)
LABELS = GENERATOR.integers(0, 3, 20)
X = {"input_ids": IDS, "attention_mask": MASK}
BAD_IDS = IDS.copy()
BAD_IDS[17, 3] = 40


def make_model(dtype: str = "float32", **changes: Any) -> TFMobileBertForSequenceClassification:
    keras.utils.set_random_seed(0)
    return TFMobileBertForSequenceClassification(CONFIG.replace(**changes), dtype=dtype)


def compiled(model: keras.Model, **options: Any) -> keras.Model:
    model.compile(keras.optimizers.SGD(0.05), **options)
    return model


@pytest.mark.parametrize("head", ARCHITECTURES)
def test_layers_and_variables_have_the_schema_names(head: str) -> None:
    model = getattr(heads, f"TF{head}")(CONFIG)
    assert set(model.canonical_variables()) == set(expand(CONFIG, head))
    leaves = {tensor.module for tensor in expand(CONFIG, head).values()}
    assert leaves <= set(layers_by_name(model))
    assert (
        model.count_params()
        == model.num_parameters()
        == sum(int(np.prod(t.shape)) for t in expand(CONFIG, head).values())
    )
    assert len({variable.path for variable in model.weights}) == len(model.weights)


def test_the_padding_row_starts_at_zero_and_gets_no_gradient() -> None:
    model = make_model()
    table = model.get_input_embeddings().embeddings
    assert not keras.ops.convert_to_numpy(table)[0].any()
    with tf.GradientTape() as tape:
        loss = model(np.array([[0, 1, 0]]), labels=np.array([1])).loss
    gradient = tf.convert_to_tensor(tape.gradient(loss, table.value)).numpy()
    assert not gradient[0].any()
    assert gradient[1].any()


FORMS: dict[str, Any] = {
    "dict and y": lambda: (X, LABELS),
    "labels in x": lambda: ({**X, "labels": LABELS}, None),
    "array and y": lambda: (IDS, LABELS),
    "tf.data, labels in x": lambda: (tf.data.Dataset.from_tensor_slices({**X, "labels": LABELS}).batch(5), None),
    "tf.data, x and y": lambda: (tf.data.Dataset.from_tensor_slices((X, LABELS)).batch(5), None),
}


@pytest.mark.parametrize("form", FORMS)
def test_fit_evaluate_and_predict_with_the_heads_own_loss(form: str) -> None:
    model = compiled(make_model(), metrics=["accuracy"])
    before = model.evaluate(X, LABELS, batch_size=5, verbose=0, return_dict=True)
    expected = model(X, labels=LABELS)
    assert before["loss"] == pytest.approx(float(expected.loss), rel=1e-5)
    hits = keras.ops.convert_to_numpy(expected.logits).argmax(-1) == LABELS
    assert before["accuracy"] == pytest.approx(hits.mean())
    x, y = FORMS[form]()
    history = model.fit(x, y, epochs=4, verbose=0, **({} if isinstance(x, tf.data.Dataset) else {"batch_size": 5}))
    assert set(history.history) == {"loss", "accuracy"}
    assert history.history["loss"][-1] < before["loss"]
    predicted = model.predict(x, verbose=0)
    assert isinstance(predicted, SequenceClassifierOutput)
    assert predicted.logits.shape == (20, 3)


@pytest.mark.parametrize(
    "validation",
    [
        (X, LABELS),
        ({**X, "labels": LABELS},),
        tf.data.Dataset.from_tensor_slices({**X, "labels": LABELS}).batch(5),
    ],
    ids=["x and y", "labels in x", "tf.data"],
)
def test_validation_data(validation: Any) -> None:
    model = compiled(make_model(), metrics=["accuracy"])
    history = model.fit(X, LABELS, validation_data=validation, verbose=0).history
    after = model.evaluate(X, LABELS, verbose=0, return_dict=True)
    assert history["val_loss"][-1] == pytest.approx(after["loss"], rel=1e-5)
    assert history["val_accuracy"][-1] == pytest.approx(after["accuracy"])


def test_train_on_batch_with_labels_in_x() -> None:
    model, other = compiled(make_model()), compiled(make_model())
    assert model.train_on_batch({**X, "labels": LABELS}) == pytest.approx(other.train_on_batch(X, LABELS))
    assert model.test_on_batch({**X, "labels": LABELS}) == pytest.approx(other.test_on_batch(X, LABELS))


def test_predict_over_several_batches_returns_what_the_call_does() -> None:
    model = make_model(output_hidden_states=True)
    predicted, called = model.predict(X, batch_size=6, verbose=0), model(X)
    assert len(predicted.hidden_states) == 2
    np.testing.assert_allclose(predicted.logits, called.logits, atol=1e-6)
    np.testing.assert_allclose(predicted.hidden_states[1], called.hidden_states[1], atol=1e-5)


def test_sample_and_class_weights() -> None:
    model = compiled(make_model())
    weights = np.linspace(0.0, 2.0, 20).astype(np.float32)
    losses = keras.ops.convert_to_numpy(model.label_losses(model(X), {"labels": keras.ops.convert_to_tensor(LABELS)})[0][0])
    assert model.evaluate(X, LABELS, sample_weight=weights, batch_size=20, verbose=0) == pytest.approx(
        (losses * weights).mean(), rel=1e-5
    )
    per_class = {0: 0.5, 1: 2.0, 2: 0.0}
    history = model.fit(X, LABELS, class_weight=per_class, batch_size=20, verbose=0)
    assert history.history["loss"][0] == pytest.approx(
        (losses * [per_class[label] for label in LABELS]).mean(), rel=1e-5
    )


def test_a_loss_of_the_users() -> None:
    model = compiled(make_model(), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    own = compiled(make_model())
    assert model.evaluate(X, LABELS, verbose=0) == pytest.approx(own.evaluate(X, LABELS, verbose=0), rel=1e-5)
    assert np.isfinite(model.fit(X, LABELS, verbose=0).history["loss"][0])


@pytest.mark.parametrize(("changes", "labels"), [({"num_labels": 1}, np.linspace(-1, 1, 20)), ({}, np.eye(3)[LABELS])])
def test_regression_and_multi_label(changes: dict[str, Any], labels: np.ndarray) -> None:
    model = compiled(make_model(**changes))
    losses = model.fit(X, labels, epochs=5, batch_size=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("options", [{"jit_compile": True}, {"run_eagerly": True}])
def test_jit_and_eager_train_alike(options: dict[str, Any]) -> None:
    ours, theirs = compiled(make_model(), **options), compiled(make_model())
    for model in (ours, theirs):
        model.fit(X, LABELS, batch_size=10, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(ours(X).logits, theirs(X).logits, atol=1e-4)


def test_mixed_precision() -> None:
    model = compiled(make_model("mixed_bfloat16"))
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert model(X).logits.dtype == tf.bfloat16
    assert np.isfinite(model.fit(X, LABELS, verbose=0).history["loss"][0])
    np.testing.assert_allclose(np.array(model(X).logits, np.float32), model_like(model)(X).logits, atol=0.1)


def model_like(model: keras.Model) -> keras.Model:
    other = make_model()
    other.set_weights(model.get_weights())
    return other


def test_keras_file(tmp_path: Path) -> None:
    model = compiled(make_model("mixed_bfloat16"), metrics=["accuracy"])
    model.fit(X, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.config == model.config
    assert again.dtype_policy.name == "mixed_bfloat16"
    np.testing.assert_array_equal(np.array(again(X).logits, np.float32), np.array(model(X).logits, np.float32))
    assert again.evaluate(X, LABELS, verbose=0) == pytest.approx(model.evaluate(X, LABELS, verbose=0))


def test_a_subclass_opens_and_saves_the_parents_checkpoint(tmp_path: Path) -> None:
    class Own(TFMobileBertForSequenceClassification):
        pass

    parent = make_model()
    parent.save_pretrained(tmp_path / "parent")
    model = Own.from_pretrained(tmp_path / "parent")
    model.save_pretrained(tmp_path / "own")
    np.testing.assert_array_equal(
        TFMobileBertForSequenceClassification.from_pretrained(tmp_path / "own")(X).logits, parent(X).logits
    )


def test_inside_a_functional_model(tmp_path: Path) -> None:
    base = TFMobileBertModel(CONFIG, name="bert")
    ids = keras.Input((None,), dtype="int32", name="input_ids")
    mask = keras.Input((None,), dtype="int32", name="attention_mask")
    pooled = base({"input_ids": ids, "attention_mask": mask}).pooler_output
    model = keras.Model([ids, mask], keras.layers.Dense(2)(pooled))
    model.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert np.isfinite(model.fit([IDS, MASK], LABELS % 2, verbose=0).history["loss"][0])
    np.testing.assert_allclose(base(X).pooler_output, base(IDS, MASK).pooler_output)


@pytest.mark.parametrize("jit", [False, True])
def test_gradient_checkpointing_with_dropout_gives_the_same_gradients(jit: bool) -> None:
    def gradients(checkpointing: bool, *seeds: int) -> list[list[np.ndarray]]:
        model = make_model("float64", num_hidden_layers=2, hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3)
        if checkpointing:
            model.gradient_checkpointing_enable()

        @tf.function(jit_compile=jit)
        def step() -> list[Any]:
            with tf.GradientTape() as tape:
                loss = model(X, labels=LABELS, training=True).loss
            return [
                gradient
                for gradient in tape.gradient(loss, [v.value for v in model.trainable_variables])
                if gradient is not None
            ]

        found = []
        for seed in seeds:
            model.seed_generator.state.assign([seed, 0])
            found.append([tf.convert_to_tensor(gradient).numpy() for gradient in step()])
        return found

    plain, other = gradients(False, 1, 2)
    (checkpointed,) = gradients(True, 1)
    for ours, theirs in zip(plain, checkpointed, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    assert np.abs(plain[-2] - other[-2]).max() > 1e-6  # there was dropout


def test_dropout_differs_between_layers_and_calls() -> None:
    model = make_model(num_hidden_layers=2, attention_probs_dropout_prob=0.5, output_attentions=True)
    first, second = model(X, training=True).attentions, model(X, training=True).attentions
    zeros = [keras.ops.convert_to_numpy(probabilities) == 0.0 for probabilities in (*first, *second)]
    for number, ours in enumerate(zeros):
        for theirs in zeros[number + 1 :]:
            assert (ours != theirs).mean() > 0.2


def test_fit_resize_compile_fit_trains_the_new_rows() -> None:
    model = compiled(make_model())
    model.fit(X, LABELS, verbose=0)
    before = keras.ops.convert_to_numpy(model.get_input_embeddings().embeddings)
    assert model.resize_token_embeddings(45, pad_to_multiple_of=8) is model.get_input_embeddings()
    assert model.config.vocab_size == model.mobilebert.config.vocab_size == 48
    resized = keras.ops.convert_to_numpy(model.get_input_embeddings().embeddings)
    np.testing.assert_array_equal(resized[:40], before)
    with pytest.raises(ValueError, match="compile"):
        model.fit(X, LABELS, verbose=0)
    compiled(model).fit(IDS % 8 + 40, LABELS, verbose=0)
    trained = keras.ops.convert_to_numpy(model.get_input_embeddings().embeddings)
    assert (trained[40:] != resized[40:]).any(axis=-1).all()
    assert len(model.trainable_variables) == len({id(variable) for variable in model.trainable_variables})


def generator(ids: np.ndarray) -> Any:
    yield from ((ids[start : start + 5], LABELS[start : start + 5]) for start in range(0, 20, 5))


class Sequence(keras.utils.PyDataset):
    def __init__(self, ids: np.ndarray) -> None:
        super().__init__()
        self.ids = ids

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return self.ids[index * 5 : index * 5 + 5], LABELS[index * 5 : index * 5 + 5]


STREAMS: dict[str, Any] = {
    "tf.data": lambda ids: tf.data.Dataset.from_tensor_slices((ids, LABELS)).batch(5),
    "tf.data with labels in x": lambda ids: tf.data.Dataset.from_tensor_slices(
        {"input_ids": ids, "labels": LABELS}
    ).batch(5),
    "generator": generator,
    "PyDataset": Sequence,
}


@pytest.mark.parametrize("stream", STREAMS)
def test_streams_train_and_refuse_bad_ids(stream: str) -> None:
    model = compiled(make_model())
    assert np.isfinite(model.fit(STREAMS[stream](IDS), verbose=0).history["loss"][0])
    for work in (model.fit, model.evaluate):
        with pytest.raises(InputError, match=r"^input_ids must be from 0 to 39"):
            work(STREAMS[stream](BAD_IDS), verbose=0)


@pytest.mark.parametrize("stream", STREAMS)
def test_streams_make_tensorflow_say_nothing(stream: str) -> None:
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    tf.get_logger().addHandler(handler)
    try:
        model = compiled(make_model())
        model.fit(STREAMS[stream](IDS), verbose=0)
        model.predict(STREAMS[stream](IDS), verbose=0)
    finally:
        tf.get_logger().removeHandler(handler)
    assert said == []


def test_arrays_are_checked_before_the_first_step() -> None:
    model = compiled(make_model())
    before = model.get_weights()
    for work in (model.fit, model.evaluate):
        with pytest.raises(InputError, match=r"^input_ids must be from 0 to 39; found 40$"):
            work(BAD_IDS, LABELS, batch_size=5, verbose=0)
    with pytest.raises(InputError, match="found 40"):
        model.fit(X, LABELS, validation_data=(BAD_IDS, LABELS), verbose=0)
    with pytest.raises(InputError, match="found 40"):
        model.predict(BAD_IDS, verbose=0)
    with pytest.raises(InputError, match=r"labels must be from 0 to 2 .*; found 5"):
        model.fit(X, LABELS + 3, verbose=0)
    with pytest.raises(InputError, match="more than max_position_embeddings 12"):
        model.fit(np.ones((4, 13), np.int64), LABELS[:4], verbose=0)
    with pytest.raises(InputError, match="unknown input input_id"):
        model.fit({"input_id": IDS}, LABELS, verbose=0)
    assert all((ours == theirs).all() for ours, theirs in zip(before, model.get_weights(), strict=True))


def test_traced_ids() -> None:
    model = make_model()
    graph = tf.function(lambda ids: model(ids).logits)
    xla = tf.function(lambda ids: model(ids).logits, jit_compile=True)
    with pytest.raises(tf.errors.InvalidArgumentError, match="input_ids must be from 0 to 39"):
        graph(tf.constant(BAD_IDS))
    for bad in (40, -1, 10**6):
        ids = IDS.copy()
        ids[17, 3] = bad
        logits = xla(tf.constant(ids)).numpy()
        assert np.isnan(logits[17]).all()
        assert np.isfinite(np.delete(logits, 17, axis=0)).all()


def test_one_graph_serves_all_lengths() -> None:
    model = make_model()
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None], tf.int32)])
    def call(ids: Any, mask: Any) -> Any:
        traces.append(1)
        return model(ids, mask).logits

    for length in (1, 4, 7):
        ids, mask = IDS[:2, :length].astype(np.int32), MASK[:2, :length].astype(np.int32)
        np.testing.assert_allclose(call(ids, mask), model(ids, mask).logits, atol=1e-6)
    assert len(traces) == 1


def test_inputs_by_mapping_position_name_and_list() -> None:
    model = make_model()
    expected = model(X).logits
    for logits in (
        model(IDS, MASK).logits,
        model(input_ids=IDS, attention_mask=MASK).logits,
        model(IDS.tolist(), MASK.tolist()).logits,
    ):
        np.testing.assert_array_equal(logits, expected)
    with pytest.raises(InputError, match="attention_mask given twice"):
        model(X, attention_mask=MASK)

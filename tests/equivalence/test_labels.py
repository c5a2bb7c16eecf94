"""Labels of the sentence classifier: which dtypes and shapes are classes, and which a 0 or 1 for each class, is the same in both twins.

transformers decides by the dtype alone: its PyTorch class takes floats [b] for several labels and fails on their shape, its TF class
cuts fractions off. Here one number per example is a class, and must be whole.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

import mobilebert_pt.losses
import mobilebert_pt.twin
import mobilebert_tf.losses
import mobilebert_tf.twin
from mobilebert_common.errors import InputError
from support.configs import make_config
from support.twins import Pair, make_inputs

CLASSES = np.array([0, 1, -100])
EYE = np.eye(3)[[0, 2, 1], :2]
FRACTION = "labels must be whole numbers to be classes"

# labels, and those that mean the same
SAME: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "float32": (CLASSES.astype(np.float32), CLASSES),
    "float64": (CLASSES.astype(np.float64), CLASSES),
    "float16": (CLASSES.astype(np.float16), CLASSES),
    "int32": (CLASSES.astype(np.int32), CLASSES),
    "uint8": (np.array([0, 1, 1], np.uint8), np.array([0, 1, 1])),
    "a column of floats": (CLASSES.astype(np.float32)[:, None], CLASSES),
    "booleans": (np.array([True, False, True]), np.array([1, 0, 1])),
    "a column of booleans": (np.array([[True], [False], [True]]), np.array([1, 0, 1])),
    "booleans for each class": (EYE > 0, EYE),
}
BAD: dict[str, tuple[np.ndarray, str]] = {
    "fraction": (np.array([0.5, 0, 1]), FRACTION),
    "NaN": (np.array([np.nan, 0, 1]), FRACTION),
    "infinity": (np.array([np.inf, 0, 1]), FRACTION),
    "fraction in a column": (np.array([[0.5], [0], [1]]), FRACTION),
    "too large": (np.array([2.0, 0, 1]), "labels must be from 0 to 1 (or -100 to be ignored); found 2"),
    "negative": (np.array([-1.0, 0, 1]), "labels must be from 0 to 1 (or -100 to be ignored); found -1"),
    "integers for each class": (EYE.astype(np.int64), "labels must be [3] or [3, 1], not [3, 2]"),
    "another batch": (np.array([0.0, 1.0]), "labels must be [3] or [3, 1], not [2]"),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair.open(tmp_path_factory.mktemp("labels"), make_config(num_labels=2))


def losses(pair: Pair, labels: np.ndarray) -> list[float]:
    inputs = make_inputs(pair.config, labels=labels)
    models = ((mobilebert_pt.twin, pair.torch_model), (mobilebert_tf.twin, pair.keras_model))
    return [float(door.outputs(model, inputs)["loss"]) for door, model in models]


@pytest.mark.parametrize("name", SAME)
def test_one_meaning_in_both_twins(pair: Pair, name: str) -> None:
    labels, meaning = SAME[name]
    assert losses(pair, labels) == pytest.approx(losses(pair, meaning), rel=1e-12)
    assert np.ptp(losses(pair, labels)) < 1e-12


def test_classes_are_not_a_number_for_each_class(pair: Pair) -> None:
    assert losses(pair, np.array([0.0, 1.0, 0.0])) != pytest.approx(losses(pair, EYE), rel=1e-3)
    assert losses(pair, EYE) == pytest.approx([binary_cross_entropy(pair)] * 2, rel=1e-12)


def binary_cross_entropy(pair: Pair) -> float:
    logits = torch.tensor(mobilebert_pt.twin.outputs(pair.torch_model, make_inputs(pair.config))["logits"])
    return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(EYE)))


@pytest.mark.parametrize("name", BAD)
def test_one_error_in_both_twins(pair: Pair, name: str) -> None:
    labels, text = BAD[name]
    inputs = make_inputs(pair.config, labels=labels)
    for door, model in ((mobilebert_pt.twin, pair.torch_model), (mobilebert_tf.twin, pair.keras_model)):
        with pytest.raises(InputError) as raised:
            door.outputs(model, inputs)
        assert str(raised.value) == text


@pytest.mark.parametrize("head", ["NextSentencePrediction", "MultipleChoice"])
def test_other_heads_with_one_class_per_example(head: str, tmp_path: Path) -> None:
    pair = Pair.open(tmp_path, make_config(), f"MobileBertFor{head}")
    inputs = make_inputs(pair.config, pair.head)
    expected = [found["loss"] for found in pair.outputs(inputs)]
    floats = {**inputs, "labels": inputs["labels"].astype(np.float32)}
    assert [found["loss"] for found in pair.outputs(floats)] == expected
    for door, model in ((mobilebert_pt.twin, pair.torch_model), (mobilebert_tf.twin, pair.keras_model)):
        with pytest.raises(InputError, match=FRACTION):
            door.outputs(model, {**floats, "labels": floats["labels"] + 0.5})


def test_regression_takes_fractions(tmp_path: Path) -> None:
    pair = Pair.open(tmp_path, make_config(num_labels=1))
    assert losses(pair, np.array([0.5, 1.5, -2.0])) == pytest.approx(losses(pair, np.array([[0.5], [1.5], [-2.0]])))


def test_compiled_losses_refuse_fractions_or_give_nan() -> None:
    logits = np.zeros((3, 2), np.float32)
    compiled = torch.compile(mobilebert_pt.losses.class_losses, backend="eager")
    assert torch.isfinite(compiled(torch.tensor(logits), torch.tensor([0.0, 1.0, 1.0]))[0]).all()
    with pytest.raises(RuntimeError, match=FRACTION):
        compiled(torch.tensor(logits), torch.tensor([0.5, 1.0, 1.0]))
    traced = tf.function(mobilebert_tf.losses.class_losses, autograph=False, jit_compile=True)
    for labels, finite in (([0.0, 1.0, 1.0], 3), ([0.5, 1.0, 1.0], 2)):
        assert np.isfinite(traced(tf.constant(logits), tf.constant(labels))[0].numpy()).sum() == finite


@pytest.mark.parametrize("streamed", [False, True])
def test_fit_takes_the_same_labels(pair: Pair, streamed: bool) -> None:
    x = make_inputs(pair.config, labels=None, head_mask=None)

    def loss(y: Any) -> float:
        pair.keras_model.compile(run_eagerly=True)
        data = (tf.data.Dataset.from_tensors((x, y)),) if streamed else (x, y)
        return float(pair.keras_model.evaluate(*data, verbose=0))

    assert loss(CLASSES.astype(np.float32)[:, None]) == pytest.approx(loss(CLASSES), rel=1e-6)
    with pytest.raises(InputError, match=FRACTION):
        loss(np.array([0.5, 1.0, 1.0]))

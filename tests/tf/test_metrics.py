"""Metrics given to compile() leave out the labels that the losses leave out."""

from typing import Any

import keras
import numpy as np
import pytest

from mobilebert_common.errors import ConfigError
from mobilebert_tf import (
    TFMobileBertForQuestionAnswering,
    TFMobileBertForSequenceClassification,
    TFMobileBertForTokenClassification,
)
from mobilebert_tf.training import AdamW
from support.configs import make_config

CONFIG = make_config(num_hidden_layers=1)
DRAW = np.random.default_rng(0)
IDS = DRAW.integers(1, 40, (8, 6))
TAGS = np.where(DRAW.random((8, 6)) < 0.5, DRAW.integers(0, 3, (8, 6)), -100)
WEIGHTS = np.arange(8.0)


def evaluate(model: Any, y: Any, sample_weight: Any = None, **metrics: Any) -> dict[str, float]:
    model.compile("sgd", **metrics)
    return dict(model.evaluate(IDS, y, sample_weight=sample_weight, batch_size=4, verbose=0, return_dict=True))


def test_tokens() -> None:
    model = TFMobileBertForTokenClassification(CONFIG)
    hits, counts = model.predict(IDS, verbose=0).logits.argmax(-1) == TAGS, TAGS >= 0
    found = evaluate(model, TAGS, WEIGHTS, metrics=["accuracy"], weighted_metrics=[keras.metrics.SparseCategoricalAccuracy("weighted")])
    assert found["accuracy"] == pytest.approx(hits[counts].mean())
    shares = counts * WEIGHTS[:, None]
    assert found["weighted"] == pytest.approx((hits * shares).sum() / shares.sum())
    shares = counts * DRAW.random((8, 6))
    found = evaluate(model, TAGS, shares, weighted_metrics=["accuracy"])
    assert found["accuracy"] == pytest.approx((hits * shares).sum() / shares.sum())


def test_metrics_of_users_see_classes() -> None:
    seen = []

    def smallest(labels: Any, scores: Any) -> Any:
        seen.append(float(keras.ops.min(labels)))
        return keras.ops.cast(labels, "float32")

    model = TFMobileBertForTokenClassification(CONFIG)
    model.compile("sgd", metrics=[smallest], run_eagerly=True)
    found = model.evaluate(IDS, TAGS, batch_size=4, verbose=0, return_dict=True)
    assert min(seen) == 0 and found["smallest"] == pytest.approx(TAGS[TAGS >= 0].mean())


def test_answers_and_several_outputs() -> None:
    model = TFMobileBertForQuestionAnswering(CONFIG)
    output = model.predict(IDS, verbose=0)
    ends = {"start_positions": np.array([0, 6, 3, 4, 5, -100, 1, 2]), "end_positions": np.arange(8)}
    found = evaluate(model, ends, WEIGHTS, metrics={"end_logits": ["accuracy"]}, weighted_metrics={"start_logits": ["accuracy"]})
    inside = (ends["start_positions"] >= 0) & (ends["start_positions"] < 6)
    shares, hits = WEIGHTS * inside, output.start_logits.argmax(-1) == ends["start_positions"]
    assert found["start_logits_accuracy"] == pytest.approx((hits * shares).sum() / shares.sum())
    assert found["end_logits_accuracy"] == pytest.approx((output.end_logits.argmax(-1) == ends["end_positions"])[:6].mean())


def test_sentences_and_labels_that_are_no_classes() -> None:
    model = TFMobileBertForSequenceClassification(CONFIG)
    labels = np.array([0, 1, 2, -100, 0, 1, 2, -100])
    hits = model.predict(IDS, verbose=0).logits.argmax(-1) == labels
    for y in (labels, labels[:, None]):
        assert evaluate(model, y, metrics=["accuracy"])["accuracy"] == pytest.approx(hits[labels >= 0].mean())
    model = TFMobileBertForSequenceClassification(make_config(num_hidden_layers=1, num_labels=1))
    numbers = np.where(labels < 0, -100.0, 0.5)
    expected = np.abs(model.predict(IDS, verbose=0).logits[:, 0] - numbers).mean()
    assert evaluate(model, numbers, metrics=["mae"])["mae"] == pytest.approx(expected, rel=1e-5)


def test_adamw_of_users() -> None:
    """An exact rate that can be set, and no weights in half precision."""
    optimizer = AdamW(0.1, weight_decay=0.01)
    assert float(optimizer.learning_rate) == optimizer.get_config()["learning_rate"] == 0.1
    optimizer.learning_rate = 0.05
    assert float(AdamW.from_config(optimizer.get_config()).learning_rate) == 0.05
    with pytest.raises(ConfigError, match="is too coarse to train: use float32, or a policy such as mixed_bfloat16"):
        optimizer.build([keras.Variable(np.ones(2), dtype="bfloat16")])
    with pytest.raises(ConfigError, match="amsgrad is not supported"):
        AdamW(0.1, amsgrad=True)

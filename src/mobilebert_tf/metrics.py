"""Metrics given to compile(), of the labels that count: others get the sample weight 0, and class 0 in place of -100."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from mobilebert_common.model import inputs
from mobilebert_common.model.architectures import ARCHITECTURES, Label
from mobilebert_common.model.config import MobileBertConfig


def update_metrics(
    metrics: Any, names: list[str], labels: Any, scores: Any, sample_weight: Any, config: MobileBertConfig, architecture: str
) -> None:
    """Update Keras's CompileMetrics, which itself hands no sample weight to `metrics`, only to `weighted_metrics`.

    Args:
        names: the labels given.
        labels, scores: as match_scores returns them, tensors or mappings by output.
        sample_weight: one for all labels, or a mapping by the name of the label or of the output.
    """
    kinds = {ARCHITECTURES[architecture].labels[name].scores: (name, ARCHITECTURES[architecture].labels[name]) for name in names}
    if not metrics.built:
        metrics.build(labels, scores)
    order = metrics._resolved_output_names or list(kinds)  # as Keras flattens mappings
    rows = zip(order, metrics._flatten_y(labels), metrics._flatten_y(scores), strict=True)
    for (output, label, score), plain, weighted in zip(rows, metrics._flat_metrics, metrics._flat_weighted_metrics, strict=True):
        name, kind = kinds[output]
        counts = counted(label, score, kind, config)
        by_name = isinstance(sample_weight, Mapping)
        weight = sample_weight.get(name, sample_weight.get(output)) if by_name else sample_weight
        for metric in plain.metrics if plain else ():
            update(metric, label, score, counts, None)
        for metric in weighted.metrics if weighted else ():
            update(metric, label, score, counts, weight)


def counted(label: Any, scores: Any, kind: Label, config: MobileBertConfig) -> Any:
    """Which labels count, as in the loss of the head; None if they are no classes.

    Args:
        label: classes [b], [b 1] or [b t], positions [b], or labels of another kind.
        scores: [b n] or [b t n].
    """
    shape = tuple(label.shape)
    integers = keras.backend.is_int_dtype(label.dtype)
    if kind.by_problem_type and inputs.problem_type(config, integers, shape) != "single_label_classification":
        return None
    if len(shape) == len(scores.shape) and shape[-1] != 1:  # one-hot, for a loss of the user's
        return None
    if kind.classes == "":
        return ops.logical_and(label >= 0, ops.less(label, ops.shape(scores)[-1]))
    return ops.not_equal(label, inputs.IGNORE_INDEX)


def update(metric: Any, label: Any, scores: Any, counts: Any, weight: Any) -> None:
    """Update one metric; one of the user's that takes no sample weight gets the labels as they are."""
    if (counts is None and weight is None) or "sample_weight" not in inspect.signature(metric.update_state).parameters:
        metric.update_state(label, scores)
    elif counts is None:
        metric.update_state(label, scores, sample_weight=weight)
    else:
        shares = ops.cast(counts, keras.backend.floatx())
        if weight is not None:
            weight = ops.cast(weight, shares.dtype)
            is_wider = len(shares.shape) > len(weight.shape)  # tokens [b t], and a weight for each example
            shares = shares * (ops.expand_dims(weight, -1) if is_wider else ops.reshape(weight, ops.shape(shares)))
        metric.update_state(ops.where(counts, label, 0), scores, sample_weight=shares)

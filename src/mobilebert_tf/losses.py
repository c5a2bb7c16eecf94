"""The losses of the heads in Keras. mobilebert_pt/losses.py is its translation.

Each returns one loss per example or token and its weight, 0 for labels to ignore and 1 for others; `total` reduces them
to a number. Half-precision logits are raised to float32 first.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from mobilebert_common.model import inputs
from mobilebert_common.model.config import MobileBertConfig

from .checks import check_classes, ids_of_build, is_integer, sizes, whole_classes
from .strategies import replicas, sum_replicas

Losses = tuple[Any, Any]  # losses and weights of one shape


def classification_losses(logits: Any, labels: Any, config: MobileBertConfig) -> Losses:
    """The sentence classifier's losses, [b].

    Args:
        logits: [b n].
        labels: [b] classes of any dtype, [b n] zeros and ones, or [b] (or [b n]) numbers to regress on; see inputs.problem_type.
    """
    kind = inputs.problem_type(config, is_integer(labels), sizes(labels))
    if kind == "single_label_classification":
        return class_losses(logits, labels)
    inputs.check_label_shape(sizes(labels), sizes(logits), kind)
    logits = raised(logits)
    labels = ops.cast(ops.reshape(labels, ops.shape(logits)), logits.dtype)
    if kind == "regression":
        losses = ops.square(logits - labels)
    else:
        losses = ops.binary_crossentropy(labels, logits, from_logits=True)
    losses = ops.mean(losses, axis=-1)
    return losses, ops.ones_like(losses)


def class_losses(logits: Any, labels: Any, name: str = "labels") -> Losses:
    """Cross entropy of classes [...] under logits [... n]; with one class per example, they may be whole floats or booleans."""
    shape = ops.shape(logits)[:-1]
    inputs.check_class_shape(name, sizes(labels), sizes(logits)[:-1])
    labels, whole = whole_classes(labels, name) if len(shape) == 1 else (labels, None)
    check_classes(labels, ops.shape(logits)[-1], name)
    labels = ops.reshape(labels, shape)
    counted = ops.not_equal(labels, inputs.IGNORE_INDEX)
    losses = ops.sparse_categorical_crossentropy(ops.where(counted, labels, 0), raised(logits), from_logits=True)
    if whole is not None:
        losses = ops.where(ops.reshape(whole, shape), losses, np.nan)  # XLA drops the assertion
    return losses, ops.cast(counted, losses.dtype)


def span_losses(logits: Any, positions: Any, name: str) -> Losses:
    """Cross entropy of places [b] under logits [b t]; a place outside the sequence is ignored."""
    positions = ids_of_build(positions)
    inputs.check_integer(name, keras.backend.standardize_dtype(positions.dtype))
    inside = ops.logical_and(positions >= 0, ops.less(positions, ops.shape(logits)[-1]))
    return class_losses(logits, ops.where(inside, positions, inputs.IGNORE_INDEX), name)


def raised(logits: Any) -> Any:
    """Half-precision logits as float32, others as they are."""
    half = keras.backend.standardize_dtype(logits.dtype) in ("float16", "bfloat16")
    return ops.cast(logits, "float32") if half else logits


def mean(losses: Any, weights: Any) -> Any:
    """The weighted mean; 0 if all weights are 0."""
    return ops.sum(losses * weights) / ops.maximum(ops.sum(weights), 1)


def total(terms: list[Losses]) -> Any:
    """The sum of the means."""
    return sum((mean(*term) for term in terms[1:]), start=mean(*terms[0]))


def replica_loss(terms: list[Losses]) -> Any:
    """This replica's share of `total` of all replicas' terms: the sum over replicas is the loss of one process.

    The value is the same on all replicas, so that the mean which Keras reports is right if they have unequal numbers of
    rows; the gradient is that of the replica's own losses.
    """
    if replicas() == 1:
        return total(terms)
    sums = [(ops.sum(losses * counted), ops.sum(counted)) for losses, counted in terms]
    everywhere = sum_replicas([ops.stop_gradient(value) for pair in sums for value in pair])
    counts = [ops.maximum(count, 1) for count in everywhere[1::2]]
    own = sum(value / count for (value, _), count in zip(sums, counts, strict=True))
    whole = sum(value / count for value, count in zip(everywhere[::2], counts, strict=True))
    return own + ops.stop_gradient(whole / replicas() - own)

"""The losses of the heads in Keras. mobilebert_pt/losses.py is its translation.

Each returns one number per example, [b]; `mean` turns them into the loss. Half-precision logits are raised to float32
first.
"""

from typing import Any

import keras
from keras import ops

from mobilebert_common import inputs
from mobilebert_common.config import MobileBertConfig

from .checks import check_classes


def classification_losses(logits: Any, labels: Any, config: MobileBertConfig) -> tuple[Any, Any]:
    """The sentence classifier's losses.

    Args:
        logits: [b n].
        labels: [b] classes, [b n] zeros and ones, or [b] (or [b n]) numbers to regress on; see inputs.problem_type.
    Returns:
        the loss of each example, [b], and its weight, [b]: 0 where the label is to be ignored, else 1.
    """
    kind = inputs.problem_type(config, integer_labels=keras.backend.is_int_dtype(labels.dtype))
    inputs.check_label_shape(labels.shape, logits.shape, kind)
    if keras.backend.standardize_dtype(logits.dtype) in ("float16", "bfloat16"):
        logits = ops.cast(logits, "float32")
    if kind == "single_label_classification":
        return class_losses(logits, ops.reshape(labels, (-1,)))
    labels = ops.cast(ops.reshape(labels, ops.shape(logits)), logits.dtype)
    if kind == "regression":
        losses = ops.square(logits - labels)
    else:
        losses = ops.binary_crossentropy(labels, logits, from_logits=True)
    losses = ops.mean(losses, axis=-1)
    return losses, ops.ones_like(losses)


def class_losses(logits: Any, labels: Any) -> tuple[Any, Any]:
    """Cross entropy of classes [...] under logits [... n], and the weight of each: 0 at IGNORE_INDEX."""
    check_classes(labels, logits.shape[-1])
    counted = ops.not_equal(labels, inputs.IGNORE_INDEX)
    losses = ops.sparse_categorical_crossentropy(ops.where(counted, labels, 0), logits, from_logits=True)
    return losses, ops.cast(counted, losses.dtype)


def mean(losses: Any, weights: Any) -> Any:
    """The weighted mean, and 0 where every weight is 0."""
    return ops.sum(losses * weights) / ops.maximum(ops.sum(weights), 1)

"""The rules of mobilebert_common.model.inputs on Keras tensors. mobilebert_pt/checks.py is its translation."""

from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.backend.common.symbolic_scope import in_symbolic_scope

from mobilebert_common.model import inputs
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.exporting import is_exporting

from .strategies import current_strategy


def check_ids(ids: Any, limit: Any, name: str) -> tuple[Any, Any]:
    """Refuse ids outside 0 to limit - 1; returns ids to look up, and which of them are valid, or None if all are.

    In eager code this is a ValueError. In a TensorFlow graph it is an assertion with the same text; XLA drops assertions,
    so the ids returned are clipped, and the caller fills the rows of invalid ones with NaN.
    """
    ids = ids_of_build(ids)
    inputs.check_integer(name, keras.backend.standardize_dtype(ids.dtype))
    if is_exporting():
        return ids, None
    values = concrete(ids)
    if values is not None:
        inputs.check_ids(name, int(values.min()), int(values.max()), limit)
        return ids, None
    if not isinstance(limit, int):  # the length of a sequence that the graph does not know
        ids, limit = ops.cast(ids, "int64"), ops.cast(limit, "int64")
    valid = ops.logical_and(ids >= 0, ids < limit)
    assert_traced(ops.all(valid), inputs.range_error(name, limit))
    return ops.clip(ids, 0, limit - 1), valid


def check_model_inputs(
    input_ids: Any, inputs_embeds: Any, attention_mask: Any, head_mask: Any, config: MobileBertConfig
) -> None:
    """Refuse shapes and dtypes that the model cannot take."""
    inputs.check_one_source(input_ids, inputs_embeds)
    source = inputs_embeds if input_ids is None else input_ids
    inputs.check_shape(sizes(source), config)
    if input_ids is None:
        inputs.check_floating("inputs_embeds", keras.backend.standardize_dtype(inputs_embeds.dtype))
    if attention_mask is not None:
        inputs.check_mask(sizes(attention_mask), sizes(source))
    if head_mask is not None:
        inputs.check_head_mask(sizes(head_mask), config)


def is_integer(labels: Any) -> bool:
    """Whether labels are integers; booleans are not."""
    return bool(keras.backend.is_int_dtype(labels.dtype))


def whole_classes(labels: Any, name: str) -> tuple[Any, Any]:
    """Classes that may be booleans or whole floats, as integers, and which of them are whole, or None if all are.

    Fractions are refused as check_ids refuses ids.
    """
    if is_integer(labels):
        return labels, None
    integers = ops.cast(labels, "int32")
    if keras.backend.standardize_dtype(labels.dtype) == "bool":
        return integers, None
    values = concrete(labels)
    if values is not None:
        inputs.check_whole(name, inputs.is_whole(values))
        return integers, None
    whole = labels - ops.trunc(labels) == 0
    assert_traced(ops.all(whole), inputs.whole_error(name))
    return integers, whole


def ids_of_build(ids: Any) -> Any:
    """Ids as they are, but floats as integers where Keras builds a user's model under a strategy of TensorFlow.

    Keras does so with the mean of the replicas' batches, which makes floats of ids, and computes no values. The data itself
    is checked when the first step is traced.
    """
    is_build = current_strategy() is not None and in_symbolic_scope()
    return ops.cast(ids, "int32") if is_build and keras.backend.is_float_dtype(ids.dtype) else ids


def check_classes(labels: Any, classes: Any, name: str) -> None:
    """Refuse class labels outside the classes that are scored, whose number may be a tensor in a graph."""
    labels = ids_of_build(labels)
    inputs.check_integer(name, keras.backend.standardize_dtype(labels.dtype))
    values = concrete(labels)
    if values is not None:
        inputs.check_classes(name, int(values.min()), int(values.max()), classes)
        return
    valid = ops.logical_or(ops.logical_and(labels >= 0, ops.less(labels, classes)), labels == inputs.IGNORE_INDEX)
    assert_traced(ops.all(valid), inputs.class_error(name, classes if isinstance(classes, int) else None))


def sizes(tensor: Any) -> tuple[int | None, ...]:
    """A tensor's shape, with None for a length not known yet, for which JAX has a symbol."""
    return tuple(size if isinstance(size, int) else None for size in tensor.shape)


def concrete(tensor: Any) -> np.ndarray | None:
    """The values of a tensor; None while a graph is traced."""
    if isinstance(tensor, keras.KerasTensor):
        return None
    try:
        return np.asarray(tensor)
    except Exception:  # each backend raises an error of its own for a traced tensor
        return None


def assert_traced(condition: Any, text: str) -> None:
    """An assertion inside a TensorFlow graph; other backends have none and rely on the NaN."""
    if keras.backend.backend() == "tensorflow" and not isinstance(condition, keras.KerasTensor):
        import tensorflow as tf

        tf.debugging.assert_equal(condition, True, message=text)

"""Data that fit, evaluate and predict get in batches: checked one by one, with labels moved from x to y."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from mobilebert_common.model import inputs
from mobilebert_common.model.config import MobileBertConfig

from .labels import labels_as_y, without_labels

Check = Callable[[Any, Any], tuple[Any, Any]]  # x and y -> both, with labels in y


def is_arrays(data: Any) -> bool:
    """Whether data is arrays, which can be shuffled, and not a stream."""
    return isinstance(data, Mapping | np.ndarray) or keras.ops.is_tensor(data)


def checked_stream(
    stream: Any, check: Check, columns: Callable[[Any], Any], config: MobileBertConfig, architecture: str
) -> Any:
    """The same stream, checked batch by batch.

    Args:
        stream: tf.data, a PyDataset or a generator; anything else is returned unchanged.
        check: applied to each batch; tf.data, which traces its functions, asserts the ranges of ids instead.
        columns: makes a mapping of x that has only inputs and labels of the model.
    """
    if type(stream).__module__.startswith("tensorflow") and hasattr(stream, "element_spec"):
        return stream.map(tf_data_stage(columns, config, architecture), num_parallel_calls=1)
    if isinstance(stream, keras.utils.PyDataset):
        return CheckedDataset(stream, functools.partial(checked_batch, check))
    if inspect.isgenerator(stream):
        return (checked_batch(check, batch) for batch in stream)
    return stream


def checked_batch(check: Check, batch: Any) -> Any:
    """One batch in the form that it came in."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    return keras.utils.pack_x_y_sample_weight(*check(x, y), sample_weight)


class CheckedDataset(keras.utils.PyDataset):
    """A PyDataset whose batches are checked as they come."""

    def __init__(self, dataset: Any, check: Callable[[Any], Any]) -> None:
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset = dataset
        self.check = check

    def __getitem__(self, index: int) -> Any:
        return self.check(self.dataset[index])

    @property
    def num_batches(self) -> int | None:
        return self.dataset.num_batches

    def on_epoch_begin(self) -> None:
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.dataset.on_epoch_end()


def tf_data_stage(columns: Callable[[Any], Any], config: MobileBertConfig, architecture: str) -> Callable[..., Any]:
    """A function for tf.data's `map` that asserts the ranges of ids and moves labels from x to y."""
    import tensorflow as tf

    limits = inputs.id_limits(config)

    def check(x: Any, *rest: Any) -> Any:
        x = assert_ids(columns(x), limits)
        if rest:
            return without_labels(x), *rest
        y = labels_as_y(x, architecture)
        return x if y is None else (without_labels(x), y)

    return tf.autograph.experimental.do_not_convert(check)  # it has no branches on tensors


def assert_ids(x: Any, limits: Mapping[str, int]) -> Any:
    """The inputs, which TensorFlow asserts to be in range wherever they are used."""
    import tensorflow as tf

    tensors = x if isinstance(x, Mapping) else {"input_ids": x}
    assertions = [
        tf.debugging.Assert(
            tf.reduce_all((tensors[name] >= 0) & (tensors[name] < limit)), [inputs.range_error(name, limit)]
        )
        for name, limit in limits.items()
        if name in tensors
    ]
    with tf.control_dependencies(assertions):
        return tf.nest.map_structure(tf.identity, x)

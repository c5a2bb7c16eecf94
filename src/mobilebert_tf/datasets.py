"""Batches of a data set with rows, such as those of the library `datasets`, as tf.data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .labels import LABEL_NAMES

Row = Mapping[str, Any]
Collate = Callable[[list[dict[str, Any]]], Mapping[str, Any]]

OTHER_NAMES = {"label": "labels", "label_ids": "labels"}  # of one label, as data sets call it


def collator(tokenizer: Any) -> Collate:
    """What makes a batch of rows: a tokenizer pads them, without one they are stacked."""

    def collate(rows: list[dict[str, Any]]) -> Mapping[str, Any]:
        rows = [{OTHER_NAMES.get(name, name): value for name, value in row.items()} for row in rows]
        if tokenizer is None:
            return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}
        return tokenizer.pad(rows, return_tensors="np")

    return collate


def batched(
    dataset: Any,
    *,
    batch_size: int,
    shuffle: bool,
    columns: Sequence[str] | None,
    collate: Collate,
    drop_remainder: bool,
    prefetch: bool,
    split: Callable[[Any], tuple[Any, Any]],
) -> Any:
    """A data set as tf.data, in a new order in each epoch if it is shuffled.

    Args:
        dataset: with a length, and mappings as items.
        columns: those to keep, besides labels; None keeps all.
        split: moves the labels out of a batch.
    """
    import tensorflow as tf

    kept = None if columns is None else {*columns, *OTHER_NAMES, *LABEL_NAMES}

    def batch(indices: Any) -> dict[str, np.ndarray]:
        rows = [dataset[int(index)] for index in indices]
        rows = [{name: value for name, value in row.items() if kept is None or name in kept} for row in rows]
        found = {name: np.asarray(value) for name, value in collate(rows).items()}
        return {name: found[name] for name in sorted(found) if kept is None or name in kept}

    first = batch(range(min(len(dataset), 1)))
    order = tf.data.Dataset.range(len(dataset))
    if shuffle:
        order = order.shuffle(len(dataset))

    def stage(indices: Any) -> Any:
        arrays = tf.numpy_function(lambda rows: list(batch(rows).values()), [indices], [a.dtype for a in first.values()])
        tensors = dict(zip(first, arrays, strict=True))
        for name, tensor in tensors.items():
            tensor.set_shape([None] * first[name].ndim)
        x, y = split(tensors)
        return x if y is None else (x, y)

    batches = order.batch(batch_size, drop_remainder=drop_remainder).map(stage)
    return batches.prefetch(tf.data.AUTOTUNE) if prefetch else batches

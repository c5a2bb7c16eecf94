"""Keras as mobilebert_common.training.twin describes it. mobilebert_pt/twin.py is its translation."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mobilebert_common.files.folder import Folder
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import flat

from . import arrays, heads
from .arrays import to_numpy
from .fit import readable_errors
from .training import train

__all__ = ["create", "infer", "load", "outputs", "restore", "set_tensors", "snapshot", "tensor", "tensors", "train"]


def tensor(array: Any) -> Any:
    """A numpy array as a tensor."""
    return keras.ops.convert_to_tensor(np.asarray(array))


def create(config: MobileBertConfig, architecture: str, seed: int) -> Any:
    """A model with fresh weights."""
    keras.utils.set_random_seed(seed)
    return getattr(heads, f"TF{architecture}")(config)


def load(directory: str | Path | Folder, architecture: str, dtype: str = "float32", **overrides: Any) -> Any:
    """A model from a checkpoint directory."""
    return getattr(heads, f"TF{architecture}").from_pretrained(directory, dtype=dtype, **overrides)


def outputs(model: Any, batch: Mapping[str, np.ndarray], **switches: bool) -> dict[str, np.ndarray]:
    """Everything a model returns for a batch, hidden states and attentions numbered."""
    found = model({name: tensor(array) for name, array in batch.items()}, training=False, **switches)
    return {name: keras.ops.convert_to_numpy(value) for name, value in flat(found).items()}


def infer(model: Any, batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """The outputs of one batch after the other, from a compiled model."""
    call = model.inference_function()
    for batch in batches:
        with readable_errors():
            found = call(dict(batch))
        yield {name: keras.ops.convert_to_numpy(value) for name, value in flat(found).items()}


def tensors(model: Any) -> dict[str, np.ndarray]:
    """{canonical name: array} of a model's weights."""
    return {name: to_numpy(variable, layout) for name, (variable, layout) in model.canonical_variables().items()}


def set_tensors(model: Any, tensors: Mapping[str, np.ndarray]) -> None:
    """Set some of a model's weights, {canonical name: array}."""
    variables = model.canonical_variables()
    for name, array in tensors.items():
        variable, layout = variables[name]
        arrays.assign(variable, array, layout)


def snapshot(model: Any) -> dict[str, np.ndarray]:
    """A copy of a model's weights on the CPU."""
    return {name: value.copy() for name, value in tensors(model).items()}


def restore(model: Any, snapshot: Mapping[str, np.ndarray]) -> None:
    """Set a model's weights to those of a snapshot."""
    set_tensors(model, snapshot)

"""Keras as mobilebert_common.training.twin describes it. mobilebert_pt/twin.py is its translation."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import flat

from . import heads
from .train import train

__all__ = ["create", "load", "outputs", "predict", "tensor", "train"]


def tensor(array: Any) -> Any:
    """A numpy array as a tensor."""
    return keras.ops.convert_to_tensor(np.asarray(array))


def create(config: MobileBertConfig, architecture: str, seed: int) -> Any:
    """A model with fresh weights."""
    keras.utils.set_random_seed(seed)
    return getattr(heads, f"TF{architecture}")(config)


def load(directory: str | Path, architecture: str, dtype: str = "float32", **overrides: Any) -> Any:
    """A model from a checkpoint directory."""
    return getattr(heads, f"TF{architecture}").from_pretrained(directory, dtype=dtype, **overrides)


def predict(model: Any, batches: Iterable[Mapping[str, np.ndarray]]) -> np.ndarray:
    """The logits of all batches, one row an example."""
    call = model.inference_function()
    return np.concatenate([keras.ops.convert_to_numpy(call(dict(batch))["logits"]) for batch in batches])


def outputs(model: Any, batch: Mapping[str, np.ndarray], **switches: bool) -> dict[str, np.ndarray]:
    """Everything a model returns for a batch, hidden states and attentions numbered."""
    found = model({name: tensor(array) for name, array in batch.items()}, training=False, **switches)
    return {name: keras.ops.convert_to_numpy(value) for name, value in flat(found).items()}

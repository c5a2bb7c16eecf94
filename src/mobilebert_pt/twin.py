"""PyTorch as mobilebert_common.training.twin describes it. mobilebert_tf/twin.py is its translation."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mobilebert_common.files.folder import Folder
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import flat

from . import heads
from .arrays import to_numpy, to_tensor
from .training import merged_state, train

__all__ = ["create", "infer", "load", "outputs", "restore", "set_tensors", "snapshot", "tensor", "tensors", "train"]


def tensor(array: Any) -> torch.Tensor:
    """A numpy array as a tensor."""
    return torch.from_numpy(np.asarray(array))


def create(config: MobileBertConfig, architecture: str, seed: int) -> Any:
    """A model with fresh weights."""
    torch.manual_seed(seed)
    return getattr(heads, architecture)(config)


def load(directory: str | Path | Folder, architecture: str, dtype: str = "float32", **overrides: Any) -> Any:
    """A model from a checkpoint directory."""
    return getattr(heads, architecture).from_pretrained(directory, dtype=dtype, **overrides)


def outputs(model: Any, batch: Mapping[str, np.ndarray], **switches: bool) -> dict[str, np.ndarray]:
    """Everything a model returns for a batch, hidden states and attentions numbered."""
    model.eval()
    with torch.inference_mode():
        found = model(**{name: tensor(array).to(model.device) for name, array in batch.items()}, **switches)
    return {name: to_numpy(value) for name, value in flat(found).items()}


def infer(model: Any, batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """The outputs of one batch after the other."""
    for batch in batches:
        yield outputs(model, batch)


def tensors(model: Any) -> dict[str, np.ndarray]:
    """{canonical name: array} of a model's weights."""
    return {name: to_numpy(value) for name, value in merged_state(model).items()}


def set_tensors(model: Any, tensors: Mapping[str, np.ndarray]) -> None:
    """Set some of a model's weights, {canonical name: array}."""
    model.load_state_dict({name: to_tensor(array) for name, array in tensors.items()}, strict=False)


def snapshot(model: Any) -> dict[str, torch.Tensor]:
    """A copy of a model's weights on the CPU, with LoRA adapters merged."""
    return {name: value.detach().cpu().clone() for name, value in merged_state(model).items()}


def restore(model: Any, snapshot: Mapping[str, torch.Tensor]) -> None:
    """Set a model's weights to those of a snapshot."""
    model.load_state_dict(snapshot)

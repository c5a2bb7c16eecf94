"""PyTorch as mobilebert_common.training.twin describes it. mobilebert_tf/twin.py is its translation."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mobilebert_common import processes
from mobilebert_common.errors import ConfigError
from mobilebert_common.files.folder import Folder
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import flat

from . import heads
from .arrays import to_numpy, to_tensor
from .training import make_accelerator, merged_state, placed_as, train

__all__ = ["create", "devices", "fold", "infer", "largest", "load", "outputs", "set_tensors", "set_threads", "tensor", "tensors", "train"]


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


def fold(model: Any, dtype: str | None = None, quantize: str | None = None) -> Any:
    """A copy of a model for inference, the fastest for this machine."""
    return model.fold(dtype=dtype, quantize=quantize, packed=None)


def tensors(model: Any) -> dict[str, np.ndarray]:
    """{canonical name: array} of a model's weights."""
    return {name: to_numpy(value) for name, value in merged_state(model).items()}


def set_tensors(model: Any, tensors: Mapping[str, np.ndarray]) -> None:
    """Set some of a model's weights, {canonical name: array}."""
    own = model.state_dict()
    model.load_state_dict({name: placed_as(to_tensor(array), own[name]) for name, array in tensors.items()}, strict=False)


def set_threads(count: int) -> None:
    """Compute in so many threads, in this whole process."""
    torch.set_num_threads(count)


@contextlib.contextmanager
def devices(count: int | None) -> Iterator[None]:
    """Join the processes that a launcher has started, if there are several.

    Raises:
        ConfigError: several devices are asked for, but no launcher has started a process for each.
    """
    started = processes.count()
    if count not in (None, started):
        start = f"torchrun --nproc-per-node {count} -m mobilebert_common train …"
        raise ConfigError(f"PyTorch needs a process for each of {count} devices, and here it has {started}: start it with {start}")
    if started > 1:
        make_accelerator()
    try:
        yield
    except RuntimeError as error:
        if started > 1 and is_from_group(error):
            reason = "another process of this training has ended, and this one cannot go on alone"
            raise ConnectionError(f"{reason}; the same command goes on from the last snapshot") from error
        raise


def is_from_group(error: RuntimeError) -> bool:
    """Whether an exchange with other processes failed."""
    return isinstance(error, torch.distributed.DistError) or "/gloo/" in str(error)


def largest(values: Sequence[float]) -> list[float]:
    """The largest of each value over all processes."""
    if processes.count() == 1:
        return [float(value) for value in values]
    from accelerate import PartialState  # which `devices` or `train` has set up

    shared = torch.tensor(values, dtype=torch.float64, device=PartialState().device)
    torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
    found: list[float] = shared.tolist()
    return found

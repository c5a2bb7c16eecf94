"""Between torch tensors and numpy arrays, bfloat16 included."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

from mobilebert_common.checkpoints.archive import Archive, Entry
from mobilebert_common.errors import ConfigError
from mobilebert_common.model.dtypes import parse_dtype

from .sharding import gathered


def dtype_name(dtype: str | torch.dtype) -> str:
    """The name of a dtype, "float32" for torch.float32 or "float32"."""
    return str(dtype).removeprefix("torch.")


def torch_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """The floating-point dtype of a name."""
    parse_dtype(dtype_name(dtype))
    found = getattr(torch, dtype_name(dtype))
    assert isinstance(found, torch.dtype)
    return found


def to_tensor(array: np.ndarray) -> Tensor:
    """A tensor that takes over the memory of an array, or a copy where that is not the array's own, writable and in order.

    numpy has bfloat16 only through ml_dtypes, which torch does not know.
    """
    array = np.require(array, requirements=["C", "W", "O"])
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_numpy(tensor: Tensor) -> np.ndarray:
    """An array on the host."""
    tensor = gathered(tensor.detach()).cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def archive(state: Mapping[str, Tensor]) -> Archive:
    """A state_dict in the form of a weights file."""
    arrays = {name: to_numpy(tensor) for name, tensor in state.items() if isinstance(tensor, Tensor)}
    entries = {name: Entry(array.dtype, array.shape) for name, array in arrays.items()}
    return Archive(Path("state_dict"), entries, lambda names: {name: arrays[name].copy() for name in names})


def one_device(device: str | torch.device | int | None, device_map: Any) -> torch.device | None:
    """The one device that `device` or `device_map` asks for; None leaves a model where it is.

    Raises:
        ConfigError: both are given, or the map names several devices.
    """
    if device_map is None:
        return None if device is None else torch.device(device)
    if device is not None:
        raise ConfigError("device and device_map are two names of one argument: pass one of them")
    places = list(device_map.values()) if isinstance(device_map, Mapping) else [device_map]
    if len({str(place) for place in places}) != 1 or places[0] == "disk":
        raise ConfigError(f"device_map={device_map!r:.80} is not supported: a MobileBERT fits on one device")
    if places[0] in ("auto", "balanced", "balanced_low_0", "sequential"):
        found = torch.accelerator.current_accelerator()
        return torch.device("cpu") if found is None else found
    return torch.device(places[0])

"""Between torch tensors and numpy arrays, bfloat16 included."""

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

from mobilebert_common.model.dtypes import parse_dtype


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
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()

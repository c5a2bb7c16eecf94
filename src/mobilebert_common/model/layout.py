"""Layouts: a tensor is stored as in torch (the canonical layout), or transposed or split by attention head in another dialect."""

from typing import Literal

import numpy as np

Layout = Literal["same", "transpose", "split_out", "split_in"]


def to_layout(array: np.ndarray, layout: Layout, heads: int) -> np.ndarray:
    """Convert a canonical array to a dialect's layout; the result is contiguous."""
    if layout == "transpose":
        array = array.T
    elif layout == "split_out":  # (heads * d, in) -> [in, heads, d]
        array = array.T.reshape(array.shape[1], heads, -1)
    elif layout == "split_in":  # (out, heads * d) -> [heads, d, out]; a bias (heads * d) -> [heads, d]
        array = array.T.reshape(heads, -1, *array.shape[:-1])
    return np.asarray(array, order="C")  # keeps a scalar a scalar


def layout_shape(shape: tuple[int, ...], layout: Layout, heads: int) -> tuple[int, ...]:
    """The shape of `to_layout` for an array with this canonical shape."""
    if layout == "split_in":
        return (heads, shape[-1] // heads, *reversed(shape[:-1]))
    if layout == "split_out":
        return (shape[1], heads, shape[0] // heads)
    return shape[::-1] if layout == "transpose" else shape


def from_layout(array: np.ndarray, layout: Layout) -> np.ndarray:
    """Convert an array from a dialect's layout to the canonical one; the inverse of `to_layout`."""
    if layout == "transpose":
        array = array.T
    elif layout == "split_out":
        array = array.reshape(array.shape[0], -1).T
    elif layout == "split_in":
        array = array.reshape(-1, *array.shape[2:]).T
    return np.asarray(array, order="C")

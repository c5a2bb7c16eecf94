"""Between Keras variables and numpy arrays, by canonical name."""

from typing import Any

import keras
import numpy as np

from mobilebert_common.model.dtypes import parse_dtype
from mobilebert_common.model.layout import Layout, from_layout, layout_shape, to_layout


def dtype_policy(dtype: Any) -> keras.DTypePolicy:
    """The policy of a dtype or of a name such as "float32" or "mixed_bfloat16"; Keras's own setting if it is None.

    Raises:
        ConfigError: no weights have such a dtype.
    """
    if dtype is None:
        dtype = keras.config.dtype_policy()
    if isinstance(dtype, keras.dtype_policies.DTypePolicy):
        parse_dtype(dtype.name.removeprefix("mixed_"))  # refuses policies that quantize
        return dtype
    name = dtype if isinstance(dtype, str) else keras.backend.standardize_dtype(dtype)
    parse_dtype(name.removeprefix("mixed_"))
    return keras.DTypePolicy(name)


def assign(variable: keras.Variable, array: np.ndarray, layout: Layout) -> None:
    """Put a canonical array into a variable."""
    variable.assign(to_layout(array, layout, heads=1))


def to_numpy(variable: keras.Variable, layout: Layout) -> np.ndarray:
    """The canonical array of a variable."""
    return from_layout(keras.ops.convert_to_numpy(variable), layout)


def canonical_shape(variable: keras.Variable, layout: Layout) -> tuple[int, ...]:
    """The shape of the canonical array of a variable."""
    return layout_shape(tuple(variable.shape), layout, heads=1)

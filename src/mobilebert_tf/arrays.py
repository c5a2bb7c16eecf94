"""Between Keras variables and numpy arrays, by canonical name."""

from typing import Any

import keras
import numpy as np

from mobilebert_common.model.dtypes import parse_dtype
from mobilebert_common.model.layout import Layout, from_layout, to_layout


def dtype_policy(dtype: Any) -> keras.DTypePolicy:
    """The policy of a name, such as "float32" or "mixed_bfloat16", or the policy itself."""
    if isinstance(dtype, str) and not dtype.startswith("mixed_"):
        parse_dtype(dtype)
    return dtype if isinstance(dtype, keras.DTypePolicy) else keras.DTypePolicy(dtype)


def layers_by_name(model: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """{canonical module name: layer} for all layers below a model, found by their names, whoever built them."""
    found: dict[str, keras.layers.Layer] = {}

    def walk(layer: keras.layers.Layer, prefix: str) -> None:
        for child in layer._flatten_layers(include_self=False, recursive=False):
            found[prefix + child.name] = child
            walk(child, f"{prefix}{child.name}.")

    walk(model, "")
    return found


def assign(variable: keras.Variable, array: np.ndarray, layout: Layout) -> None:
    """Put a canonical array into a variable."""
    variable.assign(to_layout(array, layout, heads=1))


def to_numpy(variable: keras.Variable, layout: Layout) -> np.ndarray:
    """The canonical array of a variable."""
    return from_layout(keras.ops.convert_to_numpy(variable), layout)

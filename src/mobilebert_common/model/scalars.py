"""Numbers of numpy, torch and TensorFlow where Python's are expected, without importing any of them."""

import operator
from typing import Any


def plain(value: Any) -> Any:
    """A Python number or text in place of a scalar, or of an array of rank 0; any other value as it is."""
    if getattr(value, "shape", None) == ():
        if hasattr(value, "item"):  # numpy, torch
            return value.item()
        return value.numpy().item() if hasattr(value, "numpy") else value  # TensorFlow, Keras
    if isinstance(value, bool | float) or not hasattr(type(value), "__index__"):
        return value
    try:
        return operator.index(value)
    except (TypeError, ValueError):  # an array of several elements
        return value

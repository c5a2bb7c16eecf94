"""What Keras lacks beside torch: layers that build their sub-layers, and activation checkpointing of one layer."""

from collections.abc import Callable
from typing import Any

import keras


class Layer(keras.layers.Layer):
    """A layer whose sub-layers know their sizes, so that building it needs no input shape and creates all variables."""

    def build(self, input_shape: Any = None) -> None:
        build_children(self)


def build_children(layer: keras.layers.Layer) -> None:
    """Build the sub-layers that are not built yet; called in `build`, so that variable paths follow the layers' names."""
    for child in layer._flatten_layers(include_self=False, recursive=False):
        if not child.built:
            child.build()


def checkpoint(layer: keras.layers.Layer) -> Callable[..., tuple[Any, ...]]:
    """Call a layer, and recompute it in the backward pass; it returns a tuple, in which None stays None."""

    def call(hidden_states: Any, *arguments: Any, **keywords: Any) -> tuple[Any, ...]:
        absent: list[bool] = []

        def present(x: Any) -> list[Any]:
            outputs = layer(x, *arguments, **keywords)
            absent[:] = [output is None for output in outputs]
            return [output for output in outputs if output is not None]

        found = iter(keras.remat(present)(hidden_states))
        return tuple(None if missing else next(found) for missing in absent)

    return call

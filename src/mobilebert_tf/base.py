"""What torch brings and Keras does not: layers that build themselves, and dropout that can be repeated."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


class Layer(keras.layers.Layer):
    """A layer whose children know their sizes: building it needs no example and makes all variables at once."""

    def build(self, input_shape: Any = None) -> None:
        build_children(self)


def build_children(layer: keras.layers.Layer) -> None:
    """Build the sub-layers that are not built yet; inside `build`, so that variable paths follow the layers' names."""
    for child in layer._flatten_layers(include_self=False, recursive=False):
        if not child.built:
            child.build()


class _GivenSeed(keras.random.SeedGenerator):
    """Hands a seed that is already drawn to a function that insists on a generator."""

    def __init__(self, seed: Any) -> None:
        self.seed = seed

    def next(self, ordered: bool = True) -> Any:
        return self.seed


def fold(seed: Any, number: int) -> Any:
    """Another seed, two integers as SeedGenerator draws them, for another place in the model; None stays None.

    The numbers along the way to a place add up to one of its own: a head's dropout 0, its base model 1; there the
    embeddings 0, layer n (from 0) 4 n; in a layer the attention 1, its output 2, the layer's output 3.
    """
    if seed is None or number == 0:
        return seed
    step = number * 0x9E3779B1 % (1 << 31)  # far apart in the first word; the generator itself counts in the second
    return seed + ops.convert_to_tensor([step, 0], dtype=seed.dtype)


def dropout(x: Any, rate: float, seed: Any) -> Any:
    """Dropout with the mask the seed stands for; none without a seed. Keras's own layer never repeats a mask."""
    return x if seed is None or rate == 0.0 else keras.random.dropout(x, rate, seed=_GivenSeed(seed))


def checkpoint(layer: keras.layers.Layer) -> Callable[..., tuple[Any, ...]]:
    """A layer that returns a tuple, such that its backward pass computes it again; what is None stays None."""

    def call(hidden_states: Any, *arguments: Any, **keywords: Any) -> tuple[Any, ...]:
        absent: list[bool] = []

        def present(x: Any) -> list[Any]:
            outputs = layer(x, *arguments, **keywords)
            absent[:] = [output is None for output in outputs]
            return [output for output in outputs if output is not None]

        found = iter(keras.remat(present)(hidden_states))
        return tuple(None if missing else next(found) for missing in absent)

    return call

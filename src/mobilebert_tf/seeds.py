"""Dropout that can be repeated: its mask is a function of a seed, and each place in a model has a seed of its own.

A model draws one seed per call. A layer hands it on with `seed_for(sub-layer, seed)`, so that a place is known by the names on
the way to it from the model that drew the seed; what that model is called, or is part of, does not matter.
"""

import zlib
from typing import Any

import keras
from keras import ops


def seed_for(layer: keras.layers.Layer, seed: Any) -> Any:
    """A seed for a sub-layer, from its name; None, which means no dropout, stays None.

    Args:
        seed: of the layer above, two integers as SeedGenerator draws them.
    """
    if seed is None:
        return None
    offset = zlib.crc32(layer.name.encode()) >> 1  # fits int32; the generator counts calls in the second integer
    return seed + ops.convert_to_tensor([offset, 0], dtype=seed.dtype)


def dropout(x: Any, rate: float, seed: Any) -> Any:
    """Dropout with the mask that the seed stands for; none without a seed. Keras's own layer never repeats a mask."""
    return x if seed is None or rate == 0.0 else keras.random.dropout(x, rate, seed=GivenSeed(seed))


class GivenSeed(keras.random.SeedGenerator):
    """Hands a seed that is already drawn to a function that insists on a generator."""

    def __init__(self, seed: Any) -> None:
        self.seed = seed

    def next(self, ordered: bool = True) -> Any:
        return self.seed

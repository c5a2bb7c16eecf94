"""Dropout that can be repeated: its mask is a function of a seed, and each place in a model has a seed of its own.

A model draws one seed per call, and each layer derives those of its sub-layers from their names. A place is thus identified by
the names on the path to it from the model that drew the seed; the names of that model and of what it is part of do not matter.
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


class Dropout(keras.layers.Dropout):
    """Keras's layer, whose mask a seed may decide; without one it draws its own, if it is training."""

    def call(self, x: Any, training: bool | None = False, seed: Any = None) -> Any:
        return super().call(x, training=training) if seed is None else dropout(x, self.rate, seed)


class GivenSeed(keras.random.SeedGenerator):
    """Passes a seed that is already drawn to a function that takes only a generator."""

    def __init__(self, seed: Any) -> None:
        self.seed = seed

    def next(self, ordered: bool = True) -> Any:
        return self.seed


def seed_generators(model: Any) -> list[keras.random.SeedGenerator]:
    """The generators of a model and of all layers in it, those of a user's own among them."""
    found = [generator for layer in model._flatten_layers() for generator in layer._seed_generators]
    return list({id(generator): generator for generator in found}.values())

"""The batch plan both twins follow: the examples of each step."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .recipe import Recipe

BUCKET = 32  # batches to sort by length together, which keeps padding low


@dataclass(frozen=True)
class Plan:
    """The examples of each step, determined by seed, epoch and step alone and so equal in both twins.

    Attributes:
        lengths: the number of tokens in each example; a batch holds examples of similar length.
    """

    lengths: Sequence[int]
    recipe: Recipe

    @property
    def steps_per_epoch(self) -> int:
        """The number of steps in an epoch; the last batch may be smaller."""
        return -(-len(self.lengths) // self.recipe.batch_size)

    @property
    def steps(self) -> int:
        """The total number of steps."""
        return self.steps_per_epoch * self.recipe.epochs

    def epoch(self, number: int) -> list[np.ndarray]:
        """The example indices for each step of an epoch."""
        size, generator = self.recipe.batch_size, np.random.default_rng([self.recipe.seed, number])
        order = generator.permutation(len(self.lengths))
        lengths = np.asarray(self.lengths)
        batches = []
        for start in range(0, len(order), size * BUCKET):
            bucket = order[start : start + size * BUCKET]
            bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
            batches += [bucket[first : first + size] for first in range(0, len(bucket), size)]
        return [batches[place] for place in generator.permutation(len(batches))]

    def generator(self, epoch: int, step: int) -> np.random.Generator:
        """A random generator for one step, for examples that draw random numbers."""
        return np.random.default_rng([self.recipe.seed, epoch, step])

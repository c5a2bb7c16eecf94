"""The plan of batches both twins follow: which examples each step sees."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .recipe import Recipe

BUCKET = 32  # batches whose examples are sorted by length together, so that little of a batch is padding


@dataclass(frozen=True)
class Plan:
    """Which examples each step sees: a function of the seed, the epoch and the step, the same for both twins.

    Attributes:
        lengths: the tokens of each example; a batch holds examples of like length.
    """

    lengths: Sequence[int]
    recipe: Recipe

    @property
    def steps_per_epoch(self) -> int:
        """The last batch of an epoch may be smaller."""
        return -(-len(self.lengths) // self.recipe.batch_size)

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.steps_per_epoch * self.recipe.epochs

    def epoch(self, number: int) -> list[np.ndarray]:
        """The example numbers of each step of an epoch."""
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
        """The random numbers of a step of an epoch, for examples that draw some."""
        return np.random.default_rng([self.recipe.seed, epoch, step])

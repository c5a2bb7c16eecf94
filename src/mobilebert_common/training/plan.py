"""The batch plan both twins follow: the examples of each step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .recipe import Recipe

BUCKET = 32  # batches to sort by length together, which keeps padding low


@dataclass(frozen=True)
class Plan:
    """The examples of each step, determined by seed, epoch and step alone and so equal in both twins.

    Attributes:
        lengths: the number of tokens in each example; a batch holds examples of similar length.
    Raises:
        DataError: there are no examples.
    """

    lengths: Sequence[int]
    recipe: Recipe

    def __post_init__(self) -> None:
        if not len(self.lengths):
            raise DataError("there are no examples to train on")

    @property
    def steps_per_epoch(self) -> int:
        """The number of steps in an epoch; the last batch may be smaller."""
        return -(-len(self.lengths) // self.recipe.batch_size)

    @property
    def steps(self) -> int:
        """The total number of steps: recipe.max_steps, or those of its epochs."""
        return self.recipe.max_steps or self.steps_per_epoch * self.recipe.epochs

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

    def batches(self, done: int = 0) -> Iterator[tuple[np.ndarray, np.random.Generator]]:
        """The example indices of each step of the training, and a random generator for them.

        Args:
            done: the number of steps to leave out, because they are done.
        """
        batches: list[np.ndarray] = []
        for number in range(done, self.steps):
            epoch, step = divmod(number, self.steps_per_epoch)
            batches = self.epoch(epoch) if step == 0 or number == done else batches
            yield batches[step], self.generator(epoch, step)

    def dropout_seed(self, done: int, place: int = 0) -> int:
        """The seed of the dropout in the step after `done` others, below 2**32. Nothing is left to remember from step to step.

        Args:
            place: of the process, or of the generator in the model.
        """
        return int(np.random.SeedSequence([self.recipe.seed, done, place]).generate_state(1)[0])

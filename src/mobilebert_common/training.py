"""What both twins train by: the recipe, the learning rate of each step, and the plan of batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

BUCKET = 32  # batches whose examples are sorted by length together, so that little of a batch is padding


@dataclass(frozen=True)
class Recipe:
    """How a model is fine-tuned, as BERT was: AdamW, linear warm-up and decay, gradients clipped by their norm.

    Attributes:
        learning_rate: at its peak, after the warm-up.
        epochs, batch_size: whole passes, examples a step.
        weight_decay: decoupled; on matrices only, not on norms and biases.
        warmup: share of all steps.
        clip: largest global norm of the gradients.
        seed: decides initial weights, dropout and the order of examples.
    """

    learning_rate: float
    epochs: int
    batch_size: int
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip: float = 1.0
    seed: int = 0

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0, of so many: a straight line up, then down to 0."""
        rising = max(1, round(self.warmup * steps))
        factor = (step + 1) / rising if step < rising else (steps - step) / max(1, steps - rising)
        return self.learning_rate * factor


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


Report = Callable[
    [int, float], None
]  # called after each step with the number of steps done and the mean loss of the epoch so far

"""The recipe both twins train by, with the learning rate of each step."""

from collections.abc import Callable
from dataclasses import dataclass

from ..model.config import MobileBertConfig
from ..model.schema import expand


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


def decayed(config: MobileBertConfig, architecture: str) -> set[str]:
    """The canonical names of the tensors that weight decay applies to: matrices, not norms and biases."""
    return {name for name, tensor in expand(config, architecture).items() if len(tensor.shape) > 1}


# called after each step with the number of steps done and the mean loss of the epoch so far
Report = Callable[[int, float], None]

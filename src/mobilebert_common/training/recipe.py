"""The training recipe of both twins: hyperparameters and the learning-rate schedule."""

from collections.abc import Callable
from dataclasses import dataclass

from ..model.config import MobileBertConfig
from ..model.schema import expand


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters for fine-tuning as in BERT: AdamW, linear warm-up and decay, gradient clipping by global norm.

    Attributes:
        learning_rate: peak rate, after the warm-up.
        epochs, batch_size: passes over the data, examples per step.
        weight_decay: decoupled; applies to matrices, not to norms and biases.
        warmup: fraction of all steps.
        clip: maximum global norm of the gradients.
        seed: determines initial weights, dropout and the order of examples.
    """

    learning_rate: float
    epochs: int
    batch_size: int
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip: float = 1.0
    seed: int = 0

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of step `step` (from 0) out of `steps`: linear warm-up, then linear decay to 0."""
        rising = max(1, round(self.warmup * steps))
        factor = (step + 1) / rising if step < rising else (steps - step) / max(1, steps - rising)
        return self.learning_rate * factor


def decayed(config: MobileBertConfig, architecture: str) -> set[str]:
    """The canonical names of the tensors with weight decay: matrices, not norms and biases."""
    return {name for name, tensor in expand(config, architecture).items() if len(tensor.shape) > 1}


# called after each step with the number of steps done and the mean loss of the current epoch
Report = Callable[[int, float], None]

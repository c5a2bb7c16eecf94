"""The training recipe of both twins: hyperparameters and the learning-rate schedule."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, brief

if TYPE_CHECKING:
    from .transfer import Transfer

ADAMW, LAMB = "adamw", "lamb"
OPTIMIZERS = (ADAMW, LAMB)


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a training as in BERT: linear warm-up and decay, gradient clipping by global norm.

    Attributes:
        learning_rate: peak rate, after the warm-up.
        epochs, batch_size: passes over the data, examples per step.
        weight_decay: decoupled; applies to matrices, not to norms and biases.
        warmup: fraction of all steps.
        clip: maximum global norm of the gradients.
        seed: determines initial weights, dropout and the order of examples.
        optimizer: "adamw" or "lamb" (arXiv:1904.00962, as in Google's MobileBERT: no bias correction, and neither decay nor trust
            ratio for norms and biases).
        epsilon: added to the root of the second moment; AdamW corrects that moment before.
        max_steps: the number of steps, whatever `epochs` says; the schedule ends there too.
        accumulation: the parts in which the examples of a step go through the model, which saves memory; the result is the same.
        bf16: compute in bfloat16 where that is safe; weights stay float32.
        gradient_checkpointing: compute activations again in the backward pass, which saves memory and takes longer.
        class_weights: the weight of each class in the loss, by class number.
        lora: the rank of LoRA adapters on queries and values. Only they and the head are trained, in PyTorch.
        transfer: what is learned from a teacher; None to train without one.
    Raises:
        ConfigError: a value is out of range.
    """

    learning_rate: float
    epochs: int = 3
    batch_size: int = 32
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip: float = 1.0
    seed: int = 0
    optimizer: str = ADAMW
    epsilon: float = 1e-6
    max_steps: int | None = None
    accumulation: int = 1
    bf16: bool = False
    gradient_checkpointing: bool = False
    class_weights: tuple[float, ...] | None = None
    lora: int | None = None
    transfer: "Transfer | None" = None

    def __post_init__(self) -> None:
        for name in ("learning_rate", "clip", "epsilon"):
            require_number(name, getattr(self, name), lambda value: 0 < value < math.inf, "more than 0, and finite")
        for name in ("epochs", "batch_size", "accumulation", "max_steps", "lora"):
            if (value := getattr(self, name)) is not None:
                require_number(name, value, is_whole, "a whole number from 1")
        require_number("weight_decay", self.weight_decay, lambda value: 0 <= value < math.inf, "from 0, and finite")
        require_number("warmup", self.warmup, lambda value: 0 <= value <= 1, "from 0 to 1")
        for number, weight in enumerate(self.class_weights or ()):
            require_number(f"the weight of class {number}", weight, lambda value: 0 <= value < math.inf, "from 0, and finite")
        if self.class_weights is not None and not any(self.class_weights):
            raise ConfigError("class_weights must not all be 0: nothing would be learned")
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(f"optimizer must be {' or '.join(OPTIMIZERS)}, not {brief(self.optimizer)}")
        if self.transfer is not None and self.lora is not None:
            raise ConfigError("LoRA adapters cannot learn from a teacher: leave out lora")

    def rate(self, step: int, steps: int, by_layer: bool = False) -> float:
        """The learning rate of step `step` (from 0) out of `steps`: linear warm-up, then linear decay to 0.

        Args:
            by_layer: Google's schedule of a phase that compares layers instead: up in the first tenth, then down to 0.9 along a root.
        """
        if by_layer:
            share = (step + 1) / steps
            return self.learning_rate * min(0.9 + 0.1 * math.sqrt(1 - share), 10 * share)
        rising = max(1, round(self.warmup * steps))
        factor = (step + 1) / rising if step < rising else (steps - step) / max(1, steps - rising)
        return self.learning_rate * factor


def is_whole(value: float) -> bool:
    """Whether it is a whole number from 1."""
    return value >= 1 and value.is_integer()


def require_number(name: str, value: Any, holds: Callable[[float], bool], range_: str) -> None:
    """Require a number in a range.

    Raises:
        ConfigError: it is no number, or outside.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not holds(float(value)):
        raise ConfigError(f"{name} must be {range_}, not {brief(value)}")

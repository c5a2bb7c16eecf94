"""The interface between the shared code and a framework."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..errors import CheckpointError, shortened
from ..files.folder import Folder
from ..model.config import MobileBertConfig
from ..tasks.examples import Examples
from .recipe import Recipe


class State(NamedTuple):
    """What training goes on from exactly, after a step. All else follows from the recipe and the number of the step.

    Attributes:
        done: the number of steps that are done.
        weights: {canonical name: array}, with LoRA adapters merged.
        exp_avg, exp_avg_sq: the optimizer's two moments of the weights that its phase trains, likewise.
        adapters: LoRA adapters and the weights they adapt, by their names in PyTorch.
        scaler: the state of the loss scaling of float16.
    """

    done: int
    weights: Mapping[str, np.ndarray]
    exp_avg: Mapping[str, np.ndarray]
    exp_avg_sq: Mapping[str, np.ndarray]
    adapters: Mapping[str, np.ndarray]
    scaler: Mapping[str, float]


Capture = Callable[[], State]

# called after each step with the number of steps done, the loss of that step, and what gives the state; True ends the training
Watch = Callable[[int, float, Capture], bool]


def require_shapes(title: str, found: Mapping[str, np.ndarray], expected: Mapping[str, Sequence[int]]) -> None:
    """Require the tensors of a state to be those of the model.

    Args:
        expected: {name: shape}.
    Raises:
        CheckpointError: names or shapes differ.
    """
    wrong = [f"{name} is missing" for name in expected if name not in found]
    for name, array in found.items():
        if name not in expected:
            wrong.append(f"{name} is not in the model")
        elif array.shape != tuple(expected[name]):
            wrong.append(f"{name} is {list(array.shape)}, not {list(expected[name])}")
    if wrong:
        raise CheckpointError(title, f"does not fit the model: {shortened(wrong)}")


class Twin(Protocol):
    """What each twin's module `twin` provides to jobs, commands and tokenizers.

    `architecture` is a name in ARCHITECTURES; a model is an instance of the twin's class for it.
    """

    def tensor(self, array: Any) -> Any:
        """Convert a numpy array to the framework's tensor."""

    def create(self, config: MobileBertConfig, architecture: str, seed: int) -> Any:
        """Create a model with fresh weights."""

    def load(self, directory: str | Path | Folder, architecture: str, dtype: str = "float32", **overrides: Any) -> Any:
        """Load a model from a checkpoint directory."""

    def train(
        self, model: Any, examples: Examples, recipe: Recipe, watch: Watch, state: State | None = None, teacher: Any = None
    ) -> None:
        """Train a model in place, from the first step or from a state.

        Args:
            examples: with labels.
            watch: called after each step; returns True to end the training. It may call `infer` and `tensors`.
            teacher: a model of the same class, to learn from as `recipe.transfer` says.
        Raises:
            CheckpointError: the state does not fit the model.
            ConfigError: the recipe does not fit the model or the framework.
            DivergedError: a loss or a gradient is not finite; the model has the weights from before that step.
        """

    def outputs(self, model: Any, batch: Mapping[str, np.ndarray], **switches: bool) -> dict[str, np.ndarray]:
        """Run a model on a batch and return {name: output}, with numbered hidden states and attentions."""

    def infer(self, model: Any, batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
        """Run a model on one batch after the other and yield {name: output} for each; compiled where that is faster."""

    def fold(self, model: Any, dtype: str | None = None, quantize: str | None = None) -> Any:
        """Return a copy of a model for inference, the fastest for this machine.

        Args:
            dtype: of the computations; default: the model's.
            quantize: "int8", or None.
        Raises:
            ConfigError: the framework does not have the dtype or the quantization.
        """

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Return a model's weights as {canonical name: array}, which may share the model's memory; LoRA adapters are merged."""

    def set_tensors(self, model: Any, tensors: Mapping[str, np.ndarray]) -> None:
        """Set some of a model's weights, {canonical name: array}; not while LoRA adapters train."""

    def set_threads(self, count: int) -> None:
        """Compute in so many threads, in this whole process.

        Raises:
            ConfigError: it is too late for that.
        """

    def devices(self, count: int | None) -> AbstractContextManager[None]:
        """Use several devices for what is created and trained in the block.

        Args:
            count: of this machine; None for one, or for what a launcher of processes has arranged.
        Raises:
            ConfigError: the framework cannot do it like this; the message says how it can.
        """

    def largest(self, values: Sequence[float]) -> list[float]:
        """The largest of each value over all processes, which all call this; those of this process if it is alone."""

"""The interface between the shared code and a framework."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..files.folder import Folder
from ..model.config import MobileBertConfig
from ..tasks.examples import Examples
from .recipe import Recipe, Watch


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

    def train(self, model: Any, examples: Examples, recipe: Recipe, watch: Watch) -> None:
        """Train a model in place.

        Args:
            examples: with labels.
            watch: called after each step; returns True to end the training. It may call `infer` and `snapshot`.
        Raises:
            ConfigError: the recipe does not fit the model or the framework.
            DivergedError: a loss or a gradient is not finite; the model has the weights from before that step.
        """

    def outputs(self, model: Any, batch: Mapping[str, np.ndarray], **switches: bool) -> dict[str, np.ndarray]:
        """Run a model on a batch and return {name: output}, with numbered hidden states and attentions."""

    def infer(self, model: Any, batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
        """Run a model on one batch after the other and yield {name: output} for each; compiled where that is faster."""

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """Return a model's weights as {canonical name: array}."""

    def set_tensors(self, model: Any, tensors: Mapping[str, np.ndarray]) -> None:
        """Set some of a model's weights, {canonical name: array}."""

    def snapshot(self, model: Any) -> Any:
        """Copy a model's weights for `restore`; LoRA adapters are merged in the copy."""

    def restore(self, model: Any, snapshot: Any) -> None:
        """Set a model's weights to those of a snapshot; not while LoRA adapters train."""

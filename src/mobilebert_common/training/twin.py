"""What the shared code asks of either framework."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..model.config import MobileBertConfig
from ..tasks.classification import Examples
from .recipe import Recipe, Report


class Twin(Protocol):
    """What either framework's package offers to the command line, the tasks and the tokenizers, in its module `twin`.

    `architecture` is a class name of the PyTorch twin, as in schema.ARCHITECTURES; a model is an instance of the twin's class for it.
    """

    def tensor(self, array: Any) -> Any:
        """A numpy array as the framework's tensor."""

    def create(self, config: MobileBertConfig, architecture: str, seed: int) -> Any:
        """A model with fresh weights."""

    def load(self, directory: str | Path, architecture: str, dtype: str = "float32", **overrides: Any) -> Any:
        """A model from a checkpoint directory."""

    def train(self, model: Any, examples: Examples, recipe: Recipe, report: Report) -> None:
        """Fine-tune a model in place."""

    def predict(self, model: Any, batches: Iterable[Mapping[str, np.ndarray]]) -> np.ndarray:
        """The logits of all batches, one row an example."""

    def outputs(self, model: Any, batch: Mapping[str, np.ndarray], **switches: bool) -> dict[str, np.ndarray]:
        """Everything a model returns for a batch, hidden states and attentions numbered."""

"""What the shared code asks of either framework."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..files.folder import Folder
from ..model.config import MobileBertConfig
from ..tasks.examples import Examples
from .recipe import Recipe, Report


class Twin(Protocol):
    """What either framework's package offers to jobs, commands and tokenizers, in its module `twin`.

    `architecture` is a class name of the PyTorch twin, as in ARCHITECTURES; a model is an instance of the twin's class for it.
    """

    def tensor(self, array: Any) -> Any:
        """A numpy array as the framework's tensor."""

    def create(self, config: MobileBertConfig, architecture: str, seed: int) -> Any:
        """A model with fresh weights."""

    def load(self, directory: str | Path | Folder, architecture: str, dtype: str = "float32", **overrides: Any) -> Any:
        """A model from a checkpoint directory."""

    def train(self, model: Any, examples: Examples, recipe: Recipe, report: Report) -> None:
        """Fine-tune a model in place."""

    def outputs(self, model: Any, batch: Mapping[str, np.ndarray], **switches: bool) -> dict[str, np.ndarray]:
        """Everything a model returns for a batch, hidden states and attentions numbered."""

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """{canonical name: array} of a model's weights."""

"""The one door from the shared code to a framework."""

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from .config import MobileBertConfig
from .optional import install
from .tasks.classification import Examples
from .training import Recipe, Report

# name -> package, and what people call the framework
FRAMEWORKS = {"pt": ("mobilebert_pt", "PyTorch"), "tf": ("mobilebert_tf", "Keras")}
LIBRARIES = ("torch", "tensorflow", "keras", "optree")


class Twin(Protocol):
    """What either framework's package offers to the command line, the tasks and the tokenizers, in its module `twin`.

    `head` is a class name of the PyTorch twin, as in schema.HEADS; a model is an instance of the twin's class for it.
    """

    def tensor(self, array: Any) -> Any:
        """A numpy array as the framework's tensor."""

    def create(self, config: MobileBertConfig, head: str, seed: int) -> Any:
        """A model with fresh weights."""

    def load(self, directory: str | Path, head: str, dtype: str = "float32", **overrides: Any) -> Any:
        """A model from a checkpoint directory."""

    def train(self, model: Any, examples: Examples, recipe: Recipe, report: Report) -> None:
        """Fine-tune a model in place."""

    def predict(self, model: Any, batches: Iterable[Mapping[str, np.ndarray]]) -> np.ndarray:
        """The logits of all batches, one row an example."""

    def outputs(self, model: Any, batch: Mapping[str, np.ndarray], **switches: bool) -> dict[str, np.ndarray]:
        """Everything a model returns for a batch, hidden states and attentions numbered."""


def twin(framework: str) -> Twin:
    """Import a twin, mobilebert_pt or mobilebert_tf.

    Args:
        framework: "pt" or "tf".
    Raises:
        ValueError: another name.
        ImportError: the framework is not installed; the message holds the command that installs it.
    """
    if framework not in FRAMEWORKS:
        raise ValueError(f"framework must be one of {', '.join(FRAMEWORKS)}, not {framework!r}")
    package, title = FRAMEWORKS[framework]
    try:
        return cast(Twin, importlib.import_module(f"{package}.twin"))
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in LIBRARIES:
            raise
        raise ImportError(f"{title} is not installed: {install(framework)}") from error

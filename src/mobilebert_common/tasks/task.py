"""The protocol of a task, and the table of tasks.

A task is a module with the functions of `Task`: a data format, its features, its architecture, its metric and its predictions.
To add one, write a module beside this one and add a row to TASKS; training, evaluation, prediction and the command line use it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import ConfigError
from ..model.architectures import named_architecture
from ..model.config import MobileBertConfig
from . import classification
from .examples import Examples
from .tables import Columns


class Data(Protocol):
    """The examples of a data file, in the task's own form."""

    @property
    def path(self) -> Path:
        """The file's path, for errors."""

    def __len__(self) -> int: ...


class Task(Protocol):
    """What training, evaluation and prediction need from a task; `data` is a result of its own `read`."""

    @property
    def ARCHITECTURE(self) -> str:  # a constant of the module
        """Its model class, a name in ARCHITECTURES."""

    def read(self, path: Path, columns: Columns, encoding: str) -> Any:
        """Read a data file, with labels if columns.label is set.

        Raises:
            DataError: the file cannot be used; the message gives the file and the line.
        """

    def from_texts(self, texts: Sequence[str]) -> Any:
        """Make unlabelled data from texts.

        Raises:
            ConfigError: an example of this task is more than one text.
        """

    def texts(self, data: Any) -> list[str]:
        """All texts, for learning a vocabulary."""

    def split(self, data: Any, fraction: float, seed: int) -> tuple[Any, Any]:
        """Split the data into a training and a validation part.

        Raises:
            DataError: a part would be too small.
        """

    def settings(self, data: Any, stored: MobileBertConfig | None) -> dict[str, Any]:
        """Configuration keys that depend on the training data, such as id2label.

        Args:
            stored: the configuration of the checkpoint training starts from; None for fresh weights.
        """

    def make_examples(self, data: Any, tokenizer: Any, config: MobileBertConfig, max_length: int) -> Examples:
        """Tokenize the data, including labels if it has them.

        Raises:
            DataError: the model does not have one of the labels.
        """

    def predict(
        self, data: Any, examples: Examples, outputs: Iterable[Mapping[str, np.ndarray]], config: MobileBertConfig
    ) -> dict[str, list[Any]]:
        """Compute predictions as columns with one value per example of the data.

        Args:
            outputs: the model's outputs for the rows of `examples` in order, batch by batch.
        """

    def inputs(self, data: Any) -> dict[str, list[Any]]:
        """The columns to write beside the predictions; a terminal shows only the first."""

    def evaluate(self, data: Any, predictions: Mapping[str, Sequence[Any]]) -> tuple[dict[str, float], dict[str, list[Any]]]:
        """Compute {title: metric from 0 to 1} for labelled data, and return it with columns of labels and predictions."""


TASKS: dict[str, Task] = {
    "classification": classification,
}
DEFAULT = "classification"


def task_of(config: MobileBertConfig, name: str | None = None) -> Task:
    """Find the task of a checkpoint: the one named, or the first one for the checkpoint's architecture.

    Raises:
        ConfigError: the name is unknown, or the task or tasks need another architecture.
    """
    architecture = named_architecture(config)
    if name is not None and name not in TASKS:
        raise ConfigError(f"task must be one of {', '.join(TASKS)}, not {name!r}")
    candidates = [TASKS[name]] if name is not None else [TASKS[DEFAULT], *TASKS.values()]
    if architecture is None and not config.architectures:
        return candidates[0]
    if fitting := [task for task in candidates if architecture == task.ARCHITECTURE]:
        return fitting[0]
    wanted = " or ".join(dict.fromkeys(task.ARCHITECTURE for task in candidates))
    raise ConfigError(f"holds {', '.join(config.architectures or [])}, not a {wanted}")

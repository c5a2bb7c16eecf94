"""What a task is, and the table of tasks.

A task is a module with the functions of `Task`: a data format, its features, its architecture, its metric and its predictions.
A new one is a module beside this one and a row in TASKS; training, evaluation, prediction and the command line go by that row.
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
    """The examples of a data file, as the task keeps them."""

    @property
    def path(self) -> Path:
        """The file, for errors."""

    def __len__(self) -> int: ...


class Task(Protocol):
    """What training, evaluation and prediction ask of a task; `data` is what its own `read` returned."""

    @property
    def ARCHITECTURE(self) -> str:  # a constant of the module
        """The class name of its model, as in ARCHITECTURES."""

    def read(self, path: Path, columns: Columns, encoding: str) -> Any:
        """Read a data file; labels only where a column is named for them.

        Raises:
            DataError: with the file and the line.
        """

    def from_texts(self, texts: Sequence[str]) -> Any:
        """Unlabelled data made of texts.

        Raises:
            ConfigError: the task needs more than a text.
        """

    def texts(self, data: Any) -> list[str]:
        """All texts, to learn a vocabulary from."""

    def split(self, data: Any, fraction: float, seed: int) -> tuple[Any, Any]:
        """A training and a validation part.

        Raises:
            DataError: a part would be too small.
        """

    def settings(self, data: Any, stored: MobileBertConfig | None) -> dict[str, Any]:
        """Keys of the configuration that the training data decide, such as id2label.

        Args:
            stored: of the checkpoint that training starts from, if it starts from one.
        """

    def make_examples(self, data: Any, tokenizer: Any, config: MobileBertConfig, max_length: int) -> Examples:
        """Tokenize the data; with labels where it has them.

        Raises:
            DataError: a label that the model does not know.
        """

    def predict(
        self, data: Any, examples: Examples, outputs: Iterable[Mapping[str, np.ndarray]], config: MobileBertConfig
    ) -> dict[str, list[Any]]:
        """The predictions as columns, a value for each example of the data.

        Args:
            outputs: what the model returned for the rows of `examples`, in their order, batch by batch.
        """

    def inputs(self, data: Any) -> dict[str, list[Any]]:
        """The columns that stand beside the predictions in a file of results; the first one is shown on a terminal."""

    def evaluate(self, data: Any, predictions: Mapping[str, Sequence[Any]]) -> tuple[dict[str, float], dict[str, list[Any]]]:
        """The metrics of labelled data by their titles, as shares of 1, and what was expected beside what was predicted."""


TASKS: dict[str, Task] = {
    "classification": classification,
}
DEFAULT = "classification"


def task_of(config: MobileBertConfig, name: str | None = None) -> Task:
    """The task of a checkpoint: the one asked for, or the first one of the architecture it names.

    Raises:
        ConfigError: the checkpoint is of another architecture, or no task has it.
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

"""What a task is: a data format with its features, architecture, metric and predictions."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from ..errors import ConfigError, DataError, counted
from ..model.config import MobileBertConfig
from .examples import Examples
from .metrics import Scores
from .records import UTF8
from .results import write_columns
from .tables import Columns

Outputs = Iterable[Mapping[str, np.ndarray]]  # of the model, batch by batch


class Data(Protocol):
    """The examples of a data source, in the task's own form."""

    @property
    def path(self) -> Path:
        """The file's path, for errors."""

    @property
    def columns(self) -> Columns:
        """The names of the columns that were read."""

    @property
    def encoding(self) -> str:
        """In which results about the data are written."""

    @property
    def labels(self) -> Sequence[Any] | None:
        """What is to be predicted for each example; None if it was not read."""

    def __len__(self) -> int: ...

    def take(self, rows: Iterable[int]) -> Any:
        """Some of the examples."""

    def kept(self) -> dict[str, list[Any]]:
        """The columns to write beside predictions, one value for each example."""


@dataclass(frozen=True)
class Lengths:
    """Lengths in tokens, and what else decides how examples are made and answers are chosen.

    Attributes:
        max_length: of a row, special tokens included.
        stride: how far the windows of a long text are apart (question answering).
        max_question, max_answer: longer questions are cut, longer answers are not considered.
        n_best: the number of answers to consider for each question.
        null_threshold: there is no answer if the score of that exceeds the best answer's by more than this; None if the model was
            trained on questions with answers only.
        whole_words: mask whole words (pre-training).
        dupes: how often each document is divided into pairs of segments, differently each time (pre-training).
        seed: for these pairs, and for the words that are masked in evaluation.
    """

    max_length: int = 128
    stride: int = 128
    max_question: int = 64
    max_answer: int = 30
    n_best: int = 20
    null_threshold: float | None = None
    whole_words: bool = False
    dupes: int = 10
    seed: int = 0


@dataclass(frozen=True)
class Predictions:
    """What a model says of each example of the data.

    Attributes:
        columns: {title: values}, as they are printed and written.
        details: further columns, such as the probability of each label, for those who ask for all.
        losses: how far the model is from the label of each example, the largest for the worst; None without labels.
        found: what `Task.evaluate` needs, in the task's own form.
    """

    columns: dict[str, list[Any]]
    details: dict[str, list[Any]] = field(default_factory=dict)
    losses: list[float] | None = None
    found: Any = None


class Task(ABC):
    """What training, evaluation and prediction need from a task; `data` is a result of its own `read`."""

    name: ClassVar[str]
    architecture: ClassVar[str]  # its model class, a name in ARCHITECTURES
    lengths: ClassVar[Lengths] = Lengths()  # by default
    suffixes: ClassVar[tuple[str, ...]] = ()  # of result files, besides those of tables
    unit: ClassVar[str] = "example"  # what data count
    has_classes: ClassVar[bool] = False  # whether each label is one of several that the loss can weigh

    @abstractmethod
    def read(
        self, source: Any, columns: Columns | None = None, encoding: str = UTF8, *, labelled: bool = True, known: str = ""
    ) -> Any:
        """Read a data file, or take data in memory; see `records.read_records`.

        Args:
            labelled: read the labels, too.
            known: who says that the columns are there, as text for an error.
        Raises:
            DataError: the data cannot be used; the message gives the file and the line.
        """

    def from_texts(self, texts: Sequence[str]) -> Any:
        """Make unlabelled data from texts.

        Raises:
            ConfigError: an example of this task is more than one text.
        """
        raise ConfigError(f"an example for {self.name} is more than one text: give a file")

    @abstractmethod
    def texts(self, data: Any) -> list[str]:
        """All texts, for learning a vocabulary."""

    def shown(self, data: Any) -> list[str]:
        """One line for each example, for terminals and reports."""
        return self.texts(data)

    def split(self, data: Any, fraction: float, seed: int) -> tuple[Any, Any]:
        """Split the data into a training and a validation part.

        Raises:
            DataError: a part would be empty.
        """
        held_out = round(fraction * len(data))
        if not 0 < held_out < len(data):
            reason = f"{counted(len(data), self.unit)} {'is' if len(data) == 1 else 'are'} too few"
            raise DataError(f"{data.path}: cannot be split into training and validation: {reason}; pass a --validation file")
        order = np.random.default_rng(seed).permutation(len(data))
        return data.take(np.sort(order[held_out:]).tolist()), data.take(np.sort(order[:held_out]).tolist())

    @abstractmethod
    def settings(self, data: Any, stored: MobileBertConfig | None) -> dict[str, Any]:
        """Configuration keys that depend on the training data, such as id2label.

        Args:
            stored: the configuration of the checkpoint training starts from; None for fresh weights.
        """

    def lengths_for(self, data: Any, lengths: Lengths) -> Lengths:
        """What to remember as lengths of a model that is trained on the data; `lengths` themselves, if the data do not matter."""
        return lengths

    def lengths_without_memory(self, length: int) -> Lengths:
        """The lengths for a model that remembers none, whose tokenizer is for texts of so many tokens: nothing shorter is cut."""
        return replace(self.lengths, max_length=length)

    def cut(self, lengths: Lengths) -> str:
        """Why examples are truncated, for a line of text."""
        return f"longer than {lengths.max_length} tokens"

    @abstractmethod
    def make_examples(self, data: Any, tokenizer: Any, config: MobileBertConfig, lengths: Lengths) -> Examples:
        """Tokenize the data, including labels if it has them.

        Raises:
            DataError: there is nothing to learn from, or the model does not have one of the labels.
        """

    @abstractmethod
    def predict(self, data: Any, examples: Examples, outputs: Outputs, config: MobileBertConfig, lengths: Lengths) -> Predictions:
        """Compute predictions for each example of the data.

        Args:
            outputs: the model's outputs for the rows of `examples` in order, batch by batch.
        Raises:
            DataError: the model's outputs are NaN or infinite.
        """

    @abstractmethod
    def evaluate(self, data: Any, predictions: Predictions, config: MobileBertConfig) -> Scores:
        """Compute the metrics of predictions for labelled data."""

    @abstractmethod
    def titles(self, config: MobileBertConfig) -> tuple[str, ...]:
        """The titles of the metrics that can choose the best model."""

    def labels(self, data: Any) -> dict[str, list[Any]]:
        """The labels of the data as columns, to be written beside predictions; those of several columns are kept with the data."""
        name = data.columns.label
        return {name if isinstance(name, str) else "label": list(data.labels or [])}

    def label_counts(self, data: Any) -> Counter[str]:
        """How often the data have each label, those in lists included."""
        rows = ([label] if isinstance(label, str) else label for label in data.labels or ())
        return Counter(label for row in rows if isinstance(row, list | tuple) for label in row if isinstance(label, str))

    def survey(self, data: Any, seen: Any = None) -> Any:
        """What the windows of a large file must know of each other: what is known from those before, and from one more.

        Raises:
            DataError: windows contradict each other.
        """
        return seen

    def adapt(self, data: Any, seen: Any, start: int) -> Any:
        """A window with what `survey` found in all of them.

        Args:
            start: the number of examples before it.
        Raises:
            DataError: the file cannot be used.
        """
        return data

    def table(self, path: Path, data: Any, columns: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
        """The columns of a table of results about data, in the form that goes with its suffix."""
        return columns

    def write(self, path: Path, data: Any, columns: Mapping[str, Sequence[Any]]) -> None:
        """Write results about data in the data's encoding; see `results.write_columns`."""
        write_columns(path, self.table(path, data, columns), data.encoding)


def beside_data(
    data: Data, predictions: Predictions, every: bool, labels: Mapping[str, Sequence[Any]] | None = None
) -> dict[str, Sequence[Any]]:
    """The columns of the data, then labels and predictions; columns of the data that earlier predictions left are replaced.

    Args:
        every: with all details.
    Raises:
        DataError: a column of labels has the name of a column of predictions.
    """
    ours = {**predictions.columns, **predictions.details}
    if taken := [name for name in labels or () if name in ours]:
        raise DataError(f"{data.path}: the labels are in the column {taken[0]!r}, where predictions are written: rename it")
    kept = {name: cells for name, cells in data.kept().items() if name not in ours}
    return {**kept, **(labels or {}), **predictions.columns, **(predictions.details if every else {})}


def joined(outputs: Outputs, name: str, data: Data) -> np.ndarray:
    """One output of all batches in float64, [rows ...].

    Raises:
        DataError: it is NaN or infinite.
    """
    scores = np.concatenate([output[name] for output in outputs]).astype(np.float64)
    if broken := np.flatnonzero(~np.isfinite(scores).reshape(len(scores), -1).all(axis=-1)).tolist():
        count = f"{len(broken):,} texts, the first is {place(data, broken[0])}"
        raise DataError(f"{data.path}: the model's outputs are not finite for {count}")
    return scores


def place(data: Data, row: int, noun: str = "number") -> str:
    """Which of the texts one is, for an error: by its line in a window of a file, whose own numbers mean nothing."""
    records = getattr(data, "records", None)
    return f"{noun} {row + 1}" if records is None or records.whole is None else f"in {records.place(row)}"


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The logarithms of the probabilities that logits stand for, over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))

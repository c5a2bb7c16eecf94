"""Sentence and sentence-pair classification: labels, features, metrics and predictions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from ..optional import needs
from .tables import Table

HEAD = "MobileBertForSequenceClassification"


@dataclass(frozen=True)
class Examples:
    """Tokenized examples.

    Attributes:
        input_ids, token_type_ids: a list of ids for each example, special tokens included.
        labels: [examples] class numbers, or None.
        pad_token_id: fills short rows of a batch.
    """

    input_ids: list[list[int]]
    token_type_ids: list[list[int]]
    labels: np.ndarray | None
    pad_token_id: int

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> list[int]:
        """The number of tokens of each example."""
        return [len(ids) for ids in self.input_ids]

    def batch(self, rows: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """Some examples as arrays [b t] of int64, padded on the right to the longest; labels [b] if there are any."""
        width = max(len(self.input_ids[row]) for row in rows)
        shape = (len(rows), width)
        arrays = {
            "input_ids": np.full(shape, self.pad_token_id, np.int64),
            "attention_mask": np.zeros(shape, np.int64),
            "token_type_ids": np.zeros(shape, np.int64),
        }
        for place, row in enumerate(rows):
            length = len(self.input_ids[row])
            arrays["input_ids"][place, :length] = self.input_ids[row]
            arrays["attention_mask"][place, :length] = 1
            arrays["token_type_ids"][place, :length] = self.token_type_ids[row]
        if self.labels is not None:
            arrays["labels"] = self.labels[np.asarray(rows)]
        return arrays

    def ordered_batches(self, size: int) -> Iterator[dict[str, np.ndarray]]:
        """All examples in order, without labels."""
        for start in range(0, len(self), size):
            arrays = self.batch(range(start, min(start + size, len(self))))
            arrays.pop("labels", None)
            yield arrays


def label_names(labels: Sequence[str]) -> dict[int, str]:
    """{class number: label} in order: numbers by value, words by alphabet."""

    def order(label: str) -> tuple[bool, float, str]:
        try:
            return False, float(label), label
        except ValueError:
            return True, 0.0, label

    names = dict(enumerate(sorted(set(labels), key=order)))
    if len(names) < 2:
        raise DataError(f"a classifier needs at least two labels, and all rows say {names[0]!r}")
    return names


def make_examples(table: Table, tokenizer: Any, id2label: dict[int, str], max_length: int) -> Examples:
    """Tokenize a table; longer texts are cut, the longer one of a pair first.

    Raises:
        DataError: a label that id2label does not have.
    """
    encoded = tokenizer(table.texts, table.pairs, truncation=True, max_length=max_length)
    labels = None if table.labels is None else label_numbers(table, id2label)
    return Examples(encoded["input_ids"], encoded["token_type_ids"], labels, tokenizer.pad_token_id)


def label_numbers(table: Table, id2label: dict[int, str]) -> np.ndarray:
    """The class numbers of a labelled table.

    Raises:
        DataError: a label that id2label does not have.
    """
    labels = table.labels or []
    numbers = {label: number for number, label in id2label.items()}
    if unseen := sorted(set(labels) - set(numbers)):
        raise DataError(
            f"{table.path}: has labels unseen in training: {', '.join(map(repr, unseen[:10]))}; "
            f"known are {', '.join(map(repr, numbers))}"
        )
    return np.array([numbers[label] for label in labels])


def split(table: Table, fraction: float, seed: int) -> tuple[Table, Table]:
    """A training and a validation part with the same share of each label.

    Raises:
        DataError: a label with a single example, or a part too small to hold every label.
    """
    with needs("cli"):
        from sklearn.model_selection import train_test_split
    try:
        parts = train_test_split(
            np.arange(len(table.texts)), test_size=fraction, random_state=seed, stratify=table.labels
        )
    except ValueError as error:
        raise DataError(
            f"{table.path}: cannot be split into training and validation by label: {error}; give --validation a file"
        ) from None

    def take(rows: np.ndarray) -> Table:
        def chosen(column: list[str] | None) -> list[str] | None:
            return None if column is None else [column[row] for row in rows]

        texts = chosen(table.texts)
        assert texts is not None
        return Table(table.path, texts, chosen(table.pairs), chosen(table.labels))

    return take(np.sort(parts[0])), take(np.sort(parts[1]))


def metrics(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Accuracy, and F1 averaged over the labels with equal weight (macro)."""
    with needs("cli"):
        from sklearn.metrics import accuracy_score, f1_score
    return {
        "accuracy": float(accuracy_score(labels, predictions)),
        "f1": float(f1_score(labels, predictions, average="macro", zero_division=0)),
    }


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))

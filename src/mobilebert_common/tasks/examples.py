"""Tokenized examples: ragged columns, padded batch by batch."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

PIECE = 10_000  # rows to hash at once
TOKENS = "input_ids"  # the column that determines the length of a row


@dataclass(frozen=True)
class Examples:
    """The model's inputs for a data file, row by row. A task that draws random numbers, e.g. words to mask, overrides `batch`.

    Attributes:
        columns: {model argument: one value per row}; a value is a number or lists of numbers, ragged at any depth.
        fillers: {model argument: padding value}; default 0.
        sources: for each row, the index of its example in the data file; a long example may give several rows.
        truncated: the indices of the examples that lost some of their text.
        dropped: {reason: indices of the examples that are not trained on}; they may have rows, for prediction.
        extras: what the task needs to understand the model's outputs, one value per row.
    """

    columns: Mapping[str, Sequence[Any]]
    fillers: Mapping[str, int]
    sources: Sequence[int]
    truncated: Sequence[int] = ()
    dropped: Mapping[str, Sequence[int]] = field(default_factory=dict)
    extras: Sequence[Any] = ()

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def lengths(self) -> list[int]:
        """The number of tokens in each row; with several choices, in the longest one."""
        return [max(map(len, row)) if isinstance(row[0], list) else len(row) for row in self.columns[TOKENS]]

    def digest(self) -> str:
        """The SHA-256 of all that training sees of the rows."""
        found = hashlib.sha256(json.dumps([dict(self.fillers), list(self.columns)]).encode())
        for column in self.columns.values():
            for start in range(0, len(column), PIECE):
                piece = json.dumps(list(column[start : start + PIECE]), default=lambda value: value.tolist())
                found.update(piece.encode())
        return found.hexdigest()

    def without(self, names: Collection[str]) -> "Examples":
        """Return the examples without some columns, such as labels."""
        return replace(self, columns={name: column for name, column in self.columns.items() if name not in names})

    def trainable(self) -> "Examples":
        """Return the rows of the examples that are not dropped."""
        dropped = {number for numbers in self.dropped.values() for number in numbers}
        rows = [row for row, source in enumerate(self.sources) if source not in dropped]
        if len(rows) == len(self):
            return self
        columns = {name: [column[row] for row in rows] for name, column in self.columns.items()}
        extras = [self.extras[row] for row in rows] if len(self.extras) else self.extras
        return replace(self, columns=columns, sources=[self.sources[row] for row in rows], extras=extras)

    def batch(self, rows: Sequence[int] | np.ndarray, generator: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """Return some rows as arrays [b ...], padded at the end to the longest row.

        Args:
            generator: random numbers that depend on the training step only; None outside training.
        """
        return {
            name: padded([column[row] for row in rows], self.fillers.get(name, 0)) for name, column in self.columns.items()
        }

    def ordered(self, size: int) -> Iterator[dict[str, np.ndarray]]:
        """Iterate over all rows in order, in batches of `size`."""
        for start in range(0, len(self), size):
            yield self.batch(range(start, min(start + size, len(self))))


def padded(values: Sequence[Any], filler: int = 0) -> np.ndarray:
    """Pad numbers, or lists of them ragged at any depth, to one array; integers become int64.

    >>> padded([[1, 2], [3]], 9).tolist()
    [[1, 2], [3, 9]]
    """
    if not len(values) or not isinstance(values[0], Sequence | np.ndarray):
        return np.asarray(values) if len(values) else np.zeros(0, np.int64)
    rows = [padded(value, filler) for value in values]
    array = np.full((len(rows), *np.max([row.shape for row in rows], axis=0)), filler, np.result_type(*rows))
    for place, row in enumerate(rows):
        array[place][tuple(slice(length) for length in row.shape)] = row
    return array

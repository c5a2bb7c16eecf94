"""Tokenized examples: ragged columns that become padded arrays, a batch at a time."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

TOKENS = "input_ids"  # the column whose lists say how long a row is


@dataclass(frozen=True)
class Examples:
    """What a model sees of a data file, row by row. A task that draws random numbers, such as which words to mask, overrides `batch`.

    Attributes:
        columns: {argument of the model: a value for each row}: numbers, or lists of them, ragged at any depth.
        fillers: {argument: what its short lists are filled up with}; 0 where it is not named.
        sources: the example of the data file that each row is from; a long one may give several rows.
    """

    columns: Mapping[str, Sequence[Any]]
    fillers: Mapping[str, int]
    sources: Sequence[int]

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def lengths(self) -> list[int]:
        """The tokens of each row; of several choices, those of the longest."""
        return [max(map(len, row)) if isinstance(row[0], list) else len(row) for row in self.columns[TOKENS]]

    def without(self, names: Collection[str]) -> "Examples":
        """The same without some columns, such as the labels."""
        return replace(self, columns={name: column for name, column in self.columns.items() if name not in names})

    def batch(self, rows: Sequence[int] | np.ndarray, generator: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """Some rows as arrays, [b ...], whose lists are filled up at the end to the longest.

        Args:
            generator: a source of random numbers that depends on the step alone; None where nothing is learned.
        """
        return {
            name: padded([column[row] for row in rows], self.fillers.get(name, 0)) for name, column in self.columns.items()
        }

    def ordered(self, size: int) -> Iterator[dict[str, np.ndarray]]:
        """All rows in order, so many at a time."""
        for start in range(0, len(self), size):
            yield self.batch(range(start, min(start + size, len(self))))


def padded(values: Sequence[Any], filler: int = 0) -> np.ndarray:
    """Numbers, or lists of them ragged at any depth, as one array; whole numbers are int64.

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

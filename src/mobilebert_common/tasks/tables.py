"""Texts or pairs of texts with labels, from any source of records."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DataError, shortened
from .records import UTF8, Records, as_list, as_text, is_unicode, read_records

# default columns of texts and pairs, the first that a file has; the names of GLUE, SNLI and PAWS, of its files and on the hub
TEXT_COLUMNS: tuple[tuple[str, ...], ...] = (
    ("text", "text_pair"),
    ("text",),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text1", "text2"),
    ("#1 String", "#2 String"),
    ("sentence",),
)
LABEL_COLUMNS = ("label", "labels", "score", "gold_label", "is_duplicate", "Quality")  # default label columns, likewise

WHOLE = re.compile(r"(0|-?[1-9][0-9]*)(\.0*)?")  # a whole number, also as 1.0; not 01, which is a code
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?")
BOOLEANS = ("True", "False")
SEPARATOR = re.compile(r"[,;|]")  # between several labels in a cell


@dataclass(frozen=True)
class Columns:
    """The names of the columns to read; None stands for a default name, and () for none.

    Attributes:
        text: of texts; of the words of token classification, and of questions.
        text_pair: of the second text of a pair; () for no pair, although there is a column with such a name.
        label: of labels; several for a multi-label task with a column of 0 and 1 for each label, and for several scores.
        choices: of the answers to choose from.
        header: all names, if a file does not begin with them.
        label_style: how the labels of choices are written, a key of `choices.STYLES`; None to find out.
        documents: not a column, but what ends a document of a text file, see documents.py.
    """

    text: str | None = None
    text_pair: str | tuple[()] | None = None
    label: str | tuple[str, ...] | None = None
    choices: tuple[str, ...] | None = None
    header: tuple[str, ...] | None = None
    label_style: str | None = None
    documents: str | None = None


@dataclass(frozen=True)
class Table:
    """The texts of a data source. `pairs` and `labels` are None if they were not read.

    Attributes:
        labels: as the task has them: a name, a number or a tuple of either for each text.
        columns: the names that were read, none of them None unless there is no such column.
        records: the rows with all their cells; None for texts that were given as such.
    """

    path: Path
    texts: list[str]
    pairs: list[str] | None
    labels: list[Any] | None
    columns: Columns = Columns()
    records: Records | None = None

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def encoding(self) -> str:
        """In which results about the data are written."""
        return "utf-8" if self.records is None else self.records.encoding

    def take(self, rows: Iterable[int]) -> "Table":
        """Return some of the rows."""
        chosen = list(rows)

        def of(column: list[Any] | None) -> list[Any] | None:
            return None if column is None else [column[row] for row in chosen]

        records = None if self.records is None else self.records.take(chosen)
        return replace(self, texts=of(self.texts) or [], pairs=of(self.pairs), labels=of(self.labels), records=records)

    def kept(self) -> dict[str, list[Any]]:
        """All columns of the data, to be written beside results."""
        if self.records is None:
            return {"text": self.texts, **({} if self.pairs is None else {"text_pair": self.pairs})}
        return self.records.columns()


Parse = Callable[[Records, tuple[str, ...]], list[Any]]  # the label columns' cells -> a label for each row


def from_texts(texts: Sequence[str]) -> Table:
    """Wrap texts given on the command line as a table without labels.

    Raises:
        ConfigError: a text is empty or no Unicode.
    """
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise ConfigError(f"text {number} on the command line is empty")
        if not is_unicode(text):
            raise ConfigError(f"text {number} on the command line, {text!r:.80}, is not valid Unicode (a lone surrogate)")
    return Table(Path("the command line"), list(texts), None, None)


def read_table(
    source: Any, columns: Columns | None = None, encoding: str = UTF8, labelled: bool = True, parse: Parse | None = None, known: str = ""
) -> Table:
    """Read texts, pairs and labels. Columns that are not asked for do not matter, whatever their names and cells.

    Args:
        source: see `read_records`.
        parse: makes labels of the cells of the label columns; default: names of classes.
        known: who says that the columns are there, as text for an error.
    Raises:
        DataError: the file is unreadable, a column is missing or there twice, a line has too few or too many cells, a text or
            label is empty or no Unicode, or one label is written in two ways; the message gives the line.
    """
    columns = Columns() if columns is None else columns
    records = read_records(source, encoding, columns.header)
    found = resolve(columns, records, labelled)
    wanted = [found.text, found.text_pair, *(names_of(found.label) if labelled else ())]
    records.require([name for name in wanted if name], known)
    texts = records.texts(found.text or "")
    pairs = records.texts(found.text_pair) if found.text_pair else None
    labels = (parse or class_labels)(records, names_of(found.label)) if labelled else None
    return Table(records.path, texts, pairs, labels, found, records)


def resolve(columns: Columns, records: Records, labelled: bool) -> Columns:
    """The names of the columns to read, where some are not given."""
    names = set(records.names)
    defaults = next((group for group in TEXT_COLUMNS if names.issuperset(group)), TEXT_COLUMNS[1])
    text, pair, label = columns.text, columns.text_pair, columns.label
    if text is None:
        text = next((first for first, *_ in (defaults, *TEXT_COLUMNS) if first != pair and first in names), TEXT_COLUMNS[1][0])
    if pair is None:
        groups = (group for group in TEXT_COLUMNS if group[0] == text and names.issuperset(group))
        pair = next((group[1] for group in groups if len(group) == 2), ())
    if label is None and labelled:
        label = next((name for name in LABEL_COLUMNS if name in names), LABEL_COLUMNS[0])
    return replace(columns, text=text, text_pair=pair, label=label)


def names_of(label: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The names of label columns."""
    return (label,) if isinstance(label, str) else label or ()


def meaning(label: str) -> str:
    """What labels are compared by, so that all formats agree: 1.0 means 1, TRUE means True, spaces around it mean nothing.

    >>> [meaning(label) for label in ("1.0", "1.5", "01", "true", " good")]
    ['1', '1.5', '01', 'True', 'good']
    """
    bare = label.strip()
    if bare.capitalize() in BOOLEANS:
        return bare.capitalize()
    return bare.partition(".")[0] if WHOLE.fullmatch(bare) else bare


def class_labels(records: Records, names: tuple[str, ...]) -> list[str]:
    """Labels as all formats agree on them: a column of numbers or of booleans is written as JSONL has it, others as they are.

    Raises:
        DataError: two labels differ only in how they are written, or there are several columns.
    """
    [name] = _one(records, names)
    return unified(records.path, name, records.texts(name))


def unified(path: Path, name: str, labels: list[str]) -> list[str]:
    """See `class_labels`."""
    spellings: dict[str, str] = {}
    for label in dict.fromkeys(labels):
        if (first := spellings.setdefault(meaning(label), label)) != label:
            raise DataError(f"{path}: column {name!r} has {first!r:.80} and {label!r:.80}: write one label in one way")
    typed = all(map(NUMBER.fullmatch, spellings)) or all(label in BOOLEANS for label in spellings)
    return [meaning(label) for label in labels] if typed else labels


def number_labels(records: Records, names: tuple[str, ...]) -> list[tuple[float, ...]]:
    """Scores, one from each column.

    Raises:
        DataError: a cell is no number; the message gives its line.
    """
    columns = []
    for name in names:
        values = [as_number(cell) for cell in records.cells(name)]
        records.refuse(name, "is not a number", [value is None for value in values])
        columns.append([value or 0.0 for value in values])
    return list(zip(*columns, strict=True))


def as_number(cell: Any) -> float | None:
    """A cell as a finite number; None if it is not one."""
    try:
        value = float(as_text(cell).replace("_", "?"))  # Python reads 1_000 as a number
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def several_labels(records: Records, names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The labels of each row: from a column for each label with 0 and 1, or one column with lists or names with commas between.

    Raises:
        DataError: a cell is neither; the message gives its line.
    """
    if len(names) == 1:
        return _listed_labels(records, names[0])
    marks = {}
    for name in names:
        cells = [meaning(as_text(cell)) for cell in records.cells(name)]
        records.refuse(name, "is neither 0 nor 1", [cell not in ("0", "1", *BOOLEANS) for cell in cells])
        marks[name] = [cell in ("1", "True") for cell in cells]
    return [tuple(name for name in names if marks[name][row]) for row in range(len(records))]


def _listed_labels(records: Records, name: str) -> list[tuple[str, ...]]:
    """Several labels from one column: a JSON list, or names separated by commas, semicolons or bars; empty cells have none."""
    cells = [_as_list(cell) for cell in records.cells(name)]
    found = [[as_text(label).strip() for label in cell or ()] for cell in cells]
    faults = [cell is None or not all(labels) for cell, labels in zip(cells, found, strict=True)]
    records.refuse(name, "is no list of labels", faults)
    records.refuse(name, "has half an emoji (a lone surrogate)", [not all(map(is_unicode, labels)) for labels in found])
    flat = iter(unified(records.path, name, [label for labels in found for label in labels]))
    return [tuple(dict.fromkeys(next(flat) for _ in labels)) for labels in found]


def _as_list(cell: Any) -> list[Any] | None:
    text = as_text(cell).strip()
    if isinstance(cell, list | tuple) or text.startswith("["):
        return as_list(cell)
    return [label for label in SEPARATOR.split(text) if label.strip()] if text or cell in (None, "") else None


def _one(records: Records, names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) != 1:
        raise DataError(f"{records.path}: one column of labels is needed, not {len(names)}: {shortened([*map(repr, names)], ', ')}")
    return names

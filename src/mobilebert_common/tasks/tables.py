"""Read CSV, TSV and JSONL files as columns of text; errors name the file, the column and the line."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ..errors import DataError
from ..files.folder import write_atomically
from ..optional import pandas

Line = tuple[int, Mapping[str, Any]]  # line number, {column: cell}
HEADER = 0  # line number of a header, whose cells are None

TEXT_COLUMNS = ("text", "sentence")  # default text columns, tried in this order
LABEL_COLUMN = "label"

# TSV files have no quoting, as in GLUE; CSV files do.
DIALECTS: dict[str, dict[str, Any]] = {
    ".csv": {"strict": True},
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
}
SUFFIXES = (*DIALECTS, ".jsonl")


@dataclass(frozen=True)
class Columns:
    """The names of the columns to read. None for the text means a default name; None for the others means no such column."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = LABEL_COLUMN


@dataclass(frozen=True)
class Table:
    """The rows of a data file. `pairs` and `labels` are None if they were not read."""

    path: Path
    texts: list[str]
    pairs: list[str] | None
    labels: list[str] | None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Iterable[int]) -> "Table":
        """Return some of the rows."""
        chosen = list(rows)

        def of(column: list[str] | None) -> list[str] | None:
            return None if column is None else [column[row] for row in chosen]

        return Table(self.path, [self.texts[row] for row in chosen], of(self.pairs), of(self.labels))


def read_table(path: Path, columns: Columns, encoding: str = "utf-8-sig") -> Table:
    """Read texts, pairs and labels.

    Args:
        path: .csv, .tsv (without quoting, as in GLUE) or .jsonl.
        columns: the column names; the default text column is "text" or "sentence".
        encoding: any Python codec; "utf-8-sig" reads UTF-8 with or without a byte order mark.
    Raises:
        DataError: the file is unreadable, a column is missing, a line has too few or too many cells, or a text or label is
            empty; the message gives the line.
    """
    if not (lines := _read_lines(path, encoding)):
        raise DataError(f"{path}: is empty")
    names = list(dict.fromkeys(name for _, row in lines for name in row))
    text = columns.text or next((name for name in TEXT_COLUMNS if name in names), TEXT_COLUMNS[0])
    for name in (text, columns.text_pair, columns.label):
        if name is not None and name not in names:
            raise DataError(f"{path}: has no column {name!r}; its columns are {', '.join(map(repr, names))}")
    rows = [(line, row) for line, row in lines if line != HEADER]
    if not rows:
        raise DataError(f"{path}: has no rows")

    def column(name: str) -> list[str]:
        return _texts(path, rows, name)

    pairs = None if columns.text_pair is None else column(columns.text_pair)
    labels = None if columns.label is None else column(columns.label)
    return Table(path, column(text), pairs, labels)


def _read_lines(path: Path, encoding: str) -> list[Line]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: must end in {', '.join(SUFFIXES)}")
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        raise DataError(f"{encoding!r} is not a text encoding Python knows: try utf-8 or cp1252") from None
    try:
        with open(path, encoding=encoding, newline="") as file:
            return _read_jsonl(path, file) if suffix == ".jsonl" else _read_separated(path, file, DIALECTS[suffix])
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeError:
        raise DataError(f"{path}: is not {encoding}: pass the file's encoding, for example --encoding cp949") from None


def _read_separated(path: Path, file: TextIO, dialect: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    reader, header, number = csv.reader(file, **dialect), None, 1
    try:
        for cells in reader:
            number, start = reader.line_num + 1, number  # a quoted cell may span lines
            if not cells:
                continue
            if header is None:
                header = cells
                if twice := sorted({name for name in header if header.count(name) > 1}):
                    raise DataError(f"{path}: has duplicate columns: {', '.join(map(repr, twice))}")
                lines.append((HEADER, dict.fromkeys(header)))
            elif len(cells) != len(header):
                count = f"{len(cells)} cell" + "s" * (len(cells) > 1)
                raise DataError(f"{path}: line {start} has {count}, but the header has {len(header)}")
            else:
                lines.append((start, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise DataError(f"{path}: line {number}: cannot be parsed: {error}") from None
    return lines


def _read_jsonl(path: Path, file: TextIO) -> list[Line]:
    lines: list[Line] = []
    for number, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number}: cannot be parsed: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number} is not a JSON object")
        lines.append((number, row))
    return lines


def _texts(path: Path, rows: Sequence[Line], name: str) -> list[str]:
    values = [_text(row.get(name)) for _, row in rows]
    if empty := [str(line) for (line, _), value in zip(rows, values, strict=True) if not value.strip()]:
        more = f" and {len(empty) - 5} more" if len(empty) > 5 else ""
        raise DataError(f"{path}: column {name!r} is empty or not text in line {', '.join(empty[:5])}{more}")
    return values


def _text(value: Any) -> str:
    """Convert a cell to text. JSON numbers and booleans count as text; null, lists and objects become empty."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value) if math.isfinite(value) else ""
    return str(value) if isinstance(value, str | int) else ""
RESULTS = (".csv", ".tsv", ".jsonl")  # formats of result files


def check_result_path(path: Path) -> None:
    """Reject a path that `write_columns` cannot write, before the results are computed.

    Raises:
        DataError: the suffix is not in RESULTS, or the folder does not exist.
    """
    if path.suffix.lower() not in RESULTS:
        raise DataError(f"{path}: must end in {', '.join(RESULTS)}")
    if not path.parent.is_dir():
        raise DataError(f"{path}: the folder {path.parent} does not exist")


def write_columns(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write results as .csv, .tsv (without quoting, as it is read) or .jsonl, whole or not at all.

    Raises:
        DataError: see `check_result_path`; or a text for a .tsv contains a tab or a line break.
    """
    check_result_path(path)
    frame, suffix = pandas().DataFrame(dict(columns)), path.suffix.lower()
    if suffix == ".jsonl":
        text = frame.to_json(orient="records", lines=True, force_ascii=False)
    elif suffix == ".csv":
        text = frame.to_csv(index=False, lineterminator="\n")
    else:
        if any(mark in str(value) for values in columns.values() for value in values for mark in "\t\r\n"):
            raise DataError(f"{path}: a .tsv cannot hold texts with tabs or line breaks: write a .csv or .jsonl")
        text = frame.to_csv(index=False, lineterminator="\n", sep="\t", quoting=csv.QUOTE_NONE)
    write_atomically(path, text.encode())

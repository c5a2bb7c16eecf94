"""Read and write CSV, TSV and JSONL files as columns of text; errors name the file, the column and the line."""

import contextlib
import csv
import json
import math
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from ..errors import DataError, shortened
from ..files.folder import write_atomically

TEXT_COLUMNS = ("text", "sentence")  # default text columns, tried in this order
LABEL_COLUMN = "label"

# TSV files have no quoting, as in GLUE; CSV files do.
DIALECTS: dict[str, dict[str, Any]] = {
    ".csv": {"strict": True},
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
}
SUFFIXES = (*DIALECTS, ".jsonl")

WHOLE = re.compile(r"(0|-?[1-9][0-9]*)(\.0*)?")  # a whole number, also as 1.0; not 01, which is a code
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?")
BOOLEANS = ("True", "False")


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


class Row(NamedTuple):
    """A line of a file: column names and cells. The header of a .csv or .tsv is a row of its own, with None for its cells."""

    line: int
    names: Sequence[str]
    cells: Sequence[Any] | None


def read_table(path: Path, columns: Columns, encoding: str = "utf-8-sig") -> Table:
    """Read texts, pairs and labels. Columns that are not asked for do not matter, whatever their names and cells.

    Args:
        path: .csv, .tsv (without quoting, as in GLUE) or .jsonl.
        columns: the column names; the default text column is "text" or "sentence".
        encoding: any Python codec; "utf-8-sig" reads UTF-8 with or without a byte order mark.
    Raises:
        DataError: the file is unreadable, a column is missing or there twice, a line has too few or too many cells, a text or
            label is empty or no Unicode, or one label is written in two ways; the message gives the line.
    """
    if not (rows := _read_rows(path, encoding)):
        raise DataError(f"{path}: is empty")
    names = list(dict.fromkeys(name for row in rows for name in row.names))
    text = next((name for name in TEXT_COLUMNS if name in names), TEXT_COLUMNS[0]) if columns.text is None else columns.text
    wanted = [name for name in (text, columns.text_pair, columns.label) if name is not None]
    for name in wanted:
        if name not in names:
            raise DataError(f"{path}: has no column {name!r}; its columns are {shortened([*map(repr, names)], ', ')}")
    for row in rows:
        if twice := [name for name in wanted if row.names.count(name) > 1]:
            raise DataError(f"{path}: line {row.line} has duplicate columns: {', '.join(map(repr, twice))}")
    if not (filled := [row for row in rows if row.cells is not None]):
        raise DataError(f"{path}: has no rows")
    found = {name: _texts(path, filled, name) for name in wanted}
    return Table(
        path,
        found[text],
        None if columns.text_pair is None else found[columns.text_pair],
        None if columns.label is None else _labels(path, columns.label, found[columns.label]),
    )


def meaning(label: str) -> str:
    """What labels are compared by, so that all formats agree: 1.0 means 1, TRUE means True, spaces around it mean nothing.

    >>> [meaning(label) for label in ("1.0", "1.5", "01", "true", " good")]
    ['1', '1.5', '01', 'True', 'good']
    """
    bare = label.strip()
    if bare.capitalize() in BOOLEANS:
        return bare.capitalize()
    return bare.partition(".")[0] if WHOLE.fullmatch(bare) else bare


def is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogate, which is half an emoji; JSON and command lines may hold one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_rows(path: Path, encoding: str) -> list[Row]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: must end in {', '.join(SUFFIXES)}")
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        raise DataError(f"{encoding!r} is not a text encoding Python knows: try utf-8 or cp1252") from None
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path}: cannot be read: it is not a regular file")  # reading a pipe could block forever
        with open(path, encoding=encoding, newline="") as file:
            return _read_jsonl(path, file) if suffix == ".jsonl" else _read_separated(path, file, DIALECTS[suffix])
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeError:
        raise _undecodable(path, encoding) from None
    except DataError:
        raise
    except ValueError as error:  # a path that no file can have
        raise DataError(f"{path}: cannot be read: {error}") from None


def _undecodable(path: Path, encoding: str) -> DataError:
    """The error for a file in another encoding, with the first line that shows it."""
    data, where = path.read_bytes(), ""
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, "ignore")
        where = f"line {1 + before.count(chr(10)) + before.count(chr(13)) - before.count(chr(13) + chr(10))} "
    except UnicodeError:
        pass
    example = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp949"
    return DataError(f"{path}: {where}is not {encoding}: pass the file's encoding, for example --encoding {example}")


def _read_separated(path: Path, file: TextIO, dialect: Mapping[str, Any]) -> list[Row]:
    rows: list[Row] = []
    reader, number = csv.reader(file, **dialect), 1
    try:
        with _unlimited_cells():
            for cells in reader:
                number, start = reader.line_num + 1, number  # a quoted cell may span lines
                if not cells:
                    continue
                if not rows:
                    rows.append(Row(start, cells, None))
                elif len(cells) != len(rows[0].names):
                    count = f"{len(cells)} cell" + "s" * (len(cells) > 1)
                    raise DataError(f"{path}: line {start} has {count}, but the header has {len(rows[0].names)}")
                else:
                    rows.append(Row(start, rows[0].names, cells))
    except csv.Error as error:
        raise DataError(f"{path}: line {number}: cannot be parsed: {error}") from None
    return rows


_limit_lock = threading.Lock()


@contextlib.contextmanager
def _unlimited_cells() -> Iterator[None]:
    """Raise csv's limit on the length of a cell, which is one for the whole process, and put it back."""
    with _limit_lock:
        kept = csv.field_size_limit((1 << 31) - 1)
        try:
            yield
        finally:
            csv.field_size_limit(kept)


def _read_jsonl(path: Path, file: TextIO) -> list[Row]:
    rows: list[Row] = []
    for number, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:  # an object becomes a tuple of pairs, which keeps duplicate keys; an integer stays as it is written
            row = json.loads(text, object_pairs_hook=tuple, parse_int=str)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number}: cannot be parsed: {error}") from None
        if not isinstance(row, tuple):
            raise DataError(f"{path}: line {number} is not a JSON object")
        rows.append(Row(number, [name for name, _ in row], [value for _, value in row]))
    return rows


def _texts(path: Path, rows: Sequence[Row], name: str) -> list[str]:
    """A column as texts.

    Raises:
        DataError: cells are empty, not text or no Unicode; the message gives their lines.
    """
    values = [_text(row.cells[row.names.index(name)]) if row.cells and name in row.names else "" for row in rows]
    for fault, found in (
        ("is empty or not text", (not value.strip() for value in values)),
        ("has half an emoji (a lone surrogate)", (not is_unicode(value) for value in values)),
    ):
        if lines := [str(row.line) for row, wrong in zip(rows, found, strict=True) if wrong]:
            more = f" and {len(lines) - 5} more" if len(lines) > 5 else ""
            raise DataError(f"{path}: column {name!r} {fault} in line {', '.join(lines[:5])}{more}")
    return values


def _text(value: Any) -> str:
    """Convert a cell to text. JSON numbers and booleans count as text; null, lists and objects become empty."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value) if math.isfinite(value) else ""
    return str(value) if isinstance(value, str | bool) else ""


def _labels(path: Path, name: str, labels: list[str]) -> list[str]:
    """Labels as all formats agree on them: a column of numbers or of booleans is written as JSONL has it, others as they are.

    Raises:
        DataError: two labels differ only in how they are written.
    """
    spellings: dict[str, str] = {}
    for label in dict.fromkeys(labels):
        if (first := spellings.setdefault(meaning(label), label)) != label:
            raise DataError(f"{path}: column {name!r} has {first!r:.80} and {label!r:.80}: write one label in one way")
    typed = all(map(NUMBER.fullmatch, spellings)) or all(label in BOOLEANS for label in spellings)
    return [meaning(label) for label in labels] if typed else labels


def check_result_path(path: Path, source: Path | None = None) -> None:
    """Reject a path that `write_columns` cannot write, before the results are computed.

    Args:
        source: the data file, which results must not replace.
    Raises:
        DataError: the suffix is not in WRITERS, it is a folder or the data file, or its folder is absent or not writable.
    """
    if path.suffix.lower() not in WRITERS:
        raise DataError(f"{path}: must end in {', '.join(WRITERS)}")
    if path.is_dir():
        raise DataError(f"{path}: is a folder")
    if not path.parent.is_dir():
        raise DataError(f"{path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise DataError(f"{path}: the folder {path.parent} is not writable")
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise DataError(f"{path}: is the data file itself: write the results to another one")


def check_cells(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Reject texts that the format of a result file cannot hold.

    Raises:
        DataError: a text for a .tsv contains a tab or a line break.
    """
    if path.suffix.lower() == ".tsv" and any(
        mark in str(value) for name, values in columns.items() for value in (name, *values) for mark in "\t\r\n"
    ):
        raise DataError(f"{path}: a .tsv cannot hold texts with tabs or line breaks: write a .csv or .jsonl")


def write_columns(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write results as .csv, .tsv (without quoting, as it is read) or .jsonl, whole or not at all.

    Raises:
        DataError: see `check_result_path` and `check_cells`; or a text has a lone surrogate.
    """
    check_result_path(path)
    check_cells(path, columns)
    write, names = WRITERS[path.suffix.lower()], list(columns)
    lines = [] if write is _json_line else [write(names, names)]
    lines += [write(names, row) for row in zip(*columns.values(), strict=True)]
    text = "".join(f"{line}\n" for line in lines)
    if not is_unicode(text):
        raise DataError(f"{path}: cannot hold half an emoji (a lone surrogate)")
    write_atomically(path, text.encode())


def _csv_line(names: Sequence[str], row: Sequence[Any]) -> str:
    """csv.writer leaves a carriage return unquoted in some Python versions, which breaks the line."""
    cells = [str(value) for value in row]
    return ",".join(f'"{cell.replace(QUOTE, QUOTE * 2)}"' if not cell or QUOTED.search(cell) else cell for cell in cells)


def _tsv_line(names: Sequence[str], row: Sequence[Any]) -> str:
    return "\t".join(map(str, row))


def _json_line(names: Sequence[str], row: Sequence[Any]) -> str:
    """Line separators are escaped, because programs other than ours would split the line there."""
    return json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, separators=(",", ":")).translate(SEPARATORS)


QUOTE = '"'
QUOTED = re.compile("[,\"\r\n\x00\ufeff]|^\\s|\\s$")  # cells that a .csv has in quotes
SEPARATORS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}
WRITERS: dict[str, Callable[[Sequence[str], Sequence[Any]], str]] = {
    ".csv": _csv_line,
    ".tsv": _tsv_line,
    ".jsonl": _json_line,
}  # formats of result files

"""Write results as CSV, TSV, JSONL or Parquet, whole or not at all."""

import json
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files.folder import write_atomically
from ..optional import needs
from .records import is_unicode

log = logging.getLogger(__name__)


def check_result_path(path: Path, source: Any = None, suffixes: Sequence[str] = ()) -> None:
    """Reject a path that results cannot be written to, before they are computed.

    Args:
        source: the data file, which results must not replace.
        suffixes: further suffixes that the task writes.
    Raises:
        DataError: the suffix is unknown, it is a folder or the data file, or its folder is absent or not writable.
    """
    if path.suffix.lower() not in (known := (*WRITERS, ".parquet", *suffixes)):
        raise DataError(f"{path}: must end in {', '.join(known)}")
    if path.is_dir():
        raise DataError(f"{path}: is a folder")
    if not path.parent.is_dir():
        raise DataError(f"{path}: the folder {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise DataError(f"{path}: the folder {path.parent} is not writable")
    if isinstance(source, str | Path) and path.exists() and Path(source).exists() and path.samefile(source):
        raise DataError(f"{path}: is the data file itself: write the results to another one")


def check_cells(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Reject texts that the format of a result file cannot hold.

    Raises:
        DataError: a text for a .tsv contains a tab or a line break, or a text has a lone surrogate.
    """
    if not all(is_unicode(str(value)) for name, values in columns.items() for value in (name, *values)):
        raise DataError(f"{path}: cannot hold half an emoji (a lone surrogate)")
    if path.suffix.lower() == ".tsv" and any(
        mark in str(value) for name, values in columns.items() for value in (name, *values) for mark in "\t\r\n"
    ):
        raise DataError(f"{path}: a .tsv cannot hold texts with tabs or line breaks: write a .csv or .jsonl")


def write_columns(path: Path, columns: Mapping[str, Sequence[Any]], encoding: str = "utf-8") -> None:
    """Write results as .csv, .tsv (without quoting, as it is read), .jsonl or .parquet, whole or not at all.

    Raises:
        DataError: see `check_result_path` and `check_cells`; or a text has a lone surrogate, or the encoding does not have it.
    """
    check_result_path(path)
    check_cells(path, columns)
    if path.suffix.lower() == ".parquet":
        write_atomically(path, _parquet(columns))
        return
    write, names = WRITERS[path.suffix.lower()], list(columns)
    lines = [] if write is _json_line else [write(names, names)]
    lines += [write(names, row) for row in zip(*columns.values(), strict=True)]
    write_text(path, "".join(f"{line}\n" for line in lines), encoding)


def write_text(path: Path, text: str, encoding: str) -> None:
    """Write a text file, whole or not at all.

    Results are not lost to a character that the encoding does not have: the file is UTF-8 then, and a warning says so.

    Raises:
        DataError: the text has a lone surrogate.
    """
    if not is_unicode(text):
        raise DataError(f"{path}: cannot hold half an emoji (a lone surrogate)")
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError as error:
        log.warning("%s is written in UTF-8: %s does not have %r", path, encoding, error.object[error.start])
        data = text.encode()
    write_atomically(path, data)


def _parquet(columns: Mapping[str, Sequence[Any]]) -> bytes:
    with needs("cli"):
        import pyarrow
        import pyarrow.parquet
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table({name: _of_one_type(column) for name, column in columns.items()}), sink)
    return bytes(sink.getvalue())


def _of_one_type(column: Sequence[Any]) -> list[Any]:
    """The cells as they are, or as text if they are of several types."""
    kinds = {type(value) for value in column}
    return list(column) if len(kinds) == 1 else [str(value) for value in column]


def _csv_line(names: Sequence[str], row: Sequence[Any]) -> str:
    """csv.writer leaves a carriage return unquoted in some Python versions, which breaks the line."""
    cells = map(_cell, row)
    return ",".join(f'"{cell.replace(QUOTE, QUOTE * 2)}"' if not cell or QUOTED.search(cell) else cell for cell in cells)


def _tsv_line(names: Sequence[str], row: Sequence[Any]) -> str:
    return "\t".join(map(_cell, row))


def _cell(value: Any) -> str:
    """A cell of a .csv or .tsv: a list or an object as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


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
}  # text formats of result files

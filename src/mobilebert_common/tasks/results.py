"""Write results as CSV, TSV, JSONL or Parquet, whole or not at all."""

import json
import logging
import os
import pickle
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files.folder import temporary_name, write_atomically
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
    if path.suffix.lower() not in (known := (*TABLES, *suffixes)):
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
    write_parts(path, [columns], encoding)


def write_parts(path: Path, parts: Iterable[Mapping[str, Sequence[Any]]], encoding: str = "utf-8") -> None:
    """Write results that come part by part, in constant memory; otherwise as `write_columns`.

    Args:
        parts: some rows of all columns each, at least one part.
    """
    check_result_path(path)
    write = _write_parquet if path.suffix.lower() == ".parquet" else _write_lines
    write_atomically(path, lambda temporary: write(temporary, path, _checked(path, parts), encoding))


def _checked(path: Path, parts: Iterable[Mapping[str, Sequence[Any]]]) -> Iterator[Mapping[str, Sequence[Any]]]:
    names: list[str] | None = None
    for columns in parts:
        check_cells(path, columns)
        names = list(columns) if names is None else names
        if list(columns) != names:
            raise DataError(f"{path}: has the columns {', '.join(names)}, and later {', '.join(columns)}")
        yield columns


def _write_lines(temporary: Path, path: Path, parts: Iterable[Mapping[str, Sequence[Any]]], encoding: str) -> None:
    """Write a text file line by line."""
    write, is_first = WRITERS[path.suffix.lower()], True
    with open(temporary, "w", encoding="utf-8", newline="") as file:
        for columns in parts:
            names = list(columns)
            if is_first and write is not _json_line:
                file.write(f"{write(names, names)}\n")
            file.writelines(f"{write(names, row)}\n" for row in zip(*columns.values(), strict=True))
            is_first = False
    if encoding.lower() != "utf-8":
        _encode(temporary, path, encoding)


def _encode(temporary: Path, path: Path, encoding: str) -> None:
    """Convert a file from UTF-8, unless the encoding does not have one of the characters; see `write_text`."""
    encoded = temporary_name(path)
    try:
        with (
            open(temporary, encoding="utf-8", newline="") as source,
            open(encoded, "w", encoding=encoding, newline="") as target,
        ):
            shutil.copyfileobj(source, target)
        os.replace(encoded, temporary)
    except UnicodeEncodeError as error:
        _warn_of_utf8(path, encoding, error)
    finally:
        encoded.unlink(missing_ok=True)


def _warn_of_utf8(path: Path, encoding: str, error: UnicodeEncodeError) -> None:
    log.warning("%s is written in UTF-8: %s does not have %r", path, encoding, error.object[error.start])


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
        _warn_of_utf8(path, encoding, error)
        data = text.encode()
    write_atomically(path, data)


def _write_parquet(temporary: Path, path: Path, parts: Iterable[Mapping[str, Sequence[Any]]], encoding: str) -> None:
    """Write a .parquet. The types of its columns depend on all parts, which wait in a file without a name meanwhile."""
    with needs("cli"):
        import pyarrow
        import pyarrow.parquet
    kinds: dict[str, set[type]] = {}
    with tempfile.TemporaryFile(dir=path.parent) as waiting:
        count = 0
        for columns in parts:
            count += 1
            for name, column in columns.items():
                kinds.setdefault(name, set()).update(map(type, column))
            pickle.dump({name: list(column) for name, column in columns.items()}, waiting)

        def again() -> Iterator[dict[str, list[Any]]]:
            waiting.seek(0)
            for _ in range(count):
                columns = pickle.load(waiting)
                yield {name: column if len(kinds[name]) == 1 else [*map(str, column)] for name, column in columns.items()}

        schema = pyarrow.schema([])
        for columns in again():
            schema = pyarrow.unify_schemas([schema, pyarrow.table(columns).schema], promote_options="permissive")
        with pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
            for columns in again():
                writer.write_table(pyarrow.table(columns, schema=schema))


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
TABLES = (*WRITERS, ".parquet")

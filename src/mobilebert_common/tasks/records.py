"""Read CSV, TSV, JSONL and Parquet files, DataFrames and Hugging Face datasets as rows of cells.

Errors name the file, the column and the line, or the row where there are no lines.
"""

import contextlib
import csv
import json
import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from ..errors import DataError, brief, shortened
from ..model.scalars import plain
from ..optional import needs

UTF8 = "utf-8-sig"  # the default encoding: UTF-8 with or without a byte order mark

# TSV files have no quoting, as in GLUE; CSV files do.
DIALECTS: dict[str, dict[str, Any]] = {
    ".csv": {"strict": True},
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
}
SUFFIXES = (*DIALECTS, ".jsonl", ".parquet")


class Row(NamedTuple):
    """A line of a file: column names and cells. The header of a .csv or .tsv is a row of its own, with None for its cells."""

    line: int
    names: Sequence[str]
    cells: Sequence[Any] | None


@dataclass(frozen=True)
class Records:
    """The rows of a data file or a data set, with the cells of all columns as they were read.

    Attributes:
        path: the file; for data in memory, what kind of data they are.
        rows: at least one, each with cells.
        unit: what `Row.line` counts.
        encoding: the file's, in which results about it are written.
        header: the line with the columns' names, if one has those of all rows.
        whole: for a window of a file, the columns of the whole file: {name: whether a row has it more than once}.
    """

    path: Path
    rows: Sequence[Row]
    unit: str = "line"
    encoding: str = "utf-8"
    header: int | None = None
    whole: Mapping[str, bool] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> list[str]:
        """The columns' names, each once."""
        return list(dict.fromkeys(name for row in self.rows for name in row.names) if self.whole is None else self.whole)

    def place(self, row: int) -> str:
        """Where a row is, as text for an error."""
        return f"{self.unit} {self.rows[row].line}"

    def places(self, rows: Sequence[int]) -> str:
        """Where some rows are, at most five of them."""
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        return f"{self.unit} {', '.join(str(self.rows[row].line) for row in rows[:5])}{more}"

    def require(self, names: Iterable[str], why: str = "") -> None:
        """Require columns that are there once.

        Args:
            why: said of a column that is missing.
        Raises:
            DataError: a column is missing, or there twice.
        """
        known, wanted = self.names, list(names)
        if missing := [name for name in wanted if name not in known]:
            listed = shortened([*map(repr, known)], ", ")
            raise DataError(f"{self.path}: has no column {', '.join(map(repr, missing))}{why}; its columns are {listed}")
        for row in self.rows:
            if twice := [name for name in wanted if row.names.count(name) > 1]:
                line = row.line if self.header is None else self.header
                raise DataError(f"{self.path}: {self.unit} {line} has duplicate columns: {', '.join(map(repr, twice))}")

    def cells(self, name: str) -> list[Any]:
        """A column's cells; None where a row does not have it."""
        return [row.cells[row.names.index(name)] if row.cells is not None and name in row.names else None for row in self.rows]

    def texts(self, name: str) -> list[str]:
        """A column as texts.

        Raises:
            DataError: cells are empty, not text or no Unicode; the message gives their lines.
        """
        values = [as_text(cell) for cell in self.cells(name)]
        self.refuse(name, "is empty or not text", [not value.strip() for value in values])
        self.refuse(name, "has half an emoji (a lone surrogate)", [not is_unicode(value) for value in values])
        return values

    def refuse(self, name: str, fault: str, found: Sequence[bool]) -> None:
        """Raise a DataError that names the rows of a column in which a fault was found."""
        if rows := [row for row, wrong in enumerate(found) if wrong]:
            raise DataError(f"{self.path}: column {name!r} {fault} in {self.places(rows)}")

    def columns(self) -> dict[str, list[Any]]:
        """All columns with a name of their own, to be written beside results; empty cells are ""."""
        repeated = _repeated(self.rows) if self.whole is None else self.whole
        names = [name for name in self.names if name and not repeated[name]]
        return {name: ["" if _is_missing(cell) else cell for cell in self.cells(name)] for name in names}

    def take(self, rows: Iterable[int]) -> "Records":
        """Some of the rows."""
        return replace(self, rows=[self.rows[row] for row in rows])


def read_records(source: Any, encoding: str = UTF8, header: Sequence[str] | None = None) -> Records:
    """Read a data file, or take data in memory.

    Args:
        source: records already read; a .csv, .tsv (without quoting, as in GLUE), .jsonl or .parquet file; a pandas DataFrame, a
            dataset of the library `datasets`, a mapping of columns, or a sequence of mappings.
        encoding: any Python codec; "utf-8-sig" reads UTF-8 with or without a byte order mark.
        header: the columns' names, for a .csv or .tsv that does not begin with them.
    Raises:
        DataError: the file is unreadable, or a line has too few or too many cells; the message gives the line.
    """
    if isinstance(source, Records):
        return source
    if not isinstance(source, str | Path):
        return _in_memory(source)
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        hint = "; for words with tags pass --task tokens, for plain text use mobilebert pretrain" if suffix == ".txt" else ""
        raise DataError(f"{path}: must end in {', '.join(SUFFIXES)}{hint}")
    windows = [*_windows(path, _row_lists(path, encoding, header, None), encoding)]
    return windows[0]


def read_windows(path: Path, encoding: str = UTF8, header: Sequence[str] | None = None, size: int = 2048) -> Iterator[Records]:
    """Read a data file in windows of rows, which takes constant memory; see `read_records`.

    A file of one window gives the same as `read_records`.

    Raises:
        DataError: as `read_records`, when the window is read that has the line.
    """
    lists = _row_lists(path, encoding, header, size)
    first = [*islice(lists, 2)]
    whole = None
    if len(first) == 2:  # only the rows of a .jsonl differ in their columns
        is_jsonl = path.suffix.lower() == ".jsonl"
        whole = _columns_of_all(_row_lists(path, encoding, header, size) if is_jsonl else first[:1])
    yield from _windows(path, chain(first, lists), encoding, whole)


def _windows(
    path: Path, lists: Iterable[list[Row]], encoding: str, whole: Mapping[str, bool] | None = None
) -> Iterator[Records]:
    """Lists of rows as records; the first begins with the header, if there is one."""
    unit = "row" if path.suffix.lower() == ".parquet" else "line"
    header, found, filled = None, False, False
    for rows in lists:
        if not found and rows[0].cells is None:
            header, rows = rows[0].line, rows[1:]
        found, filled = True, filled or bool(rows)
        if rows:
            yield Records(path, rows, unit, "utf-8" if unit == "row" else written_encoding(path, encoding), header, whole)
    if not filled:
        raise DataError(f"{path}: {'has no rows' if found or unit == 'row' else 'is empty'}")


def _row_lists(path: Path, encoding: str, header: Sequence[str] | None, size: int | None) -> Iterator[list[Row]]:
    """The rows of a file in lists of `size`, or in one; none is empty."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _read_parquet(path, size)
        return
    with open_text(path, encoding) as file:
        rows = _read_jsonl(path, file) if suffix == ".jsonl" else _read_separated(path, file, DIALECTS[suffix], header)
        while found := _next_rows(rows, size):
            yield found


def _next_rows(rows: Iterator[Row], size: int | None) -> list[Row]:
    with _unlimited_cells():  # for each list anew: other files may be read in between
        return [*islice(rows, size)]


def _columns_of_all(lists: Iterable[list[Row]]) -> dict[str, bool]:
    """See `Records.whole`."""
    found: dict[str, bool] = {}
    for rows in lists:
        for name, repeated in _repeated(rows).items():
            found[name] = found.get(name, False) or repeated
    return found


def _repeated(rows: Iterable[Row]) -> dict[str, bool]:
    """{name of a column: whether a row has it more than once}."""
    found: dict[str, bool] = {}
    for names in {tuple(row.names): None for row in rows}:
        for name in names:
            found[name] = found.get(name, False) or names.count(name) > 1
    return found


@contextlib.contextmanager
def open_text(path: Path, encoding: str) -> Iterator[TextIO]:
    """Open a text file; whatever is wrong with it, also while it is read, is a DataError.

    Raises:
        DataError: it cannot be read, is no regular file, or is in another encoding; the message gives the line.
    """
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        raise DataError(f"{encoding!r} is not a text encoding Python knows: try utf-8 or cp1252") from None
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path}: cannot be read: it is not a regular file")  # reading a pipe could block forever
        with open(path, encoding=encoding, newline="") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeError:
        raise _undecodable(path, encoding) from None
    except DataError:
        raise
    except ValueError as error:  # a path that no file can have
        raise DataError(f"{path}: cannot be read: {error}") from None


def written_encoding(path: Path, encoding: str) -> str:
    """The encoding of results about a file: its own, with a byte order mark only if it has one."""
    if encoding.lower().replace("_", "-") != UTF8:
        return encoding
    with open(path, "rb") as file:
        return UTF8 if file.read(3) == b"\xef\xbb\xbf" else "utf-8"


def as_text(value: Any) -> str:
    """A cell as text. Numbers and booleans count as text; null, NaN, lists and objects become empty."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else str(value) if math.isfinite(value) else ""
    return str(value) if isinstance(value, str | int) else ""


def as_list(cell: Any) -> list[Any] | None:
    """A cell as a list, also from JSON, as .csv and .tsv hold it; None if it is not one."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return None
    return list(cell) if isinstance(cell, list | tuple) else None


def is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogate, which is half an emoji; JSON and command lines may hold one."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and not math.isfinite(cell))


def _in_memory(source: Any) -> Records:
    """The rows of a DataFrame, a dataset, a mapping of columns or a sequence of mappings, counted from 1."""
    kind = Path(f"the {type(source).__name__}")
    if isinstance(getattr(source, "column_names", None), Mapping):
        raise DataError(f"{kind}: choose one of its splits, {', '.join(source.column_names)}")
    if isinstance(source, Mapping):
        if wrong := [name for name, cells in source.items() if isinstance(cells, str) or not isinstance(cells, Iterable)]:
            raise DataError(f"{kind}: its column {brief(wrong[0])} is no list, but {brief(source[wrong[0]])}")
        columns = {str(name): list(cells) for name, cells in source.items()}
    elif hasattr(source, "column_names") and hasattr(source, "features"):  # a dataset
        columns = {name: _named(list(source[name]), source.features[name]) for name in source.column_names}
    elif hasattr(source, "columns") and hasattr(source, "to_dict"):  # a DataFrame; names may be there twice
        names, count = [str(name) for name in source.columns], range(len(source.columns))
        cells = [[_plain(cell) for cell in source.iloc[:, number].tolist()] for number in count]
        return _checked(kind, [Row(number, names, row) for number, row in enumerate(zip(*cells, strict=True), 1)])
    elif isinstance(source, Sequence) and all(isinstance(row, Mapping) for row in source):
        return _checked(kind, [Row(number, [*map(str, row)], [*map(_plain, row.values())]) for number, row in enumerate(source, 1)])
    else:
        raise DataError(f"data must be a file, a DataFrame, a dataset, columns or rows, not {brief(source)}")
    if len(lengths := {name: len(cells) for name, cells in columns.items()}) and len(set(lengths.values())) > 1:
        raise DataError(f"{kind}: its columns differ in length: {lengths}")
    rows = zip(*columns.values(), strict=True)
    return _checked(kind, [Row(number, [*columns], [*map(_plain, row)]) for number, row in enumerate(rows, 1)])


def _plain(cell: Any) -> Any:
    """A cell without types of numpy and the frameworks; an array is a list."""
    value = plain(cell)
    return value.tolist() if hasattr(value, "tolist") else value


def _checked(kind: Path, rows: list[Row]) -> Records:
    if not rows:
        raise DataError(f"{kind}: has no rows")
    return Records(kind, rows, unit="row")


def _named(cells: list[Any], feature: Any) -> list[Any]:
    """The cells of a dataset's column; the numbers of a ClassLabel as names, also in lists, and None for its -1, which means no label."""
    if inner := getattr(feature, "feature", None):
        return [_named(cell, inner) if isinstance(cell, list) else cell for cell in cells]
    names = getattr(feature, "names", None)
    if not isinstance(names, list) or not hasattr(feature, "int2str"):
        return cells
    return [names[cell] if isinstance(cell, int) and 0 <= cell < len(names) else None for cell in cells]


def _read_parquet(path: Path, size: int | None) -> Iterator[list[Row]]:
    with needs("cli"):
        import pyarrow
        import pyarrow.parquet
    try:
        if size is None or path.is_dir():
            batches = [pyarrow.parquet.read_table(path)]
        else:
            batches = pyarrow.parquet.ParquetFile(path).iter_batches(size)
        number = 0
        for batch in batches:
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            found = [Row(number + place, batch.schema.names, row) for place, row in enumerate(rows, 1)]
            number += len(found)
            if found:
                yield found
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {' '.join(str(error).split()):.300}") from None


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


def _read_separated(path: Path, file: TextIO, dialect: Mapping[str, Any], header: Sequence[str] | None) -> Iterator[Row]:
    names: Sequence[str] | None = None
    reader, number = csv.reader(file, **dialect), 1
    try:
        for cells in reader:
            number, start = reader.line_num + 1, number  # a quoted cell may span lines
            if not cells:
                continue
            if names is None:
                is_header = header is None or set(header) <= set(cells)
                names = cells if is_header else header or ()
                yield Row(start, names, None)
                if is_header:
                    continue
            if len(cells) != len(names):
                count = f"{len(cells)} cell" + "s" * (len(cells) > 1)
                raise DataError(f"{path}: line {start} has {count}, but the header has {len(names)}")
            yield Row(start, names, cells)
    except csv.Error as error:
        raise DataError(f"{path}: line {number}: cannot be parsed: {error}") from None


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


def _read_jsonl(path: Path, file: TextIO) -> Iterator[Row]:
    for number, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:  # duplicate keys of the row itself are kept; an integer may have any number of digits
            row = json.loads(text, object_pairs_hook=_Pairs, parse_int=_integer)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number}: cannot be parsed: {error}") from None
        if not isinstance(row, _Pairs):
            raise DataError(f"{path}: line {number} is not a JSON object")
        yield Row(number, [name for name, _ in row.pairs], [value for _, value in row.pairs])


class _Pairs(dict[str, Any]):
    """A JSON object that also has its pairs as they were written."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def _integer(digits: str) -> int | str:
    """A JSON integer; as it is written, if it is longer than Python converts."""
    return int(digits) if len(digits) < 20 else digits

"""CSV, TSV and JSONL files as columns of text, with errors that name the file, the column and the line."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..optional import pandas

TEXT_COLUMNS = ("text", "sentence")  # tried in this order where no column is named
LABEL_COLUMN = "label"

# suffix -> how pandas reads it. A TSV has no quoting, as in GLUE; a CSV has.
READERS: dict[str, dict[str, Any]] = {
    ".csv": {"sep": ","},
    ".tsv": {"sep": "\t", "quoting": csv.QUOTE_NONE},
    ".jsonl": {"lines": True},
}


@dataclass(frozen=True)
class Columns:
    """Which columns of a file mean what; None is to be guessed for the text, and absent for the others."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = LABEL_COLUMN


@dataclass(frozen=True)
class Table:
    """The rows of a data file. pairs and labels are None where the file has none."""

    path: Path
    texts: list[str]
    pairs: list[str] | None
    labels: list[str] | None


def read_table(path: Path, columns: Columns, encoding: str = "utf-8-sig") -> Table:
    """Read texts, pairs and labels.

    Args:
        path: .csv, .tsv (without quoting, as in GLUE) or .jsonl.
        columns: the column names; a text column not named is "text" or "sentence".
        encoding: any codec Python knows; "utf-8-sig" reads UTF-8 with and without a byte order mark.
    Raises:
        DataError: an unreadable file, a missing column, an empty text or label; with the line.
    """
    frame = _read_frame(path, encoding)
    names = [str(name) for name in frame.columns]
    text = columns.text or next((name for name in TEXT_COLUMNS if name in names), TEXT_COLUMNS[0])
    for name in (text, columns.text_pair, columns.label):
        if name is not None and name not in names:
            raise DataError(f"{path}: has no column {name!r}; its columns are {', '.join(map(repr, names))}")
    if frame.empty:
        raise DataError(f"{path}: has no rows")

    def column(name: str | None) -> list[str] | None:
        return None if name is None else _texts(path, frame, name)

    texts = column(text)
    assert texts is not None
    return Table(path, texts, column(columns.text_pair), column(columns.label))


def _read_frame(path: Path, encoding: str) -> Any:
    options = READERS.get(path.suffix.lower())
    if options is None:
        raise DataError(f"{path}: must end in {', '.join(READERS)}")
    pd = pandas()
    try:
        if "lines" in options:
            with open(path, encoding=encoding) as file:
                return pd.read_json(file, dtype=False, convert_dates=False, **options)
        return pd.read_csv(path, encoding=encoding, dtype=str, keep_default_na=False, **options)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: is not {encoding} (byte {error.start}): name its encoding, for example --encoding cp949"
        ) from None
    except LookupError:
        raise DataError(f"{encoding!r} is not an encoding Python knows") from None
    except ValueError as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        raise DataError(f"{path}: cannot be parsed: {str(error).strip()}") from None


def _texts(path: Path, frame: Any, name: str) -> list[str]:
    values = [_text(value) for value in frame[name]]
    first = {".jsonl": ("line", 1), ".tsv": ("line", 2)}.get(
        path.suffix.lower(), ("row", 1)
    )  # a CSV's row may span lines
    if empty := [number for number, value in enumerate(values) if value is None or not value.strip()]:
        shown = ", ".join(str(first[1] + number) for number in empty[:5])
        raise DataError(
            f"{path}: column {name!r} is empty in {first[0]} {shown}"
            + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        )
    return [value for value in values if value is not None]


def _text(value: Any) -> str | None:
    """A cell as text; JSON may hold numbers and truth values."""
    if value is None or value != value:  # NaN stands for a missing key
        return None
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)

"""Questions about contexts with their answers: SQuAD's JSON, v1.1 and v2.0, and tables."""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConfigError, DataError, brief, counted
from ..model.scalars import plain
from . import tables
from .records import UTF8, Records, as_text, is_unicode, open_text, read_records, written_encoding
from .tables import Columns, as_number, names_of

QUESTION, CONTEXT = "question", "context"  # default columns
ANSWER_COLUMNS = ("answers", "answer")  # likewise, the first that a table has
START, ID = "answer_start", "id"
NO_COLUMNS = Columns()
KINDS: dict[Any, str] = {
    list: "a list",
    str: "text",
    str | int: "text or a whole number",
    int: "a whole number",
    bool: "true or false",
}


class Reference(NamedTuple):
    """An accepted answer, and where it is said to start in the context, in characters."""

    text: str
    start: int

    def is_in(self, context: str) -> bool:
        """Whether it is where it is said to be."""
        return self.start >= 0 and context.startswith(self.text, self.start)


class Question(NamedTuple):
    """A question about a context.

    Attributes:
        answers: all that are accepted, none if the context has no answer; None if they were not read.
        title: of the article, "" without one.
        place: where it is in the file, as text for an error.
    """

    id: str
    question: str
    context: str
    answers: tuple[Reference, ...] | None
    title: str
    place: str


@dataclass(frozen=True)
class Questions:
    """The questions of a data source.

    Attributes:
        unanswerable: whether questions may have no answer, as in SQuAD 2.0.
        columns: the names that were read; none of a .json.
        records: the rows with all their cells, if it is a table.
    """

    path: Path
    rows: list[Question]
    unanswerable: bool = False
    columns: Columns = NO_COLUMNS
    encoding: str = "utf-8"
    records: Records | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> list[tuple[str, ...]] | None:
        """The texts of the accepted answers to each question; None if they were not read."""
        if any(row.answers is None for row in self.rows):
            return None
        return [tuple(answer.text for answer in row.answers or ()) for row in self.rows]

    @property
    def contexts(self) -> list[str]:
        """The contexts, each once."""
        return list(dict.fromkeys(row.context for row in self.rows))

    def take(self, rows: Iterable[int]) -> "Questions":
        """Some of the questions."""
        chosen = list(rows)
        records = None if self.records is None else self.records.take(chosen)
        return replace(self, rows=[self.rows[row] for row in chosen], records=records)

    def kept(self) -> dict[str, list[Any]]:
        """All columns of a table; id, title and question of a .json."""
        if self.records is not None:
            return self.records.columns()
        columns = {"id": [row.id for row in self.rows], "title": [row.title for row in self.rows]}
        return {name: cells for name, cells in columns.items() if any(cells)} | {"question": [row.question for row in self.rows]}


def is_squad(path: Path, encoding: str = UTF8) -> bool:
    """Whether a file is a .json."""
    return path.suffix.lower() == ".json"


def is_table_of_questions(records: Records, columns: Columns) -> bool:
    """Whether a table has questions, contexts and answers in columns with the default names."""
    label = names_of(columns.label) or tuple(name for name in ANSWER_COLUMNS if name in records.names)
    wanted = (columns.text or QUESTION, columns.text_pair or CONTEXT, *label[:1])
    return wanted[:2] == (QUESTION, CONTEXT) and wanted[2:3] in {(name,) for name in ANSWER_COLUMNS} and {*wanted} <= {*records.names}


def read_questions(source: Any, columns: Columns, encoding: str = UTF8, labelled: bool = True, known: str = "") -> Questions:
    """Read questions from a .json of SQuAD's form, or from a table; see `records.read_records`.

    Args:
        known: who says that the columns are there, as text for an error.
    Raises:
        DataError: the file is unreadable, something is missing or of the wrong type, a text is empty or no Unicode, or an id is
            there twice; the message gives the line, or the place in the .json. An answer that is not where it is said to be is
            none of that: it can be scored, but not learned.
    """
    if isinstance(source, str | Path) and is_squad(Path(source)):
        return read_squad(Path(source), encoding, labelled)
    return _read_table(source, columns, encoding, labelled, known)


def from_texts(texts: Sequence[str]) -> Questions:
    """Make questions of texts given on the command line: question, context, question, context and so on.

    Raises:
        ConfigError: a context is missing, or a text is empty or no Unicode.
    """
    if len(texts) % 2:
        raise ConfigError(f"give each question with its context: QUESTION CONTEXT, not {counted(len(texts), 'text')}")
    data = tables.from_texts(texts)
    pairs = enumerate(zip(data.texts[::2], data.texts[1::2], strict=True), 1)
    rows = [Question(str(number), question, context, None, "", f"question {number}") for number, (question, context) in pairs]
    return Questions(data.path, rows)


def read_squad(path: Path, encoding: str = UTF8, labelled: bool = True) -> Questions:
    """Read a .json in the form of SQuAD v1.1 or v2.0.

    Raises:
        DataError: see `read_questions`.
    """
    with open_text(path, encoding) as file:
        text = file.read()
    if not text.strip():
        raise DataError(f"{path}: is empty")
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be parsed: {error}") from None
    whole = f"{path}: the file"
    if isinstance(content, list):
        raise DataError(f"{whole} is a list, not an object with data: write one object a line to a .jsonl")
    if isinstance(content, dict) and "data" not in content:
        raise DataError(f"{whole} is not SQuAD's: it has no 'data'")
    articles = _get(content, "data", list, whole)
    rows = [question for number, article in enumerate(articles) for question in _of_article(article, path, f"data[{number}]", labelled)]
    if not rows:
        raise DataError(f"{path}: has no questions")
    _refuse_duplicates(path, rows)
    version_2 = str(content.get("version", "")).lower().removeprefix("v").startswith("2")
    return Questions(path, rows, version_2 or _some_unanswerable(rows), encoding=written_encoding(path, encoding))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys are there once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"an object has the key {next(name for name in names if names.count(name) > 1)!r:.80} twice")
    return found


def _of_article(article: Any, path: Path, place: str, labelled: bool) -> Iterator[Question]:
    """The questions of an article; errors name the path and the place."""
    title = _text(article, "title", f"{path}: {place}") if isinstance(article, dict) and article.get("title") else ""
    for number, paragraph in enumerate(_get(article, "paragraphs", list, f"{path}: {place}")):
        inner = f"{place}.paragraphs[{number}]"
        context = _text(paragraph, CONTEXT, f"{path}: {inner}")
        for row, qa in enumerate(_get(paragraph, "qas", list, f"{path}: {inner}")):
            spot = f"{inner}.qas[{row}]"
            key = _text(qa, ID, f"{path}: {spot}", str | int)
            spot = f"{spot} (id {key!r:.80})"
            question = _text(qa, QUESTION, f"{path}: {spot}")
            answers = _references(qa, f"{path}: {spot}") if labelled else None
            yield Question(key, question, context, answers, title, spot)


def _references(qa: Mapping[str, Any], where: str) -> tuple[Reference, ...]:
    """The accepted answers of a question in SQuAD's form."""
    impossible = "is_impossible" in qa and _get(qa, "is_impossible", bool, where)
    found = _get(qa, "answers", list, where) if "answers" in qa or not impossible else []
    if impossible and found:
        raise DataError(f"{where} is_impossible, but has answers")
    if "is_impossible" in qa and not impossible and not found:
        raise DataError(f"{where} has no answers, but is not is_impossible")
    places = [f"{where}: answers[{number}]" for number in range(len(found))]
    return tuple(Reference(_text(answer, "text", at), _get(answer, START, int, at)) for answer, at in zip(found, places, strict=True))


def _get(found: Any, key: str, kind: Any, where: str) -> Any:
    """A member of a JSON object.

    Raises:
        DataError: it is missing, or of another type.
    """
    if not isinstance(found, dict):
        raise DataError(f"{where} is {brief(found)}, not an object")
    if key not in found:
        raise DataError(f"{where} has no {key!r}")
    if not isinstance(found[key], kind) or (isinstance(found[key], bool) and kind is not bool):
        raise DataError(f"{where}: {key!r} is {brief(found[key])}, not {KINDS[kind]}")
    return found[key]


def _text(found: Any, key: str, where: str, kind: Any = str) -> str:
    text = str(_get(found, key, kind, where))
    if not text.strip():
        raise DataError(f"{where}: {key!r} is empty")
    if not is_unicode(text):
        raise DataError(f"{where}: {key!r} has half an emoji (a lone surrogate)")
    return text


def _some_unanswerable(rows: Sequence[Question]) -> bool:
    return any(row.answers == () for row in rows)


def _refuse_duplicates(path: Path, rows: Sequence[Question]) -> None:
    places: dict[str, str] = {}
    for row in rows:
        if (first := places.setdefault(row.id, row.place)) is not row.place:
            raise DataError(f"{path}: {row.place} has the id {row.id!r:.80} of {first}")


def _read_table(source: Any, columns: Columns, encoding: str, labelled: bool, known: str) -> Questions:
    """Read a table with a question, a context and its answers in each row, as the data sets of the hub have them."""
    records = read_records(source, encoding, columns.header)
    label = names_of(columns.label)
    if not label and labelled:
        answer = next((name for name in ANSWER_COLUMNS if name in records.names), ANSWER_COLUMNS[0])
        label = (answer, START) if START in records.names else (answer,)
    if len(label) > 2:
        raise DataError(f"{records.path}: the columns of an answer and of its start are needed, not {len(label)} columns")
    question, context = columns.text or QUESTION, columns.text_pair or CONTEXT
    records.require([question, context, *(label if labelled else ())], known)
    texts, contexts, ids = records.texts(question), records.texts(context), _ids(records)
    answers = _answers(records, label, contexts) if labelled else [None] * len(records)
    places = [records.place(row) for row in range(len(records))]
    rows = [Question(*row[:4], "", row[4]) for row in zip(ids, texts, contexts, answers, places, strict=True)]
    found = replace(columns, text=question, text_pair=context, label=(label[0] if len(label) == 1 else label) or columns.label)
    return Questions(records.path, rows, _some_unanswerable(rows), found, records.encoding, records)


def _ids(records: Records) -> list[str]:
    """The column of ids; the numbers of the rows, if there is none.

    Raises:
        DataError: an id is empty, or there twice.
    """
    if ID not in records.names:
        return [str(number) for number in range(1, len(records) + 1)]
    records.require([ID])
    ids = records.texts(ID)
    first: dict[str, int] = {}
    records.refuse(ID, "repeats the id of another row", [first.setdefault(name, row) != row for row, name in enumerate(ids)])
    return ids


def new_ids(records: Records, seen: set[int] | None = None) -> set[int]:
    """Add the hashes of ids to those seen before, which takes less than a hundredth of the room of their contexts.

    Raises:
        DataError: an id was seen before.
    """
    if ID not in records.names:
        return set()
    seen = set() if seen is None else seen
    hashes = [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) for name in records.texts(ID)]
    records.refuse(ID, "repeats the id of another row", [number in seen for number in hashes])
    seen.update(hashes)
    return seen


def _answers(records: Records, label: tuple[str, ...], contexts: Sequence[str]) -> list[tuple[Reference, ...]]:
    """The accepted answers of each row; without a start, an answer is where the context has it first.

    Raises:
        DataError: a cell has no answers in one of the known forms, or the context does not have one without a start.
    """
    cells = [_as_answers(cell) for cell in records.cells(label[0])]
    if len(label) == 2:
        starts = [_as_start(cell) for cell in records.cells(label[1])]
        records.refuse(label[1], "is not a whole number", [bool(cell) and start is None for cell, start in zip(cells, starts, strict=True)])
        cells = [cell and [(text, start) for text, _ in cell] for cell, start in zip(cells, starts, strict=True)]
    records.refuse(label[0], "is neither a text nor answers with their starts", [cell is None for cell in cells])
    flat = [[text for text, _ in cell or ()] for cell in cells]
    records.refuse(label[0], "has an empty answer", [not all(text.strip() for text in texts) for texts in flat])
    records.refuse(label[0], "has half an emoji (a lone surrogate)", [not all(map(is_unicode, texts)) for texts in flat])
    found = [
        tuple(Reference(text, context.find(text) if start is None else start) for text, start in cell or ())
        for cell, context in zip(cells, contexts, strict=True)
    ]
    absent = [
        any(start is None and text not in context for text, start in cell or ())
        for cell, context in zip(cells, contexts, strict=True)
    ]
    records.refuse(label[0], "has an answer that is not in the context", absent)
    return found


def _as_answers(cell: Any) -> list[tuple[str, int | None]] | None:
    """A cell's answers with their starts: {"text": [...], "answer_start": [...]}, [{"text": ..., "answer_start": ...}], or a text.

    An empty cell or list has none. Returns None for any other cell.
    """
    if isinstance(cell, Mapping):
        columns = [_as_list(cell.get(name)) for name in ("text", START)]
        if None in columns or len(columns[0] or ()) != len(columns[1] or ()):
            return None
        return _checked(zip(*columns, strict=True))
    if (answers := _as_list(cell)) is not None:
        return _checked((answer.get("text"), answer.get(START)) if isinstance(answer, Mapping) else (None, None) for answer in answers)
    text = as_text(cell)
    if text.lstrip()[:1] in ("{", "["):  # as .csv and .tsv hold an object; or a text that begins with a bracket
        with contextlib.suppress(ValueError, RecursionError):
            if (found := _as_answers(json.loads(text))) is not None:
                return found
    if not text.strip():
        return [] if cell is None or isinstance(cell, str | float) else None
    return [(text, None)]


def _as_list(cell: Any) -> list[Any] | None:
    """A list or an array as a list; None for any other cell."""
    return list(cell) if isinstance(cell, list | tuple | np.ndarray) else None


def _checked(pairs: Iterable[tuple[Any, Any]]) -> list[tuple[str, int | None]] | None:
    """Answers with their starts; None if one is no text, or has no start."""
    found = [(text, _as_start(start)) for text, start in pairs]
    return found if all(isinstance(text, str) and start is not None for text, start in found) else None


def _as_start(cell: Any) -> int | None:
    """A cell as a whole number; None if it is not one."""
    value = as_number(plain(cell))
    return int(value) if value is not None and value.is_integer() else None

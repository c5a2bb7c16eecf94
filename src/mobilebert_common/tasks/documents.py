"""Plain text for pre-training: documents and their sentences, from text files and from any source of records.

Blank lines mean two things in the text files that people have, so each file decides:

* in BERT's format, a sentence a line, a blank line ends a document;
* in a file in which a blank line (or nothing) follows every line, a line is a paragraph, and the file is one document. Its
  paragraphs are divided into sentences where whitespace follows a full stop, an exclamation mark or a question mark.

`Columns.documents` overrides the rule. A row of records is a document, a line of its text a paragraph.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from .records import SUFFIXES, Records, as_text, is_unicode, open_text, read_records, written_encoding
from .tables import Columns, Table, read_table, resolve

TEXT = ".txt"
DIVISIONS = ("blank", "file")  # what ends a document of a text file, for Columns.documents
SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=[.!?][\"'”’)\]])\s+|(?<=[。！？])")
LINES = re.compile(r"\r\n|\r|\n")
SHOWN = 200  # characters of a document
LEARNED = 8_000_000  # characters to learn a vocabulary from
BATCH = 10_000  # sentences to tokenize at once


@dataclass(frozen=True)
class Documents:
    """The documents of some text, each with its sentences.

    Attributes:
        path: of the file or folder; of several, the first.
        places: where each document begins, as text.
    """

    path: Path
    sentences: list[list[str]]
    places: list[str]
    columns: Columns
    encoding: str = "utf-8"
    labels: None = None

    def __len__(self) -> int:
        return len(self.sentences)

    def take(self, rows: Iterable[int]) -> "Documents":
        """Some of the documents."""
        chosen = list(rows)
        return replace(self, sentences=[self.sentences[row] for row in chosen], places=[self.places[row] for row in chosen])

    def kept(self) -> dict[str, list[Any]]:
        """What to write beside results."""
        return {"document": self.places, "text": self.shown()}

    def shown(self) -> list[str]:
        """The beginning of each document."""
        return [" ".join(sentences[:20])[:SHOWN] for sentences in self.sentences]

    def sample(self) -> list[str]:
        """Sentences to learn a vocabulary from, evenly spread over all if there is more text than LEARNED."""
        step = 1 + sum(len(sentence) for document in self.sentences for sentence in document) // LEARNED
        return [sentence for document in self.sentences for sentence in document][::step]

    def split(self, fraction: float, seed: int) -> tuple["Documents", "Documents"]:
        """Split off a part of the documents to validate on; a single document is cut in two, with its end to validate on.

        Raises:
            DataError: there is only one sentence.
        """
        if len(self) > 1:
            held_out = min(max(1, round(fraction * len(self))), len(self) - 1)
            order = np.random.default_rng(seed).permutation(len(self))
            return self.take(np.sort(order[held_out:]).tolist()), self.take(np.sort(order[:held_out]).tolist())
        [sentences] = self.sentences
        if len(sentences) < 2:
            raise DataError(f"{self.path}: one sentence cannot be split into training and validation; pass a --validation file")
        middle = min(max(1, round((1 - fraction) * len(sentences))), len(sentences) - 1)
        return replace(self, sentences=[sentences[:middle]]), replace(self, sentences=[sentences[middle:]])


def read_documents(source: Any, columns: Columns, encoding: str) -> Documents:
    """Read text to pre-train on.

    Args:
        source: a .txt file, a folder of them, what `read_records` takes, or a list of such files and folders.
    Raises:
        ConfigError: columns.documents is not one of DIVISIONS.
        DataError: there is no text, or it is in another encoding; the message gives the file and the line.
    """
    if columns.documents not in (None, *DIVISIONS):
        raise ConfigError(f"documents must be {' or '.join(DIVISIONS)}, not {columns.documents!r:.80}")
    if not (sources := [*_files(source)]):
        raise DataError("there are no files to read")
    parts = [_read_text(each, columns, encoding) if _is_text(each) else _from_records(each, columns, encoding) for each in sources]
    path = Path(source) if isinstance(source, str | Path) else parts[0].path
    sentences = [document for part in parts for document in part.sentences]
    return replace(parts[0], path=path, sentences=sentences, places=[place for part in parts for place in part.places])


def read_lines(source: Any, columns: Columns, encoding: str, known: str = "") -> Table:
    """Read texts to predict words of: the lines of text files, or rows of records; see `read_documents`.

    Raises:
        DataError: there is no text, or it is in another encoding; the message gives the file and the line.
    """
    if not _is_text(source) and not (isinstance(source, str | Path) and Path(source).is_dir()):
        return read_table(source, replace(columns, text_pair=()), encoding, labelled=False, known=known)
    rows = [(line, path) for path in _files(source) for _, line in _lines(path, encoding) if line]
    if not rows:
        raise DataError(f"{source}: has no text")
    return Table(Path(source), [line for line, _ in rows], None, None, columns)


def _is_text(source: Any) -> bool:
    return isinstance(source, str | Path) and Path(source).suffix.lower() == TEXT


def _files(source: Any) -> Iterator[Any]:
    """The files of folders and lists; anything else as it is.

    Raises:
        DataError: a folder has no text files.
    """
    if isinstance(source, list | tuple) and all(isinstance(each, str | Path) for each in source):
        for each in source:
            yield from _files(each)
    elif isinstance(source, str | Path) and Path(source).is_dir():
        found = sorted(path for path in Path(source).iterdir() if path.suffix.lower() == TEXT)
        if not found:
            raise DataError(f"{source}: has no {TEXT} files")
        yield from found
    else:
        yield source


def _lines(path: Path, encoding: str) -> list[tuple[int, str]]:
    """The lines of a text file, each with its number and without spaces around it."""
    with open_text(path, encoding) as file:
        return [(number, line.strip()) for number, line in enumerate(file, 1)]


def _read_text(source: str | Path, columns: Columns, encoding: str) -> Documents:
    """The documents of a text file."""
    path = Path(source)
    lines = _lines(path, encoding)
    if not any(line for _, line in lines):
        raise DataError(f"{path}: {'has no text' if lines else 'is empty'}")
    division = columns.documents
    if division is None:
        division = "blank" if any(one and other for (_, one), (_, other) in pairwise(lines)) else "file"
    sentences: list[list[str]] = []
    places: list[str] = []
    inside = False  # a document
    for number, line in lines:
        if line and not inside:
            sentences.append([])
            places.append(f"{path.name} line {number}")
        if line:
            sentences[-1] += [line] if division == "blank" else split_sentences(line)
        inside = bool(line) or (inside and division == "file")
    return Documents(path, sentences, places, columns, written_encoding(path, encoding))


def _from_records(source: Any, columns: Columns, encoding: str) -> Documents:
    """Each row that has text as a document."""
    if isinstance(source, str | Path) and not Path(source).exists():
        raise DataError(f"{source}: cannot be read: No such file or directory")
    if isinstance(source, str | Path) and Path(source).suffix.lower() not in SUFFIXES:
        raise DataError(f"{source}: must end in {', '.join((TEXT, *SUFFIXES))}")
    records: Records = read_records(source, encoding, columns.header)
    found = resolve(replace(columns, text_pair=()), records, labelled=False)
    name = found.text or ""
    records.require([name])
    texts = [as_text(cell) for cell in records.cells(name)]
    records.refuse(name, "has half an emoji (a lone surrogate)", [not is_unicode(text) for text in texts])
    documents = [
        [sentence for line in LINES.split(text) if line.strip() for sentence in split_sentences(line.strip())] for text in texts
    ]
    filled = [row for row, sentences in enumerate(documents) if sentences]
    if not filled:
        raise DataError(f"{records.path}: column {name!r} has no text")
    places = [f"{records.path.name} {records.place(row)}" for row in filled]
    return Documents(records.path, [documents[row] for row in filled], places, found, records.encoding)


def split_sentences(paragraph: str) -> list[str]:
    """Divide a paragraph where whitespace follows . ! or ?, also behind a quotation mark; a Chinese full stop needs no whitespace.

    >>> split_sentences('He said "No." She left! 他走了。她也走了。')
    ['He said "No."', 'She left!', '他走了。', '她也走了。']
    """
    return [part for part in SENTENCE.split(paragraph) if part]


@dataclass(frozen=True)
class Tokens:
    """The tokens of documents in one array, without special tokens.

    Attributes:
        ids: [tokens].
        sentences: [sentences + 1] where each sentence begins in `ids`, and the end.
        documents: [documents + 1] the number of each document's first sentence, and of all sentences.
    """

    ids: np.ndarray
    sentences: list[int]
    documents: list[int]


def tokenize(documents: Sequence[Sequence[str]], tokenizer: Any, longest: int) -> Tokens:
    """Tokenize documents in batches, which takes little memory. A special token in a text is read as text.

    Args:
        longest: sentences of more tokens are cut into pieces, so that nothing of them is lost.
    """
    backend = tokenizer.backend_tokenizer
    backend = type(backend).from_str(backend.to_str())  # a copy, because its settings change
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    kind = np.uint16 if len(tokenizer) <= 1 << 16 else np.int32
    texts = [sentence for document in documents for sentence in document]
    parts, sizes = [np.zeros(0, kind)], list[int]()
    for start in range(0, len(texts), BATCH):
        batch = [encoding.ids for encoding in backend.encode_batch_fast(texts[start : start + BATCH], add_special_tokens=False)]
        sizes += map(len, batch)
        parts.append(np.fromiter(chain.from_iterable(batch), kind))
    pieces = [_pieces(size, longest) for size in sizes]
    counts = np.cumsum([0, *map(len, pieces)])[np.cumsum([0, *map(len, documents)])]
    starts = np.cumsum([0, *(size for sentence in pieces for size in sentence)])
    return Tokens(np.concatenate(parts), starts.tolist(), counts.tolist())


def _pieces(size: int, longest: int) -> tuple[int, ...]:
    """The sizes of the pieces of a sentence, about equal; none if it is empty."""
    if 0 < size <= longest:
        return (size,)
    count = -(-size // longest)
    return tuple(size * (number + 1) // count - size * number // count for number in range(count))

"""Read and write files in CoNLL's format: a word on each line, its tag in the last column, and blank lines between sentences."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError
from .metrics import check_tags
from .records import UTF8, is_unicode, open_text, written_encoding
from .results import write_text

SUFFIXES = (".conll", ".bio", ".iob", ".iob2")
AMBIGUOUS = (".tsv", ".txt")  # suffixes of such files, and of others
DOCUMENT = "-DOCSTART-"  # the first column of a line between documents
GAP = re.compile(r"[ \t]+")
LOOKED_AT = 1000  # lines that tell whether such a file is in this format


class Word(NamedTuple):
    """A line with a word: its number from 1, its text without the line break, and its columns."""

    number: int
    line: str
    cells: Sequence[str]


class Block(NamedTuple):
    """A sentence, and the lines between it and the sentence before, as they are."""

    before: Sequence[str]
    words: Sequence[Word]


@dataclass(frozen=True)
class Conll:
    """The sentences of a file, at least one, in whose lines there are `width` columns."""

    path: Path
    blocks: Sequence[Block]
    width: int
    encoding: str

    def take(self, rows: Iterable[int]) -> "Conll":
        """Some of the sentences."""
        return replace(self, blocks=[self.blocks[row] for row in rows])

    def column(self, name: str) -> list[list[str]]:
        """A column, sentence by sentence.

        Args:
            name: its number, from 1.
        Raises:
            DataError: there is no such column, or cells are empty or no Unicode; the message gives their lines.
        """
        if not name.isdecimal() or not 0 < int(name) <= self.width:
            columns = "one column only" if self.width == 1 else f"no column {name!r:.80}: its columns are the numbers 1 to {self.width}"
            raise DataError(f"{self.path}: has {columns}")
        cells = self.cells(name)
        self.refuse(f"column {name} is empty", [[not cell for cell in row] for row in cells])
        self.refuse(f"column {name} has half an emoji (a lone surrogate)", [[not is_unicode(cell) for cell in row] for row in cells])
        return cells

    def cells(self, name: str) -> list[list[str]]:
        """A column as it is."""
        return [[word.cells[int(name) - 1] for word in block.words] for block in self.blocks]

    def refuse(self, fault: str, found: Sequence[Sequence[bool]]) -> None:
        """Raise a DataError that names the lines of the words in which a fault was found."""
        pairs = [pair for block, row in zip(self.blocks, found, strict=True) for pair in zip(block.words, row, strict=True)]
        if lines := [word.number for word, wrong in pairs if wrong]:
            more = f" and {len(lines) - 5} more" if len(lines) > 5 else ""
            raise DataError(f"{self.path}: {fault} in line {', '.join(map(str, lines[:5]))}{more}")


def read_conll(path: Path, encoding: str = UTF8) -> Conll:
    """Read a file.

    Lines of white space end sentences. If most lines have a tab, tabs separate the columns, and there may be spaces in a column; otherwise
    any white space does. Lines whose first column is -DOCSTART- lie between sentences, as do the comments of CoNLL-U: lines before a
    sentence that begin with "# " and have another number of columns than the words.

    Raises:
        DataError: the file is unreadable or has no words, or lines have more or fewer columns than the others; the message gives the lines.
    """
    with open_text(path, encoding) as file:
        lines = [line.rstrip("\r\n") for line in file]
    split = _splitter(lines)
    cells = [split(line) if line.strip() else [] for line in lines]
    widths = Counter(len(row) for row in cells if row and row[0] != DOCUMENT)
    if not widths:
        raise DataError(f"{path}: {'has no words' if any(cells) else 'is empty'}")
    width = widths.most_common(1)[0][0]
    blocks: list[Block] = []
    before: list[str] = []
    words: list[Word] = []
    uneven: list[str] = []
    for number, (line, row) in enumerate(zip([*lines, ""], [*cells, []], strict=True), 1):
        if row and row[0] != DOCUMENT and (words or len(row) == width or not line.startswith("# ")):
            words.append(Word(number, line, row))
            if len(row) != width:
                uneven.append(f"line {number} has {len(row)} column{'s' * (len(row) > 1)}")
            continue
        if words:
            blocks.append(Block(before, words))
            before, words = [], []
        before.append(line)
    if uneven:
        more = f" and {len(uneven) - 5} more lines" if len(uneven) > 5 else ""
        marks = "tabs" if split is by_tabs else "spaces or tabs"
        raise DataError(f"{path}: {', '.join(uneven[:5])}{more}, but most lines have {width}, with {marks} between")
    if not blocks:
        raise DataError(f"{path}: has no words")
    return Conll(path, blocks, width, written_encoding(path, encoding))


def _splitter(lines: Sequence[str]) -> Callable[[str], list[str]]:
    """What splits a line into its columns."""
    filled = [line for line in lines if line.strip()]
    if 2 * sum("\t" in line for line in filled) > len(filled):
        return by_tabs
    return lambda line: GAP.split(line.strip(" \t"))


def by_tabs(line: str) -> list[str]:
    """The columns of a line, which tabs separate."""
    return [cell.strip(" ") for cell in line.split("\t")]


def looks_like_conll(path: Path, encoding: str = UTF8) -> bool:
    """Whether a file is in this format: by its suffix, or as a .txt or .tsv of words with tags such as B-PER, and without a header."""
    suffix = path.suffix.lower()
    if suffix not in AMBIGUOUS:
        return suffix in SUFFIXES
    with open_text(path, encoding) as file:
        lines = [line.rstrip("\r\n") for line in islice(file, LOOKED_AT)]
    split = _splitter(lines)
    rows = [split(line) for line in lines if line.strip()]
    if len({len(row) for row in rows}) != 1 or len(rows[0]) < 2 or (suffix == ".tsv" and len(rows) == len(lines)):
        return False
    return not check_tags(row[-1] for row in rows)


def write_conll(path: Path, data: Conll, columns: Sequence[Sequence[Sequence[str]]]) -> None:
    """Write the lines of a file with further columns, each a cell for each word, sentence by sentence.

    Raises:
        DataError: a cell contains white space that would separate columns.
    """
    lines: list[str] = []
    for block, *sentences in zip(data.blocks, *columns, strict=True):
        lines += ["", *block.before] if lines and all(line.strip() for line in block.before) else block.before
        for word, *cells in zip(block.words, *sentences, strict=True):
            gap = "\t" if "\t" in word.line else " "
            check_cells(path, cells, gap)
            lines.append(gap.join([word.line.rstrip(" \t"), *cells]))
    write_text(path, "".join(f"{line}\n" for line in lines), data.encoding)


def check_cells(path: Path, cells: Iterable[str], gap: str) -> None:
    """Require cells that do not contain what separates columns or lines.

    Raises:
        DataError: one does.
    """
    if broken := [cell for cell in cells if any(mark in cell for mark in f"{gap}\t\r\n") or not cell]:
        raise DataError(f"{path}: cannot hold {broken[0]!r:.80}, which would not be one column: write a .jsonl")

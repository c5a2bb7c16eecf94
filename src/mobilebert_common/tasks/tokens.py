"""Token classification: a tag for each word, such as named entities or parts of speech."""

import re
import string
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, counted, shortened
from ..model.config import MobileBertConfig
from ..model.inputs import IGNORE_INDEX
from . import metrics
from .base import Lengths, Outputs, Predictions, Task, log_softmax
from .classification import label_names, names_in
from .conll import Conll, check_cells, looks_like_conll, read_conll, write_conll
from .examples import Examples
from .metrics import Scores, check_tags, chunks, scheme_of
from .records import SUFFIXES, UTF8, Records, as_list, as_text, is_unicode, read_records
from .results import write_text
from .tables import Columns, from_texts, names_of

WORD_COLUMNS = ("tokens", "words")  # default columns of records, the first that there is
TAG_COLUMNS = ("ner_tags", "tags", "labels", "label")
PREFIXED = re.compile(r"[BIESLUMW]-.+", re.DOTALL)


class Tags(list[str]):
    """The tags of a sentence, printed with spaces between."""

    def __str__(self) -> str:
        return " ".join(self)


@dataclass(frozen=True)
class Sentences:
    """The sentences of a data source.

    Attributes:
        tags: of each word; None if they were not read.
        names: all tags of the source, also of sentences that were not taken.
        source: the lines or rows with everything else; None for texts that were given as such.
        start: the number of sentences of the file before these.
        by_word: for a window of a file, the columns of the whole file that have a cell for each word.
    """

    path: Path
    words: list[list[str]]
    tags: list[list[str]] | None
    names: tuple[str, ...] = ()
    columns: Columns = field(default_factory=Columns)
    source: Conll | Records | None = None
    start: int = 0
    by_word: frozenset[str] | None = None

    def __len__(self) -> int:
        return len(self.words)

    @property
    def encoding(self) -> str:
        """In which results about the data are written."""
        return "utf-8" if self.source is None else self.source.encoding

    @property
    def labels(self) -> list[list[str]] | None:
        """The tags."""
        return self.tags

    def take(self, rows: Iterable[int]) -> "Sentences":
        """Some of the sentences."""
        chosen = list(rows)
        tags = None if self.tags is None else [self.tags[row] for row in chosen]
        source = None if self.source is None else self.source.take(chosen)
        return replace(self, words=[self.words[row] for row in chosen], tags=tags, source=source)

    def kept(self) -> dict[str, list[Any]]:
        """The words, and the other columns of the data, of a CoNLL file by their numbers."""
        if isinstance(self.source, Records):
            return self.source.columns()
        found: dict[str, list[Any]] = {"words": self.words}
        if isinstance(self.source, Conll):
            known = (self.columns.text, self.columns.label if self.tags is not None else None)
            others = [str(number) for number in range(1, self.source.width + 1) if str(number) not in known]
            found |= {f"column {name}": self.source.cells(name) for name in others}
        return found

    def refuse(self, fault: str, marks: Sequence[Sequence[bool]]) -> None:
        """Raise a DataError that names the lines, or rows, in which a fault was found."""
        if not any(map(any, marks)):
            return
        if isinstance(self.source, Conll):
            self.source.refuse(fault, marks)
        rows = [row for row, found in enumerate(marks) if any(found)]
        where = f" in {self.source.places(rows)}" if isinstance(self.source, Records) else ""
        raise DataError(f"{self.path}: {fault}{where}")


class Tokens(Task):
    """A tag for each word of a sentence."""

    name = "tokens"
    architecture = "MobileBertForTokenClassification"
    lengths = Lengths(stride=96)
    suffixes = (".conll",)
    has_classes = True

    def read(
        self, source: Any, columns: Columns | None = None, encoding: str = UTF8, *, labelled: bool = True, known: str = ""
    ) -> Sentences:
        """Read a file in CoNLL's format, or records with a list of words and a list of tags in each.

        Columns of a CoNLL file are numbers from 1: by default the words are in the first and the tags in the last. Of columns that a
        checkpoint remembers, those of the other kind of source do not count. Tags that mark entities, such as B-PER, are kept as they
        are written, in IOB1, IOB2 or IOBES; other tags are plain classes.

        Raises:
            ConfigError: columns are named that no sentence has.
            DataError: see `conll.read_conll` and `records.read_records`; or words are empty, words and tags differ in number, or the tag
                of an entity has no known form. The message gives the lines.
        """
        columns = Columns() if columns is None else columns
        if columns.text_pair or columns.choices:
            raise ConfigError("tokens has a column of words and one of tags: it takes no text_pair and no choices")
        if len(names_of(columns.label)) > 1:
            raise ConfigError(f"tokens takes one column of tags, not {len(names_of(columns.label))}")
        if isinstance(source, str | Path):
            path = Path(source)
            if path.suffix.lower() == ".json":
                raise DataError(f"{path}: a .json holds questions and answers: words and tags are in a .conll, .jsonl or .parquet")
            if looks_like_conll(path, encoding) or path.suffix.lower() not in SUFFIXES:
                return _checked(_of_conll(read_conll(path, encoding), columns, labelled, bool(known)))
        return _checked(_of_records(read_records(source, encoding, columns.header), columns, labelled, known))

    def from_texts(self, texts: Sequence[str]) -> Sentences:
        """Split texts into words; see `split_words`."""
        return Sentences(Path("the command line"), [split_words(text) for text in from_texts(texts).texts], None)

    def texts(self, data: Sentences) -> list[str]:
        return [" ".join(words) for words in data.words]

    def settings(self, data: Sentences, stored: MobileBertConfig | None) -> dict[str, Any]:
        """The tags of the training data as id2label; if the checkpoint has the same tags, its names and numbers are kept."""
        id2label = label_names(data.names)
        if stored is not None and set(names_in(data.names, stored.id2label).values()) == set(id2label.values()):
            id2label = dict(stored.id2label)
        return {"id2label": id2label}

    def lengths_without_memory(self, length: int) -> Lengths:
        """Windows as long as the model takes, so that few sentences need two; they overlap by as large a part as by default."""
        return replace(self.lengths, max_length=length, stride=max(1, length * self.lengths.stride // self.lengths.max_length))

    def cut(self, lengths: Lengths) -> str:
        """Only words that are longer than a window are cut: sentences have windows."""
        return f"a word longer than {counted(lengths.max_length - 2, 'token')}"

    def make_examples(self, data: Sentences, tokenizer: Any, config: MobileBertConfig, lengths: Lengths) -> Examples:
        """Tokenize sentences word by word; the first piece of a word carries its tag.

        A word that the tokenizer drops, such as one of control characters, becomes [UNK], so that every word has a tag. Sentences over
        lengths.max_length are split between words into windows that overlap; each word is labelled, and predicted, in the window where
        it has the most context. Only a word that is longer than a window is cut.

        Raises:
            ConfigError: lengths.max_length has no room for a piece.
            DataError: there are no sentences, or the model does not have one of the tags.
        """
        room = lengths.max_length - 2  # without [CLS] and [SEP]
        if room < 1:
            raise ConfigError(f"max_length {lengths.max_length} is too short: a word needs 3 tokens")
        if not len(data):
            raise DataError(f"{data.path}: has no sentences")
        numbers = None if data.tags is None else _numbers(data, data.tags, config.id2label)
        ids: list[list[int]] = []
        labels: list[list[int]] = []
        sources: list[int] = []
        extras: list[list[tuple[int, int]]] = []
        cut = []
        for source, pieces in enumerate(_pieces(data.words, tokenizer)):
            sizes = [len(word) for word in pieces]
            spans = windows(sizes, room, max(room - lengths.stride, room // 4))
            if max(sizes) > room:
                cut.append(source)
            for (first, end), owned in zip(spans, shares(sizes, spans), strict=True):
                row = [*chain(*pieces[first:end])][:room]
                starts = dict(zip(range(first, end), accumulate(sizes[first:end], initial=1), strict=False))
                ids.append([tokenizer.cls_token_id, *row, tokenizer.sep_token_id])
                extras.append([(word, starts[word]) for word in owned])
                sources.append(source)
                if numbers is not None:
                    labels.append([IGNORE_INDEX] * len(ids[-1]))
                    for word in owned:
                        labels[-1][starts[word]] = numbers[source][word]
        columns = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids], "token_type_ids": [[0] * len(row) for row in ids]}
        fillers = {"input_ids": tokenizer.pad_token_id, "labels": IGNORE_INDEX}
        return Examples(columns | ({} if numbers is None else {"labels": labels}), fillers, sources, truncated=cut, extras=extras)

    def predict(
        self, data: Sentences, examples: Examples, outputs: Outputs, config: MobileBertConfig, lengths: Lengths
    ) -> Predictions:
        """The most probable tag of each word; details: its probability, and the entities, whose start and end count words from 0."""
        flat = [*chain(*(data.tags or []))]
        names = names_in(flat, config.id2label)
        logs = [np.zeros((len(words), len(names))) for words in data.words]  # [words n]
        rows = (row for output in outputs for row in output["logits"])
        for source, owned, logits in zip(examples.sources, examples.extras, rows, strict=True):
            words, places = (list(part) for part in zip(*owned, strict=True)) if owned else ([], [])
            logs[source][words] = log_softmax(logits[places]) if words else 0
        if broken := [row for row, found in enumerate(logs) if not np.isfinite(found).all()]:
            count = f"{len(broken):,} sentences, the first is number {data.start + broken[0] + 1}"
            raise DataError(f"{data.path}: the model's outputs are not finite for {count}")
        chosen = [Tags(names[int(number)] for number in found.argmax(axis=-1)) for found in logs]
        details: dict[str, list[Any]] = {
            "probability": [[round(float(share), 4) for share in np.exp(found.max(axis=-1))] for found in logs]
        }
        if _are_entities(config.id2label.values()):
            details["entities"] = [entities(words, tags) for words, tags in zip(data.words, chosen, strict=True)]
        losses = None
        if data.tags is not None:
            numbers = _numbers(data, data.tags, config.id2label)
            losses = [-float(found[range(len(row)), row].mean()) for found, row in zip(logs, numbers, strict=True)]
        return Predictions({"prediction": chosen}, details, losses, chosen)

    def evaluate(self, data: Sentences, predictions: Predictions, config: MobileBertConfig) -> Scores:
        """F1 of entities as conlleval counts them, and in the strict mode for IOBES; for other tags, the metrics of classification."""
        names, tags = [*config.id2label.values()], data.tags or []
        if not _are_entities(names):
            flat = [*chain(*tags)]
            return metrics.classification(flat, [*chain(*predictions.found)], [*names_in(flat, config.id2label).values()])
        scheme = scheme_of([name] for name in names)
        return metrics.entities(tags, predictions.found, "IOBES" if scheme == "IOBES" else None)

    def titles(self, config: MobileBertConfig) -> tuple[str, ...]:
        if _are_entities(config.id2label.values()):
            return ("F1", "precision", "recall", "accuracy")
        return ("accuracy", "F1 (macro)", "MCC")

    def labels(self, data: Sentences) -> dict[str, list[Any]]:
        name = next(iter(names_of(data.columns.label)), "label")
        return {"label" if isinstance(data.source, Conll) else name: [Tags(tags) for tags in data.tags or []]}

    def write(self, path: Path, data: Sentences, columns: Mapping[str, Sequence[Any]]) -> None:
        """Write results: as .conll, the lines of the data with the predicted tag as a further column, or words, tags and predictions, with
        tabs between; as .csv or .tsv, a row for each word, without entities; as .jsonl or .parquet, a row for each sentence.

        Raises:
            DataError: see `results.write_columns`; or a word contains a tab or a line break, which a .conll cannot hold.
        """
        suffix = path.suffix.lower()
        if suffix == ".conll" and isinstance(data.source, Conll):
            write_conll(path, data.source, [columns["prediction"]])
        elif suffix == ".conll":
            parts = [data.words, *([] if data.tags is None else [data.tags]), columns["prediction"]]
            sentences = [[*zip(*rows, strict=True)] for rows in zip(*parts, strict=True)]
            check_cells(path, chain(*chain(*sentences)), "\t")
            blocks = ("".join("\t".join(word) + "\n" for word in sentence) for sentence in sentences)
            write_text(path, "\n".join(blocks), data.encoding)
        else:
            super().write(path, data, columns)

    def table(self, path: Path, data: Sentences, columns: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
        return _by_word(data, columns) if path.suffix.lower() in (".csv", ".tsv") else columns

    def survey(self, data: Sentences, seen: frozenset[str] | None = None) -> frozenset[str]:
        """The columns that have a cell for each word in all windows."""
        kept = data.kept()
        return frozenset(name for name in (kept if seen is None else seen) if _is_by_word(kept[name], data))

    def adapt(self, data: Sentences, seen: frozenset[str] | None, start: int) -> Sentences:
        return replace(data, start=start, by_word=seen)


def _of_conll(conll: Conll, columns: Columns, labelled: bool, remembered: bool) -> Sentences:
    text, label = (name for name in (columns.text, next(iter(names_of(columns.label)), None)))
    if remembered:
        text, label = (name if name is not None and name.isdecimal() else None for name in (text, label))
    text, label = text or "1", label or (str(conll.width) if labelled else None)
    if labelled and text == label:
        raise DataError(f"{conll.path}: has words and tags both in column {text}, of {conll.width}")
    tags = conll.column(label or "") if labelled else None
    names = tuple(sorted({*chain(*(tags or []))}))
    return Sentences(conll.path, conll.column(text), tags, names, replace(columns, text=text, label=label), conll)


def _of_records(records: Records, columns: Columns, labelled: bool, known: str) -> Sentences:
    names = records.names
    text, label = columns.text, next(iter(names_of(columns.label)), None)
    if known:
        text, label = (None if name is not None and name.isdecimal() and name not in names else name for name in (text, label))
    text = text or next((name for name in WORD_COLUMNS if name in names), WORD_COLUMNS[0])
    if labelled:
        label = label or next((name for name in TAG_COLUMNS if name in names), TAG_COLUMNS[1])
    records.require([text, *([label] if labelled and label else [])], known)
    words = _texts(records, text, "word")
    tags = _texts(records, label, "tag") if labelled and label else None
    if tags is not None:
        uneven = [len(row) != len(other) for row, other in zip(words, tags, strict=True)]
        records.refuse(label or "", "has more or fewer tags than there are words", uneven)
    used = tuple(sorted({*chain(*(tags or []))}))
    return Sentences(records.path, words, tags, used, replace(columns, text=text, label=label), records)


def _texts(records: Records, name: str, what: str) -> list[list[str]]:
    """A column of lists of words or tags."""
    cells = [as_list(cell) for cell in records.cells(name)]
    records.refuse(name, f"is no list of {what}s", [not cell for cell in cells])
    found = [[as_text(value) for value in cell or ()] for cell in cells]
    empty = [not all(text.strip(" \t\r\n") for text in row) for row in found]
    records.refuse(name, f"has an empty {what}, or one that is not text,", empty)
    records.refuse(name, "has half an emoji (a lone surrogate)", [not all(map(is_unicode, row)) for row in found])
    return found


def _checked(data: Sentences) -> Sentences:
    """Require known forms of the tags of entities."""
    if any(map(PREFIXED.fullmatch, data.names)) and (unknown := check_tags(data.names)):
        fault = f"the tag {unknown[0]!r:.80} is neither O nor of the form B-TYPE, I-TYPE, E-TYPE or S-TYPE"
        data.refuse(fault, [[tag == unknown[0] for tag in tags] for tags in data.tags or []])
    return data


def _are_entities(names: Iterable[str]) -> bool:
    """Whether tags mark entities: each has a known form, as in IOB."""
    return not check_tags(names)


def _numbers(data: Sentences, tags: Sequence[Sequence[str]], id2label: Mapping[int, str]) -> list[list[int]]:
    """The tags as the model takes them.

    Raises:
        DataError: the model does not have one of them; the message gives the lines.
    """
    numbers = {name: number for number, name in names_in([*chain(*tags)], id2label).items()}
    if unseen := sorted({*chain(*tags)} - set(numbers)):
        listed = ", ".join(f"{tag!r:.80}" for tag in unseen[:10])
        known = shortened([*map(repr, id2label.values())], ", ")
        data.refuse(f"has tags unseen in training, {listed}; the model has {known};", [[tag in unseen for tag in row] for row in tags])
    return [[numbers[tag] for tag in row] for row in tags]


def _pieces(sentences: Sequence[Sequence[str]], tokenizer: Any) -> Iterator[list[list[int]]]:
    """The ids of the pieces of each word; [UNK] for a word that has none."""
    encoded = tokenizer([*sentences], is_split_into_words=True, add_special_tokens=False, truncation=False, verbose=False)
    for row, words in enumerate(sentences):
        pieces: list[list[int]] = [[] for _ in words]
        for word, number in zip(encoded.word_ids(row), encoded["input_ids"][row], strict=True):
            pieces[word].append(number)
        yield [found or [tokenizer.unk_token_id] for found in pieces]


def windows(sizes: Sequence[int], room: int, overlap: int) -> list[tuple[int, int]]:
    """Split words into windows of at most `room` pieces, (first word, last word + 1), of which each repeats up to `overlap` of the last.

    >>> windows([1, 1, 1, 1, 1, 1], 4, 2)
    [(0, 4), (2, 6)]

    Args:
        sizes: the number of pieces of each word; a word of more than `room` has a window of its own.
    """
    found: list[tuple[int, int]] = []
    first = end = 0
    while end < len(sizes):
        repeated = 0
        while first > 0 and found and first - 1 > found[-1][0] and repeated + sizes[first - 1] <= min(overlap, room - sizes[end]):
            first -= 1
            repeated += sizes[first]
        total, end = repeated + sizes[end], end + 1
        while end < len(sizes) and total + sizes[end] <= room:
            total, end = total + sizes[end], end + 1
        found.append((first, end))
        first = end
    return found


def shares(sizes: Sequence[int], spans: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The words for which each window is the one with the most context, which counts as in BERT's run_squad.py.

    That is the number of pieces on the shorter side of the word, plus a hundredth of the window's.
    """
    places = [0, *accumulate(sizes)]
    best: dict[int, tuple[float, int]] = {}
    for number, (first, end) in enumerate(spans):
        for word in range(first, end):
            context = min(places[word] - places[first], places[end] - places[word + 1]) + 0.01 * (places[end] - places[first])
            if word not in best or context > best[word][0]:
                best[word] = context, number
    found: list[list[int]] = [[] for _ in spans]
    for word in sorted(best):
        found[best[word][1]].append(word)
    return found


def split_words(text: str) -> list[str]:
    """Split a text at white space, and punctuation marks off as words of their own, as BERT's tokenizer and most CoNLL files do.

    >>> split_words("She lives in Paris, France.")
    ['She', 'lives', 'in', 'Paris', ',', 'France', '.']
    """
    marks = (char in string.punctuation or unicodedata.category(char).startswith("P") for char in text)
    return "".join(f" {char} " if mark else char for char, mark in zip(text, marks, strict=True)).split()


def entities(words: Sequence[str], tags: Sequence[str]) -> list[dict[str, Any]]:
    """The entities of a sentence; their start and end count words from 0, as slices do.

    >>> entities(["in", "New", "York"], ["O", "B-LOC", "I-LOC"])
    [{'type': 'LOC', 'text': 'New York', 'start': 1, 'end': 3}]
    """
    return [{"type": kind, "text": " ".join(words[a : b + 1]), "start": a, "end": b + 1} for kind, a, b in chunks(tags)]


def _by_word(data: Sentences, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Results with a row for each word; a cell that is no list of as many as the words is repeated."""
    counts = [len(words) for words in data.words]

    kept = {} if data.by_word is None else data.kept()

    def spread(name: str, cells: Sequence[Any]) -> list[Any]:
        lists = _is_by_word(cells, data) and (name not in kept or data.by_word is None or name in data.by_word)
        return [value for cell, count in zip(cells, counts, strict=True) for value in (cell if lists else [cell] * count)]

    numbers = {"sentence number": [row for row, count in enumerate(counts, data.start + 1) for _ in range(count)]}
    shown = {name: cells for name, cells in columns.items() if name != "entities"}
    words = {} if "words" in shown or data.columns.text in shown else {"words": data.words}
    return {**numbers, **{name: spread(name, cells) for name, cells in {**words, **shown}.items()}}


def _is_by_word(cells: Sequence[Any], data: Sentences) -> bool:
    """Whether a column has a list of as many cells as there are words in each sentence."""
    return all(isinstance(cell, list) and len(cell) == len(words) for cell, words in zip(cells, data.words, strict=True))


def has_words_and_tags(records: Records, columns: Columns) -> bool:
    """Whether records have a list of words and a list of as many tags."""
    text, label = columns.text, next(iter(names_of(columns.label)), None)
    found = [
        next((name for name in ((wanted,) if wanted else defaults) if name in records.names), None)
        for wanted, defaults in ((text, WORD_COLUMNS), (label, TAG_COLUMNS))
    ]
    if None in found or len(names_of(columns.label)) > 1:
        return False
    words, tags = ([as_list(cell) for cell in records.cells(name or "")] for name in found)
    return all(a is not None and b is not None and len(a) == len(b) for a, b in zip(words, tags, strict=True))

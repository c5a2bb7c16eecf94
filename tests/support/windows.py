"""A toy task of the hard shape, as a new task would be written: one module.

A data file has a sequence of words and tags on each line, word/TAG word/TAG. A long sequence becomes several windows that overlap,
each token has a label, and the predictions of the windows are merged into one tag for each word.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_common.errors import DataError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.tasks.tables import Columns

ARCHITECTURE = "MobileBertForTokenClassification"
WINDOW, STRIDE = 6, 2  # words of a window, and those it repeats of the one before


@dataclass(frozen=True)
class Sequences:
    """The lines of a data file."""

    path: Path
    words: list[list[str]]
    tags: list[list[str]] | None

    def __len__(self) -> int:
        return len(self.words)


def read(path: Path, columns: Columns, encoding: str) -> Sequences:
    """Read word/TAG lines."""
    pairs = [[pair.partition("/") for pair in line.split()] for line in path.read_text(encoding).splitlines()]
    if columns.label is not None and any(not tag for line in pairs for _, _, tag in line):
        raise DataError(f"{path}: has words without a tag")
    tags = [[tag for _, _, tag in line] for line in pairs]
    return Sequences(path, [[word for word, _, _ in line] for line in pairs], None if columns.label is None else tags)


def from_texts(texts: Sequence[str]) -> Sequences:
    """Words between spaces."""
    return Sequences(Path("the command line"), [text.split() for text in texts], None)


def texts(data: Sequences) -> list[str]:
    """All lines."""
    return [" ".join(words) for words in data.words]


def split(data: Sequences, fraction: float, seed: int) -> tuple[Sequences, Sequences]:
    """The last lines are held out."""
    first = len(data) - max(1, int(fraction * len(data)))
    parts = slice(None, first), slice(first, None)
    tags = data.tags or []
    train, held_out = (replace(data, words=data.words[part], tags=tags[part]) for part in parts)
    return train, held_out


def settings(data: Sequences, stored: MobileBertConfig | None) -> dict[str, Any]:
    """The tags, in alphabetical order."""
    return {"id2label": dict(enumerate(sorted({tag for line in data.tags or [] for tag in line})))}


def make_examples(data: Sequences, tokenizer: Any, config: MobileBertConfig, max_length: int) -> Examples:
    """A row for each window, in which the first token of each word carries its tag."""
    windows = [
        (source, start, words[start : start + WINDOW])
        for source, words in enumerate(data.words)
        for start in range(0, max(1, len(words) - STRIDE), WINDOW - STRIDE)
    ]
    encoded = tokenizer([words for _, _, words in windows], is_split_into_words=True, truncation=True, max_length=max_length)
    columns: dict[str, Any] = {name: encoded[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    word_ids = [_first_tokens(encoded.word_ids(row)) for row in range(len(windows))]
    if data.tags is not None:
        numbers = {label: number for number, label in config.id2label.items()}
        columns["labels"] = [
            [-100 if word is None else numbers[data.tags[source][start + word]] for word in words]
            for (source, start, _), words in zip(windows, word_ids, strict=True)
        ]
    fillers = {"input_ids": tokenizer.pad_token_id, "labels": -100}
    places = [[None if word is None else start + word for word in words] for (_, start, _), words in zip(windows, word_ids, strict=True)]
    return Windows(columns, fillers, [source for source, _, _ in windows], places)


@dataclass(frozen=True)
class Windows(Examples):
    """Examples that know the word of each token."""

    places: Sequence[Sequence[int | None]] = ()


def predict(
    data: Sequences, examples: Examples, outputs: Iterable[Mapping[str, np.ndarray]], config: MobileBertConfig
) -> dict[str, list[Any]]:
    """The tag of each word from all windows it is in."""
    assert isinstance(examples, Windows)
    scores = [np.zeros((len(words), config.num_labels)) for words in data.words]
    rows = (row for output in outputs for row in output["logits"])
    for source, places, logits in zip(examples.sources, examples.places, rows, strict=True):
        for token, word in enumerate(places):
            if word is not None:
                scores[source][word] += logits[token]
    return {"tags": [" ".join(config.id2label[int(best)] for best in score.argmax(axis=-1)) for score in scores]}


def inputs(data: Sequences) -> dict[str, list[Any]]:
    """The words."""
    return {"words": texts(data)}


def evaluate(data: Sequences, predictions: Mapping[str, Sequence[Any]]) -> tuple[dict[str, float], dict[str, list[Any]]]:
    """The share of words with the right tag."""
    expected = [" ".join(tags) for tags in data.tags or []]
    ours, theirs = (" ".join(lines).split() for lines in (expected, predictions["tags"]))
    right = sum(one == other for one, other in zip(ours, theirs, strict=True))
    return {"words": right / len(ours)}, {"expected": expected, **predictions}


def _first_tokens(word_ids: Sequence[int | None]) -> list[int | None]:
    """The word of each token that is a word's first, None for the others."""
    return [word if word is not None and word != before else None for before, word in zip([None, *word_ids], word_ids, strict=False)]

"""A toy task of the hard shape, as a new task would be written: one module.

A data file has a sequence of words and tags on each line, word/TAG word/TAG. A long sequence becomes several windows that overlap,
each token has a label, and the predictions of the windows are merged into one tag for each word.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_common.errors import DataError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tasks.base import Lengths, Outputs, Predictions, Task
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.tasks.metrics import Scores
from mobilebert_common.tasks.tables import Columns

WINDOW, STRIDE = 6, 2  # words of a window, and those it repeats of the one before


@dataclass(frozen=True)
class Sequences:
    """The lines of a data file."""

    path: Path
    words: list[list[str]]
    labels: list[list[str]] | None
    columns: Columns = Columns()  # noqa: RUF009
    encoding: str = "utf-8"

    def __len__(self) -> int:
        return len(self.words)

    def take(self, rows: Iterable[int]) -> "Sequences":
        """Some of the lines."""
        chosen = list(rows)
        labels = None if self.labels is None else [self.labels[row] for row in chosen]
        return Sequences(self.path, [self.words[row] for row in chosen], labels)

    def kept(self) -> dict[str, list[Any]]:
        """The words."""
        return {"words": [" ".join(words) for words in self.words]}


class Windows(Task):
    """A tag for each word."""

    name = "windows"
    architecture = "MobileBertForTokenClassification"

    def read(
        self, source: Any, columns: Columns | None = None, encoding: str = "utf-8", *, labelled: bool = True, known: str = ""
    ) -> Sequences:
        pairs = [[pair.partition("/") for pair in line.split()] for line in Path(source).read_text(encoding).splitlines()]
        if labelled and any(not tag for line in pairs for _, _, tag in line):
            raise DataError(f"{source}: has words without a tag")
        tags = [[tag for _, _, tag in line] for line in pairs]
        return Sequences(Path(source), [[word for word, _, _ in line] for line in pairs], tags if labelled else None)

    def from_texts(self, texts: Sequence[str]) -> Sequences:
        return Sequences(Path("the command line"), [text.split() for text in texts], None)

    def texts(self, data: Sequences) -> list[str]:
        return [" ".join(words) for words in data.words]

    def settings(self, data: Sequences, stored: MobileBertConfig | None) -> dict[str, Any]:
        return {"id2label": dict(enumerate(sorted({tag for line in data.labels or [] for tag in line})))}

    def make_examples(self, data: Sequences, tokenizer: Any, config: MobileBertConfig, lengths: Lengths) -> Examples:
        """A row for each window, in which the first token of each word carries its tag; `extras` has the word of each token."""
        windows = [
            (source, start, words[start : start + WINDOW])
            for source, words in enumerate(data.words)
            for start in range(0, max(1, len(words) - STRIDE), WINDOW - STRIDE)
        ]
        words = [found for _, _, found in windows]
        encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=lengths.max_length)
        columns: dict[str, Any] = {name: encoded[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        firsts = [_first_tokens(encoded.word_ids(row)) for row in range(len(windows))]
        places = [
            [None if word is None else start + word for word in found] for (_, start, _), found in zip(windows, firsts, strict=True)
        ]
        if data.labels is not None:
            numbers = {label: number for number, label in config.id2label.items()}
            columns["labels"] = [
                [-100 if place is None else numbers[data.labels[source][place]] for place in found]
                for (source, _, _), found in zip(windows, places, strict=True)
            ]
        fillers = {"input_ids": tokenizer.pad_token_id, "labels": -100}
        return Examples(columns, fillers, [source for source, _, _ in windows], extras=places)

    def predict(
        self, data: Sequences, examples: Examples, outputs: Outputs, config: MobileBertConfig, lengths: Lengths
    ) -> Predictions:
        """The tag of each word from all windows it is in."""
        scores = [np.zeros((len(words), config.num_labels)) for words in data.words]
        rows = (row for output in outputs for row in output["logits"])
        for source, places, logits in zip(examples.sources, examples.extras, rows, strict=True):
            for token, word in enumerate(places):
                if word is not None:
                    scores[source][word] += logits[token]
        tags = [[config.id2label[int(best)] for best in score.argmax(axis=-1)] for score in scores]
        return Predictions({"tags": [" ".join(found) for found in tags]}, found=tags)

    def evaluate(self, data: Sequences, predictions: Predictions, config: MobileBertConfig) -> Scores:
        """The share of words with the right tag."""
        pairs = [
            pair for tags, found in zip(data.labels or [], predictions.found, strict=True) for pair in zip(tags, found, strict=True)
        ]
        return Scores({"words": sum(one == other for one, other in pairs) / len(pairs)}, {"words": 0.0}, "nothing")

    def titles(self, config: MobileBertConfig) -> tuple[str, ...]:
        return ("words",)

    def labels(self, data: Sequences) -> dict[str, list[Any]]:
        return {"expected": [" ".join(tags) for tags in data.labels or []]}


def _first_tokens(word_ids: Sequence[int | None]) -> list[int | None]:
    """The word of each token that is a word's first, None for the others."""
    return [word if word is not None and word != before else None for before, word in zip([None, *word_ids], word_ids, strict=False)]

"""Pre-training on plain text: masked words, with or without next-sentence prediction; prediction fills in [MASK]."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ..errors import ConfigError, DataError
from ..model.config import MobileBertConfig
from ..model.inputs import IGNORE_INDEX
from . import metrics
from .base import Lengths, Outputs, Predictions, Task, log_softmax, place
from .documents import Documents, read_documents, read_lines, tokenize
from .examples import Examples
from .masking import MaskedExamples, Masking, blocks, pairs
from .metrics import Scores
from .records import UTF8
from .tables import Columns, Table, from_texts

BEST = 5  # words to give for a mask
NSP = "NSP accuracy"


@dataclass
class Tally:
    """What was predicted right, and how likely the right words were."""

    words: Counter[str] = field(default_factory=Counter)  # that were masked
    log_likelihood: float = 0.0
    hits: int = 0
    pairs: Counter[bool] = field(default_factory=Counter)  # whether B was random
    pair_hits: int = 0


@dataclass(frozen=True, kw_only=True)
class Blanks(Examples):
    """Texts with masks to fill in.

    Attributes:
        tokens: the tokenizer's, in the order of their ids.
    """

    tokens: Sequence[str]


class MaskedWords(Task):
    """Predict masked words of contiguous text (masked-LM)."""

    name = "masked-lm"
    architecture = "MobileBertForMaskedLM"
    scores: ClassVar[str] = "logits"  # the output with the words' scores
    specials: ClassVar[int] = 2  # [CLS] and [SEP] in a row
    unit = "document"

    def read(
        self, source: Any, columns: Columns | None = None, encoding: str = UTF8, *, labelled: bool = True, known: str = ""
    ) -> Documents | Table:
        """Read documents to mask words of, or, unlabelled, texts with [MASK]; see documents.py."""
        if labelled:
            return read_documents(source, columns or Columns(), encoding)
        return read_lines(source, columns or Columns(), encoding, known)

    def from_texts(self, texts: Sequence[str]) -> Table:
        return from_texts(texts)

    def texts(self, data: Documents) -> list[str]:
        """The texts to learn a vocabulary from: all of them, or a part of a large corpus."""
        return data.sample()

    def shown(self, data: Documents | Table) -> list[str]:
        return data.shown() if isinstance(data, Documents) else data.texts

    def split(self, data: Documents, fraction: float, seed: int) -> tuple[Documents, Documents]:
        return data.split(fraction, seed)

    def settings(self, data: Documents, stored: MobileBertConfig | None) -> dict[str, Any]:
        return {}

    def titles(self, config: MobileBertConfig) -> tuple[str, ...]:
        return ("accuracy",)

    def labels(self, data: Documents) -> dict[str, list[Any]]:
        return {}

    def make_examples(self, data: Documents | Table, tokenizer: Any, config: MobileBertConfig, lengths: Lengths) -> Examples:
        """Tokenize documents, or texts with masks.

        Raises:
            ConfigError: max_length is too short.
            DataError: nothing can be made of the documents, or a text has no mask.
        """
        if isinstance(data, Table):
            return make_blanks(data, tokenizer, lengths)
        room = lengths.max_length - self.specials
        if room < self.specials - 1:
            raise ConfigError(f"max_length {lengths.max_length} is too short for {self.name}, which needs {2 * self.specials - 1} tokens")
        tokens = tokenize(data.sentences, tokenizer, room)
        spans, follows, sources, once = self.rows(tokens, room, lengths)
        if not len(spans):
            raise DataError(f"{data.path}: has no usable text: {self.name} needs {'two sentences' if self.specials == 3 else 'a word'}")
        masking = Masking.of(tokenizer, lengths.whole_words, lengths.seed)
        unused = np.setdiff1d(np.arange(len(data)), sources).tolist()
        return MaskedExamples(
            columns={}, fillers={}, sources=sources.tolist(), dropped={"too little text": unused} if unused else {},
            ids=tokens.ids, spans=spans, follows=follows, once=once, masking=masking,
        )

    def rows(self, tokens: Any, room: int, lengths: Lengths) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, int]:
        """The spans of rows, whether B is random, the document of each row, and how many rows hold all documents once."""
        spans, sources = blocks(tokens, room)
        return spans, None, sources, len(spans)

    def predict(self, data: Any, examples: Examples, outputs: Outputs, config: MobileBertConfig, lengths: Lengths) -> Predictions:
        """The most probable words for each mask of a text; of a document, how well its masked words are predicted.

        Raises:
            DataError: the model's outputs are NaN or infinite.
        """
        if isinstance(examples, Blanks):
            return fill(data, examples, outputs, self.scores)
        assert isinstance(examples, MaskedExamples)
        return judge(data, examples, outputs, self.scores)

    def evaluate(self, data: Documents, predictions: Predictions, config: MobileBertConfig) -> Scores:
        tally: Tally = predictions.found
        scores = metrics.masked_words(tally.log_likelihood, tally.hits, tally.words)
        if not (count := sum(tally.pairs.values())):
            return scores
        usual = max(tally.pairs.values()) / count
        return replace(
            scores,
            metrics={**scores.metrics, NSP: tally.pair_hits / count},
            baseline={**scores.baseline, NSP: usual},
            baseline_name=f"{scores.baseline_name}, and one kind of pair",
        )


class Pretraining(MaskedWords):
    """BERT's pre-training: masked words, and whether segment B follows segment A."""

    name = "pretraining"
    architecture = "MobileBertForPreTraining"
    scores = "prediction_logits"
    specials = 3

    def titles(self, config: MobileBertConfig) -> tuple[str, ...]:
        return ("accuracy", NSP)

    def rows(self, tokens: Any, room: int, lengths: Lengths) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, int]:
        found = [pairs(tokens, room, np.random.default_rng([lengths.seed, dupe])) for dupe in range(lengths.dupes)]
        spans, follows, sources = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        return spans, follows, sources, len(found[0][0])


def make_blanks(data: Table, tokenizer: Any, lengths: Lengths) -> Blanks:
    """Tokenize texts with masks.

    Raises:
        DataError: a text has no mask, or one beyond max_length.
    """
    encoded = tokenizer(data.texts, truncation=True, max_length=lengths.max_length)
    whole = tokenizer(data.texts, verbose=False)["input_ids"]
    places = [[place for place, token in enumerate(ids) if token == tokenizer.mask_token_id] for ids in encoded["input_ids"]]
    for row, (found, ids) in enumerate(zip(places, whole, strict=True)):
        where = f"text {row + 1}" if data.records is None else data.records.place(row)
        if not (count := ids.count(tokenizer.mask_token_id)):
            raise DataError(f"{data.path}: {where} has no {tokenizer.mask_token} to predict: {data.texts[row]!r:.80}")
        if len(found) < count:
            raise DataError(f"{data.path}: {where} has a {tokenizer.mask_token} beyond the first {lengths.max_length} tokens")
    columns = {name: encoded[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    cut = [row for row, ids in enumerate(whole) if len(ids) > lengths.max_length]
    fillers = {"input_ids": tokenizer.pad_token_id}
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return Blanks({**columns, "masked_lm_positions": places}, fillers, range(len(data)), cut, tokens=tokens)


def fill(data: Table, examples: Blanks, outputs: Outputs, name: str) -> Predictions:
    """The most probable words for each mask, with their probabilities.

    Raises:
        DataError: the model's outputs are NaN or infinite.
    """
    texts: list[str] = []
    words: list[list[list[str]]] = []
    shares: list[list[list[float]]] = []
    for row, scores in enumerate(row for output in outputs for row in output[name]):  # [m v]
        logs = finite(log_softmax(scores[: len(examples.columns["masked_lm_positions"][row])]), data, row)
        best = np.argsort(-logs, axis=-1, kind="stable")[:, :BEST]
        words.append([[examples.tokens[token] for token in mask] for mask in best.tolist()])
        shares.append(np.exp(np.take_along_axis(logs, best, axis=-1)).round(4).tolist())
        texts.append(" | ".join(
            ", ".join(f"{word} {share:.4f}" for word, share in zip(*mask, strict=True)) for mask in zip(words[-1], shares[-1], strict=True)
        ))
    return Predictions({"prediction": texts}, {"words": words, "probabilities": shares})


def judge(data: Documents, examples: MaskedExamples, outputs: Outputs, name: str) -> Predictions:
    """How well the masked words of each document are predicted.

    Raises:
        DataError: the model's outputs are NaN or infinite.
    """
    tally, done = Tally(), 0
    counts, hits, losses = np.zeros((3, len(data)))
    for output in outputs:
        rows = range(done, done + len(output[name]))
        done += len(rows)
        made = examples.masked(rows)
        for row, scores, labels in zip(rows, output[name], made["labels"], strict=True):
            labels = labels[labels != IGNORE_INDEX]
            logs = finite(log_softmax(scores[: len(labels)]), data, examples.sources[row])  # [m v]
            likelihood, right = logs[np.arange(len(labels)), labels], logs.argmax(axis=-1) == labels
            tally.words.update(examples.masking.tokens[label] for label in labels.tolist())
            tally.log_likelihood += float(likelihood.sum())
            tally.hits += int(right.sum())
            for array, value in ((counts, len(labels)), (hits, right.sum()), (losses, -likelihood.sum())):
                array[examples.sources[row]] += value
        if "next_sentence_label" in made:
            _judge_pairs(output, made, tally)
    columns: dict[str, list[Any]] = {
        "accuracy": [round(float(value), 4) for value in hits / np.maximum(counts, 1)],
        "loss": [round(float(value), 4) for value in losses / np.maximum(counts, 1)],
        "masked": [int(count) for count in counts],
    }
    return Predictions(columns, losses=(losses / np.maximum(counts, 1)).tolist(), found=tally)


def _judge_pairs(output: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray], tally: Tally) -> None:
    labels, found = made["next_sentence_label"], output["seq_relationship_logits"].argmax(axis=-1)
    tally.pairs.update((labels == 1).tolist())
    tally.pair_hits += int((labels == found).sum())


def finite(scores: np.ndarray, data: Documents | Table, row: int) -> np.ndarray:
    """Scores that are finite.

    Raises:
        DataError: they are not.
    """
    if not np.isfinite(scores).all():
        raise DataError(f"{data.path}: the model's outputs are not finite for {place(data, row, 'text')}")
    return scores

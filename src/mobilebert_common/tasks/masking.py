"""BERT's examples for pre-training: segments of documents, and words to predict, drawn anew in each step.

As Google's create_pretraining_data.py, with these differences: words are masked when a batch is made, not when files are written, so that
each epoch masks other words; special tokens, also [UNK], are neither predicted nor put in another word's place; a sentence longer than a
row is cut into pieces rather than truncated; and a word of segment B does not begin in segment A.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ..model.inputs import IGNORE_INDEX
from .documents import Tokens
from .examples import Examples

SHORT = 0.1  # the part of the documents that are divided into shorter segments
MASKED = 0.15  # the part of the tokens to predict
MOST = 20  # tokens to predict in a row
REPLACED, KEPT = 0.8, 0.1  # of these: by [MASK], and not at all; others by random words

BLOCK = 1 << 14  # random numbers drawn at once


@dataclass(frozen=True)
class Masking:
    """What masking needs from a tokenizer.

    Attributes:
        tokens: all of them, in the order of their ids.
        continues: [v] whether a token continues a word.
        maskable: [v] whether it is not a special token.
        whole_words: mask all tokens of a word, or none.
        seed: for the masks of evaluation.
    """

    tokens: Sequence[str]
    continues: np.ndarray
    maskable: np.ndarray
    cls: int
    sep: int
    pad: int
    mask: int
    whole_words: bool
    seed: int

    @classmethod
    def of(cls, tokenizer: Any, whole_words: bool, seed: int) -> "Masking":
        """The masking of texts that a tokenizer made."""
        tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        special = np.isin(np.arange(len(tokens)), tokenizer.all_special_ids)
        continues = np.array([token.startswith("##") for token in tokens])
        ids = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id, tokenizer.mask_token_id)
        return cls(tokens, continues, ~special, *ids, whole_words, seed)

    def apply(self, ids: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Mask some of the tokens of a row.

        Args:
            ids: [t] with special tokens.
        Returns:
            The ids with masks, [t], and the positions to predict, [m] in order.
        """
        count = min(MOST, max(1, round(len(ids) * MASKED)))
        continued = self.continues[ids] & self.maskable[np.roll(ids, 1)] if self.whole_words else np.zeros(len(ids), bool)
        starts = np.flatnonzero(self.maskable[ids] & ~continued)
        ends = np.append(np.flatnonzero(~continued), len(ids))  # of words, and of special tokens
        ends = ends[np.searchsorted(ends, starts, "right")]
        chosen: list[int] = []
        for word in generator.permutation(len(starts)).tolist():
            if len(chosen) == count:
                break
            if len(chosen) + ends[word] - starts[word] <= count:
                chosen += range(starts[word], ends[word])
        places = np.sort(np.array(chosen, np.int64))
        draws, others = generator.random(len(places)), generator.choice(np.flatnonzero(self.maskable), len(places))
        masked = ids.copy()
        masked[places] = np.where(draws < REPLACED, self.mask, np.where(draws < REPLACED + KEPT, ids[places], others))
        return masked, places


@dataclass(frozen=True, kw_only=True)
class MaskedExamples(Examples):
    """Rows of one or two segments, in which words are masked when they are batched.

    Attributes:
        ids: the tokens of all documents.
        spans: [rows 4] where segments A and B of each row begin and end in `ids`; B is empty for rows of one segment.
        follows: [rows] 0 if B follows A, 1 if it is random; None for rows of one segment.
        once: the number of rows in which each document occurs once; the others divide the documents in other ways.
        hidden: columns to leave out.
    """

    ids: np.ndarray
    spans: np.ndarray
    follows: np.ndarray | None
    once: int
    masking: Masking
    hidden: Collection[str] = ()

    @property
    def lengths(self) -> list[int]:
        """The number of tokens in each row."""
        begin_a, end_a, begin_b, end_b = self.spans.T
        return [*(end_a - begin_a + end_b - begin_b + (2 if self.follows is None else 3)).tolist()]

    def digest(self) -> str:
        """The SHA-256 of all that training sees of the rows."""
        found = hashlib.sha256(repr((self.once, self.masking.whole_words)).encode())
        for array in (self.ids, self.spans, self.follows):
            found.update(b"" if array is None else np.asarray(array, "<i8").tobytes())
        return found.hexdigest()

    def without(self, names: Collection[str]) -> "MaskedExamples":
        """Return the examples without labels, for evaluation: each document once."""
        follows = None if self.follows is None else self.follows[: self.once]
        return replace(self, hidden=names, spans=self.spans[: self.once], follows=follows, sources=self.sources[: self.once])

    def batch(self, rows: Sequence[int] | np.ndarray, generator: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """Return some rows as arrays, with masks from the generator; without one, a row always has the same.

        Returns:
            input_ids, attention_mask, token_type_ids [b t]; masked_lm_positions, labels [b m], padded by 0 and -100;
            next_sentence_label [b] for rows of two segments.
        """
        arrays = self.masked(rows, generator)
        return {name: array for name, array in arrays.items() if name not in self.hidden}

    def masked(self, rows: Sequence[int] | np.ndarray, generator: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """See `batch`; no column is left out."""
        whole = [self.row(int(row)) for row in rows]
        made = [
            self.masking.apply(ids, np.random.default_rng([self.masking.seed, int(row)]) if generator is None else generator)
            for row, (ids, _) in zip(rows, whole, strict=True)
        ]
        shape = len(whole), max(len(ids) for ids, _ in whole)
        width = len(whole), max(1, *(len(places) for _, places in made))
        arrays = {
            "input_ids": np.full(shape, self.masking.pad),
            "attention_mask": np.zeros(shape, np.int64),
            "token_type_ids": np.zeros(shape, np.int64),
            "masked_lm_positions": np.zeros(width, np.int64),
            "labels": np.full(width, IGNORE_INDEX),
        }
        for number, ((ids, first), (masked, places)) in enumerate(zip(whole, made, strict=True)):
            arrays["input_ids"][number, : len(ids)] = masked
            arrays["attention_mask"][number, : len(ids)] = 1
            arrays["token_type_ids"][number, first : len(ids)] = 1
            arrays["masked_lm_positions"][number, : len(places)] = places
            arrays["labels"][number, : len(places)] = ids[places]
        if self.follows is not None:
            arrays["next_sentence_label"] = self.follows[np.asarray(rows)].astype(np.int64)
        return arrays

    def row(self, row: int) -> tuple[np.ndarray, int]:
        """The tokens of a row, [t], and how many of them belong to segment A."""
        begin_a, end_a, begin_b, end_b = self.spans[row].tolist()
        cls, sep = [self.masking.cls], [self.masking.sep]
        first = [cls, self.ids[begin_a:end_a], sep]
        second = [] if self.follows is None else [self.ids[begin_b:end_b], sep]
        return np.concatenate([*first, *second]).astype(np.int64), end_a - begin_a + 2


def blocks(tokens: Tokens, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide documents into rows of one segment of at most `room` tokens.

    Returns:
        Spans [rows 4], and the document of each row.
    """
    spans, sources = [], []
    edges = [tokens.sentences[sentence] for sentence in tokens.documents]
    for document, (begin, end) in enumerate(pairwise(edges)):
        for start in range(begin, end, room):
            spans.append((start, min(start + room, end), 0, 0))
            sources.append(document)
    return np.array(spans, np.int64).reshape(-1, 4), np.array(sources, np.int64)


def pairs(tokens: Tokens, room: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divide documents into rows of two segments of at most `room` tokens together; in half of them B is from another document.

    A document that has no other takes B from elsewhere in itself. Where only one sentence is left of a document, B is always random.

    Returns:
        Spans [rows 4], whether B is random [rows], and the document of each row.
    """
    drawn: list[tuple[int, ...]] = []
    draw = _uniform(generator)
    for document in range(len(tokens.documents) - 1):
        drawn += _document_pairs(tokens, document, room, draw)
    found = np.array(drawn, np.int64).reshape(-1, 6)
    return _truncated(found[:, :4], room, generator), found[:, 4], found[:, 5]


def _document_pairs(tokens: Tokens, document: int, room: int, draw: Iterator[float]) -> Iterator[tuple[int, ...]]:
    """The rows of a document: spans of whole sentences, whether B is random, and the document."""
    edges, (here, end) = tokens.sentences, tokens.documents[document : document + 2]
    target = _whole(draw, 2, room) if next(draw) < SHORT else room
    while here < end:
        stop = bisect_left(edges, edges[here] + target, here + 1, end)  # the fewest sentences that fill the row
        middle = here + 1 if stop == here + 1 else here + _whole(draw, 1, stop - here - 1)
        a, b, is_random = (here, middle), (middle, stop), False
        if stop == here + 1 or next(draw) < 0.5:
            other = _other(tokens, document, here, middle, draw)
            if other is not None:
                start, limit = other
                needed = target - (edges[middle] - edges[here])
                b, is_random, stop = (start, bisect_left(edges, edges[start] + needed, start + 1, limit)), True, middle
            elif middle == stop:
                return  # the one sentence of the one document
        yield edges[a[0]], edges[a[1]], edges[b[0]], edges[b[1]], int(is_random), document
        here = stop  # after A if B is random: the sentences that were to be B are not wasted


def _other(tokens: Tokens, document: int, here: int, middle: int, draw: Iterator[float]) -> tuple[int, int] | None:
    """A random sentence, and the end of its document: another one, or else elsewhere in this one, neither A nor what follows it."""
    count = len(tokens.documents) - 1
    if count > 1:
        other = (document + _whole(draw, 1, count - 1)) % count
        begin, end = tokens.documents[other : other + 2]
        return _whole(draw, begin, end - 1), end
    begin, end = tokens.documents[0], tokens.documents[1]
    places = here - begin + max(0, end - middle - 1)
    if not places:
        return None
    place = _whole(draw, 0, places - 1)
    return (begin + place, here) if place < here - begin else (middle + 1 + place - (here - begin), end)


def _truncated(spans: np.ndarray, room: int, generator: np.random.Generator) -> np.ndarray:
    """Drop tokens of the longer segment of each row, each at its beginning or its end at random, until both fit."""
    sizes = spans[:, 1::2] - spans[:, ::2]  # [rows 2]
    excess = np.maximum(sizes.sum(axis=1) - room, 0)
    first = np.minimum(excess, np.abs(sizes[:, 0] - sizes[:, 1]))  # until they are equal; then B loses the next one
    rest = excess - first
    is_a = sizes[:, 0] > sizes[:, 1]
    cut = np.stack([np.where(is_a, first, 0) + rest // 2, np.where(is_a, 0, first) + rest - rest // 2], axis=1)
    front = generator.binomial(cut, 0.5)
    shorter = spans.copy()
    shorter[:, ::2] += front
    shorter[:, 1::2] -= cut - front
    return shorter


def _uniform(generator: np.random.Generator) -> Iterator[float]:
    """Random numbers from 0 to 1, quickly one by one."""
    while True:
        yield from generator.random(BLOCK).tolist()


def _whole(draw: Iterator[float], low: int, high: int) -> int:
    """A random whole number from low to high."""
    return low + int(next(draw) * (high - low + 1))

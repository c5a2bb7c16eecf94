"""Answers from the start and end logits of windows, as write_predictions in Google's run_squad.py chooses them.

One thing is simpler: each token has its characters in the context, so the text of an answer is context[start:end], exactly as written.
Google's script looks for it in whole words, by undoing the tokenization.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import DataError


class Span(NamedTuple):
    """A possible answer in a window: the sum of its two logits, its first and its last token."""

    score: float
    start: int
    end: int


class Window(NamedTuple):
    """What a window says.

    Attributes:
        spans: the result of `best_spans`.
        offsets: for each token, its characters in the context: (first, last + 1).
        null_score: the start logit plus the end logit of [CLS], i.e. of no answer.
    """

    spans: Sequence[Span]
    offsets: Sequence[tuple[int, int]]
    null_score: float


@dataclass(frozen=True)
class Answer:
    """One of the n best answers to a question.

    Attributes:
        text: "" for no answer.
        score: the sum of its two logits.
        probability: softmax over the scores of the n best.
        start, end: its characters in the context: text = context[start:end].
    """

    text: str
    score: float
    probability: float
    start: int
    end: int


@dataclass(frozen=True)
class Choice:
    """The answer to a question.

    Attributes:
        text: "" for no answer.
        no_answer: the score of no answer minus that of the best answer: the higher, the likelier it is that there is none.
        best: the best answers, from the highest score on; with no answer among them if that is allowed.
    """

    text: str
    no_answer: float
    best: list[Answer]


def is_max_context(window_starts: Sequence[int], window_lengths: Sequence[int]) -> list[np.ndarray]:
    """For each window, which of its tokens have the most context there, of all windows they are in.

    The context of a token in a window is the smaller number of tokens on either side, plus a hundredth of the window's length;
    the first of equal windows counts. As _check_is_max_context in Google's run_squad.py.

    Args:
        window_starts: the first token of each window, counted in the document.
        window_lengths: the number of the document's tokens in each window.
    Returns:
        one [length] bool for each window.
    """
    starts, lengths = np.asarray(window_starts)[:, None], np.asarray(window_lengths)[:, None]  # [windows 1]
    places = np.arange((starts + lengths).max())  # [tokens]
    left, right = places - starts, starts + lengths - 1 - places  # [windows tokens]
    context = np.minimum(left, right)
    best = np.where(context >= 0, context + 0.01 * lengths, -np.inf).argmax(axis=0)  # [tokens]
    spans = zip(window_starts, window_lengths, strict=True)
    return [best[start : start + length] == number for number, (start, length) in enumerate(spans)]


def best_spans(
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    is_candidate: np.ndarray,
    has_max_context: np.ndarray,
    n_best: int,
    max_answer_length: int,
) -> list[Span]:
    """The possible answers in a window, from the highest score on; equal scores in the order of Google's script.

    These are the pairs of the n best starts and the n best ends of all tokens, so there may be up to n_best² or none. A pair is possible
    if both are candidates, the start has its maximal context here, and the end is not before the start nor too far after it.

    Args:
        start_logits, end_logits: [t] float, without padding.
        is_candidate: [t] bool, the tokens of the context.
        has_max_context: [t] bool, see `is_max_context`; what it says of other tokens does not matter.
        max_answer_length: in tokens.
    Raises:
        DataError: a logit is not finite.
    """
    logits = np.stack([start_logits, end_logits]).astype(np.float64)  # [2 t]
    if not np.isfinite(logits).all():
        raise DataError("the start and end logits are not finite")
    # a stable sort, because argpartition would choose any of several equal logits; [2 n]
    starts, ends = np.argsort(-logits, axis=-1, kind="stable")[:, :n_best]
    starts = starts[is_candidate[starts] & has_max_context[starts]]
    ends = ends[is_candidate[ends]]
    lengths = ends - starts[:, None] + 1  # [starts ends]
    firsts, lasts = np.nonzero((lengths >= 1) & (lengths <= max_answer_length))
    starts, ends = starts[firsts], ends[lasts]  # [pairs]
    scores = logits[0, starts] + logits[1, ends]
    order = np.argsort(-scores, kind="stable")
    return [Span(*span) for span in zip(scores[order].tolist(), starts[order].tolist(), ends[order].tolist(), strict=True)]


def choose(windows: Sequence[Window], context: str, n_best: int, null_threshold: float | None = None) -> Choice:
    """Choose the answer to a question from all of its windows.

    A text counts once, with its highest score. If no window has a possible answer, the answer is "", where Google's script says "empty";
    its score then counts as 0.

    Args:
        null_threshold: there is no answer if no_answer is above it; None if every question has an answer.
    """
    found = sorted(((span, window) for window in windows for span in window.spans), key=lambda pair: -pair[0].score)
    ranked: dict[str, tuple[float, int, int]] = {}
    for span, window in found:
        if len(ranked) == n_best:
            break
        start, end = window.offsets[span.start][0], window.offsets[span.end][1]
        ranked.setdefault(context[start:end], (span.score, start, end))
    null_score = min(window.null_score for window in windows)
    text, score = next(((text, score) for text, (score, _, _) in ranked.items()), ("", 0.0))
    no_answer = null_score - score
    if null_threshold is not None:
        ranked = _with_no_answer(ranked, null_score, n_best)
        text = "" if no_answer > null_threshold else text
    return Choice(text, no_answer, _with_probabilities(ranked))


def _with_no_answer(ranked: dict[str, tuple[float, int, int]], null_score: float, n_best: int) -> dict[str, tuple[float, int, int]]:
    """Insert no answer by its score, behind equal ones; it replaces the last of n_best, or follows it if it is worse."""
    better = {text: row for text, row in ranked.items() if row[0] >= null_score}
    rest = {text: row for text, row in ranked.items() if row[0] < null_score}
    both = better | {"": (null_score, 0, 0)} | rest
    kept = max(n_best, len(better) + 1)
    return dict(list(both.items())[:kept])


def _with_probabilities(ranked: dict[str, tuple[float, int, int]]) -> list[Answer]:
    if not ranked:
        return []
    scores = np.array([score for score, _, _ in ranked.values()])
    shares = np.exp(scores - scores.max())
    shares /= shares.sum()
    return [
        Answer(text, score, share, start, end)
        for (text, (score, start, end)), share in zip(ranked.items(), shares.tolist(), strict=True)
    ]

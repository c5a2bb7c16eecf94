"""Extractive question answering: the answer to a question is a part of its context.

Contexts are cut into windows as Google's run_squad.py does; answers are chosen as in `spans`.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..errors import ConfigError, DataError
from ..model.config import MobileBertConfig
from ..model.inputs import IGNORE_INDEX
from . import metrics
from .base import Lengths, Outputs, Predictions, Task, log_softmax
from .examples import Examples
from .metrics import Scores
from .records import UTF8
from .results import write_text
from .spans import Choice, Window, best_spans, choose, is_max_context
from .squad import Question, Questions, from_texts, new_ids, read_questions
from .tables import Columns

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MIN_LENGTH = 16  # of a row, in tokens
SHOWN = 60  # characters of the context on either side of an answer

# reasons why a question is not trained on
MISPLACED, TOO_LONG = "the answer is not at its start in the context", "no window has the whole answer"


class Tokens(NamedTuple):
    """A context's token ids [n] and the characters of each token [n 2]: first, last + 1."""

    ids: np.ndarray
    offsets: np.ndarray


class Part(NamedTuple):
    """What one row has of a context.

    Attributes:
        first: the row's token where the window begins.
        start: the window's first token, counted in the context.
        offsets: [length 2], the characters of its tokens in the context.
        gold: the row's first and last token of the answer, [CLS] twice if it is not there as a whole; None if that is unknown.
    """

    first: int
    start: int
    offsets: np.ndarray
    gold: tuple[int, int] | None

    @property
    def size(self) -> int:
        """The number of tokens in the row."""
        return self.first + len(self.offsets) + 1


class Answers(Task):
    """The part of a context that answers a question, or no answer."""

    name = "answers"
    architecture = "MobileBertForQuestionAnswering"
    lengths: ClassVar[Lengths] = Lengths(max_length=384, stride=128)
    suffixes = (".json",)

    def read(
        self, source: Any, columns: Columns | None = None, encoding: str = UTF8, *, labelled: bool = True, known: str = ""
    ) -> Questions:
        return read_questions(source, columns or Columns(), encoding, labelled, known)

    def from_texts(self, texts: Sequence[str]) -> Questions:
        return from_texts(texts)

    def survey(self, data: Questions, seen: Any = None) -> Any:
        """The ids, each of which must be there once, by their hashes."""
        return None if data.records is None else new_ids(data.records, seen)

    def texts(self, data: Questions) -> list[str]:
        return [*(row.question for row in data.rows), *data.contexts]

    def shown(self, data: Questions) -> list[str]:
        """Each question with its context, shortened around the answer."""
        return [f"{row.question} | {_around_answer(row)}" for row in data.rows]

    def split(self, data: Questions, fraction: float, seed: int) -> tuple[Questions, Questions]:
        """Split the data into a training and a validation part; all questions about a context are in the same one.

        Raises:
            DataError: all questions are about one context.
        """
        contexts = data.contexts
        if len(contexts) < 2:
            raise DataError(
                f"{data.path}: cannot be split into training and validation: all questions are about one context; pass a --validation file"
            )
        counts = dict.fromkeys(contexts, 0)
        for row in data.rows:
            counts[row.context] += 1
        order = np.random.default_rng(seed).permutation(len(contexts)).tolist()
        totals = np.cumsum([counts[contexts[place]] for place in order])[:-1]
        held_out = {contexts[place] for place in order[: 1 + int(np.abs(totals - fraction * len(data)).argmin())]}
        rows = [[row for row, question in enumerate(data.rows) if (question.context in held_out) == held] for held in (False, True)]
        return data.take(rows[0]), data.take(rows[1])

    def settings(self, data: Questions, stored: MobileBertConfig | None) -> dict[str, Any]:
        """Nothing: the head is the same for all data."""
        return {}

    def lengths_for(self, data: Questions, lengths: Lengths) -> Lengths:
        """The lengths with a null_threshold, if questions may have no answer."""
        return replace(lengths, null_threshold=lengths.null_threshold or 0.0 if data.unanswerable else None)

    def lengths_without_memory(self, length: int) -> Lengths:
        """Windows of at most the usual length, which models are trained on: a context is not cut in any case."""
        return replace(self.lengths, max_length=min(length, self.lengths.max_length))

    def cut(self, lengths: Lengths) -> str:
        """Only questions are cut: contexts have windows."""
        return f"a question longer than {longest_question(lengths)} tokens"

    def make_examples(self, data: Questions, tokenizer: Any, config: MobileBertConfig, lengths: Lengths) -> Examples:
        """Make a row [CLS] question [SEP] window [SEP] for each window of each question's context.

        Windows and labels are those of Google's run_squad.py: windows are lengths.stride tokens apart and as long as the question
        leaves room for, questions are cut to lengths.max_question tokens (and half a row), and a window without the whole answer has
        [CLS] for its label. The first of several answers counts. Its tokens are those of its characters, which is what
        _improve_answer_span is for in the script, where answers are found word by word. Unlike there, an answer that no window has as
        a whole is not taken for no answer: the question is dropped. Rows of dropped questions are there, for prediction, but have
        the label -100, which losses ignore.

        Raises:
            ConfigError: lengths.max_length or stride is too small.
        """
        if lengths.stride < 1:
            raise ConfigError(f"stride must be at least 1, not {lengths.stride}")
        if lengths.max_length < MIN_LENGTH:
            raise ConfigError(f"max_length {lengths.max_length} is too short for questions and contexts: it must be at least {MIN_LENGTH}")
        contexts = _tokenized(data.contexts, tokenizer)
        questions = _tokenized(dict.fromkeys(row.question for row in data.rows), tokenizer)
        builder = _Rows(tokenizer, lengths)
        dropped: dict[str, list[int]] = {}
        truncated = []
        for number, row in enumerate(data.rows):
            ids, cut = questions[row.question].ids, builder.longest_question
            if len(ids) > cut:
                truncated.append(number)
            if reason := builder.add(number, ids[:cut], contexts[row.context], row):
                dropped.setdefault(reason, []).append(number)
        columns = builder.columns if data.labels is not None else {name: builder.columns[name] for name in INPUTS}
        named = {f"{reason} ({_places(data, found)})": found for reason, found in dropped.items()}
        return Examples(columns, {"input_ids": tokenizer.pad_token_id}, builder.sources, truncated, named, builder.parts)

    def predict(self, data: Questions, examples: Examples, outputs: Outputs, config: MobileBertConfig, lengths: Lengths) -> Predictions:
        """The best answer to each question and its probability among the n best; "" for no answer, where that is allowed.

        It is allowed if the model was trained on such questions (lengths.null_threshold), or the data have some. Unlike in Google's
        script, the logits of padding do not count.
        """
        threshold = 0.0 if lengths.null_threshold is None and data.unanswerable else lengths.null_threshold
        choices: list[Choice] = []
        losses: list[float] = []
        rows = zip(examples.sources, examples.extras, _logits(outputs), strict=True)
        for source, group in groupby(rows, key=itemgetter(0)):
            parts, logits = zip(*((part, pair[:, : part.size]) for _, part, pair in group), strict=True)
            if not all(np.isfinite(pair).all() for pair in logits):
                raise DataError(f"{data.path}: the model's outputs are not finite for {data.rows[source].place}")
            choices.append(choose(_windows(parts, logits, lengths), data.rows[source].context, lengths.n_best, threshold))
            losses.append(_loss(parts, logits))
        found = [choice.text for choice in choices]
        shares = [next((answer.probability for answer in choice.best if answer.text == choice.text), 0.0) for choice in choices]
        return Predictions(
            {"prediction": found, "probability": [round(share, 4) for share in shares]},
            {
                "no answer": [round(choice.no_answer, 4) for choice in choices],
                "n best": [[answer_as_json(answer) for answer in choice.best] for choice in choices],
            },
            losses if data.labels is not None else None,
            choices,
        )

    def evaluate(self, data: Questions, predictions: Predictions, config: MobileBertConfig) -> Scores:
        """F1 and EM; if questions have no answer, also the best ones over all thresholds, and the threshold of the best F1.

        The best ones do not depend on the threshold that chose the predictions: where that was exceeded, the best answer counts.
        """
        references, choices = data.labels or [], predictions.found
        found, no_answer = [choice.text for choice in choices], [choice.no_answer for choice in choices]
        scores = metrics.answers(references, found)
        if all(references):
            return scores
        answers = [next((answer.text for answer in choice.best if answer.text), choice.text) for choice in choices]
        best = {title: metrics.best_threshold(references, answers, no_answer, title) for title in list(scores.metrics)}
        reached = {f"best {title}": score for title, (score, _) in best.items()}
        return replace(scores, metrics=scores.metrics | reached, notes={"threshold of best F1": best["F1"][1]})

    def titles(self, config: MobileBertConfig) -> tuple[str, ...]:
        return ("F1", "EM")

    def label_counts(self, data: Questions) -> Counter[str]:
        """How many questions have an answer, and how many have none; nothing if all have one."""
        counts = Counter("answer" if texts else "no answer" for texts in data.labels or ())
        return counts if counts["no answer"] else Counter()

    def labels(self, data: Questions) -> dict[str, list[Any]]:
        """The accepted answers, each once; the column is no label of a class that could be trained on."""
        return {"accepted answers": [" | ".join(dict.fromkeys(texts)) for texts in data.labels or []]}

    def write(self, path: Path, data: Questions, columns: Mapping[str, Sequence[Any]]) -> None:
        """Write a .json as the scripts of SQuAD read predictions, {id: answer}; other results as tables."""
        if path.suffix.lower() != ".json":
            super().write(path, data, columns)
            return
        predictions = dict(zip((row.id for row in data.rows), columns["prediction"], strict=True))
        write_text(path, f"{json.dumps(predictions, indent=4)}\n", "utf-8")


class _Rows:
    """Collects the rows of `make_examples`."""

    def __init__(self, tokenizer: Any, lengths: Lengths) -> None:
        self.max_length, self.stride = lengths.max_length, lengths.stride
        self.longest_question = longest_question(lengths)
        self.cls, self.sep = (np.array([token]) for token in (tokenizer.cls_token_id, tokenizer.sep_token_id))
        self.columns: dict[str, list[Any]] = {name: [] for name in (*INPUTS, "start_positions", "end_positions")}
        self.sources: list[int] = []
        self.parts: list[Part] = []
        # rows of masks are slices of these, which takes no memory
        self.ones = np.ones(self.max_length, np.int64)
        self.types = np.repeat([0, 1], self.max_length)

    def add(self, source: int, question: np.ndarray, context: Tokens, row: Question) -> str:
        """Add the rows of a question; returns why it cannot be trained on, "" if it can."""
        first = len(question) + 2
        spans = windows(len(context.ids), self.max_length - first - 1, self.stride)
        answer, reason = _answer(row, context)
        parts = [
            Part(first, start, context.offsets[start : start + length], _gold(answer, first, start, length)) for start, length in spans
        ]
        if answer and not any(part.gold != (0, 0) for part in parts):
            reason = TOO_LONG
        if reason:
            parts = [part._replace(gold=None) for part in parts]
        for part, (start, length) in zip(parts, spans, strict=True):
            self.columns["input_ids"].append(np.concatenate([self.cls, question, self.sep, context.ids[start : start + length], self.sep]))
            self.columns["attention_mask"].append(self.ones[: part.size])
            self.columns["token_type_ids"].append(self.types[self.max_length - first : self.max_length + length + 1])
            for name, position in zip(("start_positions", "end_positions"), part.gold or (IGNORE_INDEX, IGNORE_INDEX), strict=True):
                self.columns[name].append(position)
        self.sources += [source] * len(parts)
        self.parts += parts
        return reason


def longest_question(lengths: Lengths) -> int:
    """The number of tokens of a question that count: it takes no more than half a row."""
    return min(lengths.max_question, lengths.max_length // 2)


def windows(tokens: int, room: int, stride: int) -> list[tuple[int, int]]:
    """The windows of a context, (first token, number of tokens): as in Google's script, at most `room` tokens, `stride` apart.

    >>> windows(10, 4, 3)
    [(0, 4), (3, 4), (6, 4)]
    """
    step = min(room, stride)
    starts = range(0, max(0, tokens - room) + step, step)
    return [(start, min(room, tokens - start)) for start in starts]


def _tokenized(texts: Any, tokenizer: Any) -> dict[str, Tokens]:
    """Tokenize texts without special tokens around them."""
    texts = list(texts)
    encoded = tokenizer(texts, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False)
    columns = zip(texts, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    return {text: Tokens(np.array(ids, np.int64), np.array(offsets, np.int32).reshape(-1, 2)) for text, ids, offsets in columns}


def _answer(row: Question, context: Tokens) -> tuple[tuple[int, int] | None, str]:
    """The first and last token of the first answer in the context, None without one, and why it cannot be trained on."""
    if not row.answers:
        return None, ""
    answer = row.answers[0]
    starts, ends = context.offsets.T
    first = int(np.searchsorted(ends, answer.start, side="right"))
    last = int(np.searchsorted(starts, answer.start + len(answer.text), side="left")) - 1
    if not answer.is_in(row.context) or last < first:  # an answer of control characters has no tokens
        return None, MISPLACED
    return (first, last), ""


def _gold(answer: tuple[int, int] | None, first: int, start: int, length: int) -> tuple[int, int]:
    """The row's tokens of an answer; [CLS] twice if the window does not have all of it."""
    if answer is None or answer[0] < start or answer[1] >= start + length:
        return 0, 0
    return answer[0] - start + first, answer[1] - start + first


def _places(data: Questions, rows: Sequence[int]) -> str:
    """Where some questions are, for a line of text."""
    more = f" and {len(rows) - 3:,} more" if len(rows) > 3 else ""
    return f"{data.path}: {', '.join(data.rows[row].place for row in rows[:3])}{more}"


def _logits(outputs: Outputs) -> Iterator[np.ndarray]:
    """The start and end logits of each row, [2 t]."""
    for output in outputs:
        yield from np.stack([output["start_logits"], output["end_logits"]], axis=1).astype(np.float64)


def _windows(parts: Sequence[Part], logits: Sequence[np.ndarray], lengths: Lengths) -> list[Window]:
    """What the windows of a question say."""
    contexts = is_max_context([part.start for part in parts], [len(part.offsets) for part in parts])
    found = []
    for part, (starts, ends), context in zip(parts, logits, contexts, strict=True):
        candidates, has_max_context = np.zeros((2, part.size), bool)
        candidates[part.first : -1] = True
        has_max_context[part.first : -1] = context
        spans = best_spans(starts, ends, candidates, has_max_context, lengths.n_best, lengths.max_answer)
        offsets = [(0, 0)] * part.first + part.offsets.tolist()
        found.append(Window(spans, offsets, float(starts[0] + ends[0])))
    return found


def _loss(parts: Sequence[Part], logits: Sequence[np.ndarray]) -> float:
    """The mean of start and end loss: the best window that has the answer; without an answer, the worst window. 0 if unknown."""
    losses = [
        (-log_softmax(pair)[[0, 1], part.gold].mean(), part.gold != (0, 0))
        for part, pair in zip(parts, logits, strict=True)
        if part.gold is not None
    ]
    with_answer = [float(loss) for loss, has_answer in losses if has_answer]
    return min(with_answer) if with_answer else max((float(loss) for loss, _ in losses), default=0.0)


def answer_as_json(answer: Any) -> dict[str, Any]:
    """One of the n best answers as a JSON object."""
    return {
        "text": answer.text,
        "probability": round(answer.probability, 6),
        "score": round(answer.score, 6),
        "start": int(answer.start),
        "end": int(answer.end),
    }


def _around_answer(row: Question) -> str:
    """A context in one line, shortened around the first answer."""
    answer = next((answer for answer in row.answers or () if answer.is_in(row.context)), None)
    start, end = (0, SHOWN) if answer is None else (answer.start, answer.start + len(answer.text))
    first, last = max(0, start - SHOWN), min(len(row.context), end + SHOWN)
    middle = " ".join(row.context[first:last].split())
    return f"{'…' * (first > 0)}{middle}{'…' * (last < len(row.context))}"

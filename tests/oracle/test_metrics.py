"""The scores and the choice of answers against transformers 4's copies of evaluate-v2.0.py and of run_squad.py's write_predictions."""

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers.data.metrics.squad_metrics import compute_predictions_logits, squad_evaluate
from transformers.data.processors.squad import _check_is_max_context

from mobilebert_common.tasks.metrics import answers, best_threshold
from mobilebert_common.tasks.spans import Window, best_spans, choose, is_max_context

WORDS = ["the", "a cat", "Cat", "Dog!", "dog the hog", "", "x y z", "y, z", "!!", "café cat"]


@pytest.mark.parametrize("seed", range(40))
def test_answers(seed: int) -> None:
    draw = random.Random(seed)
    unanswerable = draw.choice([0.2, 0.5, 1.0])
    references = [
        [] if draw.random() < unanswerable else [draw.choice(WORDS) for _ in range(draw.choice([1, 1, 3]))]
        for _ in range(draw.randrange(1, 30))
    ]
    references.append([])  # at least one makes it version 2.0
    predicted = [draw.choice(["", *WORDS, *accepted, *accepted]) for accepted in references]
    no_answer = [draw.choice([0.0, 1.0, -2.0, 3.5, 0.25]) for _ in references]
    examples = [SimpleNamespace(qas_id=row, answers=[{"text": text} for text in row_answers]) for row, row_answers in enumerate(references)]
    theirs = squad_evaluate(examples, dict(enumerate(predicted)), dict(enumerate(no_answer)), no_answer_probability_threshold=9.0)
    ours = answers(references, predicted, no_answer)
    titles = {"F1": "f1", "EM": "exact", "best F1": "best_f1", "best EM": "best_exact"}
    assert {title: 100 * score for title, score in ours.metrics.items()} == close({title: theirs[key] for title, key in titles.items()})
    assert best_threshold(references, predicted, no_answer)[1] == theirs["best_f1_thresh"]
    assert best_threshold(references, predicted, no_answer, "EM")[1] == theirs["best_exact_thresh"]
    for part, scores in ours.classes.items():
        expected = [theirs[f"{part}_{key}"] for key in ("f1", "exact", "total")]
        assert [100 * scores["F1"], 100 * scores["EM"], scores["support"]] == close(expected)
    assert sum(key.endswith("_total") for key in theirs) == len(ours.classes)


QUESTION = 3  # words


@pytest.mark.parametrize("seed", range(40))
def test_choice_of_answers(seed: int, tmp_path: Path) -> None:
    """Tokens are words here: of a part of a word, the script gives the whole one, and ours the part."""
    version_2, distinct, tied = seed % 2 == 1, seed // 2 % 2 == 1, seed % 3 == 0
    random_numbers = np.random.default_rng(seed)
    length, stride, size = 40, 7, 12
    words = [f"w{number}" if distinct else random_numbers.choice(["ab", "cd", "ef"]) for number in range(length)]
    starts = list(range(0, length - size + stride, stride))
    lengths = [min(size, length - start) for start in starts]
    logits = [random_numbers.normal(size=(2, QUESTION + 3 + length)) for length in lengths]
    if tied:
        logits = [np.round(values) for values in logits]  # many equal scores
    n_best, longest, threshold = [(20, 30, 0.0), (5, 4, -1.0), (2, 2, 1.0)][seed % 5 % 3]
    best, odds, n_best_answers = theirs(words, starts, lengths, logits, n_best, longest, threshold if version_2 else None, tmp_path)

    context = " ".join(words)
    places = np.cumsum([0, *(len(word) + 1 for word in words)])
    windows = []
    for start, length, (start_logits, end_logits), most in zip(starts, lengths, logits, is_max_context(starts, lengths), strict=True):
        candidates = np.pad(np.ones(length, bool), (QUESTION + 2, 1))
        spans = best_spans(start_logits, end_logits, candidates, np.pad(most, (QUESTION + 2, 1)), n_best, longest)
        offsets = [(0, 0)] * (QUESTION + 2) + [(places[word], places[word + 1] - 1) for word in range(start, start + length)] + [(0, 0)]
        windows.append(Window(spans, offsets, float(start_logits[0] + end_logits[0])))
    ours = choose(windows, context, n_best, threshold if version_2 else None)
    if version_2:
        assert ours.no_answer == close(odds)
    if not any(window.spans for window in windows):
        assert (ours.text, "".join(answer.text for answer in ours.best)) == ("", "")
        assert "empty" in (answer["text"] for answer in n_best_answers)  # what the script calls no possible answer
        return
    assert ours.text == best
    assert [answer.text for answer in ours.best] == [answer["text"] for answer in n_best_answers]
    assert [answer.score for answer in ours.best] == [answer["start_logit"] + answer["end_logit"] for answer in n_best_answers]
    assert [answer.probability for answer in ours.best] == close([answer["probability"] for answer in n_best_answers])
    assert all(context[answer.start : answer.end] == answer.text for answer in ours.best)


def theirs(
    words: list[str],
    starts: list[int],
    lengths: list[int],
    logits: list[np.ndarray],
    n_best: int,
    longest: int,
    threshold: float | None,
    folder: Path,
) -> tuple[str, Any, Any]:
    """The answer, its null odds and the n best answers of transformers."""
    features = []
    for window, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        tokens = ["[CLS]", *["q"] * QUESTION, "[SEP]", *words[start : start + length], "[SEP]"]
        places = {QUESTION + 2 + place: start + place for place in range(length)}
        most = {token: is_theirs(starts, lengths, window, place) for token, place in places.items()}
        feature = {"example_index": 0, "unique_id": window, "tokens": tokens, "token_to_orig_map": places, "token_is_max_context": most}
        features.append(SimpleNamespace(**feature))
    results = [SimpleNamespace(unique_id=window, start_logits=s.tolist(), end_logits=e.tolist()) for window, (s, e) in enumerate(logits)]
    best = compute_predictions_logits(
        [SimpleNamespace(qas_id="q", doc_tokens=words)],
        features,
        results,
        n_best,
        longest,
        True,
        None,
        str(folder / "n_best.json"),
        str(folder / "odds.json"),
        False,
        threshold is not None,
        threshold,
        SimpleNamespace(convert_tokens_to_string=" ".join),
    )
    odds = json.loads((folder / "odds.json").read_text())["q"] if threshold is not None else None
    return best["q"], odds, json.loads((folder / "n_best.json").read_text())["q"]


def is_theirs(starts: list[int], lengths: list[int], window: int, place: int) -> bool:
    """transformers' own _check_is_max_context."""
    spans = [SimpleNamespace(start=start, length=length) for start, length in zip(starts, lengths, strict=True)]
    return bool(_check_is_max_context(spans, window, place))


def close(expected: Any) -> Any:
    return pytest.approx(expected, rel=0, abs=1e-12)

"""Question answering on XQuAD against transformers 4's copies of run_squad.py and evaluate-v2.0.py."""

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transformers import BertTokenizer
from transformers.data.metrics.squad_metrics import compute_predictions_logits, squad_evaluate
from transformers.data.processors.squad import (
    SquadV1Processor,
    squad_convert_example_to_features,
    squad_convert_example_to_features_init,
)

from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tasks.answers import Answers
from mobilebert_common.tasks.base import Lengths, Predictions
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.tasks.spans import Choice, is_max_context
from mobilebert_common.tasks.squad import Questions
from mobilebert_common.tokenization import MobileBertTokenizerFast

TASK = Answers()
SOME = slice(None, None, 17)  # of the 1,190 questions
LENGTHS = [Lengths(384, 128, 64), Lengths(64, 24, 12)]


@pytest.fixture(scope="module")
def questions(data: Path) -> Questions:
    read = TASK.read(data / "squad" / "xquad.en.json")
    return read.take(range(len(read))[SOME])


@pytest.fixture(scope="module")
def their_examples(data: Path) -> list[Any]:
    content = json.loads((data / "squad" / "xquad.en.json").read_text(encoding="utf-8"))
    return SquadV1Processor()._create_examples(content["data"], "train")[SOME]


@pytest.fixture(scope="module", params=LENGTHS, ids=["of the paper", "short"])
def both(request: pytest.FixtureRequest, data: Path, questions: Questions, their_examples: list[Any]) -> tuple[Examples, list[list[Any]]]:
    """Our examples, and their features of each question."""
    lengths, vocab = request.param, str(data / "vocab.txt")
    tokenizer = BertTokenizer(vocab)
    squad_convert_example_to_features_init(tokenizer)
    sizes = (lengths.max_length, lengths.stride, lengths.max_question, "max_length")
    theirs = [squad_convert_example_to_features(example, *sizes, True) for example in their_examples]
    return TASK.make_examples(questions, MobileBertTokenizerFast(vocab), MobileBertConfig(), lengths), theirs


def test_windows_and_labels(both: tuple[Examples, list[list[Any]]], questions: Questions) -> None:
    ours, theirs = both
    features = [feature for group in theirs for feature in group]
    assert [source for source, group in enumerate(theirs) for _ in group] == list(ours.sources)
    assert not ours.dropped and not questions.unanswerable
    for row, feature in enumerate(features):
        size = ours.extras[row].size
        assert size == sum(feature.attention_mask) == len(ours.columns["attention_mask"][row])
        assert list(ours.columns["input_ids"][row]) == feature.input_ids[:size]
        assert list(ours.columns["token_type_ids"][row]) == feature.token_type_ids[:size]
        assert ours.extras[row].first == min(feature.token_is_max_context)
        label = ours.columns["start_positions"][row], ours.columns["end_positions"][row]
        assert label == (feature.start_position, feature.end_position)
    for source, group in enumerate(theirs):
        parts = [part for row, part in zip(ours.sources, ours.extras, strict=True) if row == source]
        contexts = is_max_context([part.start for part in parts], [len(part.offsets) for part in parts])
        for part, context, feature in zip(parts, contexts, group, strict=True):
            assert {part.first + place: bool(most) for place, most in enumerate(context)} == feature.token_is_max_context


@pytest.mark.parametrize("version_2", [False, True])
def test_predictions(
    version_2: bool, both: tuple[Examples, list[list[Any]]], questions: Questions, their_examples: list[Any], tmp_path: Path
) -> None:
    """Only spans of whole words are likely: for others, the script has to guess the text. No padding is, which it would consider."""
    ours, theirs = both
    features = [feature for group in theirs for feature in group]
    generator = np.random.default_rng(5)
    outputs, results = [], []
    for row, feature in enumerate(features):
        feature.unique_id, feature.example_index = row, ours.sources[row]
        words = [feature.token_to_orig_map.get(place, -1) for place in range(len(feature.input_ids))]
        edges = [np.array([word != other for word, other in zip(words, others, strict=True)]) for others in neighbours(words)]
        start, end = (np.where(edge & (np.array(feature.attention_mask) == 1), generator.normal(size=len(words)), -30) for edge in edges)
        start[0] = end[0] = 2.5
        results.append(SimpleNamespace(unique_id=row, start_logits=start.tolist(), end_logits=end.tolist()))
        outputs.append({"start_logits": start[None], "end_logits": end[None]})
    files = [tmp_path / name for name in ("best.json", "n_best.json", "odds.json")]
    options = (20, 30, True, *map(str, files), False, version_2, 0.0, SimpleNamespace(convert_tokens_to_string=joined))
    expected = compute_predictions_logits(their_examples, features, results, *options)
    lengths = Lengths(null_threshold=0.0 if version_2 else None)
    predictions = TASK.predict(questions, ours, outputs, MobileBertConfig(), lengths)
    assert {row.id: spaced(text) for row, text in zip(questions.rows, predictions.columns["prediction"], strict=True)} == expected
    assert version_2 == ("" in expected.values()) and any(expected.values())
    n_best = json.loads(files[1].read_text())
    for row, best in zip(questions.rows, predictions.details["n best"], strict=True):
        assert [spaced(answer["text"]) for answer in best] == [answer["text"] for answer in n_best[row.id]]
        assert [answer["probability"] for answer in best] == pytest.approx([answer["probability"] for answer in n_best[row.id]], abs=1e-6)
    if version_2:
        odds = json.loads(files[2].read_text())
        assert predictions.details["no answer"] == pytest.approx([odds[row.id] for row in questions.rows], abs=1e-4)


def neighbours(words: list[int]) -> tuple[list[int], list[int]]:
    """The word of the token before each token, and of the one behind."""
    return [-2, *words[:-1]], [*words[1:], -2]


def joined(tokens: list[str]) -> str:
    return " ".join(tokens).replace(" ##", "").strip()


def spaced(text: str) -> str:
    return " ".join(text.split())


def test_scores(questions: Questions, their_examples: list[Any]) -> None:
    draw = random.Random(0)
    answers = [texts[0] for texts in questions.labels or []]
    assert dict(TASK.evaluate(questions, predicted(answers), MobileBertConfig()).metrics) == {"F1": 1.0, "EM": 1.0}
    changes = [lambda text: text, str.upper, "the {}!".format, "{} more".format, lambda text: text.split()[0], lambda text: answers[0]]
    perturbed = [draw.choice(changes)(text) for text in answers]
    scores = TASK.evaluate(questions, predicted(perturbed), MobileBertConfig()).metrics
    examples = [SimpleNamespace(qas_id=row.id, answers=[{"text": text} for text, _ in row.answers or ()]) for row in questions.rows]
    theirs = squad_evaluate(examples, {row.id: text for row, text in zip(questions.rows, perturbed, strict=True)})
    assert (100 * scores["F1"], 100 * scores["EM"]) == pytest.approx((theirs["f1"], theirs["exact"]), abs=1e-9)
    assert 20 < theirs["exact"] < theirs["f1"] < 90


def predicted(texts: list[str]) -> Predictions:
    return Predictions({}, found=[Choice(text, 0.0, []) for text in texts])

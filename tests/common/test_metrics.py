import json
import random
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from mobilebert_common.errors import ConfigError, DataError
from mobilebert_common.tasks.metrics import (
    Scores,
    answers,
    best_threshold,
    check_tags,
    choices,
    chunks,
    classification,
    entities,
    masked_words,
    multi_label,
    normalized,
    regression,
    scheme_of,
)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """scikit-learn and scipy warn of metrics that are not defined; ours always are."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def close(expected: Any) -> Any:
    return pytest.approx(expected, rel=0, abs=1e-12)


def test_scores_choose_by_the_first_metric() -> None:
    scores = Scores({"accuracy": 0.5, "MCC": 0.1, "RMSE": 2.0}, {"accuracy": 0.4}, "some")
    chosen = scores.with_first("MCC")
    assert list(chosen.metrics.items()) == [("MCC", 0.1), ("accuracy", 0.5), ("RMSE", 2.0)]
    assert list(scores.metrics) == ["accuracy", "MCC", "RMSE"] and chosen.baseline == scores.baseline
    with pytest.raises(ConfigError, match=r"metric 'F1' is not computed here: the best model can be chosen by accuracy, MCC$"):
        scores.with_first("F1")
    with pytest.raises(ConfigError, match="'RMSE' is better when lower"):
        scores.with_first("RMSE")


def test_classification() -> None:
    scores = classification(list("aaabbb"), list("aabbba"), ["a", "b"])
    assert scores.metrics == close({"accuracy": 4 / 6, "F1 (macro)": 2 / 3, "MCC": 1 / 3, "F1 (b)": 2 / 3})
    assert scores.baseline == close({"accuracy": 0.5, "F1 (macro)": 1 / 3, "MCC": 0.0, "F1 (b)": 0.0})
    assert scores.baseline_name == "always 'a'"  # the first of equally frequent ones
    assert scores.confusion == (["a", "b"], [[2, 1], [1, 2]])
    assert next(iter(scores.metrics)) == "accuracy"


def test_classification_of_rare_and_absent_classes() -> None:
    scores = classification(list("bbbbbbca"), list("bbbbbbbb"), list("abcd"))
    assert scores.metrics == close({"accuracy": 0.75, "F1 (macro)": (12 / 14) / 3, "MCC": 0.0})  # d occurs nowhere
    assert scores.baseline == scores.metrics and scores.baseline_name == "always 'b'"
    nothing = {"precision": 0.0, "recall": 0.0, "F1": 0.0}
    assert scores.classes == {
        "a": nothing | {"support": 1},
        "b": close({"precision": 0.75, "recall": 1.0, "F1": 12 / 14, "support": 6}),
        "c": nothing | {"support": 1},
        "d": nothing | {"support": 0},
    }
    assert [list(row) for row in scores.classes.values()] == [["precision", "recall", "F1", "support"]] * 4
    assert scores.confusion == (list("abcd"), [[0, 1, 0, 0], [0, 6, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])


def test_classification_with_one_class_in_the_data() -> None:
    scores = classification(["a", "a"], ["a", "a"], ["a", "b"])
    assert scores.metrics == {"accuracy": 1.0, "F1 (macro)": 1.0, "MCC": 0.0, "F1 (b)": 0.0} == scores.baseline
    assert scores.confusion == (["a", "b"], [[2, 0], [0, 0]])


def test_the_positive_class() -> None:
    labels, predicted = list("aaab"), list("aabb")
    assert "F1 (b)" in classification(labels, predicted, ["a", "b"]).metrics
    assert classification(labels, predicted, ["b", "a"]).metrics["F1 (a)"] == close(0.8)
    assert classification(labels, predicted, ["a", "b"], "a").metrics["F1 (a)"] == close(0.8)
    assert classification(labels, predicted, ["a", "b", "c"], "b").metrics["F1 (b)"] == close(2 / 3)
    assert list(classification(labels, predicted, list("abc")).metrics) == ["accuracy", "F1 (macro)", "MCC"]
    assert classification(["macro", "x"], ["x", "x"], ["x", "macro"]).metrics["F1 (macro)"] == close(1 / 3)
    with pytest.raises(ConfigError, match="positive class 'z' is not one of 'a', 'b'"):
        classification(labels, predicted, ["a", "b"], "z")


def test_multi_label() -> None:
    labels = [{"a"}, {"a", "b"}, set(), {"a"}]
    scores = multi_label(labels, [["a"], ["b"], ["b"], ["a", "b"]], ["a", "b", "c"])
    # a: 2 hits, none wrong, 1 missed; b: 1 hit, 2 wrong; c: nothing
    assert scores.metrics == close({"F1 (micro)": 6 / 9, "F1 (macro)": (0.8 + 0.5 + 0) / 3, "exact match": 0.25})
    assert scores.classes["a"] == close({"precision": 1.0, "recall": 2 / 3, "F1": 0.8, "support": 3})
    assert scores.classes["c"] == {"precision": 0.0, "recall": 0.0, "F1": 0.0, "support": 0}
    assert scores.baseline == close({"F1 (micro)": 6 / 8, "F1 (macro)": (6 / 7) / 3, "exact match": 0.5})
    assert scores.baseline_name == "always 'a'" and next(iter(scores.metrics)) == "F1 (micro)"


def test_multi_label_with_few_labels() -> None:
    scores = multi_label([[], [], ["b", "a"]], [[], [], []], ["a", "b"])
    assert scores.metrics == scores.baseline == close({"F1 (micro)": 0.0, "F1 (macro)": 0.0, "exact match": 2 / 3})
    assert scores.baseline_name == "always no label"
    assert multi_label([["b", "a"]], [["a"]], ["a", "b"]).baseline_name == "always 'a', 'b'"
    one = multi_label([["a"], [], []], [["a"], ["a"], ["a"]], ["a"])  # for scikit-learn, one column is two classes
    assert one.metrics == close({"F1 (micro)": 0.5, "F1 (macro)": 0.5, "exact match": 1 / 3})
    assert list(one.classes) == ["a"] and one.baseline["exact match"] == close(2 / 3)


def test_regression() -> None:
    scores = regression([1.0, 2.0, 3.0, 4.0], [[1.0], [2.0], [4.0], [3.0]])
    assert scores.metrics == close({"Pearson": 0.8, "Spearman": 0.8, "RMSE": 0.5**0.5})
    assert scores.baseline == close({"Pearson": 0.0, "Spearman": 0.0, "RMSE": 1.25**0.5})
    assert scores.baseline_name == "the mean score" and scores.classes == {} and next(iter(scores.metrics)) == "Pearson"
    curved = regression([1, 2, 3], [1, 2, 100])
    assert curved.metrics["Spearman"] == close(1.0) and curved.metrics["Pearson"] < 0.9


@pytest.mark.parametrize(
    ("values", "predicted"), [([1, 2], [3, 3]), ([3, 3], [1, 2]), ([1], [2]), ([1, 2], [0, 0]), ([1, 2, 3], [0.3, 0.1 + 0.2, 0.3])]
)
def test_constant_columns_have_no_correlation(values: list[float], predicted: list[float]) -> None:
    scores = regression(values, predicted)
    assert scores.metrics["Pearson"] == scores.metrics["Spearman"] == 0.0


def test_regression_of_several_columns() -> None:
    values, predicted = np.array([[1, 1], [2, 1], [3, 4]], np.float32), np.array([[1, 2], [2, 2], [3, 2]], np.float32)
    scores = regression(values, predicted, ["x", "y"])
    assert scores.classes["x"] == close({"Pearson": 1.0, "Spearman": 1.0, "RMSE": 0.0})
    assert scores.classes["y"] == close({"Pearson": 0.0, "Spearman": 0.0, "RMSE": 2**0.5})
    assert scores.metrics == close({"Pearson": 0.5, "Spearman": 0.5, "RMSE": 2**0.5 / 2})
    assert scores.baseline["RMSE"] == close(((2 / 3) ** 0.5 + 2**0.5) / 2)
    assert list(regression(values, predicted).classes) == ["0", "1"]
    for names in (["x"], ["x", "x"]):
        with pytest.raises(ConfigError, match="2 columns of values need as many different names"):
            regression(values, predicted, names)
    with pytest.raises(DataError, match="2 values in each row, but 1 predictions"):
        regression(values, predicted[:, :1])


# Sentences are divided by |. The results are those of seqeval (github.com/chakki-works/seqeval, commit cd01b52): its default mode without
# a scheme, strict mode with one. `PYTHONPATH=CLONE pytest tests/common/test_metrics.py -k seqeval` compares them again.
# Those without a scheme and without E and S are conlleval's too (tests/conlleval.pl there).
ENTITIES: list[tuple[str, str, str | None, tuple[float, float, float]]] = [
    # tags, predicted, scheme, (precision, recall, F1)
    ("B-A I-A O B-B", "B-A I-A O B-B", None, (1, 1, 1)),
    ("B-A I-A O B-B", "I-A I-A O I-B", None, (1, 1, 1)),
    ("I-A I-A B-A O", "B-A I-A B-A O", None, (1, 1, 1)),
    ("B-A I-A I-A O", "B-A I-A O O", None, (0, 0, 0)),
    ("B-A I-B I-B O", "I-A B-B I-B O", None, (1, 1, 1)),
    ("B-A I-A O B-B", "B-A I-A I-A B-A", None, (0, 0, 0)),
    ("B-A I-A | I-A O", "B-A I-A | B-A O", None, (1, 1, 1)),
    ("B-A O B-A | B-B", "B-A O O | B-B", None, (1, 2 / 3, 0.8)),
    ("O O | O", "O O | O", None, (0, 0, 0)),
    ("O O | O", "O B-A | I-B", None, (0, 0, 0)),
    ("B I O B", "B I O O", None, (1, 0.5, 2 / 3)),
    ("B-X-Y I-X-Y O", "B-X-Y I-X-Y B-X", None, (0.5, 1, 2 / 3)),
    ("B-A E-A S-A O S-B", "I-A E-A I-A O B-B", None, (1, 1, 1)),
    ("B-A E-A S-A O S-B", "I-A E-A I-A O B-B", "IOBES", (0, 0, 0)),
    ("B-A I-A E-A S-B", "B-A I-A E-A S-B", "IOBES", (1, 1, 1)),
    ("B-A I-A E-A S-B", "B-A I-B E-A S-B", "IOBES", (1, 0.5, 2 / 3)),
    ("B-A E-A E-A O", "B-A E-A I-A E-A", "IOBES", (1, 1, 1)),
    ("S-A S-A B-A O", "S-A B-A E-A O", "IOBES", (0.5, 0.5, 0.5)),
    ("S-A | E-A B-A E-A", "S-A | B-A E-A E-A", "IOBES", (0.5, 0.5, 0.5)),
    ("B-A I-A O I-A", "B-A I-A O B-A", "IOB2", (0.5, 1, 2 / 3)),
    ("B-A I-B B-B I-B", "B-A O B-B I-B", "IOB2", (1, 1, 1)),
]


def sentences(text: str) -> list[list[str]]:
    return [sentence.split() for sentence in text.split("|")]


@pytest.mark.parametrize(("tags", "predicted", "scheme", "expected"), ENTITIES)
def test_entities(tags: str, predicted: str, scheme: str | None, expected: tuple[float, float, float]) -> None:
    scores = entities(sentences(tags), sentences(predicted), scheme)
    assert tuple(scores.metrics[title] for title in ("precision", "recall", "F1")) == close(expected)


def test_entities_beside_a_baseline_and_by_type() -> None:
    scores = entities([["B-P", "I-P", "O"], ["B-L", "O"], ["B-L"]], [["B-P", "I-P", "O"], ["B-L", "B-M"], ["O"]])
    assert scores.metrics == close({"F1": 2 / 3, "precision": 2 / 3, "recall": 2 / 3, "accuracy": 4 / 6})
    assert scores.baseline == close({"F1": 0.0, "precision": 0.0, "recall": 0.0, "accuracy": 2 / 6})
    assert next(iter(scores.metrics)) == "F1" and scores.baseline_name == "every word 'O'"
    assert list(scores.classes) == ["L", "M", "P"]
    assert scores.classes["L"] == close({"precision": 1.0, "recall": 0.5, "F1": 2 / 3, "support": 2})
    assert scores.classes["M"] == {"precision": 0.0, "recall": 0.0, "F1": 0.0, "support": 0}


def test_equal_entities_of_two_sentences_count_twice() -> None:
    assert entities([["B-A"], ["B-A"]], [["B-A"], ["O"]]).metrics["recall"] == 0.5


def test_chunks() -> None:
    assert chunks(["O", "B-P", "I-P", "I-L", "O", "B", "I"]) == [("P", 1, 2), ("L", 3, 3), ("_", 5, 6)]
    assert chunks([]) == chunks(["O"]) == []
    bilou, bmewo = ["B-P", "I-P", "L-P", "U-L"], ["B-P", "M-P", "E-P", "W-L"]
    for scheme in (None, "IOBES"):
        assert chunks(bilou, scheme) == chunks(bmewo, scheme) == [("P", 0, 2), ("L", 3, 3)]
    for scheme in (None, "IOB1", "IOE"):
        assert chunks(["I-P", "E-P", "E-P"], scheme) == [("P", 0, 1), ("P", 2, 2)]


def test_unusable_tags() -> None:
    assert check_tags(["O", "B-P", "I-P", "E-P", "S-P", "L-P", "U-P", "M-P", "W-P", "B", "B-X-Y"]) == []
    assert check_tags(["P-B", "O", "NNP", "", "o", "O-P", "b-P", "B-", "BP", "NNP"]) == ["P-B", "NNP", "", "o", "O-P", "b-P", "B-", "BP"]
    with pytest.raises(DataError, match="the tag 'NNP' is neither O nor of the form B-TYPE"):
        chunks(["O", "NNP"])
    with pytest.raises(DataError, match="tags with E or S do not belong to the scheme IOB2"):
        chunks(["S-P", "B-P", "E-P"], "IOB2")
    with pytest.raises(ConfigError, match="must be IOB1, IOE, IOB2, IOBES or None, not 'BIO'"):
        chunks(["O"], "BIO")
    with pytest.raises(DataError, match="sentence 2 has 1 tags, but 2 predictions"):
        entities([["O"], ["O"]], [["O"], ["O", "O"]])
    with pytest.raises(DataError, match="no words to score"):
        entities([[]], [[]])


@pytest.mark.parametrize(
    ("tags", "scheme"),
    [
        ("O I-A I-A B-A", "IOB1"),
        ("O I-A I-B", "IOB1"),
        ("I-A | I-A", "IOB1"),
        ("O B-A I-A", "IOB2"),
        ("B-A B-A B-B I-B", "IOB2"),
        ("O B-A O | I-A", "IOB2"),  # a mistake
        ("I-A B-B", "IOB2"),  # likewise: in IOB1 this B divides nothing
        ("O O", "IOB2"),
        ("B-A E-A O", "IOBES"),
        ("S-A O", "IOBES"),
        ("B-A L-A U-A", "IOBES"),
        ("B-A M-A E-A W-A", "IOBES"),
        ("I-A E-A O", "IOE"),
    ],
)
def test_scheme_of(tags: str, scheme: str) -> None:
    assert scheme_of(sentences(tags)) == scheme


if find_spec("seqeval"):

    def seqeval_scores(tags: list[list[str]], predicted: list[list[str]], scheme: str | None) -> tuple[Any, Any]:
        """Micro averages and the table of types."""
        from seqeval import scheme as schemes
        from seqeval.metrics import sequence_labeling, v1

        module, extra = (sequence_labeling, {}) if scheme is None else (v1, {"scheme": getattr(schemes, scheme)})
        micro, table = (
            module.precision_recall_fscore_support(tags, predicted, average=average, zero_division=0, **extra)
            for average in ("micro", None)
        )
        return micro[:3], np.transpose(table).tolist()

    @pytest.mark.parametrize(("tags", "predicted", "scheme", "expected"), ENTITIES)
    def test_seqeval_agrees_with_the_table(tags: str, predicted: str, scheme: str | None, expected: tuple[float, ...]) -> None:
        assert seqeval_scores(sentences(tags), sentences(predicted), scheme)[0] == close(expected)

    @pytest.mark.parametrize(("scheme", "letters"), [(None, "BI"), (None, "BIES"), (None, "IE"), ("IOBES", "BIES"), ("IOB2", "BI")])
    def test_entities_of_seqeval(scheme: str | None, letters: str) -> None:
        draw = random.Random(0)
        drawn = ["O", *(f"{letter}-{kind}" for letter in letters for kind in ("A", "B-C"))]
        for _ in range(150):
            tags = [[draw.choice(drawn) for _ in range(draw.randrange(1, 9))] for _ in range(draw.randrange(1, 5))]
            predicted = [[draw.choice([tag, tag, draw.choice(drawn)]) for tag in sentence] for sentence in tags]
            ours = entities(tags, predicted, scheme)
            micro, table = seqeval_scores(tags, predicted, scheme)
            assert [ours.metrics[title] for title in ("precision", "recall", "F1")] == close(list(micro))
            assert [list(row.values()) for row in ours.classes.values()] == [close(row) for row in table]


def test_normalized() -> None:
    assert normalized("The  Cat’s, a-hat! An theme\tof a") == "cat’s ahat theme of"
    assert normalized("A.") == normalized("") == ""


# (accepted answers, predicted, (F1, EM) of evaluate-v1.1.py, of evaluate-v2.0.py): the scripts' own results
ANSWERS: list[tuple[list[str], str, tuple[float, float], tuple[float, float]]] = [
    (["the cat"], "Cat!", (1, 1), (1, 1)),
    (["a black cat", "dog"], "black dog", (2 / 3, 0), (2 / 3, 0)),
    (["cat cat dog"], "cat cat cat", (2 / 3, 0), (2 / 3, 0)),
    (["cat"], "", (0, 0), (0, 0)),
    (["the"], "a", (0, 1), (1, 1)),  # nothing is left of either
    (["the", "cat"], "", (0, 1), (0, 0)),  # version 2.0 drops such an answer where there are others
    (["the"], "cat", (0, 0), (0, 0)),
]


@pytest.mark.parametrize(("accepted", "predicted", "version_1", "version_2"), ANSWERS)
def test_answers(accepted: list[str], predicted: str, version_1: tuple[float, float], version_2: tuple[float, float]) -> None:
    assert tuple(answers([accepted], [predicted]).metrics.values()) == close(version_1)
    both = answers([accepted, []], [predicted, "x"])
    assert both.classes["HasAns"] == close({"F1": version_2[0], "EM": version_2[1], "support": 1})
    assert both.classes["NoAns"] == {"F1": 0.0, "EM": 0.0, "support": 1}
    assert both.metrics == close({"F1": version_2[0] / 2, "EM": version_2[1] / 2})


def test_answers_beside_a_baseline() -> None:
    with_answers = answers([["x"], ["y", "z"]], ["x", "z"], [0.0, 0.0])
    assert with_answers.metrics == {"F1": 1.0, "EM": 1.0} and with_answers.classes == {}
    assert (with_answers.baseline, with_answers.baseline_name) == ({"F1": 0.0, "EM": 0.0}, "no answer")
    some = answers([["x"], [], []], ["x", "", "a ."])
    assert some.metrics == {"F1": 1.0, "EM": 1.0}  # nothing is left of "a ."
    assert (some.baseline, some.baseline_name) == (close({"F1": 2 / 3, "EM": 2 / 3}), "always no answer")
    assert list(answers([[]], [""]).classes) == ["NoAns"]


@pytest.mark.parametrize(
    ("references", "predicted", "no_answer", "expected"),
    [
        ([["x"], [], []], ["x", "y", "y"], [1.0, 2.0, 3.0], (1.0, 1.0)),
        ([["x"], [], []], ["x", "y", "y"], [3.0, 2.0, 1.0], (2 / 3, 0.0)),  # no gain over no answers at all
        ([["x"], [], []], ["x", "", "y"], [3.0, 2.0, 4.0], (1.0, 3.0)),  # "" costs nothing where there is no answer
        ([["x"], [], ["z"]], ["x", "y", "z"], [1.0, 1.0, 1.0], (2 / 3, 1.0)),  # equal scores in the order of the questions
        ([[], ["x"], ["z"]], ["y", "x", "z"], [-2.0, -2.0, -1.0], (2 / 3, -1.0)),
        ([["x"], []], ["x", "y"], [1.0, 1.0], (1.0, 1.0)),  # although no threshold lies between them
        ([["x y"], []], ["x", "y"], [1.0, 2.0], (5 / 6, 1.0)),
        ([["x"], ["z"], []], ["x", "w", ""], [1.0, 2.0, 3.0], (2 / 3, 1.0)),  # the lowest of the best thresholds
    ],
)
def test_best_threshold(
    references: list[list[str]], predicted: list[str], no_answer: list[float], expected: tuple[float, float]
) -> None:
    assert best_threshold(references, predicted, no_answer) == close(expected)
    assert answers(references, predicted, no_answer).metrics["best F1"] == close(expected[0])


def test_best_threshold_of_exact_matches() -> None:
    references, predicted, no_answer = [["x y"], [], ["z"]], ["x", "y", "z"], [1.0, 3.0, 2.0]
    assert best_threshold(references, predicted, no_answer) == close((8 / 9, 2.0))
    assert best_threshold(references, predicted, no_answer, "EM") == close((2 / 3, 2.0))
    scores = answers(references, predicted, no_answer)
    assert list(scores.metrics) == ["F1", "EM", "best F1", "best EM"] and scores.metrics["best EM"] == close(2 / 3)


def test_choices() -> None:
    scores = choices(np.array([0, 1, 2]), [0, 2, 2], [2, 4, 4])
    assert scores.metrics == close({"accuracy": 2 / 3}) and scores.baseline == close({"accuracy": 1 / 3})
    assert scores.baseline_name == "a random choice"


def test_masked_words() -> None:
    scores = masked_words(4 * np.log(0.25), 3, {"a": 1, "the": 3})
    assert scores.metrics == close({"accuracy": 0.75, "perplexity": 4.0}) and next(iter(scores.metrics)) == "accuracy"
    assert (scores.baseline, scores.baseline_name) == ({"accuracy": 0.75}, "always 'the'")
    with pytest.raises(DataError, match="no words were masked"):
        masked_words(0.0, 0, {})
    for log_likelihood in (float("nan"), float("-inf"), -3000.0, 3.0):
        with pytest.raises(DataError, match="gives no perplexity"):
            masked_words(log_likelihood, 0, {"a": 3})


def every_kind() -> list[Scores]:
    return [
        classification(["a", "b"], ["b", "b"], ["a", "b"]),
        multi_label([["a"], []], [["a"], ["b"]], ["a", "b"]),
        regression(np.float32([[1, 2], [3, 5]]), np.float32([[1, 2], [2, 2]])),
        entities([["B-P", "O"]], [["B-P", "O"]]),
        answers([["a"], []], ["a", ""], np.float32([1, 2])),
        choices(np.array([1, 0]), np.array([1, 1]), np.array([2, 2])),
        masked_words(np.float32(-3), np.int64(1), {"a": 2}),
    ]


def test_scores_are_json() -> None:
    for scores in every_kind():
        stored = scores.to_json()
        assert list(stored) == ["metrics", "baseline", "baseline_name", "classes", "confusion", "notes"]
        assert json.loads(json.dumps(stored, allow_nan=False)) == stored
        assert all(type(value) is float for value in [*scores.metrics.values(), *scores.baseline.values()])
    assert every_kind()[0].to_json()["confusion"] == {"labels": ["a", "b"], "counts": [[0, 1], [0, 1]]}


@pytest.mark.parametrize("metric", [classification, multi_label, choices])
def test_lengths_differ(metric: Any) -> None:
    with pytest.raises(DataError, match="2 labels, but 1 predictions"):
        metric([1, 0], [1], [2, 2])
    with pytest.raises(DataError, match="nothing to score"):
        metric([], [], [])


def test_other_lengths_differ() -> None:
    for wrong in (
        lambda: regression([1.0, 2.0], [1.0]),
        lambda: entities([["O"], ["O"]], [["O"]]),
        lambda: answers([["x"], []], ["x"]),
        lambda: answers([["x"], []], ["x", ""], [1.0]),
        lambda: best_threshold([["x"], []], ["x"], [1.0, 2.0]),
        lambda: choices([1, 0], [1, 1], [2]),
    ):
        with pytest.raises(DataError, match="2 labels, but 1 predictions"):
            wrong()

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.errors import ConfigError, DataError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tasks.base import Lengths
from mobilebert_common.tasks.classification import label_names, label_numbers
from mobilebert_common.tasks.tables import Table, from_texts
from mobilebert_common.tasks.task import TASKS
from mobilebert_common.tokenization import MobileBertTokenizer

TOKENIZER = MobileBertTokenizer(vocab=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"])


TASK = TASKS["classification"]


def make_table(labels: list[str] | None, **changes: Any) -> Table:
    texts = [f"a {'b ' * row}" for row in range(len(labels or "abc"))]
    return Table(**{"path": Path("some.csv"), "texts": texts, "pairs": None, "labels": labels, **changes})


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["b", "a", "b"], ["a", "b"]),
        (["10", "9", "1.5"], ["1.5", "9", "10"]),
        (["x", "2", "-1"], ["-1", "2", "x"]),
        (["1", "1.0", "one"], ["1", "1.0", "one"]),
        (["é", "z", "Z"], ["Z", "z", "é"]),
        (["nan", "2", "NaN", "1", "10", "inf", "-inf"], ["-inf", "1", "2", "10", "inf", "NaN", "nan"]),
    ],
)
def test_label_names(labels: list[str], names: list[str]) -> None:
    assert label_names(labels) == label_names(labels[::-1]) == dict(enumerate(names))


def test_one_label_is_no_classifier() -> None:
    with pytest.raises(DataError, match="all rows have 'x'"):
        label_names(["x", "x"])


def test_label_numbers() -> None:
    assert label_numbers(make_table(["b", "a", "b"]), {0: "a", 1: "b"}).tolist() == [1, 0, 1]
    with pytest.raises(DataError, match=r"some\.csv: has labels unseen in training: 'c', 'd'; the model has 'a', 'b'"):
        label_numbers(make_table(["d", "a", "c"]), {0: "a", 1: "b"})


# the model's labels, those of the data, and their numbers or the error
MAPPED: dict[str, tuple[list[str], list[str], Any]] = {
    "as they are": (["a", "b"], ["b", "a"], [1, 0]),
    "as they are, whatever else they mean": (["1.0", "1"], ["1", "1.0"], [1, 0]),
    "numbers": (["0", "1"], ["1.0", "0.0"], [1, 0]),
    "truth": (["false", "true"], ["True", "False"], [1, 0]),
    "spaces": ([" a", "b"], ["a", "b"], [0, 1]),
    "without names": (["LABEL_0", "LABEL_1"], ["1", "0"], [1, 0]),
    "without names, not all": (["LABEL_0", "LABEL_1", "LABEL_2"], ["0", "2", "0"], [0, 2, 0]),
    "by generic names": (["LABEL_0", "LABEL_1"], ["LABEL_1", "LABEL_0"], [1, 0]),
    "from one": (
        ["LABEL_0", "LABEL_1", "LABEL_2"],
        ["1", "2"],
        r"number the labels 0 to 2 in the data.*id2label=\{0: '1', 1: '2', 2: 'LABEL_2'\}",
    ),
    "names for numbers": (["LABEL_0", "LABEL_1"], ["neg", "pos"], r"id2label=\{0: 'neg', 1: 'pos'\}\)\.save_pretrained\(DIR\)"),
    "one name": (["LABEL_0", "good"], ["0", "good"], "unseen in training: '0'; the model has 'LABEL_0', 'good'$"),
    "in another order": (["LABEL_1", "LABEL_0"], ["0", "1"], "unseen in training: '0', '1'; the model has 'LABEL_1', 'LABEL_0'$"),
    "ambiguous": (["1", "1.00"], ["1.0"], "unseen in training: '1.0'"),
}


@pytest.mark.parametrize("name", MAPPED)
def test_labels_are_mapped_where_there_is_one_way(name: str) -> None:
    stored, labels, expected = MAPPED[name]
    data, config = make_table(labels), MobileBertConfig(id2label=dict(enumerate(stored)))
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            label_numbers(data, config.id2label)
        return
    assert label_numbers(data, config.id2label).tolist() == expected
    logits = np.eye(len(stored))[expected]
    assert TASK.predict(data, None, [{"logits": logits}], config, Lengths()).columns["prediction"] == labels  # comparable with the data's


def test_make_examples() -> None:
    table = make_table(["y", "n"], texts=["a", "a b c"], pairs=["b", "c c c c"])
    config = MobileBertConfig(id2label={0: "n", 1: "y"})
    examples = TASK.make_examples(table, TOKENIZER, config, Lengths(8))
    assert examples.columns["input_ids"] == [[2, 5, 3, 6, 3], [2, 5, 6, 3, 7, 7, 7, 3]]
    assert examples.columns["token_type_ids"][0] == [0, 0, 0, 1, 1]
    assert list(examples.columns["labels"]) == [1, 0] and examples.lengths == [5, 8] and list(examples.sources) == [0, 1]
    assert "labels" not in TASK.make_examples(make_table(None), TOKENIZER, config, Lengths(8)).columns


def test_split_keeps_the_shares() -> None:
    table = make_table(["a"] * 60 + ["b"] * 30 + ["c"] * 10)
    train, held_out = TASK.split(table, 0.2, seed=3)
    assert Counter(held_out.labels) == {"a": 12, "b": 6, "c": 2}
    assert Counter(train.labels) == {"a": 48, "b": 24, "c": 8}
    assert sorted(train.texts + held_out.texts) == sorted(table.texts)
    row_of = {text: row for row, text in enumerate(table.texts)}
    for part in (train, held_out):
        rows = [row_of[text] for text in part.texts]
        assert rows == sorted(rows) and [table.labels[row] for row in rows] == part.labels
    assert TASK.split(table, 0.2, seed=3) == (train, held_out) != TASK.split(table, 0.2, seed=4)


def test_split_takes_pairs_along() -> None:
    table = make_table(["a", "b"] * 5, pairs=[f"pair {row}" for row in range(10)])
    for part in TASK.split(table, 0.4, seed=0):
        assert part.pairs == [f"pair {table.texts.index(text)}" for text in part.texts]


@pytest.mark.parametrize(("labels", "fraction"), [(["a", "a", "a", "b"], 0.5), (["a", "b"] * 10, 0.01)])
def test_split_refuses_what_is_too_small(labels: list[str], fraction: float) -> None:
    with pytest.raises(DataError, match=r"some\.csv: cannot be split.*--validation"):
        TASK.split(make_table(labels), fraction, seed=0)


LOGITS = np.array([[2.0, -1.0, 0.0], [-1000.0, 1000.0, -0.1]], np.float32)
MULTI = "multi_label_classification"
SHARES = {"probability LABEL_0": [0.8808, 0.0], "probability LABEL_1": [0.2689, 1.0], "probability LABEL_2": [0.5, 0.475]}


@pytest.mark.parametrize(
    ("task", "config", "found"),
    [
        ("classification", {"num_labels": 3}, {"prediction": ["LABEL_0", "LABEL_1"], "probability": [0.8438, 1.0]}),
        ("multi-label", {"num_labels": 3, "problem_type": MULTI}, {"prediction": ["LABEL_0, LABEL_2", "LABEL_1"], **SHARES}),
        (
            "multi-label",
            {"num_labels": 1, "problem_type": MULTI},
            {"prediction": ["LABEL_0", ""], "probability LABEL_0": [0.8808, 0.0]},
        ),
        ("regression", {"num_labels": 1}, {"prediction": [2.0, -1000.0]}),
        (
            "regression",
            {"id2label": {0: "a", 1: "b", 2: "c"}, "problem_type": "regression"},
            {"prediction a": [2.0, -1000.0], "prediction b": [-1.0, 1000.0], "prediction c": [0.0, -0.1]},
        ),
    ],
)
def test_predictions(task: str, config: dict[str, Any], found: dict[str, Any]) -> None:
    made = MobileBertConfig(**config)
    outputs = [{"logits": LOGITS[:1, : made.num_labels]}, {"logits": LOGITS[1:, : made.num_labels]}]
    predictions = TASKS[task].predict(make_table(None), None, outputs, made, Lengths())
    assert predictions.columns == found and predictions.losses is None


def test_all_probabilities() -> None:
    predictions = TASK.predict(make_table(None), None, [{"logits": LOGITS}], MobileBertConfig(id2label={0: "a", 1: "b", 2: "b"}), Lengths())
    assert predictions.details == {
        "probability a (0)": [0.8438, 0.0],
        "probability b (1)": [0.042, 1.0],
        "probability b (2)": [0.1142, 0.0],
    }


@pytest.mark.parametrize(
    ("task", "labels", "config", "losses"),
    [
        ("classification", ["LABEL_1", "LABEL_1"], {"num_labels": 2}, [np.log(1 + np.exp(3)), 0.0]),
        ("regression", [(1.0,), (-999.0,)], {"num_labels": 1}, [1.0, 1.0]),
        (
            "multi-label",
            [(), ("LABEL_1",)],
            {"num_labels": 2, "problem_type": MULTI},
            [(np.log1p(np.exp(2)) + np.log1p(np.exp(-1))) / 2, 0.0],
        ),
    ],
)
def test_losses_find_the_worst(task: str, labels: list[Any], config: dict[str, Any], losses: list[float]) -> None:
    made = MobileBertConfig(**config)
    predictions = TASKS[task].predict(make_table(labels), None, [{"logits": LOGITS[:, : made.num_labels]}], made, Lengths())
    assert predictions.losses == pytest.approx(losses)


def test_scores_keep_six_digits() -> None:
    outputs = [{"logits": np.array([[1.23456789e-7], [123456.789], [-3e30]], np.float32)}]
    predictions = TASKS["regression"].predict(make_table(None), None, outputs, MobileBertConfig(num_labels=1), Lengths())
    assert predictions.columns == {"prediction": [1.23457e-7, 123457.0, -3e30]}


def test_predictions_that_mean_nothing() -> None:
    one = MobileBertConfig(num_labels=1, problem_type="single_label_classification")
    with pytest.raises(ConfigError, match="only the label 'LABEL_0' to choose from"):
        TASK.predict(make_table(None), None, [{"logits": np.zeros((3, 1))}], one, Lengths())
    for value in (np.nan, np.inf):
        with pytest.raises(DataError, match=r"some\.csv: the model's outputs are not finite for 1 texts, the first is number 2"):
            TASK.predict(make_table(None), None, [{"logits": np.array([[0, 1], [0, value]])}], MobileBertConfig(), Lengths())


def test_what_is_cut_is_counted() -> None:
    table = make_table(None, texts=["a", "a b c", "a b c a"])
    assert list(TASK.make_examples(table, TOKENIZER, MobileBertConfig(), Lengths(5)).truncated) == [2]
    assert list(TASK.make_examples(table, TOKENIZER, MobileBertConfig(), Lengths(6)).truncated) == []
    pairs = make_table(None, texts=["a", "a b"], pairs=["b", "c c"])
    assert list(TASK.make_examples(pairs, TOKENIZER, MobileBertConfig(), Lengths(5)).truncated) == [1]
    with pytest.raises(ConfigError, match="max_length 4 is too short for a pair of texts"):
        TASK.make_examples(pairs, TOKENIZER, MobileBertConfig(), Lengths(4))


def test_no_rows() -> None:
    with pytest.raises(DataError, match=r"some\.csv: has no rows"):
        TASK.make_examples(make_table(None, texts=[]), TOKENIZER, MobileBertConfig(), Lengths(8))


def test_texts_of_the_command_line() -> None:
    assert from_texts(["a", " 😀"]).texts == ["a", " 😀"]
    for text, message in (("", "is empty"), (" \n", "is empty"), ("a\udcff", r"'a\\udcff', is not valid Unicode")):
        with pytest.raises(ConfigError, match=f"^text 2 on the command line.*{message}"):
            from_texts(["a", text])


def test_nothing_depends_on_the_hash_seed() -> None:
    """Labels are collected from data in a set, whose order depends on the hash seed."""
    code = (
        "from mobilebert_common.tasks.classification import label_names, names_in\n"
        "labels = ['nan', '1', 'b', 'NaN', 'a', '10', '2', 'inf', '1.0', '-nan', '0']\n"
        "print(label_names(labels), names_in(labels, {0: 'LABEL_0', 1: 'LABEL_1'}))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    printed = {
        subprocess.run([sys.executable, "-c", code], env={**environment, "PYTHONHASHSEED": seed}, capture_output=True, check=True).stdout
        for seed in ("0", "1")
    }
    assert len(printed) == 1

import csv
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from mobilebert_common.errors import ConfigError, DataError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tasks.classification import (
    evaluate,
    from_texts,
    label_names,
    label_numbers,
    make_examples,
    metrics,
    predict,
    probabilities,
    split,
)
from mobilebert_common.tasks.examples import Examples, padded
from mobilebert_common.tasks.tables import Columns, Table, check_result_path, read_table, write_columns
from mobilebert_common.tokenization import MobileBertTokenizer

TOKENIZER = MobileBertTokenizer(vocab=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"])


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
    assert predict(data, None, [{"logits": logits}], config)["label"] == labels  # comparable with the data's


def test_make_examples() -> None:
    table = make_table(["y", "n"], texts=["a", "a b c"], pairs=["b", "c c c c"])
    config = MobileBertConfig(id2label={0: "n", 1: "y"})
    examples = make_examples(table, TOKENIZER, config, max_length=8)
    assert examples.columns["input_ids"] == [[2, 5, 3, 6, 3], [2, 5, 6, 3, 7, 7, 7, 3]]
    assert examples.columns["token_type_ids"][0] == [0, 0, 0, 1, 1]
    assert list(examples.columns["labels"]) == [1, 0] and examples.lengths == [5, 8] and list(examples.sources) == [0, 1]
    assert "labels" not in make_examples(make_table(None), TOKENIZER, config, 8).columns


def test_batches_are_padded_at_the_end() -> None:
    columns = {
        "input_ids": [[2, 5, 3], [2, 3], [2, 5, 6, 3]],
        "attention_mask": [[1] * 3, [1] * 2, [1] * 4],
        "token_type_ids": [[0, 0, 1], [0, 0], [0, 0, 1, 1]],
        "labels": np.array([1, 0, 2]),
    }
    examples = Examples(columns, {"input_ids": 9}, [0, 0, 1])
    batch = examples.batch([1, 0])
    assert {name: array.tolist() for name, array in batch.items()} == {
        "input_ids": [[2, 3, 9], [2, 5, 3]],
        "attention_mask": [[1, 1, 0], [1, 1, 1]],
        "token_type_ids": [[0, 0, 0], [0, 0, 1]],
        "labels": [0, 1],
    }
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}
    ordered = list(examples.without({"labels"}).ordered(2))
    assert [batch["input_ids"].tolist() for batch in ordered] == [[[2, 5, 3], [2, 3, 9]], [[2, 5, 6, 3]]]
    assert len(examples) == 3 and not any("labels" in batch for batch in ordered)


@pytest.mark.parametrize(
    ("values", "filled"),
    [
        ([1, 2], [1, 2]),
        ([[1], [], [2, 3]], [[1, 9], [9, 9], [2, 3]]),
        ([[[1], [2, 3]], [[4, 5, 6], [7]]], [[[1, 9, 9], [2, 3, 9]], [[4, 5, 6], [7, 9, 9]]]),
        ([[[1]], [[2], [3]]], [[[1], [9]], [[2], [3]]]),
        ([0.5, 1], [0.5, 1.0]),
        ([[]], [[]]),
    ],
)
def test_padded(values: list[Any], filled: list[Any]) -> None:
    array = padded(values, 9)
    assert array.tolist() == filled
    assert array.dtype == (np.float64 if 0.5 in values else np.int64)


def test_choices_are_as_long_as_their_longest() -> None:
    assert Examples({"input_ids": [[[1], [1, 2, 3]], [[1, 2], [1]]]}, {}, [0, 1]).lengths == [3, 2]


def test_split_keeps_the_shares() -> None:
    table = make_table(["a"] * 60 + ["b"] * 30 + ["c"] * 10)
    train, held_out = split(table, 0.2, seed=3)
    assert Counter(held_out.labels) == {"a": 12, "b": 6, "c": 2}
    assert Counter(train.labels) == {"a": 48, "b": 24, "c": 8}
    assert sorted(train.texts + held_out.texts) == sorted(table.texts)
    row_of = {text: row for row, text in enumerate(table.texts)}
    for part in (train, held_out):
        rows = [row_of[text] for text in part.texts]
        assert rows == sorted(rows) and [table.labels[row] for row in rows] == part.labels
    assert split(table, 0.2, seed=3) == (train, held_out) != split(table, 0.2, seed=4)


def test_split_takes_pairs_along() -> None:
    table = make_table(["a", "b"] * 5, pairs=[f"pair {row}" for row in range(10)])
    for part in split(table, 0.4, seed=0):
        assert part.pairs == [f"pair {table.texts.index(text)}" for text in part.texts]


@pytest.mark.parametrize(("labels", "fraction"), [(["a", "a", "a", "b"], 0.5), (["a", "b"] * 10, 0.01)])
def test_split_refuses_what_is_too_small(labels: list[str], fraction: float) -> None:
    with pytest.raises(DataError, match=r"some\.csv: cannot be split.*--validation"):
        split(make_table(labels), fraction, seed=0)


@pytest.mark.parametrize(
    ("labels", "predictions", "accuracy", "f1"),
    [
        ([0, 1, 0, 1], [0, 1, 0, 1], 1.0, 1.0),
        ([0, 0, 0, 1], [0, 0, 0, 0], 0.75, (6 / 7 + 0) / 2),
        ([0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0], 4 / 6, (1 / 2 + 4 / 5 + 2 / 3) / 3),
        ([0, 0], [1, 1], 0.0, 0.0),
    ],
)
def test_metrics(labels: list[int], predictions: list[int], accuracy: float, f1: float) -> None:
    names = [[f"label {number}" for number in numbers] for numbers in (labels, predictions)]
    assert metrics(*names) == pytest.approx({"accuracy": accuracy, "F1 (macro)": f1})


def test_probabilities() -> None:
    logits = np.array([[0.0, np.log(3.0)], [1000.0, 1000.0]], np.float32)
    np.testing.assert_allclose(probabilities(logits), [[0.25, 0.75], [0.5, 0.5]], rtol=1e-6)
    assert probabilities(logits).dtype == np.float64


LOGITS = np.array([[2.0, -1.0, 0.0], [-1000.0, 1000.0, -0.1]], np.float32)
MULTI = "multi_label_classification"


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"num_labels": 3}, {"label": ["LABEL_0", "LABEL_1"], "probability": [0.8438, 1.0]}),
        (
            {"num_labels": 3, "problem_type": MULTI},
            {
                "labels": ["LABEL_0, LABEL_2", "LABEL_1"],
                "probability LABEL_0": [0.8808, 0.0],
                "probability LABEL_1": [0.2689, 1.0],
                "probability LABEL_2": [0.5, 0.475],
            },
        ),
        ({"num_labels": 1, "problem_type": MULTI}, {"labels": ["LABEL_0", ""], "probability LABEL_0": [0.8808, 0.0]}),
        ({"num_labels": 1}, {"score": [2.0, -1000.0]}),
        ({"num_labels": 1, "problem_type": "regression"}, {"score": [2.0, -1000.0]}),
        (
            {"id2label": {0: "a", 1: "b", 2: "c"}, "problem_type": "regression"},
            {"score a": [2.0, -1000.0], "score b": [-1.0, 1000.0], "score c": [0.0, -0.1]},
        ),
    ],
)
def test_predictions_follow_the_problem_type(config: dict[str, Any], found: dict[str, Any]) -> None:
    made = MobileBertConfig(**config)
    outputs = [{"logits": LOGITS[:1, : made.num_labels]}, {"logits": LOGITS[1:, : made.num_labels]}]
    assert predict(make_table(None), None, outputs, made) == found
    assert predict(make_table(["x", "y"]), None, outputs, made) == found
    if "label" not in found:
        with pytest.raises(DataError, match=r"some\.csv: metrics need labels, and a model that chooses"):
            evaluate(make_table(["x", "y"]), found)
    with pytest.raises(DataError, match="metrics need labels"):
        evaluate(make_table(None), {"label": ["x"]})


def test_scores_keep_six_digits() -> None:
    outputs = [{"logits": np.array([[1.23456789e-7], [123456.789], [-3e30]], np.float32)}]
    assert predict(make_table(None), None, outputs, MobileBertConfig(num_labels=1)) == {"score": [1.23457e-7, 123457.0, -3e30]}


def test_predictions_that_mean_nothing() -> None:
    one = MobileBertConfig(num_labels=1, problem_type="single_label_classification")
    with pytest.raises(ConfigError, match="only the label 'LABEL_0' to choose from"):
        predict(make_table(None), None, [{"logits": np.zeros((3, 1))}], one)
    for value in (np.nan, np.inf):
        with pytest.raises(DataError, match=r"some\.csv: the model's outputs are not finite for 1 texts, the first is number 2"):
            predict(make_table(None), None, [{"logits": np.array([[0, 1], [0, value]])}], MobileBertConfig())


def test_no_rows() -> None:
    with pytest.raises(DataError, match=r"some\.csv: has no rows"):
        make_examples(make_table(None, texts=[]), TOKENIZER, MobileBertConfig(), 8)


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


COLUMNS = {"text": ["좋다, ja", 'say "x"'], "probability": [0.5, 1.0]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'text,probability\n"좋다, ja",0.5\n"say ""x""",1.0\n'),
        ("a.tsv", 'text\tprobability\n좋다, ja\t0.5\nsay "x"\t1.0\n'),
        ("a.jsonl", '{"text":"좋다, ja","probability":0.5}\n{"text":"say \\"x\\"","probability":1.0}\n'),
    ],
)
def test_write_columns(name: str, text: str, tmp_path: Path) -> None:
    write_columns(tmp_path / name, COLUMNS)
    assert (tmp_path / name).read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [tmp_path / name]


# texts that break a file unless they are quoted or escaped, or that a reader takes for something else
TEXTS = [
    *("a\rb", "\ra", "a\r", "a\nb", "a\r\nb", "a\tb", "\ta", "a\t"),
    *("a\0b", "\0", "a\x85b", "\u2028a", "a\u2029", "\x0ba", "a\x0c", "a\x1cb", "\ufeffa", "\uffff", "\U0010ffff", "e\u0301"),
    *('"', '""', '"a', 'a"', 'a"b', '""a""', "'a'", ",", "a,", "\\", "\\n", "a\\", "#a", "=1", "{}", "[1]", "a;b", "😀", "좋다"),
    *("NA", "nan", "null", "None", "1", "1.0", "01", "1e5", "inf", "True", "2020-01-01", " a", "a ", "  a  ", "\u3000a", "x" * 200_000),
]


@pytest.mark.parametrize("first", ["text", "label"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_what_is_written_reads_back_equal(name: str, first: str, tmp_path: Path) -> None:
    texts = [text for text in TEXTS if name != "a.tsv" or not set(text) & set("\t\r\n")]
    columns: dict[str, list[Any]] = {"text": texts, "label": [f"l{row}" for row in range(len(texts))]}
    columns = {column: columns[column] for column in sorted(columns, key=first.__ne__)}
    columns["probability"] = [row / 16 for row in range(len(texts))]
    write_columns(tmp_path / name, columns)
    table = read_table(tmp_path / name, Columns())
    assert (table.texts, table.labels) == (texts, columns["label"])
    if name == "a.jsonl":
        frame = pandas.read_json(tmp_path / name, lines=True, dtype=False)
    else:
        how = {"sep": "\t", "quoting": csv.QUOTE_NONE} if name == "a.tsv" else {}
        frame = pandas.read_csv(tmp_path / name, keep_default_na=False, dtype={"text": str}, **how)
    assert frame.to_dict("list") == columns


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "a", r"must end in \.csv, \.tsv, \.jsonl"),
        *(("a.tsv", f"a{mark}b", "tabs or line breaks") for mark in "\t\n\r"),
    ],
)
def test_write_columns_refuses(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        write_columns(tmp_path / name, {"text": [text]})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_half_an_emoji_is_not_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="half an emoji"):
        write_columns(tmp_path / name, {"text": ["\ud83d"]})
    assert list(tmp_path.iterdir()) == []


def test_results_go_to_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\na\n")
    (tmp_path / "same.csv").symlink_to("a.csv")
    (tmp_path / "b.csv").mkdir()
    check_result_path(tmp_path / "c.csv", tmp_path / "a.csv")
    check_result_path(tmp_path / "a.csv", tmp_path / "c.csv")
    for name, message in (("a.csv", "is the data file itself"), ("same.csv", "is the data file itself"), ("b.csv", "is a folder")):
        with pytest.raises(DataError, match=message):
            check_result_path(tmp_path / name, tmp_path / "a.csv")

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.errors import DataError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tasks.classification import (
    label_names,
    label_numbers,
    make_examples,
    metrics,
    probabilities,
    split,
)
from mobilebert_common.tasks.examples import Examples, padded
from mobilebert_common.tasks.tables import Columns, Table, read_table, write_columns
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


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_what_is_written_can_be_read(name: str, tmp_path: Path) -> None:
    write_columns(tmp_path / name, COLUMNS)
    assert read_table(tmp_path / name, Columns(label=None)).texts == COLUMNS["text"]


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

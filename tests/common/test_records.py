"""Data from every source: files, frames, datasets, columns and rows; which columns are read, and which task is guessed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from mobilebert_common.errors import DataError
from mobilebert_common.tasks.records import read_records
from mobilebert_common.tasks.tables import Columns, Table, read_table
from mobilebert_common.tasks.task import TASKS, guess

ROWS = [{"text": "a", "label": 1, "id": "x"}, {"text": "b", "label": 0, "id": "y"}]


class Feature:
    """A ClassLabel of the library `datasets`."""

    names = ("bad", "good")

    def __init__(self) -> None:
        self.names = ["bad", "good"]

    def int2str(self, number: int) -> str:
        return self.names[number]


class Dataset:
    """What the library `datasets` has, as far as it is used."""

    column_names = ("text", "label", "id")

    def __init__(self) -> None:
        self.features = {"text": object(), "label": Feature(), "id": object()}

    def __getitem__(self, name: str) -> list[Any]:
        return {"text": ["a", "b"], "label": [1, 0], "id": ["x", "y"]}[name]


SOURCES: dict[str, Any] = {
    "rows": ROWS,
    "columns": {"text": ["a", "b"], "label": np.array([1, 0]), "id": ["x", "y"]},
    "frame": pandas.DataFrame(ROWS),
    "numbered frame": pandas.DataFrame(ROWS, index=[7, 7]),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_data_in_memory(kind: str) -> None:
    table = read_table(SOURCES[kind])
    assert (table.texts, table.labels) == (["a", "b"], ["1", "0"])
    assert table.kept() == {"text": ["a", "b"], "label": [1, 0], "id": ["x", "y"]}
    assert table.take([1]).kept() == {"text": ["b"], "label": [0], "id": ["y"]}


def test_the_names_of_a_dataset_s_classes() -> None:
    table = read_table(Dataset())
    assert (table.texts, table.labels) == (["a", "b"], ["good", "bad"])


def test_a_real_dataset() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])})
    dataset = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    assert read_table(dataset).labels == ["good", "bad"]
    unlabelled = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [-1, -1]}, features=features)
    with pytest.raises(DataError, match=r"the Dataset: column 'label' is empty or not text in row 1, 2$"):
        read_table(unlabelled)
    with pytest.raises(DataError, match="choose one of its splits, train, test"):
        read_table(datasets.DatasetDict({"train": dataset, "test": dataset}))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([], "the list: has no rows"),
        ({}, "the dict: has no rows"),
        ({"text": ["a"], "label": []}, "its columns differ in length"),
        ({"text": "ab", "label": "01"}, "its column 'text' is no list, but 'ab'"),
        ({"text": ["a"], "label": 1}, "its column 'label' is no list, but 1"),
        ({"text": ["a", ""], "label": [1, 0]}, "column 'text' is empty or not text in row 2"),
        (pandas.DataFrame({"text": ["a", None], "label": [1, 0]}), "column 'text' is empty or not text in row 2"),
        (pandas.DataFrame([["a", "b", 1]], columns=["text", "text", "label"]), "row 1 has duplicate columns: 'text'"),
        (7, "data must be a file, a DataFrame, a dataset, columns or rows, not 7"),
        (["a", "b"], "data must be a file"),
    ],
)
def test_data_in_memory_that_cannot_be_read(source: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(source)


def test_parquet(tmp_path: Path) -> None:
    pandas.DataFrame(ROWS).to_parquet(tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").labels == ["1", "0"]
    (tmp_path / "b.parquet").write_bytes(b"PAR1" + bytes(20))
    with pytest.raises(DataError, match=r"b\.parquet: cannot be read"):
        read_table(tmp_path / "b.parquet")


@pytest.mark.parametrize("content", ["a b\t1\nc\t0\n", "text\tlabel\na b\t1\nc\t0\n"])
def test_a_file_without_a_header(content: str, tmp_path: Path) -> None:
    """The names are for a file that has none of its own."""
    (tmp_path / "a.tsv").write_text(content)
    table = read_table(tmp_path / "a.tsv", Columns(header=("text", "label")))
    assert (table.texts, table.labels) == (["a b", "c"], ["1", "0"])
    (tmp_path / "b.tsv").write_text("a\tb\tc\n")
    with pytest.raises(DataError, match=r"b\.tsv: line 1 has 3 cells, but the header has 2"):
        read_table(tmp_path / "b.tsv", Columns(header=("text", "label")))


# names of columns, what is asked for, and what is read
RESOLVED: list[tuple[str, Columns, Columns]] = [
    ("text label", Columns(), Columns("text", (), "label")),
    ("text text_pair label", Columns(), Columns("text", "text_pair", "label")),
    ("sentence label", Columns(), Columns("sentence", (), "label")),
    ("index sentence1 sentence2 label", Columns(), Columns("sentence1", "sentence2", "label")),
    ("index sentence1 sentence2 score", Columns(), Columns("sentence1", "sentence2", "score")),
    ("premise hypothesis label", Columns(), Columns("premise", "hypothesis", "label")),
    ("question sentence label", Columns(), Columns("question", "sentence", "label")),
    ("id question1 question2 is_duplicate", Columns(), Columns("question1", "question2", "is_duplicate")),
    ("Quality #1_ID #1_String", Columns(text="#1_String"), Columns("#1_String", (), "Quality")),
    ("sentence1 sentence2 label", Columns(text="sentence1"), Columns("sentence1", "sentence2", "label")),
    ("sentence1 sentence2 label", Columns(text="sentence2"), Columns("sentence2", (), "label")),
    ("sentence1 sentence2 label", Columns(text="sentence1", text_pair=()), Columns("sentence1", (), "label")),
    ("text sentence1 sentence2 label", Columns(), Columns("text", (), "label")),
    ("text other label", Columns(text_pair="other"), Columns("text", "other", "label")),
    ("sentence1 sentence2 label", Columns(text_pair="sentence1"), Columns("text", "sentence1", "label")),
]


@pytest.mark.parametrize(("names", "asked", "found"), RESOLVED)
def test_the_columns_that_are_read(names: str, asked: Columns, found: Columns) -> None:
    row = {name: "1" for name in names.split()}
    if found.text not in row:
        with pytest.raises(DataError, match="has no column 'text'"):
            read_table([row], asked)
        return
    assert read_table([row], asked).columns == found


def labelled(*labels: Any, name: str = "label") -> list[dict[str, Any]]:
    return [{"text": "a", name: label} for label in labels]


@pytest.mark.parametrize(
    ("rows", "label", "task"),
    [
        (labelled("x", "y"), None, "classification"),
        (labelled("0", "1"), None, "classification"),
        (labelled(0.0, 1.0), None, "classification"),
        (labelled("5.000", "3.800"), None, "regression"),
        (labelled(0.5, 2, name="score"), None, "regression"),
        (labelled("0.5", "x"), None, "classification"),
        (labelled(["x"], [], ["y", "x"]), None, "multi-label"),
        ([{"text": "a", "rude": 0, "kind": "1"}], ("rude", "kind"), "multi-label"),
        ([{"text": "a", "joy": 0.5, "fear": 1}], ("joy", "fear"), "regression"),
    ],
)
def test_the_task_is_guessed(rows: Any, label: Any, task: str) -> None:
    assert guess(rows, Columns(label=label))[0] == task


def read(task: str, rows: Any, label: Any = None) -> Table:
    return TASKS[task].read(rows, Columns(label=label))  # type: ignore[no-any-return]


RUDE_AND_KIND = [{"text": "a", "rude": 0, "kind": "1"}, {"text": "b", "rude": True, "kind": 1.0}]


@pytest.mark.parametrize(
    ("rows", "label", "labels"),
    [
        (labelled(["x"], [], ["y", "x", "y"]), None, [("x",), (), ("y", "x")]),
        (labelled("x", "", "y, x", "y;x", "y|x"), None, [("x",), (), ("y", "x"), ("y", "x"), ("y", "x")]),
        (labelled('["x", "y, z"]', "[]"), None, [("x", "y, z"), ()]),
        (labelled([1, 2.0], [2]), None, [("1", "2"), ("2",)]),
        (labelled(None, "x"), None, [(), ("x",)]),
        (RUDE_AND_KIND, ("rude", "kind"), [("kind",), ("rude", "kind")]),
    ],
)
def test_several_labels(rows: Any, label: Any, labels: list[Any]) -> None:
    assert read("multi-label", rows, label).labels == labels


@pytest.mark.parametrize(
    ("task", "rows", "label", "message"),
    [
        ("multi-label", labelled({"x": 1}), None, "column 'label' is no list of labels in row 1"),
        ("multi-label", labelled("[x"), None, "column 'label' is no list of labels in row 1"),
        ("multi-label", labelled(["x", ""]), None, "column 'label' is no list of labels in row 1"),
        ("multi-label", [{"text": "a", "rude": 2, "kind": "1"}], ("rude", "kind"), "column 'rude' is neither 0 nor 1 in row 1"),
        ("multi-label", [{"text": "a", "rude": 1, "kind": ""}], ("rude", "kind"), "column 'kind' is neither 0 nor 1 in row 1"),
        ("regression", labelled("1.5", "high", ""), None, "column 'label' is not a number in row 2, 3"),
        ("regression", labelled("1_000", "nan", "inf", True), None, "column 'label' is not a number in row 1, 2, 3, 4"),
        ("classification", labelled("a", "b"), ("label", "text"), "one column of labels is needed, not 2: 'label', 'text'"),
        ("classification", labelled("a", ["b"]), None, "column 'label' is empty or not text in row 2"),
    ],
)
def test_labels_of_the_wrong_kind(task: str, rows: Any, label: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(task, rows, label)


def test_numbers() -> None:
    assert read("regression", labelled("5.000", "-1e-2", 3, "0")).labels == [(5.0,), (-0.01,), (3.0,), (0.0,)]
    rows = [{"text": "a", "joy": 0.5, "fear": 1}]
    assert read("regression", rows, ("joy", "fear")).labels == [(0.5, 1.0)]


def test_records_read_once() -> None:
    name, records = guess(labelled("x", "y"), Columns())
    assert read_records(records) is records and read(name, records).labels == ["x", "y"]

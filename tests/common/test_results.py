import csv
import logging
from pathlib import Path
from typing import Any

import pandas
import pytest

from mobilebert_common.errors import DataError
from mobilebert_common.tasks.results import check_result_path, write_columns
from mobilebert_common.tasks.tables import Columns, read_table

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
    table = read_table(tmp_path / name)
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
        ("a.txt", "a", r"must end in \.csv, \.tsv, \.jsonl, \.parquet"),
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


def test_parquet_reads_back_equal(tmp_path: Path) -> None:
    columns = {"text": ["a\tb", "좋다", ""], "probability": [0.5, 1.0, 0.25], "mixed": [1, "x", None], "lists": [["a"], [], ["b", "c"]]}
    write_columns(tmp_path / "a.parquet", columns)
    assert pandas.read_parquet(tmp_path / "a.parquet")["text"].tolist() == columns["text"]
    table = read_table(tmp_path / "a.parquet", Columns(text="probability"), labelled=False)
    assert table.texts == ["0.5", "1", "0.25"] and table.kept() == {**columns, "mixed": ["1", "x", "None"]}


def test_lists_in_cells(tmp_path: Path) -> None:
    write_columns(tmp_path / "a.tsv", {"text": ["a"], "labels": [["x", "y, z"]]})
    assert (tmp_path / "a.tsv").read_text() == 'text\tlabels\na\t["x", "y, z"]\n'


def test_the_encoding_that_was_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_columns(tmp_path / "a.csv", {"text": ["좋다"]}, "cp949")
    assert (tmp_path / "a.csv").read_bytes() == "text\n좋다\n".encode("cp949")
    write_columns(tmp_path / "b.csv", {"text": ["a"]}, "utf-8-sig")
    assert (tmp_path / "b.csv").read_bytes() == b"\xef\xbb\xbftext\na\n"
    with caplog.at_level(logging.WARNING):
        write_columns(tmp_path / "c.csv", {"text": ["좋다", "é"]}, "cp949")
    assert (tmp_path / "c.csv").read_text(encoding="utf-8") == "text\n좋다\né\n"
    assert "is written in UTF-8: cp949 does not have 'é'" in caplog.text

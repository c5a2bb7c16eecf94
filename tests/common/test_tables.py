import csv
import os
from pathlib import Path
from typing import Any

import pytest

from mobilebert_common.errors import DataError
from mobilebert_common.tasks.tables import Columns, read_table

GOOD: list[tuple[str, str, list[str], list[str] | None]] = [
    ("a.csv", 'text,label\n"a, ""b""",1\nc,2\n', ['a, "b"', "c"], ["1", "2"]),
    ("a.csv", 'text,label\n"two\nlines",1\n', ["two\nlines"], ["1"]),
    ("a.csv", 'text,label\r\n"two\r\nlines",1\r\n', ["two\r\nlines"], ["1"]),
    ("a.csv", "label,other,text\n1,x,a\n", ["a"], ["1"]),
    ("a.csv", "text,label\nNA,null\n01,1.0\n", ["NA", "01"], ["null", "1.0"]),
    ("a.csv", "text,label\na,1\n\n\nb,2", ["a", "b"], ["1", "2"]),
    ("A.CSV", "text,label\na,1\n", ["a"], ["1"]),
    ("a.tsv", 'text\tlabel\n"open\t1\nend"\t0\n', ['"open', 'end"'], ["1", "0"]),
    ("a.tsv", 'sentence\tlabel\na, "b"\\n\t1\n', ['a, "b"\\n'], ["1"]),
    ("a.tsv", "text\tsentence\tlabel\na\tb\t1\n", ["a"], ["1"]),
    ("a.jsonl", '{"label": "x", "text": "a"}\n\n{"text": "b", "label": "y"}', ["a", "b"], ["x", "y"]),
    ("a.jsonl", '{"text": "12", "label": 1}\n{"text": 3, "label": 1.0}\n', ["12", "3"], ["1", "1"]),
    ("a.jsonl", '{"text": "2020-01-01", "label": true}\n', ["2020-01-01"], ["True"]),
    ("a.csv", "text,label,,\na,1,x,y\n", ["a"], ["1"]),
    ("a.csv", ",text,note,label,note,\n0,a,x,1,y,\n1,b,,2,,\n", ["a", "b"], ["1", "2"]),
    ("a.tsv", "\ttext\tlabel\t\n\ta\t1\t\n", ["a"], ["1"]),
    ("a.jsonl", '{"x": 1, "text": "a", "x": "\\ud83d", "label": 1, "": [{}, {"text": 1}]}', ["a"], ["1"]),
    ("a.jsonl", '{"text": "a", "label": 1, "x": ' + "9" * 5000 + ', "y": NaN, "z": 1e999}', ["a"], ["1"]),
    ("a.jsonl", '{"text": "\\ud83d\\ude00", "label": "\\u0000"}', ["😀"], ["\0"]),
    ("a.csv", "text,label\n" + "x" * 200_000 + ",1\n", ["x" * 200_000], ["1"]),
    ("a.csv", 'text,label,note\na,1,"' + "x\n" * 100_000 + '"\n', ["a"], ["1"]),
    ("a.tsv", "text\tlabel\n" + "x" * 200_000 + "\t1\n", ["x" * 200_000], ["1"]),
    ("a.csv", "text,label\na\x00b\x85\u2028c,1\n", ["a\x00b\x85\u2028c"], ["1"]),
    ("a.csv", "text,label\n a ,x \n", [" a "], ["x "]),
    ("a.jsonl", '{"text": "a", "label": 123456789012345678901}\n', ["a"], ["123456789012345678901"]),
]

BAD: list[tuple[str, str | bytes, str]] = [
    ("a.csv", "", "is empty"),
    ("a.jsonl", "\n\n", "is empty"),
    ("a.csv", "text,label\n", "has no rows"),
    ("a.csv", "txt,label\na,1\n", "has no column 'text'; its columns are 'txt', 'label'"),
    ("a.tsv", "text,label\na,1\n", "has no column 'text', 'label'; its columns are 'text,label'"),
    ("a.jsonl", '{"text": "a"}\n', "has no column 'label'; its columns are 'text'"),
    ("a.csv", "text,label,text\na,1,b\n", "duplicate columns: 'text'"),
    ("a.csv", 'text,label\n"a\nb",1\n ,2\n', "column 'text' is empty or not text in line 4"),
    ("a.tsv", "text\tlabel\n\na\t1\nb\t\n", "column 'label' is empty or not text in line 4"),
    ("a.tsv", "text\tlabel\n" + "\t1\n" * 9, "in line 2, 3, 4, 5, 6 and 4 more"),
    ("a.jsonl", '{"text": "a", "label": 1}\n\n{"text": "b"}\n', "column 'label' is empty or not text in line 3"),
    ("a.jsonl", '{"text": ["a"], "label": 1}\n', "column 'text' is empty or not text in line 1"),
    ("a.jsonl", '{"text": null, "label": 1}\n', "column 'text' is empty"),
    ("a.jsonl", '{"text": "a", "label": NaN}\n', "column 'label' is empty"),
    ("a.jsonl", '{"text": "a", "label": 1}\n{bad\n', "line 2: cannot be parsed"),
    ("a.jsonl", "[1]\n", "line 1 is not a JSON object"),
    ("a.jsonl", '{"text": ' + "[" * 100_000, "line 1: cannot be parsed"),
    ("a.tsv", "text\tlabel\na\t1\nb\n", "line 3 has 1 cell, but the header has 2"),
    ("a.tsv", "text\tlabel\na\t1\textra\nb\t1\textra\n", "line 2 has 3 cells, but the header has 2"),
    ("a.csv", 'text,label\n"a\nb",1\nc,1,\n', "line 4 has 3 cells, but the header has 2"),
    ("a.csv", 'text,label\n"a\n\nb",1,\n', "line 2 has 3 cells"),
    ("a.csv", 'text,label\n"a,1\n', "line 2: cannot be parsed"),
    ("a.csv", 'text,label\n"a"b,1\n', "line 2: cannot be parsed"),
    ("a.csv", '"text",label\n"' + "x" * 200_000, "line 2: cannot be parsed"),
    ("a.csv", "text,label,label\na,1,1\n", "line 1 has duplicate columns: 'label'"),
    ("a.csv", "\ntext,label,label\na,1,1\n", "line 2 has duplicate columns: 'label'"),
    ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "a", "label": 1, "text": "b"}', "line 2 has duplicate columns: 'text'"),
    ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "\\ud83d", "label": 1}', "'text' has half an emoji .* in line 2$"),
    ("a.jsonl", '{"text": "a", "label": "\\udE00 "}', "'label' has half an emoji .* in line 1$"),
    ("a.jsonl", '{"text": {"a": 1}, "label": 1}', "column 'text' is empty or not text in line 1"),
    ("a.jsonl", '{"text": "a", "label": []}', "column 'label' is empty or not text in line 1"),
    ("a.jsonl", '{"text": "a", "label": 1e999}', "column 'label' is empty or not text in line 1"),
    ("a.csv", "text,label\na,1\nb,1.0\n", "column 'label' has '1' and '1.0': write one label in one way"),
    ("a.csv", "text,label\na,true\nb,TRUE\n", "column 'label' has 'true' and 'TRUE'"),
    ("a.tsv", "text\tlabel\na\tgood\nb\tgood \n", "column 'label' has 'good' and 'good '"),
    ("a.jsonl", '{"text": "a", "label": true}\n{"text": "a", "label": "true"}', "column 'label' has 'True' and 'true'"),
    ("a.csv", b"text,label\na,1\r\n\xed\xa0\xbd,1\n", "line 3 is not utf-8-sig"),
    ("a.csv", b"text,label\ra,1\r\xff,1\r", "line 3 is not utf-8-sig"),
    ("a.jsonl", "text".encode("utf-16"), "line 1 is not utf-8-sig: .*--encoding utf-16"),
    ("a.csv", "text,label\n좋다,1\n".encode("cp949"), "is not utf-8-sig.*--encoding cp949"),
    ("a.jsonl", "é".encode("latin-1"), "is not utf-8-sig"),
    ("a.txt", "text\na\n", r"must end in \.csv, \.tsv, \.jsonl.*--task tokens.*mobilebert pretrain"),
    ("a", "text\na\n", "must end in"),
]


def read(folder: Path, name: str, data: str | bytes, columns: Columns | None = None, **options: Any) -> Any:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_table(path, columns or Columns(), **options)


@pytest.mark.parametrize(("name", "data", "texts", "labels"), GOOD)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_good_files(name: str, data: str, texts: list[str], labels: list[str], mark: str, tmp_path: Path) -> None:
    table = read(tmp_path, name, mark + data)
    assert (table.path, table.texts, table.pairs, table.labels) == (tmp_path / name, texts, None, labels)


@pytest.mark.parametrize(("name", "data", "message"), BAD, ids=[f"{n} {m[:30]}" for n, _, m in BAD])
def test_bad_files(name: str, data: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path, name, data)
    assert str(error.value).startswith(f"{tmp_path / name}: ")


def test_columns(tmp_path: Path) -> None:
    data = "q1,q2,same\na,b,yes\n"
    table = read(tmp_path, "a.csv", data, Columns(text="q1", text_pair="q2", label="same"))
    assert (table.texts, table.pairs, table.labels) == (["a"], ["b"], ["yes"])
    assert read_table(tmp_path / "a.csv", Columns(text="q2"), labelled=False).labels is None
    assert table.columns == Columns(text="q1", text_pair="q2", label="same")
    for columns in (Columns(text="q3"), Columns(text="q1", text_pair="q3", label="same"), Columns(text="q1", label="q3")):
        with pytest.raises(DataError, match=r"has no column 'q3'.*; its columns are 'q1', 'q2', 'same'"):
            read(tmp_path, "a.csv", data, columns)


def test_cells_of_other_columns_may_be_empty(tmp_path: Path) -> None:
    assert read(tmp_path, "a.csv", "text,note,label\na,,1\n").texts == ["a"]


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "euc-kr", "utf-32-le"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_encodings(encoding: str, name: str, tmp_path: Path) -> None:
    text = "text,label\n좋다,1\n" if name == "a.csv" else '{"text": "좋다", "label": 1}'
    assert read(tmp_path, name, text.encode(encoding), encoding=encoding).texts == ["좋다"]


@pytest.mark.parametrize("encoding", ["nope", "", "hex", "a\0b"])
def test_unknown_encodings(encoding: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a text encoding"):
        read(tmp_path, "a.csv", "text,label\na,1\n", encoding=encoding)


# columns of labels, as a .csv or .tsv writes them and as a .jsonl does, and what they are
LABELS = [
    (["1", "0"], ["1", "0"], ["1", "0"]),
    (["1", "0"], ['"1"', '"0"'], ["1", "0"]),
    (["1.0", "0.0"], ["1.0", "0.0"], ["1", "0"]),
    (["1.0", "0.0"], ["1", "0"], ["1", "0"]),
    (["1.00", "2.5"], ["1.0", "2.5"], ["1", "2.5"]),
    (["-1", "-2.0"], ["-1", "-2.0"], ["-1", "-2"]),
    (["01", "1"], ['"01"', '"1"'], ["01", "1"]),
    (["1" + "0" * 30, "0"], ["1" + "0" * 30, "0"], ["1" + "0" * 30, "0"]),
    (["True", "False"], ["true", "false"], ["True", "False"]),
    (["true", "false"], ["true", "false"], ["True", "False"]),
    (["TRUE", "FALSE"], ['"TRUE"', '"FALSE"'], ["True", "False"]),
    (["true", "mixed"], ['"true"', '"mixed"'], ["true", "mixed"]),
    (["1.0", "one"], ['"1.0"', '"one"'], ["1.0", "one"]),
    (["NA", "nan"], ['"NA"', '"nan"'], ["NA", "nan"]),
]


@pytest.mark.parametrize(("separated", "objects", "labels"), LABELS)
def test_formats_agree_on_labels(separated: list[str], objects: list[str], labels: list[str], tmp_path: Path) -> None:
    files = {
        "a.csv": "text,label\n" + "".join(f"a,{label}\n" for label in separated),
        "a.tsv": "text\tlabel\n" + "".join(f"a\t{label}\n" for label in separated),
        "a.jsonl": "".join(f'{{"text": "a", "label": {label}}}\n' for label in objects),
    }
    for name, data in files.items():
        assert read(tmp_path, name, data).labels == labels


def test_the_limit_of_other_readers_stays(tmp_path: Path) -> None:
    kept = csv.field_size_limit(1000)
    try:
        assert read(tmp_path, "a.csv", "text,label\n" + "x" * 200_000 + ",1\n").labels == ["1"]
        with pytest.raises(DataError):
            read(tmp_path, "a.csv", 'text,label\n"' + "x" * 200_000)
        assert csv.field_size_limit() == 1000
    finally:
        csv.field_size_limit(kept)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "b.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "null.tsv").symlink_to("/dev/null")
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    names = ("absent.csv", "b.csv", "pipe.jsonl", "null.tsv", "loop.csv", "a\0.csv", "\udcff.csv", f"{'x' * 300}.csv")
    for path in (tmp_path / name for name in names):
        with pytest.raises(DataError, match="cannot be read"):
            read_table(path, Columns())

"""Prediction in windows, sorted by length, with a twin whose outputs for a row depend on that row alone: no framework is needed."""

import csv
import json
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from mobilebert_common.cli import learning, main
from mobilebert_common.errors import CheckpointError, ConfigError, DataError
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.tasks.results import write_parts
from mobilebert_common.tasks.task import TASKS
from mobilebert_common.training import predictor
from mobilebert_common.training.predictor import Predictor, by_length
from support.predicting import Twin, make_checkpoint, make_row

COUNT = 30


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for task in TASKS:
        make_checkpoint(folder / task, task)
    return folder


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> Twin:
    made = Twin()
    monkeypatch.setattr(predictor, "twin", lambda framework: made)
    monkeypatch.setattr(learning, "open_twin", lambda framework: made)
    monkeypatch.setattr(predictor, "WINDOW", 7)
    return made


@pytest.fixture
def run(twin: Twin, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Run `mobilebert predict`; returns what it printed."""

    def call(*arguments: object, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["mobilebert", "predict", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main.main()
        printed = capsys.readouterr()
        assert int(end.value.code or 0) == status, printed.err
        return printed.out + printed.err

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(main, "ENVIRONMENT", {})
        yield call


def opened(models: Path, folder: str, **options: Any) -> Predictor:
    made = Predictor(models / folder, **{"task": folder, **options})
    made.framework = "pt"
    return made


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[row.get(name, "") for name in names] for row in rows]
    if path.suffix == ".parquet":
        columns = {name: [row[place] for row in cells] for place, name in enumerate(names)}
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return
    with open(path, "w", newline="") as file:
        tsv = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}
        writer = csv.writer(file, **(tsv if path.suffix == ".tsv" else {}))
        lists = [[json.dumps(cell) if isinstance(cell, list) else cell for cell in row] for row in cells]
        writer.writerows([names, *lists])


def content(path: Path) -> Any:
    if path.suffix != ".parquet":
        return path.read_bytes()
    table = pyarrow.parquet.read_table(path)
    return table.schema, table.to_pydict()


@pytest.mark.parametrize("task", TASKS)
def test_files_in_windows_give_what_whole_files_give(
    task: str, models: Path, tmp_path: Path, run: Any, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [make_row(task, number) for number in range(COUNT)]
    if task == "choices":  # a window where no question has two choices, and one with more than the others
        rows[7:14] = [{**row, "choices": row["choices"][:1]} for row in rows[7:14]]
        rows[20]["choices"] += ["so"] * 3
    for source, target in ((".jsonl", ".csv"), (".csv", ".jsonl"), (".tsv", ".parquet"), (".parquet", ".tsv"), (".jsonl", ".parquet")):
        file, outputs = tmp_path / f"in{source}", [tmp_path / f"{name}{target}" for name in ("whole", "windows")]
        write_rows(file, rows)
        printed = []
        for size, output in zip((1000, 7), outputs, strict=True):
            monkeypatch.setattr(predictor, "WINDOW", size)
            twin.batches.clear()
            printed.append(run(models / task, "--task", task, "--file", file, "--output", output, "--all"))
            assert len(twin.batches) < 4 if size == 1000 else len(twin.batches) >= 4
        assert content(outputs[0]) == content(outputs[1])
        assert len(printed[0].splitlines()) == len(printed[1].splitlines())
    assert run(models / task, "--task", task, "--file", file).count("\n") >= COUNT
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


@pytest.mark.parametrize("task", TASKS)
def test_a_stream_gives_what_a_call_gives(task: str, models: Path, twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{name: value for name, value in make_row(task, number).items() if name != "rare"} for number in range(COUNT)]
    made = opened(models, task, batch_size=3)
    whole = made(rows)
    parts = [*made.stream(iter(rows))]
    assert [len(part["prediction" if "prediction" in part else "prediction joy"]) for part in parts] == [7, 7, 7, 7, 2]
    for name in whole:
        assert [cell for part in parts for cell in part[name]] == list(whole[name])
    assert len({str(cell) for cell in whole["prediction" if "prediction" in whole else "prediction joy"]}) > 1
    assert whole["number"] == list(range(COUNT))


def test_texts_stream_and_keep_their_order(models: Path, twin: Twin) -> None:
    texts = ["so " * (number * 5 % 9 + 1) for number in range(20)]
    made = opened(models, "classification", batch_size=4)
    found = made(texts)
    assert found["text"] == texts and sum(batch["input_ids"].size for batch in twin.batches) < 20 * 11 * 0.8
    assert found["prediction"] == [made([text])["prediction"][0] for text in texts] and len(set(found["prediction"])) == 3
    assert [text for part in made.stream(text for text in texts) for text in part["text"]] == texts
    for wrong in (5, {"text": texts}):
        with pytest.raises(DataError, match="a stream is a file, or an iterable"):
            [*made.stream(wrong)]


def test_the_first_rows_of_a_stream_decide_which_columns_count(models: Path, twin: Twin) -> None:
    rows = [{"text": "so", "text_pair": "fine"}] * 7 + [{"text": "so"}] * 7
    with pytest.raises(DataError, match="has no column 'text_pair'"):
        [*opened(models, "classification").stream(rows)]


def test_batches_are_sorted_within_a_pool() -> None:
    draw = np.random.default_rng(0)
    ids = [[1] * int(length) for length in draw.integers(1, 30, 50)]
    examples = Examples({"input_ids": ids, "number": [*range(50)]}, {}, range(50))
    shapes: list[tuple[int, ...]] = []

    def infer(batches: Any) -> Any:
        for batch in batches:
            shapes.append(batch["input_ids"].shape)
            assert (batch["input_ids"].sum(axis=1) == batch["input_ids"].shape[1]).any()  # no row is padded in vain
            yield {"number": batch["number"], "length": batch["input_ids"].sum(axis=1)}

    outputs = [*by_length(examples, 4, 20, infer)]
    assert [int(output["number"][0]) for output in outputs] == [*range(50)]
    assert [int(output["length"][0]) for output in outputs] == [*map(len, ids)]
    assert [count for count, _ in shapes] == [4] * 12 + [2]
    widths = [width for _, width in shapes]
    assert all(widths[first : first + 5] == sorted(widths[first : first + 5]) for first in (0, 5, 10))


FAULTS = {
    ".csv": ("text\n" + "so\n" * 20 + " \n", "column 'text' is empty or not text in line 22"),
    ".tsv": ("text\n" + "so\n" * 20 + "a\tb\n", "line 22 has 2 cells, but the header has 1"),
    ".jsonl": ('{"text": "so"}\n' * 20 + "{\n", "line 21: cannot be parsed"),
}


@pytest.mark.parametrize("suffix", FAULTS)
def test_the_last_line_is_checked_before_the_model_runs(suffix: str, models: Path, tmp_path: Path, run: Any, twin: Twin) -> None:
    text, message = FAULTS[suffix]
    file, output = tmp_path / f"in{suffix}", tmp_path / "out.csv"
    file.write_text(text)
    output.write_text("old")
    assert f"error: {file}: {message}" in run(models / "classification", "--file", file, "--output", output, status=1)
    assert twin.batches == [] and output.read_text() == "old" and len([*tmp_path.iterdir()]) == 2
    with pytest.raises(DataError, match=message):
        next(opened(models, "classification").stream(file))


def test_cells_that_the_output_cannot_hold_are_found_before_the_model_runs(models: Path, tmp_path: Path, run: Any, twin: Twin) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "so"}\n' * 20 + '{"text": "so\\tfine"}\n')
    printed = run(models / "classification", "--file", tmp_path / "in.jsonl", "--output", tmp_path / "out.tsv", status=1)
    assert "a .tsv cannot hold texts with tabs" in printed and twin.batches == []


def test_what_only_several_windows_show(models: Path, tmp_path: Path, run: Any, twin: Twin) -> None:
    rows = [make_row("answers", number) for number in range(COUNT)]
    rows[25]["id"] = "q2"
    write_rows(tmp_path / "a.jsonl", rows)
    assert "column 'id' repeats the id of another row in line 26" in run(models / "answers", "--file", tmp_path / "a.jsonl", status=1)
    lonely = [{"question": "so", "choices": ["fine"]}] * COUNT
    write_rows(tmp_path / "b.jsonl", lonely)
    assert "no question has two choices in 'choices'" in run(models / "choices", "--file", tmp_path / "b.jsonl", status=1)
    twice = '{"text": "so", "a": 1, "a": 2}\n' + '{"text": "so", "a": 1}\n' * 20
    (tmp_path / "c.jsonl").write_text(twice)
    run(models / "classification", "--file", tmp_path / "c.jsonl", "--output", tmp_path / "c.csv")
    assert (tmp_path / "c.csv").read_text().startswith("text,prediction,probability\n")  # which 'a' would be meant?


def test_what_is_left_out_is_counted_over_all_windows(models: Path, tmp_path: Path, run: Any) -> None:
    (tmp_path / "a.csv").write_text("text\n" + ("so " * 30 + "\nso\n") * 10)
    printed = run(models / "classification", "--file", tmp_path / "a.csv", "--output", tmp_path / "out.csv")
    assert printed == "10 examples cut: longer than 24 tokens\n"
    write_rows(tmp_path / "b.jsonl", [make_row("choices", number) for number in range(COUNT)])
    printed = run(models / "choices", "--file", tmp_path / "b.jsonl", "--output", tmp_path / "out.csv")
    assert printed == "8 examples dropped: fewer than two choices (line 1, 5, and later ones)\n"


def test_a_file_that_changes_meanwhile(models: Path, tmp_path: Path, twin: Twin) -> None:
    (tmp_path / "a.csv").write_text("text\n" + "so\n" * 20)
    stream = opened(models, "classification").stream(tmp_path / "a.csv")
    next(stream)
    with open(tmp_path / "a.csv", "a") as file:
        file.write("so\n")
    with pytest.raises(DataError, match="changed while it was read: it had 20 rows, and then 21"):
        list(stream)


def test_results_are_in_the_encoding_of_the_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for text, encoding in (("좋다", "cp949"), ("좋다", "utf-16"), ("é", "utf-8-sig"), ("☃", "cp1252")):
        write_parts(tmp_path / "a.csv", [{"text": ["a"]}, {"text": [text]}], encoding)
        kept = "utf-8" if text == "☃" else encoding
        assert (tmp_path / "a.csv").read_bytes() == f"text\na\n{text}\n".encode(kept)
    assert [record.message[-44:] for record in caplog.records] == ["is written in UTF-8: cp1252 does not have '☃'"[-44:]]
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_memory_does_not_grow_with_the_file(models: Path, tmp_path: Path, twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "WINDOW", 64)
    made, peaks = opened(models, "classification"), []
    _ = made.opened
    for count in (100, 500, 2000):  # the first fills caches
        (tmp_path / "a.jsonl").write_text("".join(f'{{"text": "so fine {number}"}}\n' for number in range(count)))
        tracemalloc.start()
        parts = ({"text": part["text"], "prediction": part["prediction"]} for part in forgetful(made.stream(tmp_path / "a.jsonl"), twin))
        write_parts(tmp_path / "out.parquet", parts)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.1 * peaks[1], peaks
    assert pyarrow.parquet.read_metadata(tmp_path / "out.parquet").num_rows == 2000


def forgetful(parts: Any, twin: Twin) -> Any:
    for part in parts:
        twin.batches.clear()
        yield part


KILLED = """
import os, signal, sys
from pathlib import Path
from mobilebert_common.tasks.results import write_parts
def parts():
    yield {"a": ["new"] * 100_000}
    os.kill(os.getpid(), signal.SIGKILL)
write_parts(Path(sys.argv[1]), parts())
"""


def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    output.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(output)], check=False)
    assert done.returncode == -signal.SIGKILL and output.read_text() == "old"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number from 1, not 0"),
        ({"threads": True}, "threads must be a whole number from 1, not True"),
        ({"threads": 1.0}, "threads must be a whole number from 1"),
        ({"fold": False, "quantize": "int8"}, "dtype and quantize are for folded models"),
        ({"task": "tags"}, "task must be one of classification, .*, not 'tags'"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], message: str, models: Path, twin: Twin) -> None:
    with pytest.raises((ConfigError, CheckpointError), match=message):
        _ = opened(models, "classification", **options).opened


def test_the_outputs_of_hidden_states_are_not_asked_for(models: Path, twin: Twin) -> None:
    config = opened(models, "classification").opened.model.config
    assert config.output_hidden_states is False and config.output_attentions is False
    with pytest.raises(TypeError, match="there is no argument colour"):
        opened(models, "classification")(["so"], colour="red")


@pytest.mark.parametrize("task", ["classification", "tokens", "masked-lm", "choices", "answers"])
def test_outputs_that_are_not_finite_in_a_later_window(
    task: str, models: Path, tmp_path: Path, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "a.jsonl", [make_row(task, number) for number in range(20)])
    given = opened(models, task)
    stream, infer = given.stream(tmp_path / "a.jsonl"), twin.infer
    next(stream)

    def broken(model: Any, batches: Any) -> Any:
        yield from ({name: np.full_like(array, np.nan) for name, array in output.items()} for output in infer(model, batches))

    monkeypatch.setattr(twin, "infer", broken)
    with pytest.raises(DataError, match=r"outputs are not finite for .*\b8$"):
        next(stream)

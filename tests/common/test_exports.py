"""Exports with a runtime that only pretends: what is checked before the work, the folder as a whole, the report, and what is refused."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mobilebert_common.cli import exports as command
from mobilebert_common.cli import main
from mobilebert_common.errors import CheckpointError, ConfigError, DataError, InputError
from mobilebert_common.exports import export as module
from mobilebert_common.exports.export import export
from mobilebert_common.files.whole import new_folder
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.optional import install
from mobilebert_common.runtimes import artefact as artefacts
from mobilebert_common.runtimes.artefact import Artefact
from mobilebert_common.runtimes.signature import SIGNATURE_FILE, Signature
from mobilebert_common.runtimes.targets import OUTPUTS, TARGETS
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_common.training.predictor import Predictor
from support.predicting import VOCABULARY, Model, Twin, make_checkpoint, make_row, make_text

TARGET = TARGETS["litert"]._replace(writer="pretended", libraries=("numpy",))


class Door(Twin):
    """A twin that counts how often a model is opened."""

    loaded = 0

    def load(self, *args: Any, **kwargs: Any) -> Model:
        self.loaded += 1
        return super().load(*args, **kwargs)


def write(
    model: Model,
    signature: Signature,
    folder: Path,
    calibration: Sequence[Any] = (),
    tokens: Sequence[str] = (),
    noise: float = 0.0,
) -> None:
    (folder / signature.file).write_text(json.dumps({"noise": noise, "calibration": len(calibration), "tokens": len(tokens)}))


def open_file(path: Path, signature: Signature, threads: int | None) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """What Twin computes, with the noise that is in the file."""
    noise, config = json.loads(path.read_text())["noise"], MobileBertConfig.from_pretrained(path.parent)

    def run(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert len(rows["input_ids"]) == 1 and rows["input_ids"].shape[1] in signature.lengths
        assert {str(array.dtype) for array in rows.values()} == {"int32"}
        (found,) = Twin().infer(Model(config, signature.architecture), [choices(rows) if signature.has_choices else rows])
        found = {name: array * np.sign(1 - noise) + noise for name, array in found.items()}
        if signature.activation == "softmax":
            odds = np.exp(found["logits"])
            found["logits"] = odds / odds.sum(axis=-1, keepdims=True)
        return found

    return run


def choices(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array[:, None] for name, array in rows.items()}


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    made = Door()
    runtime = ModuleType("pretended")
    runtime.__dict__.update(open_file=open_file, write=write)
    monkeypatch.setitem(sys.modules, f"{artefacts.__package__}.pretended", runtime)
    monkeypatch.setitem(TARGETS, "litert", TARGET)
    monkeypatch.setattr(module, "twin", lambda framework: made)
    monkeypatch.setattr(module, "writer", lambda framework, name: runtime)
    monkeypatch.setattr(command, "open_twin", lambda framework: made)
    return made


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for task in ("classification", "regression", "answers", "choices", "tokens"):
        make_checkpoint(folder / task, task)
    return folder


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "".join(f"{make_text(number)},{('bad', 'good', 'mixed')[number % 3]}\n" for number in range(30)))
    return path


def noisy(monkeypatch: pytest.MonkeyPatch, noise: float) -> None:
    module_ = sys.modules[f"{artefacts.__package__}.pretended"]
    monkeypatch.setattr(module_, "write", lambda *args, **kwargs: write(*args, **kwargs, noise=noise))


def everything(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# What is written


def test_a_folder_with_all_that_an_app_needs(models: Path, labelled: Path, tmp_path: Path, door: Door) -> None:
    report = export(models / "classification", tmp_path / "out", "litert", evaluation=labelled, length=[24, 10])
    out = tmp_path / "out"
    files = ["README.md", "config.json", "labels.txt", "model.tflite", "report.json", "signature.json", "tokenizer.json"]
    assert everything(out) == [*files, "tokenizer_config.json", "vocab.txt"]
    assert (out / "labels.txt").read_text() == "bad\ngood\nmixed\n"
    signature = json.loads((out / "signature.json").read_text())
    assert signature["inputs"] == {"input_ids": "ids", "attention_mask": "mask", "token_type_ids": "segment_ids"}
    assert signature["outputs"] == {"logits": "probability"} and signature["lengths"] == [10, 24]
    assert json.loads((out / "tokenizer_config.json").read_text())["model_max_length"] == 24
    stored = json.loads((out / "report.json").read_text())
    assert stored["source"] == "classification" and stored["same"] == 1 and stored["size"] == (out / "model.tflite").stat().st_size
    assert report.before == report.after and "accuracy" in report.before and report.rows == 30 and report.data == "rows.csv"
    assert {*report.milliseconds} == {10, 24} and report.largest < 1e-6
    found = Predictor(out)([make_text(number) for number in range(9)])
    assert len({*found["prediction"]}) > 1


def test_the_readme_has_code_that_python_can_parse(models: Path, tmp_path: Path, door: Door) -> None:
    for task in ("answers", "choices", "tokens"):
        export(models / task, tmp_path / task, "litert", task=task)
        text = (tmp_path / task / "README.md").read_text()
        blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        assert blocks and "$" not in "".join(blocks) and str(tmp_path) not in text
        for block in blocks:
            compile(block, "README.md", "exec")


@pytest.mark.parametrize("task", ["answers", "choices", "tokens", "regression"])
def test_tasks_without_data(task: str, models: Path, tmp_path: Path, door: Door) -> None:
    report = export(models / task, tmp_path / "out", "litert", task=task)
    assert report.rows == 64 and report.largest == 0 and not report.before
    assert (report.same is None) == (task == "regression")
    rows = [{name: value for name, value in make_row(task, number).items() if name != "rare"} for number in range(6)]
    found, expected = Predictor(tmp_path / "out", task=task)(rows), Predictor(models / task, task=task, fold=False)
    expected.__dict__["opened"] = found_by_twin(models / task, task)
    assert found == expected(rows)


def found_by_twin(folder: Path, task: str) -> Any:
    from mobilebert_common.training import jobs

    return jobs.Opened.open(Twin(), folder, task)  # type: ignore[arg-type]


def test_the_metric_before_and_after(
    models: Path, labelled: Path, tmp_path: Path, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    noisy(monkeypatch, 2.0)  # which turns the order of the classes round
    report = export(models / "classification", tmp_path / "out", "litert", quantize="dynamic-int8", calibration=labelled)
    assert report.same is not None and report.same < 0.5 and report.largest > 1
    assert report.before != report.after and report.lost == report.before["accuracy"] - report.after["accuracy"]
    row = f"| accuracy | {report.before['accuracy']:.4f} | {report.after['accuracy']:.4f} |"
    assert row in (tmp_path / "out" / "README.md").read_text()


def test_only_what_mediapipe_reads_right_is_for_it(
    models: Path, tmp_path: Path, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    cased, source = tmp_path / "cased", models / "classification"
    make_checkpoint(cased, "classification")
    MobileBertTokenizerFast(vocab=VOCABULARY, do_lower_case=False).save_pretrained(cased)
    for number, (place, options, expected) in enumerate(
        [(source, {}, 17), (source, {"length": [10, 24]}, 0), (cased, {}, 0), (models / "answers", {}, 0)]
    ):
        export(place, tmp_path / str(number), "litert", **options)
        assert json.loads((tmp_path / str(number) / "model.tflite").read_text())["tokens"] == expected
        assert json.loads((tmp_path / str(number) / "signature.json").read_text())["for_mediapipe"] == bool(expected)
        assert ("text.TextClassifier" in (tmp_path / str(number) / "README.md").read_text()) == bool(expected)
    assert caplog.text.count("no metadata for MediaPipe, which lower-cases texts") == 1


# What is refused, before the model is opened


def refused(name: str, text: str, error: type[Exception] = ConfigError, **options: Any) -> Any:
    return pytest.param(name, text, error, options, id=text[:50])


@pytest.mark.parametrize(
    ("name", "text", "error", "options"),
    [
        refused("classification", "a model can be exported to onnx, litert, .*, not to 'coreml'", to="coreml"),
        refused("classification", "quantize must be one of none, .*, not 'int4'", quantize="int4"),
        refused("classification", "savedmodel has no int8: quantize can be none", to="savedmodel", quantize="int8"),
        refused("classification", "int8 takes the ranges of activations from data", quantize="int8"),
        refused("classification", "int8 can lose much", quantize="int8", calibration=["so fine", "odd film"]),
        refused("classification", "from 8 to the model's 24 positions, each once, not 25", length=25),
        refused("classification", "from 8 to the model's 24 positions, each once, not 0", length=0),
        refused("classification", "from 8 to the model's 24 positions, each once, not True", length=True),
        refused("classification", "from 8 to the model's 24 positions, each once, not 12.5", length=[12.5]),
        refused("classification", "each once, not 12, 12", length=[12, 12]),
        refused("classification", "onnx has 1 length in a file, not 2", to="onnx", length=[12, 24]),
        refused("classification", "has labels unseen in training in row 1: 'odd'", DataError, evaluation={"text": ["x"], "label": ["odd"]}),
        refused("classification", "data must be a file, a DataFrame", DataError, evaluation=["so fine"]),
        refused("classification", "argument colour", TypeError, colour="red"),
        refused("classification", "was trained|is a model for|holds", CheckpointError, task="answers"),
        refused("answers", "web is for classifiers of texts, not for a MobileBertForQuestionAnswering", to="web"),
        refused("regression", "web is for classifiers of texts, not for a .* of numbers", to="web"),
        refused("absent", "is neither a checkpoint directory nor owner/name on the hub"),
    ],
)
def test_refused_first(
    name: str, text: str, error: type[Exception], options: dict[str, Any], models: Path, tmp_path: Path, door: Door
) -> None:
    with pytest.raises(error, match=text):
        export(models / name, tmp_path / "out", options.pop("to", "litert"), **options)
    assert door.loaded == 0 and everything(tmp_path) == []


def test_a_folder_that_exists(models: Path, tmp_path: Path, door: Door) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="out exists already: remove it, or write to another folder"):
        export(models / "classification", tmp_path / "out", "litert")
    export(models / "classification", tmp_path / "first", "litert")
    with pytest.raises(ConfigError, match="first is an exported model: export the checkpoint it was made from"):
        export(tmp_path / "first", tmp_path / "second", "litert")


def test_a_label_with_a_line_break(models: Path, tmp_path: Path, door: Door) -> None:
    config = json.loads((make_checkpoint(tmp_path / "model", "classification") / "config.json").read_text())
    config["id2label"]["1"] = "go\nod"
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"a label has a line break, which labels.txt cannot hold: 'go\\nod'"):
        export(tmp_path / "model", tmp_path / "out", "litert")


def test_a_missing_library(models: Path, tmp_path: Path, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(framework: str, name: str) -> None:
        raise ModuleNotFoundError("No module named 'ai_edge_litert'", name="ai_edge_litert")

    monkeypatch.setattr(module, "writer", missing)
    with pytest.raises(ImportError, match=re.escape(f"ai_edge_litert is not installed: {install('litert')}")):
        export(models / "classification", tmp_path / "out", "litert")
    assert everything(tmp_path) == [] and door.loaded == 0


def test_a_model_whose_results_depend_on_padding(models: Path, tmp_path: Path, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "tensors", lambda model: {"word_embeddings.weight": np.ones((17, 2))})
    with pytest.raises(ConfigError, match=r"of .PAD. that is not zero, so the padding of a fixed length would change its results"):
        export(models / "classification", tmp_path / "out", "litert")
    assert everything(tmp_path) == []


# What is refused, after it was measured


def test_a_file_that_computes_something_else(models: Path, tmp_path: Path, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy(monkeypatch, 1e-3)
    with pytest.raises(ConfigError, match=r"does not compute what the model does: its outputs differ by \d.*; nothing was written"):
        export(models / "answers", tmp_path / "out", "litert")
    noisy(monkeypatch, float("nan"))
    with pytest.raises(ConfigError, match="outputs are not finite in fp16; nothing was written"):
        export(models / "answers", tmp_path / "out", "litert", quantize="fp16")
    assert everything(tmp_path) == []


def test_int8_that_loses_too_much(
    models: Path, labelled: Path, tmp_path: Path, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"quantize": "int8", "calibration": labelled}
    report = export(models / "classification", tmp_path / "exact", "litert", **options)
    assert report.lost == 0 and json.loads((tmp_path / "exact" / "model.tflite").read_text())["calibration"] == 30
    rows = Predictor(tmp_path / "exact")(labelled)
    right = tmp_path / "right.csv"
    right.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in zip(rows["text"], rows["prediction"], strict=True)))
    noisy(monkeypatch, 2.0)
    with pytest.raises(ConfigError, match=r"int8 loses \d+\.\d points of accuracy, more than 1; nothing was written"):
        export(models / "classification", tmp_path / "bad", "litert", evaluation=right, **options)
    assert not (tmp_path / "bad").exists()
    assert export(models / "classification", tmp_path / "bad", "litert", evaluation=right, force=True, **options).lost > 0.01


def test_an_interrupt_leaves_nothing(models: Path, tmp_path: Path, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        write(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules[f"{artefacts.__package__}.pretended"], "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(models / "classification", tmp_path / "out", "litert")
    assert everything(tmp_path) == []


# The folder


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "new") as scratch:
        (scratch / "in").mkdir()
        (scratch / "in" / "file").write_text("x")
        assert everything(tmp_path / "a") == [scratch.name] and scratch.name.startswith(".new.tmp-")
    assert (tmp_path / "a" / "new" / "in" / "file").read_text() == "x" and everything(tmp_path / "a") == ["new"]
    with pytest.raises(ConfigError, match="exists already"), new_folder(tmp_path / "b") as scratch:
        (tmp_path / "b").mkdir()
    assert everything(tmp_path) == ["a", "b"] and everything(tmp_path / "b") == []


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    for name, age in ((".out.tmp-1", 2 * 86400), (".out.tmp-2", 60), (".other.tmp-3", 2 * 86400)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    with new_folder(tmp_path / "out"):
        pass
    assert everything(tmp_path) == [".other.tmp-3", ".out.tmp-2", "out"]


# What is opened


@pytest.fixture
def out(models: Path, tmp_path: Path, door: Door) -> Path:
    export(models / "classification", tmp_path / "out", "litert", length=[10, 24])
    return tmp_path / "out"


def test_a_file_that_changed(out: Path) -> None:
    (out / "model.tflite").write_text(json.dumps({"noise": 5, "calibration": 0}))
    with pytest.raises(CheckpointError, match=r"model.tflite: is not the file that was exported"):
        Artefact.open(out)
    (out / "model.tflite").unlink()
    with pytest.raises(CheckpointError, match=r"model.tflite: is not the file that was exported"):
        Predictor.load(out)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"target": "coreml"}, "there is no target 'coreml'"),
        ({"architecture": "Bert"}, "no architecture 'Bert'"),
        ({"file": "../model.tflite"}, "file is '../model.tflite'"),
        ({"quantize": "int4"}, "file is 'model.tflite'"),
        ({"inputs": {"input_ids": "ids"}}, "inputs or outputs are not those of the architecture"),
        ({"outputs": {"start_logits": "x"}}, "inputs or outputs"),
        ({"lengths": [24, 10]}, "lengths are not ascending"),
        ({"lengths": []}, "lengths are not"),
        ({"lengths": [10], "max_length": 24}, "max_length is not the longest"),
        ({"max_length": "24"}, "max_length: "),
        ({"files": {"/etc/passwd": {"bytes": 1, "sha256": "0"}, "model.tflite": {"bytes": 1, "sha256": "0"}}}, "outside the folder"),
        ({"colour": "red"}, "colour: "),
    ],
)
def test_a_signature_that_is_not_ours(change: dict[str, Any], text: str, out: Path) -> None:
    content = json.loads((out / SIGNATURE_FILE).read_text())
    (out / SIGNATURE_FILE).write_text(json.dumps({**content, **change}))
    with pytest.raises(CheckpointError, match=f"signature.json: is not the signature of an exported model: .*{text}"):
        Artefact.open(out)


def test_ids_are_checked_before_the_runtime_sees_them(out: Path) -> None:
    opened = Artefact.open(out)
    with pytest.raises(InputError, match="input_ids must be from 0 to 16; found 17"):
        opened.outputs({"input_ids": np.array([[1, 17]])})
    with pytest.raises(InputError, match="token_type_ids must be from 0 to 1; found -1"):
        opened.outputs({"input_ids": np.array([[1, 2]]), "token_type_ids": np.array([[0, -1]])})
    with pytest.raises(InputError, match="the sequence has 25 tokens"):
        opened.outputs({"input_ids": np.ones((1, 25), int)})


def test_a_row_goes_into_the_shortest_length_that_it_fits(out: Path) -> None:
    opened, seen = Artefact.open(out), []
    spying = Artefact(opened.config, opened.signature, lambda rows: (seen.append(rows["input_ids"].shape), opened.run(rows))[1])
    ids = np.arange(36).reshape(3, 12) % 16 + 1
    mask = (np.arange(12) < np.array([[10], [11], [0]])).astype(int)
    spying.outputs({"input_ids": ids, "attention_mask": mask})
    assert seen == [(1, 10), (1, 24), (1, 10)]


def test_options_that_an_exported_model_cannot_have(out: Path) -> None:
    for options in ({"fold": False}, {"dtype": "bfloat16"}, {"quantize": "int8"}):
        with pytest.raises(ConfigError, match="was exported and computes as it was: leave fold, dtype and quantize out"):
            Predictor.load(out, **options)
    with pytest.raises(CheckpointError, match=r"was trained for|is for|holds"):
        Predictor.load(out, task="answers")


def test_texts_longer_than_the_file_takes_are_cut_and_reported(out: Path, caplog: pytest.LogCaptureFixture) -> None:
    Predictor(out)([" ".join(["fine"] * 40)])
    assert "1 example cut: longer than 24 tokens" in caplog.text


def test_the_command(models: Path, tmp_path: Path, door: Door, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def call(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["mobilebert", *map(str, arguments)])
        with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
            patch.setattr(main, "ENVIRONMENT", {})
            main.main()
        printed = capfd.readouterr()
        return printed.out + printed.err

    printed = call("export", models / "classification", tmp_path / "out", "--to", "litert", "--length", 10, "--length", 24)
    assert "the same answers: 100.00%" in printed and f"wrote {tmp_path / 'out'}, with README.md" in printed
    assert call("predict", tmp_path / "out", "so fine").count("\t") == 2
    assert "error: " in call("export", models / "classification", tmp_path / "out", "--to", "litert")


def test_every_output_is_one_that_a_model_has() -> None:
    from mobilebert_common.model import outputs

    names = {name for value in vars(outputs).values() if isinstance(value, type) for name in getattr(value, "__annotations__", {})}
    assert {name for found in OUTPUTS.values() for name in found} <= names

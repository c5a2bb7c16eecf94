"""What is exported says of every task's rows what the checkpoint says of them, through Predictor and each runtime."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import ConfigError
from mobilebert_common.exports.export import export
from mobilebert_common.frameworks import FRAMEWORKS, twin
from mobilebert_common.runtimes.artefact import Artefact
from mobilebert_common.runtimes.signature import outputs_of
from mobilebert_common.runtimes.targets import TARGETS
from mobilebert_common.tasks.task import TASKS
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_common.training.predictor import Predictor
from support.configs import make_config, random_weights
from support.predicting import VOCABULARY, approximately, make_checkpoint, make_row
from support.training import TINY

DOCS = (Path(__file__).parents[2] / "docs" / "exports.md").read_text(encoding="utf-8")
ROWS = 12
RUNTIMES = {"onnx": "onnxruntime", "litert": "ai_edge_litert"}


@pytest.mark.parametrize("target", RUNTIMES)
@pytest.mark.parametrize("task", TASKS)
def test_the_same_rows_as_the_checkpoint(task: str, target: str, tmp_path: Path) -> None:
    pytest.importorskip(RUNTIMES[target])
    source = make_checkpoint(tmp_path / "model", task)
    length = [10, 24] if TARGETS[target].is_static else 24
    report = export(source, tmp_path / "out", target, length=length, task=task)
    assert report.largest < 1e-5 and (report.same is None or report.same == 1)
    rows = [{name: value for name, value in make_row(task, number).items() if name != "rare"} for number in range(ROWS)]
    package = importlib.import_module(FRAMEWORKS[TARGETS[target].framework][0])
    expected = package.predict(source, rows, all=True, task=task)
    found = Predictor(tmp_path / "out", task=task, batch_size=5)(rows, all=True)
    assert list(found) == list(expected)
    for name in expected:
        if name not in rows[0] and not (task in ("masked-lm", "pretraining") and name == "prediction"):
            assert list(found[name]) == approximately(list(expected[name])), name


@pytest.mark.parametrize(
    ("task", "inputs", "outputs"),
    [
        ("classification", ["ids", "mask", "segment_ids"], {"probability": [1, 3]}),  # as MediaPipe has it
        ("answers", ["input_ids", "input_mask", "segment_ids"], {"start_logits": [1, 384], "end_logits": [1, 384]}),  # as MLPerf Mobile
    ],
)
def test_the_signature_of_a_litert_file(task: str, inputs: list[str], outputs: dict[str, list[int]], tmp_path: Path) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    make_checkpoint(tmp_path / "model", task, max_position_embeddings=384)
    export(tmp_path / "model", tmp_path / "out", "litert", length=384)
    opened = interpreter.Interpreter(str(tmp_path / "out" / "model.tflite"))
    assert {key: {**each, "outputs": {*each["outputs"]}} for key, each in opened.get_signature_list().items()} == {
        "serving_default": {"inputs": inputs, "outputs": {*outputs}}
    }
    details = opened.get_signature_runner().get_input_details()
    assert {name: (each["dtype"], each["shape"].tolist()) for name, each in details.items()} == dict.fromkeys(inputs, (np.int32, [1, 384]))
    assert {name: each["shape"].tolist() for name, each in opened.get_signature_runner().get_output_details().items()} == outputs


@pytest.mark.parametrize("target", RUNTIMES)
@pytest.mark.parametrize("architecture", ["MobileBertModel", "MobileBertForNextSentencePrediction"])
def test_a_model_that_no_task_has(architecture: str, target: str, tmp_path: Path) -> None:
    pytest.importorskip(RUNTIMES[target])
    config = make_config(**{**TINY, "vocab_size": len(VOCABULARY), "max_position_embeddings": 24})
    weights = {name: array.astype(np.float32) for name, array in random_weights(config, architecture).items()}
    next(array for name, array in weights.items() if name.endswith("word_embeddings.weight"))[0] = 0
    checkpoint.save(tmp_path / "model", config, architecture, weights)
    MobileBertTokenizerFast(vocab=VOCABULARY).save_pretrained(tmp_path / "model")
    report = export(tmp_path / "model", tmp_path / "out", target)
    assert report.largest < 1e-5 and report.rows == 64
    ids = np.array([[2, 7, 9, 3, 0], [2, 8, 3, 0, 0]])
    batch = {"input_ids": ids, "attention_mask": (ids > 0).astype(int)}
    door = twin(TARGETS[target].framework)
    expected = door.outputs(door.load(tmp_path / "model", architecture), batch)
    found = Artefact.open(tmp_path / "out").outputs(batch)
    assert {*found} == {*outputs_of(architecture)}
    for name, array in found.items():
        rows = ids > 0 if array.shape[:2] == ids.shape else slice(None)
        np.testing.assert_allclose(array[rows], expected[name][rows], rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="this one has none: leave calibration and evaluation out"):
        export(tmp_path / "model", tmp_path / "other", target, calibration=["so fine"])


def test_the_blocks_of_the_documentation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    make_checkpoint(tmp_path / "my-model", "classification")
    (tmp_path / "test.csv").write_text("text,label\nso fine,good\nodd film,bad\n")
    blocks = re.findall(r"^```python test\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)
    exec("".join(blocks), {})
    assert len(blocks) == 2 and "'prediction': [" in capsys.readouterr().out


def test_the_readme_of_an_export_runs(tmp_path: Path) -> None:
    """Its Python code, in processes of their own that have neither framework nor this package's help."""
    make_checkpoint(tmp_path / "model", "answers")
    for target, module in RUNTIMES.items():
        pytest.importorskip(module)
        export(tmp_path / "model", tmp_path / target, target)
        [code, *_] = re.findall(r"^```python\n(.*?)^```$", (tmp_path / target / "README.md").read_text(), re.MULTILINE | re.DOTALL)
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / target, capture_output=True, text=True)
        assert done.returncode == 0 and "array" in done.stdout, done.stderr

"""What is exported says of every task's rows what the checkpoint says of them, through Predictor and each runtime."""

import importlib
from pathlib import Path

import pytest

from mobilebert_common.exports.export import export
from mobilebert_common.frameworks import FRAMEWORKS
from mobilebert_common.runtimes.targets import TARGETS
from mobilebert_common.tasks.task import TASKS
from mobilebert_common.training.predictor import Predictor
from support.predicting import approximately, make_checkpoint, make_row

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

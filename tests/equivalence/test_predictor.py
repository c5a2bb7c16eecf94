"""A Predictor of either twin says of every task's rows what the unfolded model says of them, unsorted; and it goes into other processes."""

import importlib
import multiprocessing
import pickle
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mobilebert_common.errors import ConfigError
from mobilebert_common.frameworks import FRAMEWORKS
from mobilebert_common.tasks.task import TASKS
from mobilebert_common.training import predictor
from support.predicting import approximately, ask, make_checkpoint, make_row, make_text

ROWS = 24
DOCS = (Path(__file__).parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for task in TASKS:
        make_checkpoint(folder / task, task)
    return folder


def package(framework: str) -> Any:
    return importlib.import_module(FRAMEWORKS[framework][0])


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("task", TASKS)
def test_the_same_as_the_unfolded_model(
    task: str, framework: str, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{name: value for name, value in make_row(task, number).items() if name != "rare"} for number in range(ROWS)]
    expected = package(framework).predict(models / task, rows, all=True, task=task)
    predict = package(framework).Predictor.load(models / task, task=task, batch_size=5)
    found = predict(rows, all=True)
    monkeypatch.setattr(predictor, "WINDOW", 9)
    parts = [*predict.stream(rows, all=True)]
    assert list(found) == list(expected) and len(parts) == 3
    compared = [name for name in expected if name not in rows[0] and not (task in ("masked-lm", "pretraining") and name == "prediction")]
    for name in compared:
        assert list(found[name]) == approximately(list(expected[name])), name
        assert [cell for part in parts for cell in part[name]] == approximately(list(expected[name])), name
    assert len({str(row) for row in zip(*(expected[name] for name in compared), strict=True)}) > ROWS / 2
    assert list(found["number"]) == [*range(ROWS)]


def test_the_blocks_of_the_documentation(models: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(models)
    (models / "big.csv").write_text("text\n" + "so fine\n" * 9)
    blocks = re.findall(r"^```python test\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)
    exec("".join(blocks).replace("my-model", "classification"), {})
    assert len(blocks) == 2 and re.fullmatch(r"\[.*\] \[.*\]\n9 (bad|good|mixed)\n", capsys.readouterr().out)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_options(framework: str, models: Path) -> None:
    made = package(framework).Predictor
    with pytest.raises(ConfigError, match="is neither a checkpoint directory nor owner/name on the hub"):
        made.load(models / "absent")
    plain = made.load(models / "classification", fold=False)
    assert type(plain.opened.model).__name__.endswith("MobileBertForSequenceClassification")
    assert not type(plain.opened.model).__name__.startswith("Folded")
    with pytest.raises(TypeError, match="opens the name or the directory of a checkpoint, not a Predictor"):
        made.load(plain)
    with pytest.raises(ConfigError):
        made.load(models / "classification", quantize="int3")


def test_threads(models: Path) -> None:
    import tensorflow as tf
    import torch

    before = torch.get_num_threads()
    try:
        package("pt").Predictor.load(models / "classification", threads=before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    tf.constant(0)  # TensorFlow starts
    with pytest.raises(ConfigError, match="threads is 77, but TensorFlow has started with"):
        package("tf").Predictor.load(models / "classification", threads=77)


def test_a_predictor_goes_into_a_worker(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models)
    for name in predictor.THREADS:
        monkeypatch.delenv(name, raising=False)
    given = package("pt").Predictor.load("classification")
    expected = given([make_text(number) for number in range(5)])
    monkeypatch.chdir("/")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found, came_closed, threads = pool.submit(ask, given).result()
    assert came_closed and threads == 1 and found["prediction"] == expected["prediction"]
    assert found == approximately(expected)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_it_pickles_as_its_path_and_options(framework: str, models: Path) -> None:
    given = package(framework).Predictor.load(models / "classification", batch_size=3)
    data = pickle.dumps(given)
    assert len(data) < 1000 and vars(pickle.loads(data)).items() < vars(given).items()

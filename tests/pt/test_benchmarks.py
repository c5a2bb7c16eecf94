"""benchmarks/inference.py: one quick run, and what decides its result."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MODULES = ("inference", "machine", "paths", "results", "turns")


@pytest.fixture
def inference(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module, imported as its script is; its neighbors' common names are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("inference")
    for name in MODULES:
        sys.modules.pop(name, None)


def test_a_quick_run(tmp_path: Path) -> None:
    command = [sys.executable, BENCHMARKS / "inference.py", "--quick", "--threads", "1", "--out", tmp_path / "out"]
    selected = ["--only", "forward", "b1-t32", "pt-int8"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([*command, *selected], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["machine"]["cores"] == os.cpu_count() and "torch" in found["versions"]["python"]
    rows = {row["path"]: row for row in found["rows"]}
    assert list(rows) == ["hf5", "pt", "pt-int8"]
    assert rows["hf5"]["skipped"] == "no --hf5-python"
    assert rows["pt"]["distance"] < 1e-5 < 1e-3 < rows["pt-int8"]["distance"] < 0.2
    assert rows["pt-int8"]["peer"] == "pt" and rows["pt-int8"]["pairs"] == 2
    assert rows["pt-int8"]["low"] <= rows["pt-int8"]["ratio"] <= rows["pt-int8"]["high"]
    assert f"| b1-t32 | folded, int8 | int8 | {rows['pt-int8']['median']:.3g} ms |" in (tmp_path / "out" / "results.md").read_text()
    bars = [each.text for each in ElementTree.parse(tmp_path / "out" / "results.svg").iter("{http://www.w3.org/2000/svg}title")]
    assert [text.partition(":")[0] for text in bars if text] == ["folded, int8, b1-t32"]


def test_ratios_are_those_of_pairs(inference: Any) -> None:
    """A round in which everything is slow changes no ratio."""
    assert inference.ratio([1.0, 10.0, 2.0], [2.0, 20.0, 6.0]) == (2.0, 2.0, 2.5, 3)


def test_rounds_alternate_and_end(inference: Any) -> None:
    orders = list(inference.rounds(["a", "b", "c"], 2, 5, 0.0))
    assert orders == [["a", "b", "c"], ["c", "b", "a"]]
    assert len(list(inference.rounds(["a"], 2, 5, 60.0))) == 5


class Fake:
    """A worker whose calls take some seconds, and that fails in one of its turns."""

    def __init__(self, seconds: float, fails: int | None = None) -> None:
        self.seconds, self.fails, self.turns = seconds, fails, 0

    def ask(self, calls: int) -> list[float]:
        self.turns += 1
        if self.turns == self.fails:
            raise sys.modules["turns"].WorkerError("out of luck")
        return [1000 * self.seconds] * calls


def test_turns_of_the_slow_and_of_those_that_fail(inference: Any) -> None:
    workers = {"quick": Fake(0.1), "slow": Fake(40.0), "fails": Fake(0.1, fails=3), "fails at once": Fake(0.1, fails=1)}
    times, failed = inference.take_turns(workers, 7, 7, 50.0)
    assert {name: len(each) for name, each in times.items()} == {"quick": 7, "slow": 1}
    assert [*failed] == ["fails at once", "fails"]
    assert inference.ratio(times["slow"], times["quick"]).pairs == 1


@pytest.mark.parametrize("outputs", [[1.0, 2.01], [1.0, float("nan")]])
def test_wrong_outputs_fail(outputs: list[float], inference: Any) -> None:
    import numpy as np

    row = inference.PATHS["pt"]
    assert "wrong outputs" in inference.judged(row, outputs, np.array([1.0, 2.0]))["failed"]
    assert inference.judged(row, [1.0, 2.0], np.array([1.0, 2.0])) == {"distance": 0.0}


def test_workers_fail_with_a_reason(inference: Any) -> None:
    worker = inference.Worker(sys.executable, "-c", "import sys; sys.exit('out of luck')")
    with pytest.raises(inference.WorkerError, match="ended with status 1: out of luck"):
        worker.ask(calls=1)
    worker.close()


def test_the_load_of_others_is_without_ours(inference: Any) -> None:
    load = inference.Load()
    before = load.begin
    subprocess.run([sys.executable, "-c", "import time; end = time.time() + 0.5\nwhile time.time() < end: pass"], check=True)
    every, busy, own = (after - first for first, after in zip(before, sys.modules["machine"]._ticks(), strict=True))
    assert 30 < own <= every and own <= busy + 5


def test_every_peer_exists(inference: Any) -> None:
    paths = sys.modules["paths"]
    assert {row.dialect for row in (paths.EXPORT_PATHS | paths.LENGTH_PATHS).values()} == paths.EXPORTS.keys()
    for table in (paths.PATHS, paths.TEXT_PATHS, paths.EXPORT_PATHS, paths.LENGTH_PATHS):
        for row in table.values():
            assert {*row.peers, *filter(None, [row.instead_of])} <= table.keys()

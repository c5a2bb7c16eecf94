"""The block of docs/predict.md that runs a Predictor in Ray Data. `tox run -e ray` runs it."""

import re
from pathlib import Path

import pyarrow.parquet
import pytest
import ray

from mobilebert_pt import Predictor
from support.commands import write_inputs

DOCS = (Path(__file__).parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")
[CODE] = re.findall(r"^```python ray\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)


def test_the_block_predicts_what_one_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    rows = [f"the film was {word} {number % 7} {'so ' * (number % 6)}" for number in range(500) for word in ("fine", "odd")]
    Path("big.csv").write_text("".join(f"{line}\n" for line in ["text", *rows]))
    ray.init(num_cpus=4, include_dashboard=False)  # two for the workers, the others for reading and writing
    try:
        exec(CODE.replace("/models/my-model", str(tmp_path / "start")).replace("big.csv", str(tmp_path / "big.csv")), {})
    finally:
        ray.shutdown()
    found = pyarrow.parquet.read_table("scored").to_pydict()
    expected = Predictor.load(tmp_path / "start")(rows)
    assert len(set(expected["prediction"])) == 2 and sorted(found["text"]) == sorted(rows)
    by_text = dict(zip(expected["text"], zip(expected["prediction"], expected["probability"], strict=True), strict=True))
    for text, prediction, probability in zip(*found.values(), strict=True):
        assert prediction == by_text[text][0] and probability == pytest.approx(by_text[text][1], abs=1.1e-4)

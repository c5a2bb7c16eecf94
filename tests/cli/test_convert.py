"""`mobilebert convert` from the outside; what it converts is tested in tests/conversion."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint, safetensors
from mobilebert_common.cli import main
from mobilebert_common.model.schema import count_parameters, expand
from support.configs import CLASSIFIER, make_config, random_weights

WEIGHTS_FILE = safetensors.WEIGHTS_FILE


@pytest.fixture
def source(tmp_path: Path) -> Path:
    config = make_config()
    weights = {name: array.astype(np.float32) for name, array in random_weights(config, CLASSIFIER).items()}
    checkpoint.save(tmp_path / "source", config, CLASSIFIER, weights)
    return tmp_path / "source"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mobilebert", "convert", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return call


@pytest.mark.parametrize("to", ["h5", "bin", "tf1", "keras"])
def test_there_and_back(to: str, source: Path, tmp_path: Path, run: Any) -> None:
    status, out, error = run(source, tmp_path / "there", "--to", to)
    assert (status, error) == (0, "")
    assert f"read safetensors from {source / WEIGHTS_FILE}: {CLASSIFIER}" in out
    tensors = expand(make_config(), CLASSIFIER)
    assert f"{len(tensors)} tensors, {count_parameters(tensors):,} parameters, float32" in out
    assert f"in {tmp_path / 'there'} after " in out
    assert run(tmp_path / "there", tmp_path / "back")[0] == 0
    assert (tmp_path / "back" / WEIGHTS_FILE).read_bytes() == (source / WEIGHTS_FILE).read_bytes()


def test_options(source: Path, tmp_path: Path, run: Any) -> None:
    status, out, _ = run(source, tmp_path / "base", "--head", "MobileBertModel", "--dtype", "bfloat16")
    assert status == 0
    assert "MobileBertModel" in out and "bfloat16" in out and "ignored: classifier.bias, classifier.weight" in out
    assert checkpoint.load(tmp_path / "base", "MobileBertModel", "auto").config.dtype == "bfloat16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{source}", "{source}"], "already holds model.safetensors; --overwrite"),
        (["{source}", "{source}/there", "--head", "MobileBertForMaskedLM"], "has no cls.predictions"),
        (["{source}", "{source}/there", "--head", "Bert"], "head must be one of"),
        (["{source}/none", "{source}/there"], "does not exist"),
        (["{source}", "{source}/there", "--to", "h5", "--dtype", "float16"], "tf_model.h5 holds float32 or float64"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str, source: Path, run: Any) -> None:
    status, _, error = run(*(argument.format(source=source) for argument in arguments))
    assert status == 1
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_overwrite(source: Path, run: Any) -> None:
    before = (source / WEIGHTS_FILE).read_bytes()
    assert run(source, source, "--overwrite")[0] == 0
    assert (source / WEIGHTS_FILE).read_bytes() == before


def test_a_wrong_dialect(source: Path, run: Any) -> None:
    assert run(source, source, "--to", "onnx")[0] == 2


def test_no_framework_for_two_files(source: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from mobilebert_common.cli import main; sys.argv[:1] = ['mobilebert', 'convert']\n"
        "try: main.main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'tensorflow', 'keras'} & {*sys.modules}"
    )
    arguments = [source, tmp_path / "there", "--to", "h5"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""

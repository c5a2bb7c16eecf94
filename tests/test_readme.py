"""The README's blocks tagged `python test` run, and its promises about itself hold."""

import re
from pathlib import Path

import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import expand
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_common.tokenization.learning import learn_vocabulary

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHECKPOINTS = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\S+)( test)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = FENCE.findall(README)
EXAMPLES = [code for language, tag, code in BLOCKS if language == "python" and tag]
HEAD = "MobileBertForSequenceClassification"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the demonstration leaves: a checkpoint directory, mobilebert-demo/pt."""
    folder = tmp_path_factory.mktemp("readme")
    vocabulary = learn_vocabulary(["i was charged twice .", "where is my parcel ?"], vocab_size=100)
    labels = {0: "billing", 1: "delivery", 2: "technical"}
    config = MobileBertConfig.from_zoo("mobilebert-mini", vocab_size=len(vocabulary), id2label=labels)
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(0, 0.15, tensor.shape).astype(np.float32) for name, tensor in expand(config, HEAD).items()}
    directory = folder / "mobilebert-demo" / "pt"
    checkpoint.save(directory, config, HEAD, tensors)
    MobileBertTokenizerFast(vocab=vocabulary).save_pretrained(directory)
    messages = (("charged twice", "billing"), ("parcel late", "delivery"))
    rows = [f"고객 {number} {text},{label}" for number in range(10) for text, label in messages]
    (folder / "messages.csv").write_text("\n".join(["text,label", *rows]), encoding="cp949")
    return folder


@pytest.mark.parametrize("code", EXAMPLES, ids=lambda code: code.split()[1])
def test_block_runs(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert "billing" in capsys.readouterr().out


@pytest.mark.parametrize("framework", ["pt", "tf"])
def test_a_fresh_model(
    framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The block of docs/checkpoints.md, and in Keras with the names the text below it gives."""
    monkeypatch.chdir(tmp_path)
    [code] = [code for _, tag, code in FENCE.findall(CHECKPOINTS) if tag]
    if framework == "tf":
        code = code.replace("mobilebert_pt", "mobilebert_tf").replace("MobileBertFor", "TFMobileBertFor")
    exec(compile(code, "checkpoints.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.split()[1:] == ["3", "5"]


def test_examples_differ_in_the_import_only() -> None:
    pytorch, keras = (code.splitlines() for code in EXAMPLES[:2])
    assert len(pytorch) == len(keras) == 5
    assert [number for number in range(5) if pytorch[number] != keras[number]] == [0]
    assert pytorch[0].replace("mobilebert_pt import M", "mobilebert_tf import TFM") == keras[0]


def test_set_up_is_two_commands() -> None:
    assert [code for language, _, code in BLOCKS if language == "sh"] == [
        "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt '.[all]' && .venv/bin/mobilebert demo\n",
        "python3 -m venv .venv && .venv/bin/pip install tox && .venv/bin/tox run\n",
    ]


def test_ci_runs_what_the_readme_says() -> None:
    script = re.sub(r" --quiet", "", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert "python3 -m venv .venv && .venv/bin/pip install tox && .venv/bin/tox run" in script


def test_files_on_the_map_exist() -> None:
    table = README.split("## The files")[1]
    paths = [path for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for path in re.findall(r"`(.+?)`", row)]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []

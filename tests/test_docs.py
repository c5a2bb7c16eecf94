"""The blocks of the pages for users run, one after the other: `python test`, and the commands of `sh test`."""

import csv
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.files.hub import BUNDLED
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import expand
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_common.tokenization.learning import learn_vocabulary
from mobilebert_common.training.jobs import PRETRAINED
from support.commands import mobilebert

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [DOCS / "index.md", *sorted((DOCS / "start").glob("*.md")), *sorted((DOCS / "tasks").glob("*.md"))]
BLOCK = re.compile(r"^```(python|sh) test\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CALLS = re.compile(r"^## Call the model\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)  # tests/test_tasks.py runs these
NEEDS = {"start/devices.md": ("onnx", "onnxruntime", "ai_edge_litert")}
CLASSIFIER = ("MobileBertForSequenceClassification", ("billing", "delivery", "technical"))
GIVEN = {  # what a page does not make itself
    "start/convert.md": {"my-model": CLASSIFIER},
    "start/devices.md": {"my-model": CLASSIFIER},
    "tasks/masked-words.md": {"my-bert": ("MobileBertForPreTraining", ("A", "B"))},
}
MESSAGES = ROOT / "src" / "mobilebert_common" / "data" / "messages.tsv"


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(CALLS.sub("", page.read_text(encoding="utf-8")))


def write_table(path: Path, rows: list[list[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def make_model(folder: Path, head: str, labels: tuple[str, ...] = (), vocabulary: list[str] | None = None) -> None:
    """A checkpoint directory with fresh weights, of one layer."""
    vocabulary = vocabulary or learn_vocabulary(MESSAGES.read_text(encoding="utf-8").lower().splitlines(), vocab_size=300)
    sizes = {"vocab_size": len(vocabulary), "num_hidden_layers": 1}
    config = MobileBertConfig.from_zoo("mobilebert-mini", id2label=dict(enumerate(labels or ("A", "B"))), **sizes)
    draw = np.random.default_rng(0)
    tensors = {name: draw.normal(0, 0.15, tensor.shape).astype(np.float32) for name, tensor in expand(config, head).items()}
    for name in tensors:
        if name.endswith("word_embeddings.weight"):
            tensors[name][0] = 0
    checkpoint.save(folder, config, head, tensors)
    MobileBertTokenizerFast(vocab=vocabulary, model_max_length=64).save_pretrained(folder)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with few rows of the data that the pages describe, all of the columns they show, and a small model in the box."""
    in_the_box = MobileBertTokenizerFast.from_pretrained(PRETRAINED).get_vocab()
    make_model(tmp_path / "box", "MobileBertModel", vocabulary=sorted(in_the_box, key=in_the_box.__getitem__))
    monkeypatch.setitem(BUNDLED, PRETRAINED, tmp_path / "box")
    lines = MESSAGES.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "messages.tsv").write_text("".join(lines[:41]), encoding="utf-8")
    write_table(tmp_path / "messages.csv", [line.rstrip("\n").split("\t") for line in lines[:41]])
    comments = {"What a rude, stupid reply.": ["rude", "insult"], "Go away.": ["rude"], "You are great.": []}
    rows = [json.dumps({"text": text, "label": label}) for text, label in comments.items()] * 8
    (tmp_path / "comments.jsonl").write_text("\n".join(rows), encoding="utf-8")
    write_table(tmp_path / "stars.csv", [["text", "label"], *[["A fine film.", 4.5], ["A dull film.", 1.5]] * 10])
    (tmp_path / "train.conll").write_text("Anna B-PER\nlives O\nin O\nParis B-LOC\n. O\n\n" * 20, encoding="utf-8")
    where = [[f"Where is parcel {number}?", f"Parcel {number} is in {city}.", city] for number in range(8) for city in ("Paris", "Rome")]
    write_table(tmp_path / "questions.csv", [["question", "context", "answer"], *where])
    sums = [[f"What is {number} plus 1?", number + 1, number + 3, number + 5, "A"] for number in range(16)]
    write_table(tmp_path / "quiz.csv", [["question", "A", "B", "C", "answer"], *sums])
    (tmp_path / "texts").mkdir()
    texts = "".join(f"The parcel {number} is in Paris.\nWhere is my parcel now?\n\n" for number in range(20))
    (tmp_path / "texts" / "mail.txt").write_text(texts, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.relative_to(DOCS).as_posix())
def test_blocks_run(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = page.relative_to(DOCS).as_posix()
    for module in NEEDS.get(name, ()):
        pytest.importorskip(module)
    for model, (head, labels) in GIVEN.get(name, {}).items():
        make_model(folder / model, head, labels)
    shared: dict[str, Any] = {"__name__": "__main__"}
    for language, code in blocks(page):
        if language == "python":
            exec(compile(code, name, "exec"), shared)
            assert capsys.readouterr().out.strip()
        else:
            for command in code.replace("\\\n", " ").splitlines():
                program, *arguments = shlex.split(command, comments=True)
                status, printed, errors = mobilebert(arguments)
                assert (program, status) == ("mobilebert", 0), errors
                assert printed.strip() or "--output" in arguments, command


def test_every_page_has_blocks() -> None:
    assert [page.name for page in PAGES if not BLOCK.search(page.read_text(encoding="utf-8"))] == []

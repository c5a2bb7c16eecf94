"""A new task is one module and one row: it trains, evaluates and predicts in both twins, from the command line too.

The module is tests/support/windows.py, of the hard shape: one example gives several windows, each token has a label, and predictions
are merged back.
"""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.cli.main import main
from mobilebert_common.frameworks import FRAMEWORKS, twin
from mobilebert_common.tasks.tables import Columns
from mobilebert_common.tasks.task import TASKS
from mobilebert_common.training import jobs
from mobilebert_common.training.recipe import Recipe
from support import windows

ROOT = Path(__file__).parents[2]
TAGS = {"red": "COLOUR", "blue": "COLOUR", "one": "NUMBER", "two": "NUMBER", "car": "O", "boat": "O", "and": "O"}


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(TASKS, "windows", windows)
    return windows


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("task") / "tags.txt"
    draw = np.random.default_rng(0)
    lines = [" ".join(f"{word}/{TAGS[word]}" for word in draw.choice(list(TAGS), draw.integers(1, 20))) for _ in range(60)]
    path.write_text("\n".join(lines))
    return path


def test_the_windows_of_an_example_are_merged(task: Any, file: Path) -> None:
    data = task.read(file, Columns(), "utf-8")
    begin = jobs.start(task, "mobilebert-mini", data, vocabulary_size=60)
    examples = begin.examples(data, 16)
    assert len(examples) > len(data) and examples.batch([0, 1, 2])["labels"].shape == examples.batch([0, 1, 2])["input_ids"].shape
    numbers = {label: number for number, label in begin.config.id2label.items()}
    right = [{"logits": np.eye(len(numbers))[np.maximum(batch["labels"], 0)]} for batch in examples.ordered(7)]
    found = task.predict(data, examples, right, begin.config)
    assert found["tags"] == [" ".join(tags) for tags in data.tags]
    assert task.evaluate(data, found)[0] == {"words": 1.0}


def test_both_twins_learn_it_and_agree(task: Any, file: Path, tmp_path: Path) -> None:
    data, held_out = task.split(task.read(file, Columns(), "utf-8"), 0.2, 0)
    for name in FRAMEWORKS:
        begin = jobs.start(task, "mobilebert-mini", data, vocabulary_size=60)
        recipe = Recipe(learning_rate=3e-3, epochs=5, batch_size=16)
        model = jobs.train(twin(name), begin, begin.examples(data, 16), recipe, lambda steps: lambda done, loss: False)
        jobs.save(twin(name), model, begin.tokenizer, tmp_path / name, 16)
        found = [jobs.Opened.open(twin(other), tmp_path / name, "windows").evaluate(held_out) for other in FRAMEWORKS]
        assert found[0] == found[1]
        assert found[0][0]["words"] > 0.9


def test_from_the_command_line(
    task: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers[:])  # the command line sets up logging and the environment
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["mobilebert", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, capsys.readouterr().err
        return capsys.readouterr().out

    options = ["--task", "windows", "--output", tmp_path / "model", "--epochs", 1, "--max-length", 16, "--framework", "tf"]
    assert re.search(r"words \d+\.\d% on 6 examples", run("train", file, *options))
    assert "on 60 examples" in run("evaluate", tmp_path / "model", file, "--predictions", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().startswith("expected,tags\n")
    tags, words = run("predict", tmp_path / "model", "two red cars and a boat, one two three four").strip().split("\t")
    assert words == "two red cars and a boat, one two three four" and len(tags.split()) == 10


def test_nothing_shared_names_a_task() -> None:
    """Twins, training modules, jobs and commands go by the table."""
    names = [name.removesuffix(".py") for name in ("classification.py", "tokens.py", "answers.py", "choices.py", "pretraining.py")]
    places = ["src/mobilebert_common/training", "src/mobilebert_common/cli/learning.py", "src/mobilebert_common/cli/options.py"]
    places += [f"src/mobilebert_{name}/{module}.py" for name in FRAMEWORKS for module in ("twin", "training")]
    pattern = "|".join(rf"tasks\.{name}|tasks import .*{name}|\"{name}\"" for name in names)
    found = subprocess.run(["grep", "-rnE", "--include=*.py", pattern, *places], cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "")

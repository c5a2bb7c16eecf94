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

import numpy as np
import pytest

from mobilebert_common.cli.main import main
from mobilebert_common.frameworks import FRAMEWORKS
from mobilebert_common.tasks.task import TASKS, new_setup
from mobilebert_common.training import jobs
from support.windows import Windows

ROOT = Path(__file__).parents[2]
TAGS = {"red": "COLOUR", "blue": "COLOUR", "one": "NUMBER", "two": "NUMBER", "car": "O", "boat": "O", "and": "O"}


@pytest.fixture(autouse=True)
def row_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "windows", Windows())


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("task") / "tags.txt"
    draw = np.random.default_rng(0)
    lines = [" ".join(f"{word}/{TAGS[word]}" for word in draw.choice(list(TAGS), draw.integers(1, 20))) for _ in range(60)]
    path.write_text("\n".join(lines))
    return path


def test_the_windows_of_an_example_are_merged(file: Path) -> None:
    setup = new_setup("windows").with_lengths(max_length=16)
    data = setup.read(file)
    begin = jobs.start(setup, "mobilebert-mini", data, vocabulary_size=60)
    examples = begin.examples(data)
    assert len(examples) > len(data) and examples.batch([0, 1, 2])["labels"].shape == examples.batch([0, 1, 2])["input_ids"].shape
    numbers = {label: number for number, label in begin.config.id2label.items()}
    right = [{"logits": np.eye(len(numbers))[np.maximum(batch["labels"], 0)]} for batch in examples.ordered(7)]
    found = setup.task.predict(data, examples, right, begin.config, setup.lengths)
    assert found.columns["tags"] == [" ".join(tags) for tags in data.labels]
    assert setup.task.evaluate(data, found, begin.config).metrics == {"words": 1.0}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_from_the_command_line(
    framework: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It trains, evaluates and predicts, in the other framework too."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers[:])  # the command line sets up logging and the environment
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["mobilebert", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, capsys.readouterr().err
        return capsys.readouterr().out

    model, [other] = tmp_path / "model", set(FRAMEWORKS) - {framework}
    options = ["--task", "windows", "--output", model, "--epochs", 5, "--batch-size", 16, "--max-length", 16, "--learning-rate", 3e-3]
    trained = run("train", file, *options, "--vocabulary-size", 60, "--framework", framework)
    assert float(re.search(r"words +(\d\.\d+) +0\.000", trained).group(1)) > 0.9 and "6 validation examples" in trained
    assert "on 60 examples" in run("evaluate", model, file, "--predictions", tmp_path / "out.csv", "--framework", other)
    assert (tmp_path / "out.csv").read_text().startswith("words,expected,tags\n")
    tags, words = run("predict", model, "two red cars and a boat, one two three four", "--framework", other).strip().split("\t")
    assert words == "two red cars and a boat, one two three four" and len(tags.split()) == 10


def test_nothing_shared_names_a_task() -> None:
    """Twins, training modules, jobs and commands go by the table."""
    names = [name.removesuffix(".py") for name in ("classification.py", "tokens.py", "answers.py", "choices.py", "pretraining.py")]
    places = ["src/mobilebert_common/training", "src/mobilebert_common/cli/learning.py", "src/mobilebert_common/cli/options.py"]
    places += [f"src/mobilebert_{name}/{module}.py" for name in FRAMEWORKS for module in ("twin", "training")]
    pattern = "|".join(rf"tasks\.{name}|tasks import .*{name}|\"{name}\"" for name in names)
    found = subprocess.run(["grep", "-rnE", "--include=*.py", pattern, *places], cwd=ROOT, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (1, "")

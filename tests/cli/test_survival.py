"""The command line in processes of its own, which are sent signals: a snapshot of the step reached, and the status that is documented."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_common.training.run import Run
from support.commands import mobilebert, signalled
from support.configs import CLASSIFIER, make_config, random_weights

WORDS = ("fine", "odd", "film", "song")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a model to start from, with dropout, and a teacher."""
    folder = tmp_path_factory.mktemp("files")
    rows = [f"{WORDS[row % 4]} {WORDS[row % 3]} {row % 7},{row % 2}\n" for row in range(48)]
    (folder / "data.csv").write_text("text,label\n" + "".join(rows))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    for seed, (name, changes) in enumerate({"model": {}, "teacher": {"intra_bottleneck_size": 24, "num_feedforward_networks": 1}}.items()):
        config = make_config(**{"vocab_size": len(vocabulary), "num_labels": 2, "hidden_dropout_prob": 0.2, **changes})
        weights = random_weights(config, CLASSIFIER, seed)
        weights["mobilebert.embeddings.word_embeddings.weight"][0] = 0
        checkpoint.save(folder / name, config, CLASSIFIER, weights)
        MobileBertTokenizerFast(vocab=vocabulary).save_pretrained(folder / name)
    return folder


def start(files: Path, output: Path, framework: str, *options: str) -> subprocess.Popen[str]:
    command = ["train", files / "data.csv", "--model", files / "model", "--output", output, "--framework", framework]
    steps = ["--batch-size", "4", "--max-length", "12", "--max-steps", "40", "--evaluate-every", "16", "--snapshot-every", "2"]
    return subprocess.Popen(
        [sys.executable, "-m", "mobilebert_common", *map(str, command), *steps, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # which a test in the background ignores
    )


def wait_for(found: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while not found() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)


def result(output: Path) -> tuple[str, ...]:
    report = json.loads((output / "report.json").read_text())
    weights = hashlib.sha256((output / "model.safetensors").read_bytes()).hexdigest()
    return weights, *(json.dumps(report[name]) for name in ("losses", "evaluations", "scores", "trials"))


SENT = {"pt": (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)}


@pytest.mark.parametrize("framework", SENT)
def test_signals_and_a_kill(framework: str, files: Path, tmp_path: Path) -> None:
    whole = start(files, tmp_path / "whole", framework)
    assert whole.communicate()[1] == "" and whole.returncode == 0
    output = tmp_path / "out"
    run = Run(output / "run", {})
    for signum in SENT[framework]:
        name = "" if signum == signal.SIGKILL else signum.name
        before, process = run.names()[:1], start(files, output, framework)
        wait_for(lambda before=before: run.names()[:1] != before, process)
        sent = time.monotonic()
        os.kill(process.pid, signum)
        process.wait()
        took, errors = time.monotonic() - sent, process.communicate()[1]
        if process.returncode == 0:  # it was faster
            break
        assert process.returncode == (128 + signum if name else -signum), errors
        if name:
            step = int(run.names()[0].split("-")[1])
            assert f"interrupted by {name}: {output}/run holds what was trained until step {step}, and the same command" in errors
            assert took < 20 and "Traceback" not in errors  # a busy machine; tests/hostile/survival.py measures two seconds
    last = start(files, output, framework)
    printed, errors = last.communicate()
    assert last.returncode == 0 and not errors and ("going on after step" in printed or "already" in printed)
    assert result(output) == result(tmp_path / "whole")
    assert [path.name for path in (output / "run").iterdir()] == ["finished"]


def test_a_student_goes_on_in_the_phase_in_which_a_signal_came(files: Path, tmp_path: Path) -> None:
    """At the end of the student alone, within a phase, and at the borders of phases."""
    files_of = [str(files / "teacher"), str(files / "data.csv"), "--student", str(files / "model")]
    sizes = ["--batch-size", "4", "--max-length", "12", "--max-steps", "12", "--evaluate-every", "4", "--snapshot-every", "100"]
    command = ["distill", *files_of, "--strategy", "progressive", "--share", "0.5", *sizes, "--output"]
    status, _, errors = mobilebert([*command, str(tmp_path / "whole")])
    assert status == 0, errors
    output, done = tmp_path / "out", 0
    for step in (12, 12 + 2, 12 + 3, 12 + 6):
        with signalled(step - done):
            status, _, errors = mobilebert([*command, str(output)])
        assert status == 143 and f"until step {(step - 1) % 12 + 1}, and the same command" in errors and "Traceback" not in errors
        done = step
    status, printed, errors = mobilebert([*command, str(output)])
    assert status == 0 and "going on after step 6 of 12" in printed and "distillation: steps 7 to 12" in printed, errors
    assert result(output) == result(tmp_path / "whole")
    report = json.loads((output / "report.json").read_text())
    assert report["phases"] == [["layer 1 of 2", 1, 3], ["layer 2 of 2", 4, 6], ["distillation", 7, 12]]
    assert [path.name for path in (output / "run").iterdir()] == ["finished"]

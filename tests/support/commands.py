"""`mobilebert train` on a few rows, in this process, with signals that arrive after a given step. Imports no framework."""

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mobilebert_common import processes
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.cli.main import main
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_common.training import run, trial

from .configs import CLASSIFIER, make_config, random_weights
from .training import TINY

TABLE = "mobilebert.embeddings.word_embeddings.weight"
WORDS = (("fine", "good"), ("odd", "bad"))
ROWS = [(f"the film was {word} {number % 7} {'so ' * (number % 5)}", label) for number in range(11) for word, label in WORDS]


def write_inputs(folder: Path) -> None:
    """Data, and a checkpoint without dropout."""
    lines = ["text,label", *(f"{text},{label}" for text, label in ROWS)]
    (folder / "data.csv").write_text("\n".join(lines[:-4]) + "\n")
    (folder / "held_out.csv").write_text("\n".join(["text,label", *lines[-4:]]) + "\n")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *["the", "film", "was", "fine", "odd", "so", "0", "1", "2", "3", "4", "5", "6"]]
    labels = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
    config = make_config(**{**TINY, "vocab_size": len(words), "max_position_embeddings": 16, "num_labels": 2, **labels})
    weights = random_weights(config, CLASSIFIER, 0)
    weights[TABLE][0] = 0
    checkpoint.save(folder / "start", config, CLASSIFIER, weights)
    MobileBertTokenizerFast(vocab=words).save_pretrained(folder / "start")


def arguments(folder: Path, output: str, *others: str, rates: tuple[str, ...] = ("0.003", "0.02")) -> list[str]:
    files = [str(folder / "data.csv"), "--validation", str(folder / "held_out.csv"), "--model", str(folder / "start")]
    sizes = ["--max-length", "16", "--batch-size", "5", "--epochs", "4", "--evaluate-every", "3", "--snapshot-every", "100"]
    tried = [option for rate in rates for option in ("--learning-rate", rate)]
    return ["train", *files, *sizes, *tried, "--output", str(folder / output), *others]


@contextlib.contextmanager
def replaced(place: Any, name: str, value: Any) -> Iterator[Any]:
    before = getattr(place, name)
    setattr(place, name, value)
    try:
        yield before
    finally:
        setattr(place, name, before)


@contextlib.contextmanager
def signalled(step: int, rank: int | None = None, signum: int = signal.SIGTERM) -> Iterator[None]:
    """Let a process, or all, get a signal after a number of steps of this block."""
    seen = [0]

    def watch(self: Any, *given: Any) -> bool:
        seen[0] += 1
        if seen[0] == step and rank in (None, processes.index()):
            os.kill(os.getpid(), signum)
        return called(self, *given)

    with replaced(trial.Watcher, "__call__", watch) as called:
        yield


def mobilebert(arguments: list[str]) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    with replaced(sys, "argv", ["mobilebert", *arguments]), replaced(sys, "stdout", out), replaced(sys, "stderr", err):
        try:
            main()
            status = 0
        except SystemExit as error:
            status = int(error.code or 0)
    return status, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    def fail(*given: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with replaced(run, "save_files", fail):
        yield


def numbers(found: Any) -> Iterator[float]:
    """All numbers in what JSON has."""
    if isinstance(found, dict | list):
        for each in found.values() if isinstance(found, dict) else found:
            yield from numbers(each)
    elif isinstance(found, int | float):
        yield found

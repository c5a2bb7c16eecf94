"""Trainings that are interrupted, with a framework that only pretends: they go on bit by bit, and nothing that is damaged is used."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.checkpoints import safetensors
from mobilebert_common.errors import ConfigError, DivergedError, Interrupted
from mobilebert_common.files import folder as folders
from mobilebert_common.interrupts import AGAIN, Interrupts, catching
from mobilebert_common.model.zoo import ZOO
from mobilebert_common.training import jobs, trial
from mobilebert_common.training import run as runs
from mobilebert_common.training.fine_tuning import Trained, fine_tune
from mobilebert_common.training.run import Run
from support.pretending import ROWS, SMALL, Heard, Learner, options

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COMMON = {"epochs": 2, "evaluate_every": 3, "snapshot_every": 2}  # 8 steps, evaluations after 3, 6 and 8


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(ZOO, "tiny", SMALL)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # nothing here outlives the machine
    before = [signal.getsignal(signum) for signum in SIGNALS]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background would ignore it
    yield
    for signum, handler in zip(SIGNALS, before, strict=True):
        signal.signal(signum, handler)


def train(output: Path | None, learner: Learner | None = None, told: list[Any] | None = None, **changes: Any) -> Trained:
    given = options(**{**COMMON, "output": output, **changes})
    return fine_tune(learner or Learner(), "Nothing", given, Heard([] if told is None else told))


class Stopping(Learner):
    """Calls something after a step: `after`, counted over all learning rates, before what watches it sees that step."""

    def __init__(self, after: int, call: Callable[[], Any]) -> None:
        super().__init__()
        self.after, self.call = after, call

    def train(self, model: Any, examples: Any, recipe: Any, watch: Any, state: Any = None, teacher: Any = None) -> None:
        def seen(done: int, loss: float, capture: Any) -> bool:
            self.after -= 1
            if self.after == 0:
                self.call()
            return bool(watch(done, loss, capture))

        super().train(model, examples, recipe, seen, state, teacher)


class Killed(BaseException):
    """As if the process were gone."""


def die() -> None:
    raise Killed


def send(signum: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), signum)


def result(output: Path) -> tuple[Any, ...]:
    """All that must be as in a run that nothing interrupted."""
    report = json.loads((output / "report.json").read_text())
    weights = hashlib.sha256((output / "model.safetensors").read_bytes()).hexdigest()
    compared = ("losses", "rates", "evaluations", "best_step", "stopped", "scores", "worst", "trials", "warnings")
    return weights, *(json.dumps(report[name]) for name in compared)


def clean(output: Path) -> bool:
    """Whether nothing is left of the work."""
    hidden = [path for path in output.rglob("*") if path.name.startswith(".")]
    return not hidden and [path.name for path in (output / "run").iterdir()] == ["finished"]


def snapshots(output: Path) -> list[str]:
    return Run(output / "run", {}).names()


VARIANTS: dict[str, dict[str, Any]] = {
    "one rate": {},
    "several rates": {"learning_rate": [1e-3, 2.0, 5e-3]},  # the second diverges in its fourth step
    "the best is over": {"learning_rate": [5e-3, 1e-4]},
    "patience": {"patience": 1, "evaluate_every": 1, "epochs": 3},
    "odd numbers": {"max_steps": 7, "evaluate_every": 5, "snapshot_every": 3},
    "no snapshots but those of evaluations": {"snapshot_every": None},
    "one step": {"max_steps": 1},
}


INTERRUPTIONS = [("SIGTERM", "several rates"), ("SIGTERM", "patience"), ("SIGINT", "odd numbers"), ("SIGHUP", "one rate")]


@pytest.mark.parametrize(("how", "variant"), [*(("kill", variant) for variant in VARIANTS), *INTERRUPTIONS])
def test_a_training_goes_on_bit_by_bit(how: str, variant: str, tmp_path: Path) -> None:
    changes = VARIANTS[variant]
    train(tmp_path / "whole", **changes)
    expected, output = result(tmp_path / "whole"), tmp_path / "out"
    for after in (2, 3, 1, 4):
        stop = die if how == "kill" else send(signal.Signals[how])
        try:
            train(output, Stopping(after, stop), **changes)
            break
        except Killed:
            pass
        except Interrupted as error:
            assert error.status == 128 + signal.Signals[how] and error.kept
            assert f"until step {int(snapshots(output)[0].split('-')[1]):,}, and the same command goes on" in str(error)
    else:
        train(output, **changes)
    assert result(output) == expected and clean(output)


@pytest.mark.parametrize("when", [1, 3, 5, 8])
def test_a_signal_keeps_exactly_the_step_it_reached(when: int, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match=f"interrupted by SIGTERM: .*out/run holds what was trained until step {when},"):
        train(tmp_path / "out", Stopping(when, send(signal.SIGTERM)), snapshot_every=None)
    assert snapshots(tmp_path / "out")[0] == f"1-{when:08d}"


def test_a_signal_in_an_evaluation(tmp_path: Path) -> None:
    """It ends at once, and is made when training goes on; of the last step as well."""
    train(tmp_path / "whole")
    output = tmp_path / "out"
    for step in (3, 6, 8):
        learner = Learner()
        learner.infer = lambda model, batches: [next(iter(batches)), send(signal.SIGINT)(), pytest.fail("went on")]  # type: ignore[method-assign]
        with pytest.raises(Interrupted, match=f"SIGINT.*until step {step},"):
            train(output, learner)
        if step < 8:
            with pytest.raises(Killed):  # after a snapshot that has the evaluation
                train(output, Stopping(2, die), snapshot_every=1)
    train(output)
    assert result(output) == result(tmp_path / "whole") and clean(output)


def interrupted(output: Path, after: int, **changes: Any) -> None:
    with pytest.raises(Killed):
        train(output, Stopping(after, die), **changes)


FILES = (
    *("state.json", "losses.safetensors", "exp_avg.safetensors", "exp_avg_sq.safetensors"),
    *("model.safetensors", "config.json", "vocab.txt", "manifest.json"),
)
DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "gone": lambda path: path.unlink(),
}


@pytest.fixture(scope="module")
def halfway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A training of eight steps, killed in the last one, and another that was not."""
    folder = tmp_path_factory.mktemp("halfway")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ZOO, "tiny", SMALL)
        train(folder / "whole")
        interrupted(folder / "out", 8)
    assert snapshots(folder / "out")[:2] == ["1-00000007", "1-00000005"]
    yield folder


DAMAGED = [*((file, "flipped") for file in FILES), *((file, how) for file in FILES[::7] + FILES[2:3] for how in ("cut", "empty", "gone"))]


@pytest.mark.parametrize(("file", "damage"), DAMAGED)
def test_the_snapshot_before_is_used(file: str, damage: str, halfway: Path, tmp_path: Path) -> None:
    output, told = tmp_path / "out", []
    shutil.copytree(halfway / "out", output)
    DAMAGES[damage](output / "run" / "1-00000007" / file)
    train(output, told=told)
    warnings = [line for line in told if "damaged" in str(line)]
    named = "state.json" if (file, damage) == ("manifest.json", "gone") else file
    assert len(warnings) == 1 and f"1-00000007/{named}: " in warnings[0] and "going on after step 5 of 8" in " ".join(map(str, told))
    assert result(output) == result(halfway / "whole") and clean(output)


def test_all_snapshots_are_damaged(halfway: Path, tmp_path: Path) -> None:
    output, told = tmp_path / "out", []
    shutil.copytree(halfway / "out", output)
    for name in snapshots(output):
        DAMAGES["flipped"](output / "run" / name / "model.safetensors")
    count = len(snapshots(output))
    with pytest.raises(ConfigError, match=f"run has {count} snapshots, and all are damaged; --resume never .* starts anew$"):
        train(output, told=told)
    assert len([line for line in told if "damaged" in str(line)]) == count
    train(output, resume="never")
    assert result(output) == result(halfway / "whole") and clean(output)


def test_the_best_weights_are_damaged(tmp_path: Path) -> None:
    """Those that an evaluation long ago was best with are kept, and the run cannot do without them."""
    changes = {"learning_rate": [5e-3, 1e-4], "snapshot_every": 1}
    train(tmp_path / "whole", **changes)
    output = tmp_path / "out"
    interrupted(output, 8 + 7, **changes)
    best = next(name for name in snapshots(output) if name.startswith("1-"))
    shutil.copytree(output, tmp_path / "copy")
    DAMAGES["flipped"](output / "run" / best / "model.safetensors")
    told: list[Any] = []
    with pytest.raises(ConfigError, match=r"all are damaged; --resume never"):
        train(output, told=told, **changes)
    assert all(f"{best}/model.safetensors" in line for line in told if "damaged" in str(line))
    train(tmp_path / "copy", **changes)
    assert result(tmp_path / "copy") == result(tmp_path / "whole")


CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "epochs": ({"epochs": 3}, "epochs is 3, not 2"),
    "steps": ({"max_steps": 9}, "max_steps is 9, not null"),
    "batch": ({"batch_size": 5}, "batch_size is 5, not 10"),
    "rate": ({"learning_rate": 1e-3}, r"learning rates is \[0.001\], not \[0.002\]"),
    "warm-up": ({"warmup": 0.5}, "warmup is 0.5, not 0.1"),
    "decay": ({"weight_decay": 0.0}, "weight_decay is 0.0, not 0.01"),
    "seed": ({"seed": 1}, "seed is 1, not 0"),
    "precision": ({"bf16": True}, "bf16 is true, not false"),
    "lora": ({"lora": 2}, "lora is 2, not null"),
    "class weights": ({"class_weights": "balanced"}, 'class_weights is "balanced", not null'),
    "evaluations": ({"evaluate_every": 2}, "evaluate_every is 2, not 3"),
    "patience": ({"patience": 2}, "patience is 2, not null"),
    "metric": ({"metric": "MCC"}, 'metric is "MCC", not null'),
    "length": ({"max_length": 7}, "max_length is 7, not 16"),
    "data": ({"data": [*ROWS, {"text": "new", "label": "good"}]}, "training data changed"),
    "validation data": ({"validation": ROWS[:4]}, "configuration: validation data changed; "),
    "limit": ({"limit": 30}, "training data changed"),
    "vocabulary": ({"vocabulary_size": 55}, "vocabulary changed"),
}
UNIMPORTANT: dict[str, Any] = {
    "parts": {"accumulation": 3},
    "memory": {"gradient_checkpointing": True},
    "snapshots": {"snapshot_every": 1},
    "command": {"command": "mobilebert train ..."},
}


@pytest.mark.parametrize("name", CHANGED)
def test_another_configuration_is_refused(name: str, halfway: Path) -> None:
    changes, message = CHANGED[name]
    before = snapshots(halfway / "out")
    with pytest.raises(ConfigError, match=f"run holds a run of another .*{message}.*--resume never .* starts anew"):
        train(halfway / "out", **changes)
    assert snapshots(halfway / "out") == before


@pytest.mark.parametrize("name", UNIMPORTANT)
def test_what_does_not_change_the_result_may_change(name: str, halfway: Path, tmp_path: Path) -> None:
    shutil.copytree(halfway / "out", tmp_path / "out")
    train(tmp_path / "out", **UNIMPORTANT[name])
    assert result(tmp_path / "out")[:2] == result(halfway / "whole")[:2]


def test_a_data_file_may_move(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in ROWS))
    train(tmp_path / "whole", data=file)
    interrupted(tmp_path / "out", 4, data=file)
    train(tmp_path / "out", data=file.rename(tmp_path / "moved.csv"))
    assert result(tmp_path / "out") == result(tmp_path / "whole")


def test_the_same_command_after_it_finished(tmp_path: Path) -> None:
    output, told, learner = tmp_path / "out", [], Learner()
    first = train(output)
    learner.train = lambda *arguments: pytest.fail("trained again")  # type: ignore[method-assign]
    learner.load = lambda *arguments, **options: first.model  # type: ignore[attr-defined]
    again = train(output, learner, told)
    assert again.scores.metrics == first.scores.metrics and f"{output} holds the model of this run already" in " ".join(map(str, told))
    with pytest.raises(ConfigError, match="already holds a checkpoint; --overwrite replaces it"):
        train(output, seed=1)
    with pytest.raises(ConfigError, match="already holds a checkpoint; --overwrite replaces it"):
        train(output, resume="never")
    before = result(output)
    train(output, seed=1, overwrite=True)
    assert result(output) != before and clean(output)
    train(output, overwrite=True)
    assert result(output) == before and clean(output)


def test_a_model_that_another_program_put_there_is_not_taken_for_the_trained_one(tmp_path: Path) -> None:
    train(tmp_path / "out")
    weights = tmp_path / "out" / "model.safetensors"
    archive = safetensors.open_file(weights)
    found = {name: array + 1 for name, array in archive.read(archive.entries).items()}
    folders.save_files(tmp_path / "out", {weights.name: lambda path: safetensors.write(path, found)})
    with pytest.raises(ConfigError, match="already holds a checkpoint"):
        train(tmp_path / "out")


def test_killed_while_it_removes_its_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is saved, and some of the snapshots are gone, those with the best weights among them."""
    output, learner = tmp_path / "out", Learner()
    saved = train(tmp_path / "whole").model
    with monkeypatch.context() as patch:
        patch.setattr(Run, "tidy", lambda self: die())
        with pytest.raises(Killed):
            train(output)
    shutil.rmtree(output / "run" / snapshots(output)[-1])
    for path in (output / "run").glob("1-*/model.safetensors"):
        path.unlink()
    learner.load = lambda *arguments, **options: saved  # type: ignore[attr-defined]
    learner.train = lambda *arguments: pytest.fail("trained again")  # type: ignore[method-assign]
    train(output, learner, overwrite=True)
    assert result(output) == result(tmp_path / "whole") and clean(output)


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    theirs = [tmp_path / "out" / "run" / name for name in ("events/a", "1-2/b", "notes.txt", "1-final/c")]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    train(tmp_path / "out")
    train(tmp_path / "out", overwrite=True, seed=1)
    with pytest.raises(DivergedError):
        train(tmp_path / "out", overwrite=True, learning_rate=2.0)
    assert all(path.read_text() == "x" for path in theirs)


def full(monkeypatch: pytest.MonkeyPatch, name: str, after: int) -> list[int]:
    """The disk is full for files of a name, after so many of them."""
    counts, write = [after], folders._write

    def failing(path: Path, content: Any, final: Path) -> None:
        counts[0] -= final.name == name
        if counts[0] < 0:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(final))
        write(path, content, final)

    monkeypatch.setattr(folders, "_write", failing)
    return counts


@pytest.mark.parametrize(("name", "after"), [("exp_avg.safetensors", 1), ("manifest.json", 2), ("state.json", 3), ("report.json", 0)])
def test_a_full_disk(name: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tmp_path / "whole")
    output = tmp_path / "out"
    train(output, seed=1)
    before = result(output)
    with monkeypatch.context() as patch:
        full(patch, name, after)
        what = "save the trained model" if name == "report.json" else "write a snapshot in .*"
        message = rf"No space left on device, so this run could not {what}; the snapshot before is intact: free some space, and"
        with pytest.raises(OSError, match=message):
            train(output, overwrite=True)
    if name != "report.json":
        assert result(output) == before
    assert not [path for path in output.rglob("*") if path.name.startswith(".")]
    train(output, overwrite=True)
    assert result(output) == result(tmp_path / "whole") and clean(output)


def test_two_at_once(tmp_path: Path) -> None:
    def second() -> None:
        code = f"import fcntl, os; fcntl.flock(os.open({str(tmp_path / 'out/run')!r}, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert "BlockingIOError" in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
        with pytest.raises(ConfigError, match=r"another process is training in .*out: wait for it, or choose another --output$"):
            train(tmp_path / "out")

    train(tmp_path / "out", Stopping(3, second))
    assert clean(tmp_path / "out")


def test_metrics_that_are_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = iter([np.nan, np.inf, -np.inf, np.nan] * 9)
    def evaluate(self: Any, *arguments: Any) -> Any:
        scores, predictions = real(self, *arguments)
        return replace(scores, metrics={"first": next(strange), **scores.metrics}), predictions

    real = jobs.Opened.evaluate
    monkeypatch.setattr(jobs.Opened, "evaluate", evaluate)
    train(tmp_path / "whole", evaluate_every=1)
    strange = iter([np.nan, np.inf, -np.inf, np.nan] * 9)
    interrupted(tmp_path / "out", 6, evaluate_every=1, snapshot_every=1)
    strange = iter(([np.nan, np.inf, -np.inf, np.nan] * 9)[5:])
    train(tmp_path / "out", evaluate_every=1)
    assert result(tmp_path / "out")[1:6] == result(tmp_path / "whole")[1:6]


def test_without_an_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt, match=r"^interrupted by SIGINT$"):
        train(None, Stopping(3, send(signal.SIGINT)))
    assert not list(tmp_path.iterdir()) and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread(tmp_path: Path) -> None:
    """No handler can be installed there; the main thread has its own, and what it holds is not touched."""
    seen: list[Any] = []

    def work() -> None:
        seen.append(train(tmp_path / "out", Stopping(2, lambda: seen.append(signal.getsignal(signal.SIGTERM)))))

    with catching() as interrupts, interrupts.held():
        handler = signal.getsignal(signal.SIGTERM)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupts.signum == signal.SIGTERM
    assert seen[0] == handler and isinstance(seen[1], Trained) and clean(tmp_path / "out")


def test_a_handler_of_the_users_own_is_back_afterwards(tmp_path: Path) -> None:
    calls: list[int] = []
    for signum in SIGNALS:
        signal.signal(signum, lambda signum, frame: calls.append(signum))
    train(tmp_path / "out")
    with pytest.raises(Interrupted):
        train(tmp_path / "other", Stopping(1, send(signal.SIGTERM)))
    for signum in SIGNALS:
        os.kill(os.getpid(), signum)
    assert calls == list(SIGNALS)


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """SIGHUP under nohup, SIGINT in a background job of a script."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    train(tmp_path / "out", Stopping(2, send(signal.SIGHUP)))
    assert clean(tmp_path / "out") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_signals_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    interrupts = Interrupts()
    with interrupts.held():
        interrupts.arrive(signal.SIGINT)
        interrupts.arrive(signal.SIGINT)  # launchers send it twice
        now[0] += AGAIN + 0.1
        interrupts.arrive(signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGINT"):
            interrupts.arrive(signal.SIGINT)
        with pytest.raises(Interrupted, match="SIGINT"), interrupts.held(False):
            pytest.fail("went on")
    interrupts = Interrupts()
    with pytest.raises(Interrupted, match="SIGTERM"):
        interrupts.arrive(signal.SIGTERM)
    interrupts.arrive(signal.SIGTERM)  # while the first one is dealt with
    with pytest.raises(Interrupted, match="SIGTERM"):
        interrupts.check()
    now[0] += AGAIN + 0.1
    with pytest.raises(Interrupted, match="SIGTERM"):
        interrupts.arrive(signal.SIGINT)


def test_snapshots_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SNAPSHOT_SECONDS", 0)
    interrupted(tmp_path / "out", 3, snapshot_every=None, evaluate_every=100)
    assert snapshots(tmp_path / "out") == ["1-00000002", "1-00000001"]
    assert len(snapshots(tmp_path / "out")) == runs.KEPT


def test_every_snapshot_that_stays_can_be_used(tmp_path: Path) -> None:
    """Those of a third learning rate refer to the best of the second, which itself refers to the best of the first."""
    longest = 0
    for after in range(17, 25):  # of 24 steps
        output = tmp_path / str(after)
        with pytest.raises(Interrupted):
            train(output, Stopping(after, send(signal.SIGTERM)), learning_rate=[0.002, 0.004, 0.008])
        run = Run(output / "run", {})
        assert [run.read(name) for name in run.names()]
        longest = max(longest, len(run.names()))
    assert runs.KEPT < longest < 3 * runs.KEPT

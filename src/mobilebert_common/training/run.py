"""A run: the folder in an output folder that training can go on from, with the same command, after it was interrupted.

Each snapshot is a checkpoint directory of its own, which opens in both frameworks, with what training needs besides the weights.
It is written whole or not at all, and read only where every file is the one that was written. Nothing in it depends on the
framework or the number of processes that wrote it.

    run/1-00000400/     of the first learning rate, after step 400; the newest two are kept, and those with the best weights
        config.json, model.safetensors, vocab.txt, …    a checkpoint
        exp_avg.safetensors, exp_avg_sq.safetensors     AdamW's moments, under the names of the weights
        adapters.safetensors                            LoRA adapters, if there are any
        losses.safetensors                              of each step, for each learning rate
        state.json                                      settings, evaluations, and what else training has come to
        manifest.json                                   the SHA-256 of all of these
    run/finished/       in place of the snapshots, once the model is saved

What else is in the folder is not ours, and stays.
"""

import contextlib
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoints import safetensors
from ..errors import CheckpointError, ConfigError, counted
from ..files.folder import Content, Folder, read_consistently, save_files
from .trial import Evaluation, Trial
from .twin import State

if sys.platform != "win32":
    import fcntl

FOLDER = "run"
FINISHED = "finished"
STATE_FILE = "state.json"
LOSSES_FILE = "losses.safetensors"
TENSORS = {  # the attributes of a State in files
    "weights": safetensors.WEIGHTS_FILE,
    "exp_avg": "exp_avg.safetensors",
    "exp_avg_sq": "exp_avg_sq.safetensors",
    "adapters": "adapters.safetensors",
}
OPTIONAL = {"adapters"}
NAME = re.compile(r"[1-9]\d*-\d{8,}")  # of a snapshot
REMOVED = ".removed-"  # begins the name of what is being removed
KEPT = 2  # the newest snapshots
MAX_STATE = 64 << 20  # bytes of state.json
FRESH = "--resume never (resume=\"never\" in Python) starts anew"


@dataclass(frozen=True)
class Snapshot:
    """What a snapshot holds.

    Attributes:
        trials: the last one is the one to go on with.
        state: of that one.
        best: {number of a trial: its best weights}, of the best trial that is over and of the last.
        seconds: of training so far.
        framework: that wrote it.
    """

    settings: Mapping[str, Any]
    trials: Sequence[Trial]
    state: State
    best: Mapping[int, Mapping[str, np.ndarray]]
    seconds: float
    framework: str


@dataclass(frozen=True)
class Run:
    """The snapshots of a training in an output folder.

    Attributes:
        path: of the folder.
        settings: all that decides the result.
    """

    path: Path
    settings: Mapping[str, Any]

    def names(self) -> list[str]:
        """The snapshots, the newest first."""
        return sorted((path.name for path in self._own() if NAME.fullmatch(path.name) and _is_there(path)), key=_order, reverse=True)

    def read_newest(self, say: Any) -> Snapshot | None:
        """The newest snapshot that is not damaged; None if there is none.

        Args:
            say: is told what is damaged.
        Raises:
            ConfigError: it is of other settings, or all are damaged.
        """
        names = self.names()
        for name in names:
            try:
                found = self.read(name)
            except CheckpointError as error:
                say(f"warning: a snapshot is damaged and not used: {error}")
                continue
            self.require_settings(found.settings)
            return found
        if names:
            raise ConfigError(f"{self.path} has {counted(len(names), 'snapshot')}, and all are damaged; {FRESH}")
        return None

    def read(self, name: str) -> Snapshot:
        """A snapshot, and the best weights that it refers to.

        Raises:
            CheckpointError: a file is not the one that was written.
        """
        content, state, losses = read_consistently(self.path / name, _read)
        with _understood(self.path / name / STATE_FILE):
            trials = [_trial(found, losses) for found in content["trials"]]
            best = {each.number: self._weights(each) for each in _referred(trials)}
            settings, seconds, framework = dict(content["settings"]), float(content["seconds"]), str(content["framework"])
        return Snapshot(settings, trials, state, best, seconds, framework)

    def _weights(self, trial: Trial) -> Mapping[str, np.ndarray]:
        """The best weights of a trial."""
        place = name_of(trial.number, trial.best_step)
        return read_consistently(self.path / place, lambda folder: _tensors(folder, TENSORS["weights"]))

    def write(self, trials: Sequence[Trial], state: State, checkpoint: Mapping[str, Content], seconds: float, framework: str) -> None:
        """Write a snapshot, and remove those that are not needed any more.

        Args:
            checkpoint: the files of the model and its tokenizer.
        Raises:
            OSError: the disk is full, or the folder cannot be written; the snapshots before it are intact.
        """
        found: dict[str, Content] = dict(checkpoint)
        for attribute, file in TENSORS.items():
            tensors = getattr(state, attribute)
            if attribute != "weights" and (tensors or attribute not in OPTIONAL):
                found[file] = lambda path, tensors=tensors: safetensors.write(path, tensors)  # type: ignore[misc]
        losses = {str(each.number): np.asarray(each.losses, np.float64) for each in trials}
        found[LOSSES_FILE] = lambda path: safetensors.write(path, losses)
        content = {
            "settings": self.settings,
            "trials": [_plain(each) for each in trials],
            "done": state.done,
            "scaler": dict(state.scaler),
            "seconds": seconds,
            "framework": framework,
        }
        found[STATE_FILE] = (json.dumps(content, indent=1) + "\n").encode()
        save_files(self.path / name_of(trials[-1].number, state.done), found)
        self.prune(trials)

    def prune(self, trials: Sequence[Trial] = ()) -> None:
        """Remove all that is neither one of the newest snapshots nor has the best weights of one that stays.

        One that stays for its weights can be used as a whole, too, so that it needs those that it refers to itself.
        """
        needed: set[str] = set()
        waiting = [*self.names()[:KEPT], *(name_of(each.number, each.best_step) for each in _referred(trials))]
        while waiting:
            if (name := waiting.pop()) in needed:
                continue
            needed.add(name)
            with contextlib.suppress(CheckpointError):
                folder = Folder.open(self.path / name)
                with _understood(self.path / name / STATE_FILE):
                    referred = _referred([_trial(found, {}) for found in _state(folder)["trials"]])
                waiting += [name_of(each.number, each.best_step) for each in referred]
        self._remove_others(needed)

    def kept(self) -> str:
        """What the newest snapshot is good for, in one sentence; empty if there is none."""
        if not (names := self.names()):
            return ""
        return f"{self.path} holds what was trained until step {_order(names[0])[1]:,}, and the same command goes on from there"

    def finish(self) -> None:
        """Mark the run as finished with the model that the output folder has, and remove its snapshots."""
        content = {"settings": self.settings, "saved": dict(Folder.open(self.path.parent).digests)}
        save_files(self.path / FINISHED, {STATE_FILE: (json.dumps(content, indent=1) + "\n").encode()})
        self.tidy()

    def tidy(self) -> None:
        """Remove the snapshots of a run that is finished."""
        self._remove_others({FINISHED})

    def discard(self) -> None:
        """Remove all snapshots."""
        self._remove_others(set())

    def remove(self) -> None:
        """Remove all snapshots, and the folder unless something else is in it."""
        self.discard()
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def _own(self) -> list[Path]:
        """The folders in it that a run wrote."""
        found = [(path.name.removeprefix(REMOVED), path) for path in self.path.iterdir()] if self.path.is_dir() else []
        return [path for name, path in found if path.is_dir() and (name == FINISHED or NAME.fullmatch(name))]

    def _remove_others(self, needed: set[str]) -> None:
        """Remove folders, each at once by renaming it: a kill must not leave half a snapshot, which would look damaged.

        The newest goes first, because the others do not refer to it.
        """
        for path in self._own():
            if path.name.startswith(REMOVED):
                shutil.rmtree(path, ignore_errors=True)
        for path in sorted(self._own(), key=lambda path: _order(path.name) if NAME.fullmatch(path.name) else (0, 0), reverse=True):
            if path.name not in needed:
                gone = path if path.name.startswith(REMOVED) else path.rename(path.with_name(f"{REMOVED}{path.name}"))
                shutil.rmtree(gone, ignore_errors=True)

    def is_finished(self) -> bool:
        """Whether the same training is finished, and its model is still in the output folder."""
        with contextlib.suppress(CheckpointError):
            folder, output = Folder.open(self.path / FINISHED), Folder.open(self.path.parent)
            if folder.digests:
                content = _state(folder)
                return content.get("settings") == self.settings and content.get("saved") == output.digests
        return False

    def require_settings(self, others: Mapping[str, Any]) -> None:
        """Refuse to go on with other settings than a snapshot has.

        Raises:
            ConfigError: they differ; the message says in what.
        """
        names = [name for name in {**self.settings, **others} if self.settings.get(name) != others.get(name)]
        if names:
            found = [_difference(name, self.settings.get(name), others.get(name)) for name in names]
            raise ConfigError(f"{self.path} holds a run of another configuration: {', '.join(found)}; {FRESH}, --output writes elsewhere")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder, so that no second training uses it.

        Raises:
            ConfigError: another process does.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            if sys.platform != "win32":
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    reason = f"another process is training in {self.path.parent}"
                    raise ConfigError(f"{reason}: wait for it, or choose another --output") from None
                except OSError:
                    pass  # a file system without locks
            yield
        finally:
            os.close(descriptor)


def name_of(trial: int, step: int) -> str:
    """The name of a snapshot."""
    return f"{trial}-{step:08d}"


def exists(output: Path) -> bool:
    """Whether there is a run in an output folder, finished or not."""
    found = Run(output / FOLDER, {})
    return bool(found.names()) or _is_there(found.path / FINISHED)


def _is_there(path: Path) -> bool:
    """Whether a folder that was saved has files, even if damaged; a save that was cut off left hidden ones only."""
    return path.is_dir() and any(not each.name.startswith(".") for each in path.iterdir())


def _order(name: str) -> tuple[int, int]:
    trial, step = name.split("-")
    return int(trial), int(step)


def _difference(name: str, value: Any, other: Any) -> str:
    """How a setting differs; what is known by a digest alone is only named."""
    if name.endswith(" (SHA-256)"):
        return f"{name.removesuffix(' (SHA-256)')} changed"
    return f"{name} is {json.dumps(value)}, not {json.dumps(other)}"


def _referred(trials: Sequence[Trial]) -> list[Trial]:
    """The trials whose best weights are still needed: the best one that is over, and the last. A student alone only gives its score."""
    over = [each for each in trials[:-1] if each.best_step and not each.failed and not each.alone]
    best = [max(over, key=lambda each: each.best_score)] if over else []
    return best + [each for each in trials[-1:] if each.best_step]


def _plain(trial: Trial) -> dict[str, Any]:
    """A trial without its losses, as JSON can hold it."""
    content = asdict(trial) | {"best_score": _plain_number(trial.best_score)}
    del content["losses"]
    plain = [{title: _plain_number(value) for title, value in each.metrics.items()} for each in trial.evaluations]
    content["evaluations"] = [[each.step, found, _plain_number(each.loss)] for each, found in zip(trial.evaluations, plain, strict=True)]
    return content


def _trial(content: Mapping[str, Any], losses: Mapping[str, np.ndarray]) -> Trial:
    """The inverse of _plain."""
    found = {**content, "losses": losses.get(str(content["number"]), np.zeros(0)).tolist()}
    found["best_score"] = float(content["best_score"])
    found["evaluations"] = [
        Evaluation(step, {title: float(value) for title, value in metrics.items()}, None if loss is None else float(loss))
        for step, metrics, loss in content["evaluations"]
    ]
    return Trial(**found)


def _plain_number(value: float | None) -> float | str | None:
    """A number as JSON can hold it: nan and the infinities as text."""
    return None if value is None else float(value) if math.isfinite(value) else str(float(value))


def _read(folder: Folder) -> tuple[dict[str, Any], State, dict[str, np.ndarray]]:
    """state.json, the tensors and the losses of a snapshot, of which every file must be the one that was saved."""
    content = _state(folder)
    for name in {*folder.digests} - {STATE_FILE, LOSSES_FILE, *TENSORS.values()}:
        with folder.saved(name).open(verify=True):
            pass
    arrays = {name: _tensors(folder, file) if _needs(folder, name) else {} for name, file in TENSORS.items()}
    with _understood(folder.path / STATE_FILE):
        state = State(done=int(content["done"]), scaler=dict(content["scaler"]), **arrays)
    return content, state, _tensors(folder, LOSSES_FILE)


def _needs(folder: Folder, attribute: str) -> bool:
    return attribute not in OPTIONAL or TENSORS[attribute] in folder.digests


def _tensors(folder: Folder, file: str) -> dict[str, np.ndarray]:
    archive = safetensors.open_file(folder.saved(file))
    return archive.read(archive.entries)


def _state(folder: Folder) -> dict[str, Any]:
    return folder.saved_json(STATE_FILE, MAX_STATE)


@contextlib.contextmanager
def _understood(path: Path) -> Iterator[None]:
    """Turn what reading an unexpected content raises into a CheckpointError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(path, f"does not describe a training ({type(error).__name__}: {error})") from None


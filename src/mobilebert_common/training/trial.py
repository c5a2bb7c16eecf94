"""One training at one learning rate: what was measured on the way, and what watches it step by step."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .. import processes
from ..errors import Interrupted
from ..interrupts import Interrupts
from ..tasks.base import Predictions
from ..tasks.metrics import Scores
from .progress import Progress
from .transfer import Phase
from .twin import Capture, State, Twin

SNAPSHOT_SECONDS = 300  # from one snapshot to the next


class Evaluation(NamedTuple):
    """The metrics after a step, and the mean loss where the task has losses."""

    step: int
    metrics: Mapping[str, float]
    loss: float | None


@dataclass
class Trial:
    """What a training has come to; a snapshot holds all of it.

    Attributes:
        number: of the learning rate, from 1.
        every: steps between evaluations.
        patience: end after so many evaluations that were not better than the best; None to go on.
        alone: whether a student learns without its teacher, to compare.
        first: the step at which labels begin to count; before it there are no evaluations.
        losses: of each step that is done.
        best_step: the one after which the evaluation was best; 0 before the first.
        best_score: of that evaluation.
        stopped: why training ended before its last step.
        failed: whether a loss was not finite, so that its weights are not to be used.
    """

    number: int
    rate: float
    steps: int
    every: int
    patience: int | None
    alone: bool = False
    first: int = 0
    losses: list[float] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    best_step: int = 0
    best_score: float = -math.inf
    stopped: str = ""
    failed: bool = False

    @property
    def done(self) -> int:
        """The number of steps that are done."""
        return len(self.losses)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""
        return bool(self.stopped) or (self.done == self.steps and not self.is_due)

    @property
    def is_due(self) -> bool:
        """Whether the model is to be evaluated now."""
        evaluated = bool(self.evaluations) and self.evaluations[-1].step == self.done
        return self.done > self.first and not evaluated and (self.done % self.every == 0 or self.done == self.steps)

    def add(self, metrics: Mapping[str, float], loss: float | None, score: float) -> bool:
        """Add an evaluation after the last step; returns whether it is the best."""
        self.evaluations.append(Evaluation(self.done, metrics, loss))
        if not self.best_step or score > self.best_score:
            self.best_step, self.best_score = self.done, score
            return True
        since = sum(each.step > self.best_step for each in self.evaluations)
        if self.patience is not None and since >= self.patience and self.done != self.steps:
            best = f"step {self.best_step:,}"
            self.stopped = f"after step {self.done:,}, because {since} evaluations were no better than that after {best}"
        return False


@dataclass
class Best:
    """The best weights of a trial, {canonical name: array}, and their evaluation, unless an earlier process made it."""

    weights: Mapping[str, np.ndarray]
    scores: Scores | None = None
    predictions: Predictions | None = None


@dataclass
class Watcher:
    """What `Twin.train` calls after each step: evaluates where that is due, keeps the best weights, takes snapshots, obeys signals.

    Attributes:
        evaluate: what it measures; calls `check` between batches.
        keep: writes a snapshot of what it is given and returns what was saved, in one sentence; None to write none.
        snapshot_every: steps between snapshots; None for SNAPSHOT_SECONDS.
        phases: of the training, to tell the user where the next one begins.
    """

    trial: Trial
    twin: Twin
    model: Any
    evaluate: Callable[[Callable[[], None]], tuple[Scores, Predictions]]
    keep: Callable[[State], str] | None
    snapshot_every: int | None
    interrupts: Interrupts
    progress: Progress
    phases: Sequence[Phase] = ()
    best: Best | None = None
    kept_step: int = 0
    kept_at: float = field(default_factory=time.monotonic)

    def __call__(self, done: int, loss: float, capture: Capture) -> bool:
        self.trial.losses.append(loss)
        self.progress.step(done, loss)
        self.announce(done)
        improved = False
        with contextlib.suppress(Interrupted):  # the evaluation is made when training goes on
            improved = self.catch_up()
        signum, late = self.twin.largest([self.interrupts.signum, self.is_late(done)])
        kept = ""
        if self.keep is not None and (improved or late or signum or self.trial.is_over):
            kept = self.keep(capture())
            self.kept_step, self.kept_at = done, time.monotonic()
        if signum:
            self.interrupts.note(int(signum))
            raise Interrupted(int(signum), kept)
        return self.trial.is_over

    def announce(self, done: int) -> None:
        """Tell of the phase that begins after so many steps, if there are several."""
        if len(self.phases) > 1 and (found := [phase for phase in self.phases if phase.start == done]):
            self.progress.phase(*found)

    def catch_up(self) -> bool:
        """Evaluate the model if that is due; returns whether it is the best so far.

        Raises:
            Interrupted: by a signal; nothing has changed.
        """
        if not self.trial.is_due:
            return False
        with self.interrupts.held(processes.count() > 1):  # several must stop at the same batch
            scores, predictions = self.evaluate(self.check)
        score = next(iter(scores.metrics.values()))
        score = self.twin.largest([-math.inf if math.isnan(score) else score])[0]  # all processes decide alike
        loss = float(np.mean(predictions.losses)) if predictions.losses else None
        improved = self.trial.add(scores.metrics, loss, score)
        self.progress.evaluated(self.trial.done, scores.metrics)
        if improved:
            self.best = Best({name: array.copy() for name, array in self.twin.tensors(self.model).items()}, scores, predictions)
        return improved

    def is_late(self, done: int) -> bool:
        """Whether it is time for a snapshot."""
        if self.snapshot_every is None:
            return time.monotonic() - self.kept_at >= SNAPSHOT_SECONDS
        return done - self.kept_step >= self.snapshot_every

    def check(self) -> None:
        """Raise Interrupted if a signal reached any of the processes."""
        stop_together(self.twin, self.interrupts)


def stop_together(twin: Twin, interrupts: Interrupts) -> None:
    """Raise Interrupted if a signal reached any of the processes, which all call this."""
    if signum := twin.largest([interrupts.signum])[0]:
        interrupts.note(int(signum))
        raise Interrupted(int(signum))


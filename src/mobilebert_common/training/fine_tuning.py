"""Fine-tune a model for a task: train at one learning rate or several, keep the best weights, save and report.

With an output folder, training can be interrupted at any time and goes on with the same command: see run.py.
"""

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from .. import processes
from ..errors import ConfigError, DivergedError, Interrupted, counted
from ..files.folder import save_files
from ..interrupts import Interrupts, catching
from ..tasks.metrics import Scores
from . import jobs, run
from .plan import Plan
from .preparation import Options, Prepared, digest, notices, prepare, refuse_overwriting
from .progress import Progress, Silence
from .report import REPORT_FILE, write_report, write_tensorboard
from .run import Run, Snapshot
from .summary import make_report
from .transfer import phase_of
from .trial import Best, Trial, Watcher, stop_together
from .twin import State, Twin

T = TypeVar("T")


@dataclass(frozen=True)
class Trained:
    """A trained model; `model, scores = train(...)` unpacks it.

    Attributes:
        model: of the framework's class for the task.
        scores: on the validation data.
        opened: evaluates and predicts.
        report: what the report shows.
    """

    model: Any
    scores: Scores
    opened: jobs.Opened
    report: dict[str, Any]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.model, self.scores))


@dataclass
class Work:
    """A training while it goes on.

    Attributes:
        trials: of each learning rate, as far as they have come.
        run: where snapshots go; None to take none.
        before: seconds of training before an interruption.
        snapshots: seconds that each one took.
    """

    twin: Twin
    framework: str
    options: Options
    ready: Prepared
    progress: Progress
    interrupts: Interrupts
    run: Run | None
    trials: list[Trial] = field(default_factory=list)
    before: float = 0.0
    started: float = field(default_factory=time.monotonic)
    snapshots: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Of training so far."""
        return self.before + time.monotonic() - self.started

    def train(self, number: int, model: Any, resumed: Snapshot | None, teacher: Any) -> Best | None:
        """Make one attempt, or go on with it; returns the best weights."""
        ready, plan = self.ready, Plan(self.ready.examples.lengths, self.ready.recipe)
        attempt = ready.attempts[number - 1]
        phases = ready.phases(attempt, plan.steps)
        if resumed is None:
            every, first = self.options.evaluate_every or plan.steps_per_epoch, phases[-1].start
            self.trials.append(Trial(number, attempt.rate, plan.steps, every, self.options.patience, attempt.alone, first))
        trial = self.trials[-1]
        self.progress.begin(trial.steps, self.title(number), trial.done)
        watcher = Watcher(
            trial=trial,
            twin=self.twin,
            model=model,
            evaluate=lambda check: ready.opened(self.twin, model, check).evaluate(ready.held_out, ready.held_examples),
            keep=None if self.run is None else lambda state: self.keep(model, state),
            snapshot_every=self.options.snapshot_every,
            interrupts=self.interrupts,
            progress=self.progress,
            phases=phases,
            kept_step=trial.done,
        )
        if len(phases) > 1 and not trial.is_over:
            self.progress.phase(phase_of(phases, trial.done))
        state = None
        if resumed is not None:
            state = resumed.state
            self.twin.set_tensors(model, state.weights)
            watcher.best = Best(resumed.best[number]) if number in resumed.best else None
            watcher.catch_up()
        if not trial.is_over:
            with self.interrupts.held():
                self.twin.train(model, ready.examples, ready.recipe_of(attempt), watcher, state, None if attempt.alone else teacher)
        return watcher.best

    def title(self, number: int) -> str:
        """What to call an attempt while it goes on."""
        attempt, several = self.ready.attempts[number - 1], len(self.ready.rates) > 1
        return ("alone " if attempt.alone else "") + (f"{number}: {attempt.rate:g}" if several else "training")

    def keep(self, model: Any, state: State) -> str:
        """Write a snapshot; returns what was saved, in one sentence."""
        assert self.run is not None
        began, where = time.monotonic(), self.run.path
        write = functools.partial(self.run.write, self.trials, state, seconds=self.seconds, framework=self.framework)
        self.alone(lambda: write(jobs.contents(self.ready.begin, model, state.weights)), f"write a snapshot in {where}")
        self.snapshots.append(time.monotonic() - began)
        return self.run.kept()

    def check(self) -> None:
        """Raise Interrupted if a signal reached any of the processes."""
        stop_together(self.twin, self.interrupts)

    def alone(self, do: Callable[[], T], what: str) -> T | None:
        """Do something in one of the processes, for all of them; they fail together, or the others would wait for it.

        Raises:
            ConfigError: in the other processes.
        """
        result, failure = None, None
        if processes.is_main():
            try:
                result = do()
            except Exception as error:
                failure = error
        failed = self.twin.largest([failure is not None])[0]
        if isinstance(failure, OSError) and failure.errno:
            before = "; the snapshot before is intact: free some space, and the same command goes on from there"
            hint = before if self.run is not None and self.run.names() else ""
            raise OSError(failure.errno, f"{failure.strerror}, so this run could not {what}{hint}", failure.filename)
        if failure is not None:
            raise failure
        if failed:
            raise ConfigError(f"the first process could not {what}")
        return result


def fine_tune(twin: Twin, framework: str, options: Options, progress: Progress | None = None) -> Trained:
    """Fine-tune a model, and return it with its scores on the validation data.

    Args:
        framework: its title, for the report.
    Raises:
        ConfigError: options contradict each other, or are impossible, or `output` holds a run of another configuration.
        DataError: the data cannot be used; the message gives the file and the line.
        CheckpointError: the checkpoint is unusable.
        DivergedError: the loss is no longer finite; the weights of the step before are saved if there is an `output`.
        Interrupted: by SIGINT, SIGTERM or SIGHUP; a snapshot in `output` has all that was trained.
        OSError: the disk is full, or `output` cannot be written; the last snapshot is intact.
    """
    progress = Silence() if progress is None or not processes.is_main() else progress
    with catching() as interrupts, contextlib.ExitStack() as stack:
        ready = prepare(options)
        stack.enter_context(twin.devices(options.devices))
        stack.enter_context(interrupts.held(processes.count() > 1))  # from here on, several processes stop together, by `check`
        require_equal_settings(twin, ready.settings)
        found = None if options.output is None else Run(Path(options.output) / run.FOLDER, ready.settings)
        work = Work(twin, framework, options, ready, progress, interrupts, found)
        for line in notices(ready, framework):
            progress.say(line)
        if found is not None:
            begin = functools.partial(_begin, found, options, stack)
            finished = work.alone(begin, f"use {found.path}")
            if twin.largest([bool(finished)])[0]:
                return _finished(work)
        try:
            return _fine_tune(work)
        except Interrupted as error:
            raise error if error.kept or found is None else Interrupted(error.signum, found.kept()) from None


def require_equal_settings(twin: Twin, settings: Mapping[str, Any]) -> None:
    """Require all processes to do the same training.

    Raises:
        ConfigError: in all of them; the message says in what they differ.
    """
    numbers = [int(digest(value)[:12], 16) for value in settings.values()]  # 48 bits, which are exact in float64
    largest = twin.largest([*numbers, *(-number for number in numbers)])
    differing = [name for name, high, low in zip(settings, largest, largest[len(numbers) :], strict=False) if high != -low]
    if differing:
        names = ", ".join(name.removesuffix(" (SHA-256)") for name in differing)
        raise ConfigError(f"the processes differ in {names}: give all of them the same files and options, and the same versions")


def _begin(found: Run, options: Options, stack: contextlib.ExitStack) -> bool:
    """Take hold of the run's folder; returns whether the same training is finished there already."""
    stack.enter_context(found.alone())
    if options.resume == "never":
        found.discard()
    names = found.names()
    if found.is_finished() and (names or not options.overwrite):  # names: it was killed while it removed its snapshots
        found.tidy()
        return True
    if names:
        return False
    refuse_overwriting(found.path.parent, options.overwrite)
    found.discard()
    return False


def _resumed(work: Work) -> Snapshot | None:
    """The snapshot to go on from, the same in all processes, if there is one."""
    if work.run is None:
        return None
    found = work.alone(functools.partial(work.run.read_newest, work.progress.say), f"go on with {work.run.path}")
    trial, step = work.twin.largest([0, 0] if found is None else [found.trials[-1].number, found.state.done])
    return work.run.read(run.name_of(int(trial), int(step))) if step and found is None else found


def _fine_tune(work: Work) -> Trained:
    """Make each attempt, and finish with the best."""
    twin, ready, progress = work.twin, work.ready, work.progress
    resumed = _resumed(work)
    bests: dict[int, Best] = {}
    if resumed is not None:
        work.trials, work.before = list(resumed.trials), resumed.seconds
        bests = {number: Best(weights) for number, weights in resumed.best.items()}
        step = f"step {resumed.state.done:,} of {work.trials[-1].steps:,}"
        progress.say(f"going on after {step}, from a snapshot written in {resumed.framework}")
    model, teacher = None, None if ready.teacher is None else ready.teacher.load(twin)
    for number in range(max(1, len(work.trials)), len(ready.attempts) + 1):
        work.check()
        going_on = resumed if number == len(work.trials) else None
        model = ready.make(ready.attempts[number - 1], twin, work.options.seed)
        try:
            best = work.train(number, model, going_on, teacher)
        except DivergedError as error:
            if len(ready.attempts) == 1:
                raise _kept(work, model, error) from None
            work.trials[-1].failed = True
            progress.say(f"{'the student alone, ' if work.trials[-1].alone else ''}learning rate {work.trials[-1].rate:g}: {error}")
            continue
        if best is not None:
            bests[number] = best
    finished = [trial for trial in work.trials if trial.number in bests and not (trial.failed or trial.alone)]
    if not finished:
        tried = ", ".join(f"{rate:g}" for rate in ready.rates)
        raise ConfigError(f"the loss does not stay finite at any of the learning rates {tried}")
    kept = max(finished, key=lambda trial: trial.best_score)
    return _finish(work, model, kept, bests[kept.number])


def _finish(work: Work, model: Any, kept: Trial, best: Best) -> Trained:
    """Save the best model, write the report, and say what there is to say."""
    twin, ready, options, progress = work.twin, work.ready, work.options, work.progress
    twin.set_tensors(model, best.weights)
    opened = ready.opened(twin, model)
    if best.scores is None or best.predictions is None:  # they were there before an interruption
        best.scores, best.predictions = replace(opened, check=work.check).evaluate(ready.held_out, ready.held_examples)
    report = make_report(
        work.framework, ready, kept, (best.scores, best.predictions), work.trials, options, work.seconds, work.snapshots
    )
    with work.interrupts.held():
        work.interrupts.check()
        work.alone(functools.partial(_write, work, model, best, report), "save the trained model")
    if len(ready.rates) > 1:
        progress.say(f"learning rate {kept.rate:g} is best, and its model is kept")
    if (gain := report["gain"]) is not None:
        progress.say(f"{gain['metric']} {gain['taught']:.3f} with the teacher, {gain['alone']:.3f} without")
    if kept.stopped:
        progress.say(f"training ended {kept.stopped}")
    if seconds := sum(work.snapshots):
        share = f"{seconds / max(work.seconds, 1e-9):.1%} of the time"
        progress.say(f"{counted(len(work.snapshots), 'snapshot')} took {seconds:.1f} s, {share}")
    for line in report["warnings"]:
        progress.say(f"warning: {line}")
    return Trained(model, best.scores, opened, report)


def _write(work: Work, model: Any, best: Best, report: dict[str, Any]) -> None:
    """Write the model and the report, and finish the run."""
    if work.options.output is not None:
        save_files(Path(work.options.output), jobs.contents(work.ready.begin, model, best.weights))
        write_report(Path(work.options.output), report)
    if work.options.tensorboard is not None:
        write_tensorboard(Path(work.options.tensorboard), report)
    if work.run is not None:
        work.run.finish()


def _finished(work: Work) -> Trained:
    """What the same training came to that is finished already."""
    output, ready = Path(str(work.options.output)), work.ready
    report: dict[str, Any] = {"scores": {}, "warnings": []}
    with contextlib.suppress(OSError, ValueError):
        report |= json.loads((output / REPORT_FILE).read_text())
    work.progress.say(f"{output} holds the model of this run already; --overwrite trains it again")
    opened = jobs.Opened.open(work.twin, output, ready.begin.setup.task.name)
    scores, _ = replace(opened, check=work.check).evaluate(ready.held_out, ready.held_examples)
    return Trained(opened.model, scores, opened, report)


def _kept(work: Work, model: Any, error: DivergedError) -> DivergedError:
    """Save the weights of the step before the loss was no longer finite, and say so in the error."""
    output, weights = work.options.output, work.twin.tensors(model)

    def keep() -> None:
        if output is not None and error.step > 1:
            with contextlib.suppress(ConfigError):
                save_files(Path(output), jobs.contents(work.ready.begin, model, weights))
                error.args = (f"{error}; {output} has the weights after step {error.step - 1:,}",)
        if work.run is not None:
            work.run.remove()  # it would come to the same

    work.alone(keep, f"save the weights from before that in {output}")
    return error

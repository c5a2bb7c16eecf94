"""Fine-tune a model for a task: read the data, train at one learning rate or several, keep the best weights, save and report."""

import contextlib
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, DivergedError, counted
from ..files.folder import CONFIG_FILE
from ..model.architectures import ARCHITECTURES
from ..model.config import MobileBertConfig
from ..model.schema import expand
from ..tasks.base import Data, Lengths, Predictions, Task
from ..tasks.examples import Examples
from ..tasks.metrics import Scores
from ..tasks.records import UTF8
from ..tasks.tables import Columns
from ..tasks.task import Setup, guess, new_setup
from . import jobs
from .plan import Plan
from .progress import Progress, Silence
from .recipe import Recipe, is_whole, require_number
from .report import environment, write_report, write_tensorboard
from .twin import Twin

RATE = 0.6  # the default learning rate is this over hidden_size and over num_hidden_layers: 5e-5 for the full model
MAX_RATE = 2e-3
WORST = 20  # examples in a report
FEW = 10  # steps whose losses say little of where they go
BALANCED = "balanced"


@dataclass(frozen=True, kw_only=True)
class Options:
    """All that a training is told.

    Attributes:
        model: a name from the zoo for fresh weights, a checkpoint directory, owner/name on the hub, or a model of this package.
        tokenizer: of a model that is given as such.
        task: a name in tasks.task.TASKS, or GLUE's name of one of its tasks; None to guess it from the data.
        data: a file, a pandas DataFrame, a dataset of the library `datasets`, columns or rows.
        validation: likewise; None to hold out a part of the training data.
        validation_fraction: the part to hold out.
        limit, validation_limit: use no more examples than this, drawn by the seed.
        text, text_pair, label, choices, header: names of columns, see tasks.tables.Columns.
        label_style: likewise.
        documents: what ends a document of a text file, likewise.
        encoding: of data files.
        max_length, stride: in tokens, see tasks.base.Lengths; None for the task's own.
        whole_words, dupes: for pre-training, likewise.
        metric: the one that chooses the best weights; None for the task's first.
        output: the checkpoint directory to write, with report.html and report.json; None to write nothing.
        overwrite: replace a checkpoint in that directory.
        vocabulary: a vocab.txt for fresh weights; None to learn a vocabulary of vocabulary_size from the training texts.
        learning_rate: the peak; of several, the one whose model is best is kept; None for `default_rate`.
        epochs, max_steps, batch_size, accumulation, warmup, weight_decay, bf16, gradient_checkpointing, lora: see Recipe.
        class_weights: a weight of the loss for each label, or "balanced" for weights inverse to the labels' frequencies.
        evaluate_every: steps between evaluations; None for an epoch.
        patience: end after so many evaluations that were not better than the best; None to go on.
        tensorboard: a folder for event files.
        seed: for fresh weights, dropout, the order of examples, limits and the split.
        command: the command line, for the report.
    """

    model: Any = "mobilebert-mini"
    tokenizer: Any = None
    task: str | None = None
    data: Any
    validation: Any = None
    validation_fraction: float = 0.1
    limit: int | None = None
    validation_limit: int | None = None
    text: str | None = None
    text_pair: str | tuple[()] | None = None
    label: str | tuple[str, ...] | None = None
    choices: tuple[str, ...] | None = None
    header: tuple[str, ...] | None = None
    label_style: str | None = None
    documents: str | None = None
    encoding: str = UTF8
    max_length: int | None = None
    stride: int | None = None
    whole_words: bool | None = None
    dupes: int | None = None
    metric: str | None = None
    output: str | Path | None = None
    overwrite: bool = False
    vocabulary: str | Path | None = None
    vocabulary_size: int = 8000
    learning_rate: float | Sequence[float] | None = None
    epochs: int = 3
    max_steps: int | None = None
    batch_size: int = 32
    accumulation: int = 1
    warmup: float = 0.1
    weight_decay: float = 0.01
    bf16: bool = False
    gradient_checkpointing: bool = False
    lora: int | None = None
    class_weights: str | Mapping[str, float] | None = None
    evaluate_every: int | None = None
    patience: int | None = None
    tensorboard: str | Path | None = None
    seed: int = 0
    command: str = ""

    @property
    def columns(self) -> Columns:
        """The columns that are named."""
        given = {each.name: getattr(self, each.name) for each in fields(Columns)}
        columns: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        return Columns(**columns)

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates to try; none for the default."""
        if self.learning_rate is None:
            return ()
        given: Any = self.learning_rate
        rates: tuple[Any, ...] = (given,) if isinstance(given, Real | str) else tuple(given)  # a text is refused later
        return rates


@dataclass
class Trial:
    """One training: what was measured on the way, and the best weights so far. It is the `watch` of `Twin.train`.

    Attributes:
        every: steps between evaluations.
        patience: see Options.
        best: the step with the best evaluation, the scores and the weights.
    """

    rate: float
    steps: int
    every: int
    patience: int | None
    evaluate: Callable[[], tuple[Scores, Predictions]]
    snapshot: Callable[[], Any]
    progress: Progress
    losses: list[tuple[int, float]] = field(default_factory=list)
    evaluations: list[tuple[int, Scores, float | None]] = field(default_factory=list)  # with the mean loss
    best: tuple[int, Scores, Predictions, Any] | None = None
    stopped: str = ""

    def __call__(self, done: int, loss: float) -> bool:
        self.losses.append((done, loss))
        self.progress.step(done, loss)
        if done % self.every and done != self.steps:
            return False
        scores, predictions = self.evaluate()
        self.evaluations.append((done, scores, float(np.mean(predictions.losses)) if predictions.losses else None))
        self.progress.evaluated(done, scores.metrics)
        if self.best is None or first(scores) > first(self.best[1]):
            self.best = done, scores, predictions, self.snapshot()
        elif self.patience is not None and done != self.steps:
            since = sum(step > self.best[0] for step, *_ in self.evaluations)
            if since >= self.patience:
                self.stopped = f"after step {done:,}, because {since} evaluations were no better than that after step {self.best[0]:,}"
        return bool(self.stopped)

    @property
    def score(self) -> float:
        """The best evaluation; minus infinity if there is none."""
        return -math.inf if self.best is None else first(self.best[1])


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


@dataclass(frozen=True)
class Prepared:
    """Data and a starting point that have been checked, so that training can begin."""

    begin: jobs.Start
    training: Data
    held_out: Data
    examples: Examples
    held_examples: Examples
    recipe: Recipe
    rates: tuple[float, ...]

    def opened(self, twin: Twin, model: Any) -> jobs.Opened:
        """What evaluates and predicts with a model."""
        return jobs.Opened(replace(self.begin.setup, remembered=True), twin, model, self.begin.tokenizer)


def first(scores: Scores) -> float:
    """The metric that chooses the best model."""
    return next(iter(scores.metrics.values()))


def default_rate(config: MobileBertConfig) -> float:
    """The learning rate for a model: RATE / (hidden_size * num_hidden_layers), at most MAX_RATE.

    That is 5e-5 for the full model, as in Google's grid, and 1.2e-3 for mobilebert-mini, which barely learns at 5e-5.
    """
    return min(RATE / (config.hidden_size * config.num_hidden_layers), MAX_RATE)


def fine_tune(twin: Twin, framework: str, options: Options, progress: Progress | None = None) -> Trained:
    """Fine-tune a model, and return it with its scores on the validation data.

    Args:
        framework: its title, for the report.
    Raises:
        ConfigError: options contradict each other, or are impossible.
        DataError: the data cannot be used; the message gives the file and the line.
        CheckpointError: the checkpoint is unusable.
        DivergedError: the loss is no longer finite; the weights of the step before are saved if there is an `output`.
    """
    progress = Silence() if progress is None else progress
    ready = prepare(options)
    for line in notices(ready, _name(options.model), framework):
        progress.say(line)
    started = time.monotonic()
    trials: list[Trial] = []
    kept: tuple[Trial, Any] | None = None
    for number, rate in enumerate(ready.rates, 1):
        title = "training" if len(ready.rates) == 1 else f"{number}: {rate:g}"
        progress.begin(Plan(ready.examples.lengths, ready.recipe).steps, title)
        model = ready.begin.make(twin, options.seed)
        trial = _trial(twin, ready, model, rate, options, progress)
        trials.append(trial)
        try:
            twin.train(model, ready.examples, replace(ready.recipe, learning_rate=rate), trial)
        except DivergedError as error:
            if len(ready.rates) == 1:
                raise _kept(twin, model, ready.begin, options.output, error) from None
            progress.say(f"learning rate {rate:g}: {error}")
            continue
        if trial.best is not None:
            twin.restore(model, trial.best[3])
        if kept is None or trial.score > kept[0].score:
            kept = trial, model
    if kept is None:
        tried = ", ".join(f"{rate:g}" for rate in ready.rates)
        raise ConfigError(f"the loss does not stay finite at any of the learning rates {tried}")
    trained = _finish(twin, framework, ready, *kept, trials, options, time.monotonic() - started)
    if len(ready.rates) > 1:
        progress.say(f"learning rate {kept[0].rate:g} is best, and its model is kept")
    if kept[0].stopped:
        progress.say(f"training ended {kept[0].stopped}")
    for line in trained.report["warnings"]:
        progress.say(f"warning: {line}")
    return trained


def prepare(options: Options) -> Prepared:
    """Read and check everything before training.

    Raises:
        ConfigError, DataError, CheckpointError: see `fine_tune`.
    """
    output = None if options.output is None else Path(options.output)
    if output is not None:
        refuse_overwriting(output, options.overwrite)
    check_numbers(options)
    setup, data = _setup(options)
    if options.class_weights is not None and not setup.task.has_classes:
        raise ConfigError(f"class_weights are for labels that are one class of several, not for {setup.task.name}")
    training = setup.read(data, options.encoding)
    setup = replace(setup, columns=training.columns)
    if options.validation is None:
        training, held_out = setup.task.split(training, options.validation_fraction, options.seed)
    else:
        held_out = setup.read(options.validation, options.encoding)
    training = sample(training, options.limit, options.seed)
    held_out = sample(held_out, options.validation_limit, options.seed)
    vocabulary = None if options.vocabulary is None else Path(options.vocabulary)
    if isinstance(options.model, str | Path):
        begin = jobs.start(setup, str(options.model), training, vocabulary, options.vocabulary_size)
    else:
        begin = jobs.start_with(setup, options.model, options.tokenizer, training)
        if len(options.rates) > 1:
            raise ConfigError("several learning rates need a model's name or directory, to start from more than once")
    if setup.metric not in (None, *(titles := setup.task.titles(begin.config))):
        raise ConfigError(f"metric must be one of {', '.join(titles)}, not {setup.metric!r:.80}")
    examples, held_examples = begin.examples(training).trainable(), begin.examples(held_out)
    if not len(examples):
        reasons = ", ".join(f"{len(found):,} {reason}" for reason, found in examples.dropped.items())
        raise DataError(f"{training.path}: no example can be trained on: {reasons}")
    rates = options.rates or (default_rate(begin.config),)
    weights = class_weights(options.class_weights, begin.config, examples)
    same = {each.name for each in fields(Recipe)} & {each.name for each in fields(Options)} - {"learning_rate", "class_weights"}
    recipe = Recipe(learning_rate=rates[0], class_weights=weights, **{name: getattr(options, name) for name in same})
    if output is not None:
        claim(output, begin.config, setup.task.architecture)
    labels = ARCHITECTURES[setup.task.architecture].labels
    return Prepared(begin, training, held_out, examples, held_examples.without(labels), recipe, rates)


def check_numbers(options: Options) -> None:
    """Require the numbers that matter before there is a Recipe.

    Raises:
        ConfigError: one is out of range, or no number.
    """
    for name in ("limit", "validation_limit", "evaluate_every", "patience", "max_length"):
        if (number := getattr(options, name)) is not None:
            require_number(name, number, is_whole, "a whole number from 1")
    for rate in options.rates:
        require_number("the learning rate", rate, lambda value: 0 < value < math.inf, "above 0 and finite")
    if options.learning_rate is not None and not options.rates:
        raise ConfigError("learning_rate is empty: leave it out for the default")
    require_number("validation_fraction", options.validation_fraction, lambda value: 0 < value < 1, "between 0 and 1")
    require_number("seed", options.seed, lambda value: 0 <= value < 1 << 32 and value.is_integer(), "a whole number from 0 below 2**32")


def _setup(options: Options) -> tuple[Setup, Any]:
    """The setup of the task that is named or guessed, and the data as far as they were read to guess it."""
    name, data = (options.task, options.data) if options.task is not None else guess(options.data, options.columns, options.encoding)
    given = {each.name: getattr(options, each.name) for each in fields(Lengths) if hasattr(options, each.name)}
    setup = new_setup(name).with_columns(options.columns).with_lengths(**given)
    return replace(setup, metric=options.metric or setup.metric), data


def sample(data: Any, limit: int | None, seed: int) -> Any:
    """At most `limit` examples, drawn by the seed, in their order."""
    if limit is None or limit >= len(data):
        return data
    return data.take(np.sort(np.random.default_rng(seed).permutation(len(data))[:limit]).tolist())


def class_weights(wanted: str | Mapping[str, float] | None, config: MobileBertConfig, examples: Examples) -> tuple[float, ...] | None:
    """The weight of each class in the loss.

    Args:
        wanted: {label: weight}, or "balanced": a class of n of N examples weighs N / (n * classes).
    Raises:
        ConfigError: a label is unknown or has no weight.
    """
    if wanted is None:
        return None
    names = [config.id2label[number] for number in sorted(config.id2label)]
    if isinstance(wanted, Mapping):
        given = {str(label): weight for label, weight in wanted.items()}  # labels may be numbers
        if set(given) != set(names):
            raise ConfigError(f"class_weights must have a weight for each of {', '.join(names)}, not for {', '.join(given)}")
        return tuple(given[name] for name in names)
    if wanted != BALANCED:
        raise ConfigError(f"class_weights must be {BALANCED!r} or a weight for each label, not {wanted!r}")
    labels = np.concatenate([np.ravel(label) for label in examples.columns.get("labels", ())] or [np.zeros(0)])
    counts = np.bincount(labels[labels >= 0], minlength=len(names))
    return tuple(float(labels[labels >= 0].size / (count * len(names))) if count else 0.0 for count in counts)


def _trial(twin: Twin, ready: Prepared, model: Any, rate: float, options: Options, progress: Progress) -> Trial:
    """The watch of one training."""
    plan, opened = Plan(ready.examples.lengths, ready.recipe), ready.opened(twin, model)
    return Trial(
        rate=rate,
        steps=plan.steps,
        every=options.evaluate_every or plan.steps_per_epoch,
        patience=options.patience,
        evaluate=lambda: opened.evaluate(ready.held_out, ready.held_examples),
        snapshot=lambda: twin.snapshot(model),
        progress=progress,
    )


def _kept(twin: Twin, model: Any, begin: jobs.Start, output: str | Path | None, error: DivergedError) -> DivergedError:
    """Save the weights of the step before the loss was no longer finite, and say so in the error."""
    if output is not None and error.step > 1:
        with contextlib.suppress(ConfigError):
            jobs.save(twin, model, begin, Path(output))
            error.args = (f"{error}; {output} has the weights after step {error.step - 1:,}",)
    return error


def _finish(
    twin: Twin, framework: str, ready: Prepared, trial: Trial, model: Any, trials: Sequence[Trial], options: Options, seconds: float
) -> Trained:
    """Save the model and write the report."""
    if trial.best is None:
        raise ConfigError("training ended without an evaluation")
    scores = trial.best[1]
    report = make_report(framework, ready, trial, trials, options, seconds)
    if options.output is not None:
        jobs.save(twin, model, ready.begin, Path(options.output))
        write_report(Path(options.output), report)
    if options.tensorboard is not None:
        write_tensorboard(Path(options.tensorboard), report)
    return Trained(model, scores, ready.opened(twin, model), report)


def notices(ready: Prepared, model: str, framework: str) -> list[str]:
    """What to tell before training."""
    setup, config = ready.begin.setup, ready.begin.config
    given = {role: (name,) if isinstance(name, str) else name for role, name in asdict(setup.columns).items() if name and role != "header"}
    columns = [f"{role} {', '.join(map(repr, found))}" for role, found in given.items()]
    lines = [ready.begin.notice] if ready.begin.notice else []
    lines.append(f"task {setup.task.name}{': ' if columns else ''}{', '.join(columns)}")
    rates = ", ".join(f"{rate:g}" for rate in ready.rates)
    lines.append(
        f"{counted(len(ready.training), setup.task.unit)} to train on, {len(ready.held_out):,} to validate; "
        f"{'fresh ' if ready.begin.fresh else ''}{model} in {framework}, learning rate {rates}"
    )
    for title, examples in (("training", ready.examples), ("validation", ready.held_examples)):
        lines += left_out(setup.task, setup.lengths, examples, title)
    counts = setup.task.label_counts(ready.training)
    lines += [f"label {label!r} has one example only" for label in config.id2label.values() if counts[label] == 1]
    return lines


def left_out(task: Task, lengths: Lengths, examples: Examples, title: str = "") -> list[str]:
    """What the model does not see of data: lines on examples that are cut, and on those that are dropped."""
    noun = f"{title} {task.unit}".strip()
    lines = [f"{counted(len(examples.truncated), noun)} cut: {task.cut(lengths)}"] if examples.truncated else []
    gone = {reason: len(set(found).difference(examples.sources)) for reason, found in examples.dropped.items()}
    return lines + [f"{counted(count, noun)} dropped: {reason}" for reason, count in gone.items() if count]


def make_report(
    framework: str, ready: Prepared, trial: Trial, trials: Sequence[Trial], options: Options, seconds: float
) -> dict[str, Any]:
    """What report.json has; see report.py."""
    assert trial.best is not None
    step, scores, predictions, _ = trial.best  # the weights
    setup, task, recipe = ready.begin.setup, ready.begin.setup.task, replace(ready.recipe, learning_rate=trial.rate)
    done = sum(len(each.losses) for each in trials)
    rows = done * len(ready.examples) / Plan(ready.examples.lengths, recipe).steps_per_epoch  # the last step of an epoch may be smaller
    return {
        "title": f"{task.name}: {ready.training.path.name}",
        "task": task.name,
        "model": _name(options.model),
        "framework": framework,
        "command": options.command,
        "data": {
            "training": _described(task, ready.training, ready.examples),
            "validation": _described(task, ready.held_out, ready.held_examples),
            "truncated": {"training": len(ready.examples.truncated), "validation": len(ready.held_examples.truncated)},
            "dropped": {reason: len(found) for reason, found in ready.examples.dropped.items()},
            "max_length": setup.lengths.max_length,
            "cut": task.cut(setup.lengths),
            "unit": task.unit,
        },
        "settings": {
            **asdict(recipe),
            **asdict(setup.columns),
            **asdict(setup.lengths),
            "patience": options.patience,
            "evaluate_every": trial.every,
        },
        "environment": environment(),
        "losses": [list(pair) for pair in trial.losses],
        "rates": [[number + 1, recipe.rate(number, trial.steps)] for number in range(len(trial.losses))],
        "evaluations": [{"step": number, "metrics": found.metrics, "loss": mean} for number, found, mean in trial.evaluations],
        "best_step": step,
        "stopped": trial.stopped,
        "scores": scores.to_json(),
        "worst": worst(task, ready.held_out, predictions),
        "warnings": warnings_of(trial, scores),
        "trials": [
            {"learning_rate": each.rate, "metric": None if each.best is None else each.score, "kept": each is trial} for each in trials
        ],
        "seconds": seconds,
        "examples_per_second": rows / max(seconds, 1e-9),
        "steps_per_second": done / max(seconds, 1e-9),
        "saved": None if options.output is None else str(options.output),
    }


def _described(task: Task, data: Data, examples: Examples) -> dict[str, Any]:
    """The size of a data source, and how often it has each label."""
    counts = task.label_counts(data)
    return {"path": str(data.path), "examples": len(data), "rows": len(examples), "labels": dict(counts.most_common())}


def worst(task: Any, data: Data, predictions: Predictions) -> list[dict[str, Any]]:
    """The examples on which the model is farthest from the label; documents have none, but a score of their own."""
    if predictions.losses is None:
        return []
    order = np.argsort(predictions.losses, kind="stable")[::-1][:WORST].tolist()
    texts, labels = task.shown(data), next(iter(task.labels(data).values()), data.labels)
    title = next(iter(predictions.columns))
    return [
        {
            "text": texts[row],
            "label": None if labels is None else _joined(labels[row]),
            "prediction": f"{title} {predictions.columns[title][row]}" if labels is None else str(predictions.columns[title][row]),
            "loss": float(predictions.losses[row]),
        }
        for row in order
    ]


def _joined(label: Any) -> str:
    """A label, or a list of them, as text; tags are written as predictions are."""
    return ", ".join(map(str, label)) if type(label) in (list, tuple) else str(label)


def warnings_of(trial: Trial, scores: Scores) -> list[str]:
    """What the user should know of a training that ended."""
    found = []
    losses = [loss for _, loss in trial.losses]
    count = max(1, len(losses) // 10)
    before, after = float(np.mean(losses[:count])), float(np.mean(losses[-count:]))
    if len(losses) >= FEW and after > 1.25 * before:  # a loss that stays where it was shows in the metrics
        found.append(f"the loss rose from {before:.3g} to {after:.3g}: try a smaller learning rate than {trial.rate:g}")
    title = next(iter(scores.metrics))
    if title in scores.baseline and not scores.metrics[title] > scores.baseline[title]:
        found.append(
            f"{title} {scores.metrics[title]:.3f} is no better than {scores.baseline[title]:.3f} for {scores.baseline_name}: "
            "train longer, or try other learning rates"
        )
    return found


def refuse_overwriting(output: Path, overwrite: bool) -> None:
    """Refuse to replace a checkpoint without `overwrite`, or a file.

    Raises:
        ConfigError: the folder holds a checkpoint, or is a file.
    """
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is not a folder: choose another one with --output")
    if (output / CONFIG_FILE).exists() and not overwrite:
        raise ConfigError(f"{output} already holds a checkpoint; --overwrite replaces it, --output writes elsewhere")


def claim(output: Path, config: MobileBertConfig | None = None, architecture: str = "") -> None:
    """Create the output folder before the long work starts.

    Args:
        config, architecture: of the model to be written there.
    Raises:
        ConfigError: the folder cannot be created, is not writable, or has no room for the model.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{output} cannot be created ({error.strerror}): choose another folder with --output") from None
    if not os.access(output, os.W_OK):
        raise ConfigError(f"{output} is not writable: choose another folder with --output")
    if config is None:
        return
    size = 4 * sum(math.prod(tensor.shape) for tensor in expand(config, architecture).values()) + (1 << 22)  # and 4 MB of other files
    if (free := shutil.disk_usage(output).free) < size:
        room = f"{free / 1e6:,.0f} MB free, but the model takes {size / 1e6:,.0f} MB"
        raise ConfigError(f"{output} has {room}: choose another folder with --output")


def _name(model: Any) -> str:
    return str(model) if isinstance(model, str | Path) else type(model).__name__

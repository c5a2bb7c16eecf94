"""What a training is told, and what must be in order before it begins: options, data, starting point, room for the result."""

import hashlib
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import processes
from ..errors import ConfigError, DataError, counted
from ..files.folder import CONFIG_FILE
from ..model.architectures import ARCHITECTURES
from ..model.config import MobileBertConfig
from ..model.schema import expand
from ..model.zoo import ZOO
from ..tasks.base import Data, Lengths, Task
from ..tasks.examples import Examples
from ..tasks.records import UTF8
from ..tasks.tables import Columns
from ..tasks.task import Setup, guess, new_setup
from . import jobs, run
from .plan import Plan
from .recipe import ADAMW, Recipe, is_whole, require_number
from .teaching import Teacher
from .transfer import STRATEGIES, Phase, Transfer, phases
from .twin import Twin

RATE = 0.6  # the default learning rate is this over hidden_size and over num_hidden_layers: 5e-5 for the full model
MAX_RATE = 2e-3
RATES = {jobs.PRETRAINED: 1e-3}  # where measurements say otherwise: docs/mobilebert-small-uncased.md
BALANCED = "balanced"
MOST_SNAPSHOTS = run.KEPT + 2  # those that are kept, the one with the best weights, and the one that is being written
RESUME = ("auto", "never")
TRANSFER = ("form", "share", "alpha", "temperature", "factors")  # options that are values of a Transfer
LATER = ", and later ones)"


@dataclass(frozen=True, kw_only=True)
class Options:
    """All that a training is told.

    Attributes:
        model: a name from the zoo for fresh weights, the name of a model that comes with this package, a checkpoint directory,
            owner/name on the hub, or a model of this package's classes; None for the one that jobs.choose names.
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
        epochs, max_steps, batch_size, accumulation, warmup, weight_decay, optimizer, bf16, gradient_checkpointing, lora: see Recipe.
        teacher: a checkpoint directory or owner/name on the hub of a model for the same task, to learn from; None to train without.
            The student takes its tokenizer, its labels and, where none are given, its columns and lengths.
        strategy: a name in transfer.STRATEGIES; None for "progressive" in pre-training, and for tasks the first that fits of "joint", for
            fresh weights only, "auxiliary" and "soft-labels".
        form, share, alpha, temperature, factors: see transfer.Transfer.
        alone: train the student without the teacher first, so that the report has what the teacher gains; None to do so for tasks,
            but not for pre-training.
        class_weights: a weight of the loss for each label, or "balanced" for weights inverse to the labels' frequencies.
        evaluate_every: steps between evaluations; None for an epoch.
        patience: end after so many evaluations that were not better than the best; None to go on.
        tensorboard: a folder for event files.
        resume: "auto" goes on where the same training in `output` was interrupted, "never" starts anew.
        snapshot_every: steps between the snapshots in `output`; None for five minutes. One is taken after every evaluation
            that was better than those before, too.
        devices: of this machine, in Keras; PyTorch takes one process for each, which a launcher starts.
        seed: for fresh weights, dropout, the order of examples, limits and the split.
        command: the command line, for the report.
    """

    model: Any = None
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
    vocabulary_size: int | None = None
    learning_rate: float | Sequence[float] | None = None
    epochs: int = 3
    max_steps: int | None = None
    batch_size: int = 32
    accumulation: int = 1
    warmup: float = 0.1
    weight_decay: float = 0.01
    optimizer: str = ADAMW
    bf16: bool = False
    gradient_checkpointing: bool = False
    lora: int | None = None
    teacher: str | Path | None = None
    strategy: str | None = None
    form: str = Transfer.form
    share: float = Transfer.share
    alpha: float = Transfer.alpha
    temperature: float = Transfer.temperature
    factors: Mapping[str, float] = field(default_factory=dict)
    alone: bool | None = None
    class_weights: str | Mapping[str, float] | None = None
    evaluate_every: int | None = None
    patience: int | None = None
    tensorboard: str | Path | None = None
    resume: str = "auto"
    snapshot_every: int | None = None
    devices: int | None = None
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


class Attempt(NamedTuple):
    """One training of several: at a learning rate, with the teacher or, to compare, alone."""

    rate: float
    alone: bool = False


@dataclass(frozen=True)
class Prepared:
    """Data and a starting point that have been checked, so that training can begin.

    Attributes:
        recipe: of all attempts but for their learning rates, and for the transfer of those that are alone.
        settings: all that decides the result, as JSON can hold it.
    """

    begin: jobs.Start
    training: Data
    held_out: Data
    examples: Examples
    held_examples: Examples
    recipe: Recipe
    attempts: tuple[Attempt, ...]
    settings: Mapping[str, Any]
    teacher: Teacher | None = None

    def make(self, attempt: Attempt, twin: Twin, seed: int) -> Any:
        """The model that an attempt begins with."""
        model, transfer = self.begin.make(twin, seed), self.recipe_of(attempt).transfer
        if self.teacher is not None and transfer is not None and STRATEGIES[transfer.strategy].copied:
            self.teacher.give(twin, model)
        return model

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates to try."""
        return tuple(dict.fromkeys(each.rate for each in self.attempts))

    def recipe_of(self, attempt: Attempt) -> Recipe:
        """The recipe of an attempt."""
        return replace(self.recipe, learning_rate=attempt.rate, transfer=None if attempt.alone else self.recipe.transfer)

    def phases(self, attempt: Attempt, steps: int) -> tuple[Phase, ...]:
        """The phases of an attempt."""
        teacher = None if self.teacher is None or attempt.alone else self.teacher.config
        return phases(self.recipe_of(attempt), steps, self.begin.config, teacher)

    def opened(self, twin: Twin, model: Any, check: Callable[[], None] = lambda: None) -> jobs.Opened:
        """What evaluates and predicts with a model."""
        return jobs.Opened(replace(self.begin.setup, remembered=True), twin, model, self.begin.tokenizer, check)


def default_rate(config: MobileBertConfig) -> float:
    """The learning rate for a model: RATE / (hidden_size * num_hidden_layers), at most MAX_RATE.

    That is 5e-5 for the full model, as in Google's grid, and 1.2e-3 for mobilebert-mini, which barely learns at 5e-5.
    """
    return min(RATE / (config.hidden_size * config.num_hidden_layers), MAX_RATE)


def prepare(options: Options) -> Prepared:
    """Read and check everything before training.

    Raises:
        ConfigError, DataError, CheckpointError: see `fine_tune`.
    """
    output = None if options.output is None else Path(options.output)
    if options.resume not in RESUME:
        raise ConfigError(f"resume must be {' or '.join(RESUME)}, not {options.resume!r:.80}")
    if output is not None and (options.resume == "never" or not run.exists(output)):
        refuse_overwriting(output, options.overwrite)
    check_numbers(options)
    check_teaching(options)
    teacher = None if options.teacher is None else Teacher.open(options.teacher, options.task)
    setup, data = _setup(options, teacher)
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
    begin = _start(options, teacher, setup, training)
    transfer = None if teacher is None else teacher.transfer(begin, options.strategy, **_transfer(options))
    if setup.metric not in (None, *(titles := setup.task.titles(begin.config))):
        raise ConfigError(f"metric must be one of {', '.join(titles)}, not {setup.metric!r:.80}")
    examples, held_examples = begin.examples(training).trainable(), begin.examples(held_out)
    if not len(examples):
        reasons = ", ".join(f"{len(found):,} {reason}" for reason, found in examples.dropped.items())
        raise DataError(f"{training.path}: no example can be trained on: {reasons}")
    rates = options.rates or (RATES.get(begin.name) or default_rate(begin.config),)
    attempts = _attempts(options, teacher, rates)
    weights = class_weights(options.class_weights, begin.config, examples)
    same = {each.name for each in fields(Recipe)} & {each.name for each in fields(Options)} - {"learning_rate", "class_weights", "transfer"}
    recipe = Recipe(learning_rate=rates[0], class_weights=weights, transfer=transfer, **{name: getattr(options, name) for name in same})
    phases(recipe, Plan(examples.lengths, recipe).steps, begin.config, None if teacher is None else teacher.config)
    if output is not None:
        claim(output, begin.config, setup.task.architecture)
    settings: dict[str, Any] = {}
    if output is not None or processes.count() > 1:
        settings = _settings(options, begin, rates, {"training data": examples, "validation data": held_examples})
        if teacher is not None and transfer is not None:
            settings |= _plainly({**asdict(transfer), "alone": len(attempts) > len(rates), "teacher (SHA-256)": teacher.digest})
    labels = ARCHITECTURES[setup.task.architecture].labels
    return Prepared(begin, training, held_out, examples, held_examples.without(labels), recipe, attempts, settings, teacher)


def _start(options: Options, teacher: Teacher | None, setup: Setup, training: Data) -> jobs.Start:
    """The starting point: a student, a model that is named, or one that is there already."""
    if teacher is not None:
        return teacher.start(setup, options.model, options.tokenizer, training)
    if options.model is None or isinstance(options.model, str | Path):
        model = None if options.model is None else str(options.model)
        vocabulary = None if options.vocabulary is None else Path(options.vocabulary)
        return jobs.start(setup, model, training, vocabulary, options.vocabulary_size)
    return jobs.start_with(setup, options.model, options.tokenizer, training)


def _attempts(options: Options, teacher: Teacher | None, rates: Sequence[float]) -> tuple[Attempt, ...]:
    """All attempts, those of a student alone first.

    Raises:
        ConfigError: there are several, but the model is there already.
    """
    alone = teacher is not None and (not teacher.is_pretrained if options.alone is None else options.alone)
    if (len(rates) > 1 or alone) and not (options.model is None or isinstance(options.model, str | Path)):
        what = "several learning rates need" if len(rates) > 1 else "to train the student alone, too, as without alone=False, needs"
        raise ConfigError(f"{what} a model's name or directory, to start from more than once")
    return tuple(Attempt(rate, is_alone) for is_alone in ((True, False) if alone else (False,)) for rate in rates)


def _transfer(options: Options) -> dict[str, Any]:
    """The values of a Transfer among the options."""
    return {name: getattr(options, name) for name in TRANSFER}


def check_numbers(options: Options) -> None:
    """Require the numbers that matter before there is a Recipe.

    Raises:
        ConfigError: one is out of range, or no number.
    """
    for name in ("limit", "validation_limit", "vocabulary_size", "evaluate_every", "patience", "max_length", "snapshot_every", "devices"):
        if (number := getattr(options, name)) is not None:
            require_number(name, number, is_whole, "a whole number from 1")
    for rate in options.rates:
        require_number("the learning rate", rate, lambda value: 0 < value < math.inf, "above 0 and finite")
    if options.learning_rate is not None and not options.rates:
        raise ConfigError("learning_rate is empty: leave it out for the default")
    require_number("validation_fraction", options.validation_fraction, lambda value: 0 < value < 1, "between 0 and 1")
    require_number("seed", options.seed, lambda value: 0 <= value < 1 << 32 and value.is_integer(), "a whole number from 0 below 2**32")


def check_teaching(options: Options) -> None:
    """Require what belongs to a teacher to be there with one, and only then.

    Raises:
        ConfigError: it is not, or a value is out of range.
    """
    if options.teacher is None:
        defaults = Options(data=None)
        if given := [name for name in ("strategy", "alone", *TRANSFER) if getattr(options, name) != getattr(defaults, name)]:
            raise ConfigError(f"without a teacher, there must be no {', '.join(given)}")
        return
    if options.model is None:
        raise ConfigError(f"name the student: a checkpoint, or, for fresh weights, {', '.join(ZOO)}")
    if given := [name for name in ("vocabulary", "vocabulary_size") if getattr(options, name) is not None]:
        raise ConfigError(f"a student has its teacher's vocabulary: leave out {', '.join(given)}")
    Transfer("soft-labels" if options.strategy is None else options.strategy, **_transfer(options))


def _settings(options: Options, begin: jobs.Start, rates: Sequence[float], data: Mapping[str, Examples]) -> dict[str, Any]:
    """All that decides the result of a training but the framework and the devices, for a run to be compared with another.

    What would be long is there as its SHA-256.
    """
    names = (
        *("epochs", "max_steps", "batch_size", "warmup", "weight_decay", "bf16", "lora", "class_weights"),
        *("evaluate_every", "patience", "metric", "seed"),
    )
    config = begin.config.replace(**begin.setup.settings(), architectures=[begin.setup.task.architecture], dtype="float32")
    digests = {name: examples.digest() for name, examples in data.items()}
    digests |= {"configuration": digest(config.to_dict()), "vocabulary": digest(begin.tokenizer.get_vocab())}
    settings = {
        "task": begin.setup.task.name,
        "model": begin.name,
        "learning rates": list(rates),
        **asdict(begin.setup.lengths),
        **{name: getattr(options, name) for name in names},
        **{f"{name} (SHA-256)": found for name, found in digests.items()},
    }
    if options.optimizer != ADAMW:  # a run without a choice goes on
        settings["optimizer"] = options.optimizer
    return _plainly(settings)


def _plainly(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them when they are read back."""
    plain: dict[str, Any] = json.loads(json.dumps(settings, default=_plain))
    return plain


def digest(value: Any) -> str:
    """The SHA-256 of a value as JSON."""
    return hashlib.sha256(json.dumps(value, default=_plain, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """What JSON cannot hold, as something it can."""
    return dict(value) if isinstance(value, Mapping) else str(value)


def _setup(options: Options, teacher: Teacher | None) -> tuple[Setup, Any]:
    """The setup of the task that is named, guessed or the teacher's, and the data as far as they were read to guess it."""
    data = options.data
    if teacher is not None:
        setup = teacher.setup
    elif options.task is not None:
        setup = new_setup(options.task)
    else:
        name, data = guess(options.data, options.columns, options.encoding)
        setup = new_setup(name)
    given = {each.name: getattr(options, each.name) for each in fields(Lengths) if hasattr(options, each.name)}
    setup = setup.with_columns(options.columns).with_lengths(**given)
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


def notices(ready: Prepared, framework: str) -> list[str]:
    """What to tell before training."""
    setup, config = ready.begin.setup, ready.begin.config
    given = {role: (name,) if isinstance(name, str) else name for role, name in asdict(setup.columns).items() if name and role != "header"}
    columns = [f"{role} {', '.join(map(repr, found))}" for role, found in given.items()]
    lines = [ready.begin.notice] if ready.begin.notice else []
    lines.append(f"task {setup.task.name}{': ' if columns else ''}{', '.join(columns)}")
    rates = ", ".join(f"{rate:g}" for rate in ready.rates)
    if ready.teacher is not None and ready.recipe.transfer is not None:
        lines.append(f"teacher {ready.teacher.name}, {ready.recipe.transfer.strategy}")
    lines.append(
        f"{counted(len(ready.training), setup.task.unit)} to train on, {len(ready.held_out):,} to validate; "
        f"{'fresh ' if ready.begin.fresh else ''}{ready.begin.name} in {framework}, learning rate {rates}"
    )
    for title, examples in (("training", ready.examples), ("validation", ready.held_examples)):
        lines += left_out(setup.task, setup.lengths, examples, title)
    counts = setup.task.label_counts(ready.training)
    lines += [f"label {label!r} has one example only" for label in config.id2label.values() if counts[label] == 1]
    return lines


@dataclass
class LeftOut:
    """What the model does not see of data, window by window.

    Attributes:
        cut: the number of examples that are cut.
        gone: {reason: the number of examples that are dropped}.
    """

    cut: int = 0
    gone: Counter[str] = field(default_factory=Counter)

    def add(self, examples: Examples) -> None:
        """Count those of a window."""
        self.cut += len(examples.truncated)
        self.gone.update({reason: len(set(found).difference(examples.sources)) for reason, found in examples.dropped.items()})

    def lines(self, task: Task, lengths: Lengths, title: str = "") -> list[str]:
        """For the user. A reason has the places of the first window in which it is found."""
        noun, by_reason = f"{title} {task.unit}".strip(), dict[str, tuple[str, int]]()
        for reason, count in self.gone.items():
            first, before = by_reason.get(short := reason.partition(" (")[0], (reason, 0))
            if reason != first and not first.endswith(LATER):
                first = first.removesuffix(")") + LATER
            by_reason[short] = first, before + count
        lines = [f"{counted(self.cut, noun)} cut: {task.cut(lengths)}"] if self.cut else []
        return lines + [f"{counted(count, noun)} dropped: {reason}" for reason, count in by_reason.values() if count]


def left_out(task: Task, lengths: Lengths, examples: Examples, title: str = "") -> list[str]:
    """What the model does not see of data: lines on examples that are cut, and on those that are dropped."""
    found = LeftOut()
    found.add(examples)
    return found.lines(task, lengths, title)


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
        ConfigError: the folder cannot be created, is not writable, or has no room for the model and its snapshots.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{output} cannot be created ({error.strerror}): choose another folder with --output") from None
    if not os.access(output, os.W_OK):
        raise ConfigError(f"{output} is not writable: choose another folder with --output")
    if config is None:
        return
    weights = 4 * sum(math.prod(tensor.shape) for tensor in expand(config, architecture).values())
    snapshots = 0 if run.exists(output) else MOST_SNAPSHOTS * 3 * weights  # each with two moments
    size = weights + snapshots + (1 << 22)  # and 4 MB of other files
    if (free := shutil.disk_usage(output).free) < size:
        room = f"{free / 1e6:,.0f} MB free, but the model takes {size / 1e6:,.0f} MB with its snapshots"
        raise ConfigError(f"{output} has {room}: choose another folder with --output")

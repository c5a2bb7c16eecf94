"""The commands `train`, `evaluate` and `predict`, built on training/preparation.py and training/jobs.py."""

import dataclasses
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import ConfigError, counted, printable
from ..files.hub import BUNDLED
from ..frameworks import FRAMEWORKS
from ..model.zoo import ZOO
from ..runtimes.artefact import is_artefact
from ..tasks.base import Data, Predictions, beside_data
from ..tasks.examples import Examples
from ..tasks.metrics import Scores
from ..tasks.results import TABLES, check_cells, check_result_path, write_parts
from ..tasks.sentences import SentenceTask
from ..tasks.tables import Columns
from ..tasks.task import Setup
from ..training import jobs, preparation
from ..training.fine_tuning import fine_tune
from ..training.jobs import FRESH, PRETRAINED, VOCABULARY
from ..training.predictor import BATCH, Predictor, Windows, file_windows, whole
from ..training.preparation import BALANCED, RATES, LeftOut
from ..training.progress import bar
from .console import add_row, console, make_grid, open_twin, rows_bar, say
from .options import (
    FILES,
    Checkpoint,
    ChoiceColumns,
    Encoding,
    Framework,
    Header,
    LabelColumn,
    LabelStyle,
    Output,
    Overwrite,
    PairColumn,
    TaskName,
    TextColumn,
    names,
    one_or_several,
    pair,
)

SHOWN_CLASSES = 30  # in the terminal; a report has all


@dataclass(kw_only=True)
class DataOptions:
    """The options that every command on data has."""

    task: TaskName = None
    text: TextColumn = None
    text_pair: PairColumn = None
    label: LabelColumn = None
    choices: ChoiceColumns = None
    header: Header = None
    label_style: LabelStyle = None
    encoding: Encoding = "utf-8-sig"

    @property
    def columns(self) -> Columns:
        """The columns that are named."""
        text_pair, label = pair(self.text_pair), one_or_several(self.label)
        return Columns(self.text, text_pair, label, names(self.choices), names(self.header), self.label_style)


@dataclass(kw_only=True)
class RunOptions:
    """The options of every command that trains; those of preparation.Options of the same name mean the same."""

    validation_fraction: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Fraction of the training data to hold out if there is no validation file.")
    ] = 0.1
    limit: Annotated[int | None, typer.Option(min=1, help="Train on this many examples at most, drawn by the seed.")] = None
    validation_limit: Annotated[int | None, typer.Option(min=1, help="Validate on this many examples at most.")] = None
    output: Output = Path("mobilebert-model")
    overwrite: Overwrite = False
    learning_rate: Annotated[
        list[float] | None,
        typer.Option(
            help="Peak learning rate; given several times, the best is kept. Default: 0.6 / (hidden size * layers), at most 2e-3; "
            f"{RATES[PRETRAINED]:g} for {PRETRAINED}."
        ),
    ] = None
    epochs: Annotated[int, typer.Option(min=1, max=1_000_000, help="Passes over the training data.")] = 3
    max_steps: Annotated[int | None, typer.Option(min=1, help="Steps to train, whatever --epochs says.")] = None
    batch_size: Annotated[int, typer.Option(min=1, max=1_000_000, help="Examples per step.")] = 32
    accumulation: Annotated[
        int, typer.Option(min=1, help="Parts to split each step into, which saves memory and changes nothing else.")
    ] = 1
    max_length: Annotated[
        int | None, typer.Option(min=3, help="Tokens of a row: a longer text is cut or split. Default: 128, for answers 384.")
    ] = None
    warmup: Annotated[float, typer.Option(min=0, max=1, help="Fraction of the steps in which the learning rate rises.")] = 0.1
    weight_decay: Annotated[float, typer.Option(min=0, help="Decay of weight matrices.")] = 0.01
    optimizer: Annotated[Literal["adamw", "lamb"], typer.Option(help="lamb is Google's for MobileBERT's pre-training.")] = "adamw"
    metric: Annotated[str | None, typer.Option(help="Metric that chooses the best weights. Default: the task's first.")] = None
    evaluate_every: Annotated[int | None, typer.Option(min=1, help="Steps between evaluations. Default: an epoch.")] = None
    patience: Annotated[int | None, typer.Option(min=1, help="End after this many evaluations without a better one.")] = None
    bf16: Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16; weights stay float32.")] = False
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Save memory by computing activations twice.")
    ] = False
    tensorboard: Annotated[Path | None, typer.Option(help="Folder for TensorBoard's event files.")] = None
    resume: Annotated[
        Literal["auto", "never"],
        typer.Option(help="auto: go on where the same command was interrupted. never: start anew."),
    ] = "auto"
    snapshot_every: Annotated[
        int | None, typer.Option(min=1, help="Steps between snapshots. Default: five minutes, and each evaluation that was better.")
    ] = None
    devices: Annotated[
        int | None, typer.Option(min=1, help="Keras: train on so many devices of this machine. PyTorch: see docs/survival.md.")
    ] = None
    seed: Annotated[int, typer.Option(min=0, max=(1 << 32) - 1, help="Seed for fresh weights, dropout, example order and split.")] = 0


@dataclass(kw_only=True)
class FitOptions(RunOptions):
    """The options of commands that train a model without a teacher."""

    model: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(BUNDLED)}, a checkpoint directory, owner/name on the hub, or, for fresh weights, {', '.join(ZOO)}. "
            f"Default: {PRETRAINED} for English texts, otherwise {FRESH}."
        ),
    ] = None
    vocabulary: Annotated[
        Path | None, typer.Option(help="vocab.txt for a fresh model. Default: learn one from the training texts.")
    ] = None
    vocabulary_size: Annotated[
        int | None, typer.Option(min=10, help=f"Tokens of a vocabulary to learn for a fresh model. Default: {VOCABULARY}.")
    ] = None
    lora: Annotated[int | None, typer.Option(min=1, help="Train LoRA adapters of this rank instead of all weights (PyTorch).")] = None


@dataclass(kw_only=True)
class TrainOptions(DataOptions, FitOptions):
    """The options of `train`."""

    data: Annotated[Path, typer.Argument(metavar="FILE", help=f"Training data: {FILES}; see docs/training.md.")]
    validation: Annotated[Path | None, typer.Option(help="Validation data. Default: a part of the training data.")] = None
    stride: Annotated[
        int | None, typer.Option(min=1, help="Distance between the windows of a long text. Default: 128 for answers, 96 for tokens.")
    ] = None
    class_weights: Annotated[
        str | None, typer.Option(help=f"'{BALANCED}', or weights of the labels in the loss, as in 'good=1,bad=2.5'.")
    ] = None
    framework: Framework = "pt"


def train(options: TrainOptions) -> None:
    """Train a model for a task, save it, and write a report beside it."""
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(options) if field.name != "framework"}
    settings = preparation.Options(
        **{**given, **{field.name: getattr(options.columns, field.name) for field in dataclasses.fields(Columns)}}
        | {"class_weights": _weights(options.class_weights), "command": command()}
    )
    fit(options.framework, settings)


def fit(framework: str, settings: preparation.Options) -> None:
    """Train a model, and print its scores."""
    twin = open_twin(framework)
    with bar(console) as progress:
        trained = fine_tune(twin, FRAMEWORKS[framework][1], settings, progress)
    show(trained.scores)
    if data := trained.report.get("data"):
        say(f"{counted(data['validation']['examples'], 'validation ' + data['unit'])}; {trained.report['seconds']:.0f} s")
    say(f"saved in {settings.output}, with report.html")


def command() -> str:
    """The command line, for the report."""
    return shlex.join(["mobilebert", *sys.argv[1:]])


def _weights(text: str | None) -> str | dict[str, float] | None:
    """The weights of labels, as in good=1,bad=2.5."""
    if text is None or text == BALANCED:
        return text
    try:
        return {label: float(weight) for label, _, weight in (part.rpartition("=") for part in names(text) or ())}
    except ValueError:
        raise ConfigError(f"--class-weights must be {BALANCED!r} or weights as in good=1,bad=2.5, not {text!r}") from None


@dataclass(kw_only=True)
class EvaluateOptions(DataOptions):
    """The options of `evaluate`."""

    framework: Framework = "pt"
    directory: Checkpoint
    file: Annotated[Path, typer.Argument(help=f"Labelled data: {FILES}; see docs/training.md.")]
    predictions: Annotated[
        Path | None, typer.Option(help=f"Write each row with its label and prediction to this {FILES}.")
    ] = None
    all: Annotated[bool, typer.Option("--all", help="Write all probabilities.")] = False


def evaluate(options: EvaluateOptions) -> None:
    """Compute the metrics of a saved model on labelled data."""
    setup = _setup(options, options.directory)
    if options.predictions is not None:
        check_result_path(options.predictions, options.file, setup.task.suffixes)
    data = setup.read(options.file, options.encoding)
    if options.predictions is not None:
        check_cells(options.predictions, data.kept())
    opened = jobs.open_place(options.directory, options.task, lambda: open_twin(options.framework))
    opened = dataclasses.replace(opened, setup=setup)
    examples = opened.examples(data)
    scores, predictions = opened.evaluate(data, examples)
    show(scores)
    say(f"on {counted(len(data), setup.task.unit)}")
    _say_left_out(opened, examples)
    if options.predictions is not None:
        setup.task.write(options.predictions, data, beside_data(data, predictions, options.all, setup.task.labels(data)))


@dataclass(kw_only=True)
class PredictOptions(DataOptions):
    """The options of `predict`."""

    framework: Framework = "pt"
    directory: Checkpoint
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts to label; for answers, each question and its context.", show_default=False)
    ] = None
    file: Annotated[Path | None, typer.Option(help=f"Label the rows of this {FILES} instead.")] = None
    output: Annotated[Path | None, typer.Option(help=f"Write the rows with their predictions to this {FILES}.")] = None
    all: Annotated[bool, typer.Option("--all", help="Give all probabilities.")] = False
    dtype: Annotated[str | None, typer.Option(help="Compute in this dtype, such as bfloat16.", show_default="float32")] = None
    quantize: Annotated[
        str | None, typer.Option(help="int8: multiply 8-bit numbers, in PyTorch on the CPU; faster and less exact.", show_default=False)
    ] = None
    batch_size: Annotated[int, typer.Option(help="Rows in a batch.")] = BATCH
    threads: Annotated[int | None, typer.Option(help="Threads of the framework.", show_default="the framework's own number")] = None


def predict(options: PredictOptions) -> None:
    """Label texts, or the rows of a file, with a saved model."""
    if bool(options.texts) == (options.file is not None):
        raise ConfigError("give either texts or --file")
    setup = _setup(options, options.directory)
    if options.output is not None:
        check_result_path(options.output, options.file, setup.task.suffixes)
    speed = {name: getattr(options, name) for name in ("dtype", "quantize", "batch_size", "threads")}
    predictor, left_out = Predictor(options.directory, task=options.task, **speed), LeftOut()
    windows = _windows(options, setup)
    if not is_artefact(options.directory):
        open_twin(options.framework)
    predictor.framework = options.framework
    with rows_bar(windows.count, shown=options.output is not None) as advance:
        found = predictor.predict(setup, windows, left_out, advance)
        if options.output is not None:
            _write(options.output, found, setup, windows, options.all)
        else:
            _print(found, setup, options.all)
    for line in left_out.lines(setup.task, predictor.opened.lengths):
        typer.echo(printable(line), err=True)


def _windows(options: PredictOptions, setup: Setup) -> Windows:
    """The data, checked as far as they can be without the model."""

    def check(data: Data) -> None:
        if options.output is not None:
            check_cells(options.output, data.kept())

    if options.file is not None:
        in_parts = options.output is None or options.output.suffix.lower() in TABLES
        return file_windows(setup, options.file, options.encoding, check, in_parts)
    if setup.remembered and setup.columns.text_pair and isinstance(setup.task, SentenceTask):
        raise ConfigError(f"{options.directory} was trained on pairs of texts: give a --file with columns for both")
    data = setup.task.from_texts(options.texts or [])
    check(data)
    return whole(data)


def _write(path: Path, found: Iterator[tuple[Data, Predictions]], setup: Setup, windows: Windows, every: bool) -> None:
    """Write predictions beside their data, as they come if there are several windows."""
    if windows.is_whole:
        [(data, predictions)] = found
        setup.task.write(path, data, beside_data(data, predictions, every))
        return
    parts = (setup.task.table(path, data, beside_data(data, predictions, every)) for data, predictions in found)
    write_parts(path, parts, windows.encoding)


def _print(found: Iterator[tuple[Data, Predictions]], setup: Setup, every: bool) -> None:
    """Print predictions before their texts."""
    for number, (data, predictions) in enumerate(found):
        columns = {**predictions.columns, **(predictions.details if every else {})}
        floats = [title for title, column in columns.items() if isinstance(column[0], float)]
        if number == 0 and len(floats) > 1:  # numbers whose meaning only a title tells
            typer.echo("\t".join(printable(title) for title in (*columns, "text")))
        for row in zip(*columns.values(), setup.task.shown(data), strict=True):
            typer.echo("\t".join(printable(_cell(value)) for value in row))


def _setup(options: DataOptions, directory: str) -> Setup:
    """What a checkpoint was trained for, with the columns that the options name."""
    return jobs.setup_at(directory, options.task).with_columns(options.columns)


def _say_left_out(opened: jobs.Opened, examples: Examples) -> None:
    """Say what the model does not see of the data, apart from the results."""
    for line in preparation.left_out(opened.setup.task, opened.lengths, examples):
        typer.echo(printable(line), err=True)


def show(scores: Scores) -> None:
    """Print the metrics beside the baseline, and those of each class."""
    grid = make_grid("metric", "model", scores.baseline_name)
    for title, value in scores.metrics.items():
        add_row(grid, title, f"{value:.3f}", f"{scores.baseline[title]:.3f}" if title in scores.baseline else "")
    console.print(grid)
    for title, value in scores.notes.items():
        say(f"{title}: {value:.6g}")
    if 1 < len(scores.classes) <= SHOWN_CLASSES:
        grid = make_grid("", *next(iter(scores.classes.values())))
        for name, values in scores.classes.items():
            add_row(grid, name, *(f"{value:,.0f}" if title == "support" else f"{value:.3f}" for title, value in values.items()))
        console.print(grid)


def _cell(value: object) -> str:
    """A cell of the terminal: four digits after the point, or four significant ones of a small number."""
    if not isinstance(value, float):
        return str(value)
    fixed = f"{value:.4f}"
    return fixed if abs(value) >= 1 or float(fixed) == value else f"{value:.4g}"

"""The commands `train`, `evaluate` and `predict`, built on training/jobs.py."""

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError, printable, shortened
from ..frameworks import FRAMEWORKS
from ..model.config import CONFIG_FILE
from ..model.zoo import ZOO
from ..tasks.tables import LABEL_COLUMN, Columns, check_cells, check_result_path, write_columns
from ..tasks.task import DEFAULT, TASKS, Task
from ..training import jobs
from ..training.recipe import Recipe
from .console import open_twin, say, watch_training
from .options import Checkpoint, Encoding, Framework, LabelColumn, Output, Overwrite, PairColumn, TaskName, TextColumn


@dataclass(kw_only=True)
class DataOptions:
    """The options that every command on data has."""

    task: TaskName = None
    text: TextColumn = None
    text_pair: PairColumn = None
    encoding: Encoding = "utf-8-sig"
    framework: Framework = "pt"


@dataclass(kw_only=True)
class TrainOptions(DataOptions):
    """The options of `train`."""

    file: Annotated[Path, typer.Argument(help="Training data: .csv, .tsv or .jsonl.")]
    validation: Annotated[
        Path | None, typer.Option(help="Validation data. Default: a part of the training data.")
    ] = None
    label: LabelColumn = LABEL_COLUMN
    model: Annotated[
        str,
        typer.Option(help=f"A checkpoint directory, owner/name on the hub, or, for fresh weights, {', '.join(ZOO)}."),
    ] = "mobilebert-mini"
    vocabulary: Annotated[
        Path | None, typer.Option(help="vocab.txt for a fresh model. Default: learn one from the training texts.")
    ] = None
    output: Output = Path("mobilebert-classifier")
    overwrite: Overwrite = False
    epochs: Annotated[int, typer.Option(min=1, max=1_000_000, help="Passes over the training data.")] = 3
    batch_size: Annotated[int, typer.Option(min=1, max=1_000_000, help="Examples per step.")] = 32
    learning_rate: Annotated[
        float | None,
        typer.Option(help=f"Peak learning rate. Default: {jobs.FRESH_RATE:g} fresh, {jobs.FINE_TUNING_RATE:g} from a checkpoint."),
    ] = None
    max_length: Annotated[int, typer.Option(min=3, help="Truncate texts to this many tokens.")] = 128
    validation_fraction: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Fraction of the training data to hold out if there is no validation file.")
    ] = 0.1
    seed: Annotated[int, typer.Option(min=0, max=(1 << 32) - 1, help="Seed for fresh weights, dropout, example order and split.")] = 0


def train(options: TrainOptions) -> None:
    """Train a model and save it."""
    refuse_overwriting(options.output, options.overwrite)
    rate = options.learning_rate
    if rate is not None and not 0 < rate < math.inf:
        raise ConfigError(f"--learning-rate must be above 0 and finite, not {rate:g}")
    task = _task(options.task or DEFAULT)
    columns = Columns(options.text, options.text_pair, options.label)
    data = task.read(options.file, columns, options.encoding)
    if options.validation is None:
        data, held_out = task.split(data, options.validation_fraction, options.seed)
    else:
        held_out = task.read(options.validation, columns, options.encoding)
    begin = jobs.start(task, options.model, data, options.vocabulary)
    examples = begin.examples(data, options.max_length)
    begin.examples(held_out, options.max_length)  # report errors in it now, not after training
    if rate is None:
        rate = jobs.FRESH_RATE if begin.fresh else jobs.FINE_TUNING_RATE
    if begin.notice:
        say(begin.notice)
    say(
        f"{len(data):,} examples to train on, {len(held_out):,} to validate, "
        f"labels {shortened([*begin.config.id2label.values()], ', ')}; {'fresh ' if begin.fresh else ''}{options.model} in "
        f"{FRAMEWORKS[options.framework][1]}, learning rate {rate:g}"
    )
    claim(options.output)
    twin, started = open_twin(options.framework), time.monotonic()
    recipe = Recipe(rate, options.epochs, options.batch_size, seed=options.seed)
    with watch_training("training") as watch:
        model = jobs.train(twin, begin, examples, recipe, watch)
    jobs.save(twin, model, begin.tokenizer, options.output, options.max_length)
    scores, _ = jobs.Opened(task, twin, model, begin.tokenizer).evaluate(held_out)
    say(f"{_shown(scores)} on {len(held_out):,} examples after {time.monotonic() - started:.0f} s")
    say(f"saved in {options.output}")


@dataclass(kw_only=True)
class EvaluateOptions(DataOptions):
    """The options of `evaluate`."""

    directory: Checkpoint
    file: Annotated[Path, typer.Argument(help="Labelled data: .csv, .tsv or .jsonl.")]
    label: LabelColumn = LABEL_COLUMN
    predictions: Annotated[
        Path | None, typer.Option(help="Write each row's label and prediction to this .csv, .tsv or .jsonl.")
    ] = None


def evaluate(options: EvaluateOptions) -> None:
    """Compute the metrics of a saved model on labelled data."""
    if options.predictions is not None:
        check_result_path(options.predictions, options.file)
    columns = Columns(options.text, options.text_pair, options.label)
    task = jobs.task_at(options.directory, options.task, evaluated=True)
    data = task.read(options.file, columns, options.encoding)
    opened = jobs.Opened.open(open_twin(options.framework), options.directory, options.task)
    scores, rows = opened.evaluate(data)
    say(f"{_shown(scores)} on {len(data):,} examples")
    if options.predictions is not None:
        write_columns(options.predictions, rows)


@dataclass(kw_only=True)
class PredictOptions(DataOptions):
    """The options of `predict`."""

    directory: Checkpoint
    texts: Annotated[list[str] | None, typer.Argument(help="Sentences to label.", show_default=False)] = None
    file: Annotated[Path | None, typer.Option(help="Label the rows of this .csv, .tsv or .jsonl instead.")] = None
    output: Annotated[Path | None, typer.Option(help="Write the result to this .csv, .tsv or .jsonl.")] = None


def predict(options: PredictOptions) -> None:
    """Label sentences with a saved model."""
    if bool(options.texts) == (options.file is not None):
        raise ConfigError("give either sentences or --file")
    if options.output is not None:
        check_result_path(options.output, options.file)
    task = jobs.task_at(options.directory, options.task)
    columns = Columns(options.text, options.text_pair, None)
    if options.file is None:
        data = task.from_texts(options.texts or [])
    else:
        data = task.read(options.file, columns, options.encoding)
    inputs = task.inputs(data)
    if options.output is not None:
        check_cells(options.output, inputs)
    found = jobs.Opened.open(open_twin(options.framework), options.directory, options.task).predict(data)
    if options.output is not None:
        write_columns(options.output, {**inputs, **found})
        return
    name, texts = next(iter(inputs.items()))
    if sum(isinstance(column[0], float) for column in found.values()) > 1:  # numbers whose meaning only a title tells
        typer.echo("\t".join(printable(title) for title in (*found, name)))
    for row in zip(*found.values(), texts, strict=True):
        typer.echo("\t".join(printable(_cell(value)) for value in row))


def refuse_overwriting(output: Path, overwrite: bool) -> None:
    """Refuse to replace a checkpoint without --overwrite, or a file.

    Raises:
        ConfigError: the folder holds a checkpoint, or is a file.
    """
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is not a folder: choose another one with --output")
    if (output / CONFIG_FILE).exists() and not overwrite:
        raise ConfigError(f"{output} already holds a checkpoint; --overwrite replaces it, --output writes elsewhere")


def claim(output: Path) -> None:
    """Create the output folder before the long work starts.

    Raises:
        ConfigError: the folder is not writable.
    """
    output.mkdir(parents=True, exist_ok=True)
    if not os.access(output, os.W_OK):
        raise ConfigError(f"{output} is not writable: choose another folder with --output")


def _task(name: str) -> Task:
    if name not in TASKS:
        raise ConfigError(f"--task must be one of {', '.join(TASKS)}, not {name!r}")
    return TASKS[name]


def _cell(value: object) -> str:
    """A cell of the terminal: four digits after the point, or four significant ones of a small number."""
    if not isinstance(value, float):
        return str(value)
    fixed = f"{value:.4f}"
    return fixed if abs(value) >= 1 or float(fixed) == value else f"{value:.4g}"


def _shown(scores: dict[str, float]) -> str:
    return ", ".join(f"{title} {score:.1%}" for title, score in scores.items())

"""The commands of `mobilebert`. What they do is in jobs.py and demo.py; here are their options and what they print."""

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table as Grid

from ..errors import ConfigError
from ..frameworks import FRAMEWORKS, twin
from ..model.architectures import named_architecture
from ..model.config import CONFIG_FILE, MobileBertConfig
from ..model.schema import count_parameters, expand
from ..model.zoo import ZOO
from ..tasks.classification import label_numbers, split
from ..tasks.tables import LABEL_COLUMN, TEXT_COLUMNS, Columns, check_result_path, read_table, write_columns
from ..training import jobs
from ..training.recipe import Recipe, Report
from ..training.twin import Twin

app = typer.Typer(
    help="MobileBERT in PyTorch and in Keras: one checkpoint directory, two frameworks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()

Framework = Annotated[Literal["pt", "tf"], typer.Option(help="pt for PyTorch, tf for Keras.")]
Checkpoint = Annotated[str, typer.Argument(help="A checkpoint directory, or owner/name on the hub.")]
TextColumn_ = Annotated[
    str | None, typer.Option("--text", help=f"Column with the text. Default: {' or '.join(TEXT_COLUMNS)}.")
]
PairColumn = Annotated[str | None, typer.Option("--text-pair", help="Column with the second text of a pair.")]
LabelColumn = Annotated[str, typer.Option("--label", help="Column with the label.")]
Encoding = Annotated[str, typer.Option(help="Encoding of the data files, for example utf-8-sig or cp949.")]
Output = Annotated[Path, typer.Option(help="Where the checkpoint directory goes.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a checkpoint that is already there.")]


@app.command()
def demo(output: Output = Path("mobilebert-demo"), overwrite: Overwrite = False) -> None:
    """Train a small classifier in PyTorch, train on in Keras, open that in PyTorch: a minute or two, no network."""
    from .demo import run

    for directory in (output / "pt", output / "keras"):
        _refuse_overwriting(directory, overwrite)
        _claim(directory)
    grid = run(output, say, open_twin, watch_training, make_grid)
    console.print(grid)


@app.command()
def train(
    file: Annotated[Path, typer.Argument(help="Training data: .csv, .tsv or .jsonl.")],
    validation: Annotated[
        Path | None, typer.Option(help="Validation data; without it a part of the training data is held out.")
    ] = None,
    text: TextColumn_ = None,
    text_pair: PairColumn = None,
    label: LabelColumn = LABEL_COLUMN,
    encoding: Encoding = "utf-8-sig",
    framework: Framework = "pt",
    model: Annotated[
        str,
        typer.Option(help=f"A checkpoint directory, owner/name on the hub, or for fresh weights one of {', '.join(ZOO)}."),
    ] = "mobilebert-mini",
    vocabulary: Annotated[
        Path | None, typer.Option(help="vocab.txt of a fresh model. Default: learned from the training texts.")
    ] = None,
    output: Output = Path("mobilebert-classifier"),
    overwrite: Overwrite = False,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training data.")] = 3,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples a step.")] = 32,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help=f"Peak rate. Default: {jobs.FRESH_RATE:g} fresh, {jobs.FINE_TUNING_RATE:g} from a checkpoint."
        ),
    ] = None,
    max_length: Annotated[int, typer.Option(min=3, help="Tokens a text is cut to.")] = 128,
    validation_fraction: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share held out where no validation file is given.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Decides fresh weights, dropout, the order and the split.")] = 0,
) -> None:
    """Fine-tune a sentence classifier and save it."""
    _refuse_overwriting(output, overwrite)
    columns = Columns(text, text_pair, label)
    table = read_table(file, columns, encoding)
    if validation is None:
        table, held_out = split(table, validation_fraction, seed)
    else:
        held_out = read_table(validation, columns, encoding)
    begin = jobs.start(model, table.labels or [], table.texts, vocabulary)
    rate = learning_rate if learning_rate is not None else jobs.FRESH_RATE if begin.fresh else jobs.FINE_TUNING_RATE
    label_numbers(held_out, begin.id2label)  # a label unseen in training is refused now, not after it
    say(
        f"{len(table.texts):,} examples to train on, {len(held_out.texts):,} to validate, "
        f"labels {', '.join(begin.id2label.values())}; "
        f"{'fresh ' if begin.fresh else ''}{model} in {FRAMEWORKS[framework][1]}, learning rate {rate:g}"
    )
    _claim(output)
    door = open_twin(framework)
    recipe = Recipe(rate, epochs, batch_size, seed=seed)
    started = time.monotonic()
    with watch_training("training") as watch:
        trained = jobs.train(door, begin, table, recipe, max_length, watch)
    jobs.save(trained, begin.tokenizer, output, max_length)
    scores, _ = jobs.Classifier(door, trained, begin.tokenizer, begin.id2label).evaluate(held_out)
    say(f"{_scores(scores)} on {len(held_out.texts):,} examples after {time.monotonic() - started:.0f} s")
    say(f"saved in {output}")


@app.command()
def evaluate(
    directory: Checkpoint,
    file: Annotated[Path, typer.Argument(help="Labelled data: .csv, .tsv or .jsonl.")],
    text: TextColumn_ = None,
    text_pair: PairColumn = None,
    label: LabelColumn = LABEL_COLUMN,
    encoding: Encoding = "utf-8-sig",
    framework: Framework = "pt",
    predictions: Annotated[
        Path | None, typer.Option(help="Write label and prediction of each row to this .csv, .tsv or .jsonl.")
    ] = None,
) -> None:
    """Accuracy and F1 of a saved classifier on labelled data."""
    if predictions is not None:
        check_result_path(predictions)
    table = read_table(file, Columns(text, text_pair, label), encoding)
    scores, columns = jobs.Classifier.open(open_twin(framework), directory).evaluate(table)
    say(f"{_scores(scores)} on {len(table.texts):,} examples")
    if predictions is not None:
        write_columns(predictions, columns)


@app.command()
def predict(
    directory: Checkpoint,
    texts: Annotated[list[str] | None, typer.Argument(help="Sentences to classify.", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option(help="Classify a .csv, .tsv or .jsonl instead.")] = None,
    text: TextColumn_ = None,
    text_pair: PairColumn = None,
    encoding: Encoding = "utf-8-sig",
    framework: Framework = "pt",
    output: Annotated[Path | None, typer.Option(help="Write the result to this .csv, .tsv or .jsonl.")] = None,
) -> None:
    """Label sentences with a saved classifier."""
    if bool(texts) == (file is not None):
        raise ConfigError("give either sentences or --file")
    if output is not None:
        check_result_path(output)
    table = jobs.table_of(texts or []) if file is None else read_table(file, Columns(text, text_pair, None), encoding)
    columns = jobs.Classifier.open(open_twin(framework), directory).predict(table)
    if output is not None:
        write_columns(output, columns)
        return
    for row, chosen in enumerate(columns["label"]):
        typer.echo(f"{chosen}\t{columns['probability'][row]:.4f}\t{table.texts[row]}")


@app.command()
def verify(
    directory: Checkpoint,
    dtype: Annotated[Literal["float64", "float32"], typer.Option(help="What both twins compute in.")] = "float64",
) -> None:
    """Open a checkpoint in both frameworks and compare every output; exit status 1 above the tolerance."""
    jobs.check_place(directory)
    for name in FRAMEWORKS:
        open_twin(name)
    from mobilebert_common.verification import TOLERANCE, verify

    grid = make_grid("output", "shape", "largest difference", "relative (L2)")
    say(f"{directory}: PyTorch and Keras in {dtype}")
    differences = verify(directory, dtype)
    for found in differences:
        grid.add_row(found.output, str(list(found.shape)), f"{found.absolute:.1e}", f"{found.relative:.1e}")
    console.print(grid)
    apart = [found.output for found in differences if not found.relative <= TOLERANCE[dtype]]  # NaN is apart too
    if apart:
        say(f"THE TWINS DIFFER by more than {TOLERANCE[dtype]:.0e} in {', '.join(apart)}")
        raise typer.Exit(1)
    say(
        f"the twins agree: {max(found.relative for found in differences):.1e} at most, tolerance {TOLERANCE[dtype]:.0e}"
    )


@app.command()
def convert(
    source: Annotated[
        str,
        typer.Argument(help="A checkpoint directory, a weights file, the prefix of a TensorFlow checkpoint, or owner/name on the hub."),
    ],
    destination: Annotated[Path, typer.Argument(help="The checkpoint directory to write.")],
    to: Annotated[Literal["safetensors", "bin", "h5", "keras", "tf1"], typer.Option(help="What to write.")] = "safetensors",
    dtype: Annotated[
        Literal["float32", "float64", "bfloat16", "float16"] | None, typer.Option(help="Default: what the source has.")
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="Model class, for example MobileBertModel. Default: what the source was saved from.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A config.json or bert_config.json in place of the one beside the weights.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn a checkpoint of any dialect into another, with config.json and tokenizer, bit by bit the same weights."""
    from mobilebert_conversion.convert import convert as run
    from mobilebert_conversion.convert import frameworks
    from mobilebert_conversion.source import TOKENIZER_FILES, locate

    path = locate(source)
    for name in sorted(frameworks(path, to)):
        open_twin(name)
    with console.status("") as status:
        done = run(
            path,
            destination,
            to,
            dtype,
            head,
            config=config,
            overwrite=overwrite,
            stage=lambda text: status.update(escape(text)),
        )
    say(f"read {done.dialect} from {done.source}: {done.head}")
    say(f"{done.tensors:,} tensors, {done.parameters:,} parameters, {done.dtype}")
    if done.ignored:
        shown = ", ".join(done.ignored[:5])
        say(f"left aside: {shown}{f' and {len(done.ignored) - 5:,} more' if len(done.ignored) > 5 else ''}")
    say(f"wrote {', '.join(done.written)} in {done.destination} after {done.seconds:.1f} s")
    if CONFIG_FILE in done.written and not {*done.written} & {*TOKENIZER_FILES}:
        say("there was no tokenizer beside it: put its vocab.txt or tokenizer.json there")


@app.command()
def info(
    directory: Annotated[
        str | None,
        typer.Argument(help="A checkpoint directory, owner/name on the hub, or a name of the zoo.", show_default=False),
    ] = None,
) -> None:
    """Describe a checkpoint or a named configuration; without an argument, list the zoo."""
    if directory is None:
        grid = make_grid("name", "layers", "h/k/i", "FFNs", "norm", "parameters")
        for name in ZOO:
            config = MobileBertConfig.from_zoo(name)
            grid.add_row(
                name,
                str(config.num_hidden_layers),
                f"{config.hidden_size}/{config.true_hidden_size}/{config.intermediate_size}",
                str(config.num_feedforward_networks),
                config.normalization_type,
                f"{_parameters(config, 'MobileBertModel'):,}",
            )
        console.print(grid)
        return
    if directory in ZOO:
        config = MobileBertConfig.from_zoo(directory)
    else:
        jobs.check_place(directory, " nor in the zoo")
        config = MobileBertConfig.from_pretrained(directory)
    head = named_architecture(config) or "MobileBertModel"
    say(f"{directory}: {head}, {_parameters(config, head):,} parameters")
    grid = make_grid("key", "value")
    for key, value in config.to_dict().items():
        if value is not None:
            grid.add_row(key, escape(str(value)))
    console.print(grid)


def say(text: str) -> None:
    """Print a line as it is, however long."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def make_grid(*columns: str) -> Grid:
    """A table without vertical lines, to fit 80 columns."""
    return Grid(*columns, box=box.SIMPLE)


def open_twin(framework: str) -> Twin:
    """Import a framework without the lines that TensorFlow's C++ writes before it reads its log level."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=Console(stderr=True), show_time=False, show_path=False)],
        force=True,
    )
    logging.getLogger("huggingface_hub").propagate = False  # it prints its warnings itself
    with _silent_stderr():
        opened: Twin = twin(framework)
        return opened


@contextlib.contextmanager
def watch_training(title: str) -> Iterator[Callable[[int], Report]]:
    """A progress bar with loss, speed and time left, for `jobs.train`."""
    bar = Progress(
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TextColumn("{task.fields[speed]:.1f} steps/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )

    def watch(steps: int) -> Report:
        task, started = bar.add_task(title, total=steps, loss=float("nan"), speed=0.0), time.monotonic()

        def report(done: int, loss: float) -> None:
            bar.update(task, completed=done, loss=loss, speed=done / max(1e-9, time.monotonic() - started))

        return report

    with bar:
        yield watch


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _refuse_overwriting(output: Path, overwrite: bool) -> None:
    if (output / CONFIG_FILE).exists() and not overwrite:
        raise ConfigError(f"{output} already holds a checkpoint; --overwrite replaces it, --output names another place")


def _claim(output: Path) -> None:
    """Make the folder a result goes to, before long work is done for it."""
    output.mkdir(parents=True, exist_ok=True)
    if not os.access(output, os.W_OK):
        raise ConfigError(f"{output} cannot be written to")


def _scores(scores: dict[str, float]) -> str:
    return f"accuracy {scores['accuracy']:.1%}, F1 (macro) {scores['f1']:.1%}"


def _parameters(config: MobileBertConfig, head: str) -> int:
    return count_parameters(expand(config, head))

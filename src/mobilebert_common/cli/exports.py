"""The command `export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from ..errors import printable
from ..exports.export import export as run
from ..exports.report import Report
from .console import add_row, console, make_grid, open_twin, say, silent_stderr
from .learning import DataOptions
from .options import FILES, Checkpoint


@dataclass(kw_only=True)
class ExportOptions(DataOptions):
    """The options of `export`."""

    directory: Checkpoint
    output: Annotated[Path, typer.Argument(help="The folder to write; it must not exist.")]
    to: Annotated[Literal["onnx", "litert", "executorch", "openvino", "savedmodel", "web"], typer.Option(help="The runtime.")]
    quantize: Annotated[
        Literal["none", "fp16", "dynamic-int8", "int8"],
        typer.Option(help="fp16 halves the file, dynamic-int8 quarters it; int8 also fixes ranges, by --calibration."),
    ] = "none"
    calibration: Annotated[Path | None, typer.Option(help=f"Data like those the model will see, for int8: {FILES}.")] = None
    evaluation: Annotated[
        Path | None, typer.Option(help="Labelled data, for the metric before and after. Default: --calibration, if it has labels.")
    ] = None
    length: Annotated[
        list[int] | None,
        typer.Option(help="Tokens of an input, for LiteRT also several times. Default: the length the model was trained with."),
    ] = None
    force: Annotated[bool, typer.Option("--force", help="Write int8 even if it loses more than a point, or without a metric.")] = False


def export(options: ExportOptions) -> None:
    """Export a checkpoint for phones, browsers and other runtimes, with a report on what that changes."""
    columns = {name: value for name, value in vars(options.columns).items() if value is not None}
    with console.status("") as status, silent_stderr():
        report = run(
            options.directory,
            options.output,
            options.to,
            quantize=options.quantize,
            calibration=options.calibration,
            evaluation=options.evaluation,
            length=options.length,
            force=options.force,
            task=options.task,
            stage=lambda text: status.update(escape(printable(text))),
            opener=open_twin,
            encoding=options.encoding,
            **columns,
        )
    show(report)
    say(f"wrote {options.output}, with README.md for app developers")


def show(report: Report) -> None:
    """Print what was measured."""
    say(f"{report.file}: {report.size / 1e6:,.1f} MB")
    say(f"compared on {report.data}, {report.rows:,} rows")
    for name, value in report.relative.items():
        say(f"{name}: relative difference {value:.1e}")
    if report.same is not None:
        say(f"the same answers: {100 * report.same:.2f}%")
    if report.before:
        grid = make_grid("metric", "float model", "exported")
        for title, value in report.before.items():
            add_row(grid, title, f"{value:.4f}", f"{report.after[title]:.4f}" if title in report.after else "")
        console.print(grid)
    for tokens, value in report.milliseconds.items():
        say(f"{tokens} tokens: {value:.1f} ms")

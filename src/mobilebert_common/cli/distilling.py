"""The command `distill`, built on training/preparation.py."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import ConfigError, brief
from ..tasks.pretraining import MaskedWords
from ..tasks.tables import Columns
from ..training import jobs, preparation
from ..training.transfer import FORMS, STRATEGIES, TERMS, Transfer
from .learning import DataOptions, RunOptions, command, fit
from .options import FILES, Framework
from .pretraining import TEXTS


@dataclass(kw_only=True)
class DistillOptions(DataOptions, RunOptions):
    """The options of `distill`; those of preparation.Options of the same name mean the same."""

    teacher: Annotated[str, typer.Argument(help="The checkpoint to learn from, for the student's task, or owner/name on the hub.")]
    data: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILES", help=f"Training data: {FILES}; to distil pre-training: {TEXTS}.", show_default=False),
    ] = None
    student: Annotated[
        str,
        typer.Option(
            help="The model to train: a checkpoint with the teacher's vocabulary, or, for fresh weights, a configuration such as "
            "mobilebert-mini ('mobilebert info' lists them)."
        ),
    ]
    text: Annotated[
        str | None,
        typer.Option("--text", help="Column with the text. Without FILES: a file or folder of plain text to distil pre-training on."),
    ] = None
    validation: Annotated[
        list[Path] | None, typer.Option(help="Validation data; plain text may be given several times. Default: a part of the data.")
    ] = None
    strategy: Annotated[
        Literal[*STRATEGIES] | None,  # type: ignore[valid-type]
        typer.Option(
            help="auxiliary: compare layers while labels are learned. joint: compare all layers first. progressive: one layer after the "
            "other first. soft-labels: compare no layers. Default: progressive for plain text; for tasks the first that fits of joint, for "
            "fresh weights only, auxiliary and soft-labels."
        ),
    ] = None
    alone: Annotated[
        bool | None,
        typer.Option(
            "--alone/--no-alone", help="Train the student without the teacher first, to compare. Default: for tasks.", show_default=False
        ),
    ] = None
    form: Annotated[Literal[*FORMS], typer.Option(help="How layers are compared: as in Google's code, or as in the paper.")] = Transfer.form  # type: ignore[valid-type]
    share: Annotated[
        float, typer.Option(help="Part of the steps that compare layers before labels are learned.", show_default="240/740, the paper's")
    ] = Transfer.share
    alpha: Annotated[float, typer.Option(help="Weight of the labels; that of the teacher's scores is 1 - alpha.")] = Transfer.alpha
    temperature: Annotated[float, typer.Option(help="What scores are divided by before they are compared.")] = Transfer.temperature
    factor: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Weight of a loss of layers in place of the form's, as in attention=0: {', '.join(TERMS)}.", show_default=False
        ),
    ] = None
    documents: Annotated[
        Literal["blank", "file"] | None,
        typer.Option(help="What ends a document of a .txt: a blank line, or the file. Default: as lines and blank lines alternate."),
    ] = None
    stride: Annotated[int | None, typer.Option(min=1, help="Distance between the windows of a long text. Default: the teacher's.")] = None
    max_length: Annotated[int | None, typer.Option(min=3, help="Tokens of a row. Default: the teacher's.")] = None
    framework: Framework = "pt"


def distill(options: DistillOptions) -> None:
    """Train a student to give a teacher's answers, for a task or in pre-training, and save it."""
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    given |= {field.name: getattr(options.columns, field.name) for field in dataclasses.fields(Columns) if field.name != "documents"}
    for name in ("framework", "student", "factor"):
        del given[name]
    data, validation = given.pop("data"), given.pop("validation")
    if not data:
        if options.text is None:
            raise ConfigError("give the training data, or --text with a folder of plain text")
        data, given["text"] = [Path(options.text)], None
    is_text = isinstance(jobs.setup_at(options.teacher, options.task).task, MaskedWords)
    if not is_text and options.text is not None and not options.data:
        raise ConfigError(f"--text without data files is for pre-training, but {options.teacher} was trained for another task")
    given |= {"data": _one_or_more(data, is_text), "validation": _one_or_more(validation or [], is_text)}
    fit(options.framework, preparation.Options(model=options.student, factors=_factors(options.factor), command=command(), **given))


def _one_or_more(paths: list[Path], is_text: bool) -> Path | list[Path] | None:
    """The data of a task, which are one file, or those of pre-training.

    Raises:
        ConfigError: there are several files for a task.
    """
    if len(paths) > 1 and not is_text:
        raise ConfigError(f"the data of this task are one file, not {len(paths)}")
    return paths if is_text and paths else paths[0] if paths else None


def _factors(given: list[str] | None) -> dict[str, float]:
    """The factors of losses, as in attention=0.

    Raises:
        ConfigError: one is no number.
    """
    try:
        return {term: float(value) for term, _, value in (each.rpartition("=") for each in given or [])}
    except ValueError:
        raise ConfigError(f"--factor must be as in attention=0, not {', '.join(map(brief, given or []))}") from None

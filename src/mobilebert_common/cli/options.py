"""Options shared by several commands."""

import csv
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..errors import ConfigError
from ..tasks.task import GLUE, TASKS

FILES = ".csv, .tsv, .jsonl or .parquet, for tokens also .conll, for answers .json"

Framework = Annotated[Literal["pt", "tf"], typer.Option(help="pt for PyTorch, tf for Keras.")]
Checkpoint = Annotated[str, typer.Argument(help="A checkpoint directory, or owner/name on the hub.")]
TaskName = Annotated[
    str | None,
    typer.Option("--task", help=f"{', '.join(TASKS)}, or a task of GLUE: {', '.join(GLUE)}. Default: see docs/training.md."),
]
TextColumn = Annotated[str | None, typer.Option("--text", help="Column with the text. Default: text, sentence, sentence1 and so on.")]
PairColumn = Annotated[
    str | None,
    typer.Option("--text-pair", help="Column with the second text of a pair; '' for none. Default: as its name goes with --text."),
]
LabelColumn = Annotated[str | None, typer.Option("--label", help="Column with the label, or several with commas between. Default: label.")]
ChoiceColumns = Annotated[str | None, typer.Option("--choices", help="Columns with the answers to choose from, with commas between.")]
LabelStyle = Annotated[
    str | None,
    typer.Option("--label-style", help="How the labels of choices are written, such as 'numbers from 0'. Default: as the data show."),
]
Header = Annotated[str | None, typer.Option(help="Names of the columns of a file that does not begin with them, with commas between.")]
Encoding = Annotated[str, typer.Option(help="Encoding of the data files, for example utf-8-sig or cp949.")]
Output = Annotated[Path, typer.Option(help="Checkpoint directory to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing checkpoint.")]


def names(text: str | None) -> tuple[str, ...] | None:
    """Names with commas between, in quotes if they contain one; None stays None.

    Raises:
        ConfigError: a name is empty.
    """
    if text is None:
        return None
    found = tuple(next(csv.reader([text]), []))
    if not found or not all(found):
        raise ConfigError(f"{text!r} is no list of names with commas between")
    return found


def one_or_several(text: str | None) -> str | tuple[str, ...] | None:
    """A name, or several with commas between."""
    found = names(text)
    return found[0] if found is not None and len(found) == 1 else found


def pair(text: str | None) -> str | tuple[()] | None:
    """The name of the second text's column; the empty text stands for none."""
    return () if text == "" else text

"""Options shared by several commands."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..tasks.tables import TEXT_COLUMNS
from ..tasks.task import TASKS

Framework = Annotated[Literal["pt", "tf"], typer.Option(help="pt for PyTorch, tf for Keras.")]
Checkpoint = Annotated[str, typer.Argument(help="A checkpoint directory, or owner/name on the hub.")]
TaskName = Annotated[str | None, typer.Option("--task", help=f"Task of the model: {', '.join(TASKS)}.")]
TextColumn = Annotated[
    str | None, typer.Option("--text", help=f"Column with the text. Default: {' or '.join(TEXT_COLUMNS)}.")
]
PairColumn = Annotated[str | None, typer.Option("--text-pair", help="Column with the second text of a pair.")]
LabelColumn = Annotated[str, typer.Option("--label", help="Column with the label.")]
Encoding = Annotated[str, typer.Option(help="Encoding of the data files, for example utf-8-sig or cp949.")]
Output = Annotated[Path, typer.Option(help="Checkpoint directory to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing checkpoint.")]

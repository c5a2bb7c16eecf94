"""The command `pretrain`, built on training/preparation.py."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..training import preparation
from .learning import FitOptions, command, fit
from .options import Encoding, Framework, TextColumn

TEXTS = ".txt, folders of .txt, .jsonl, .csv, .tsv or .parquet"


@dataclass(kw_only=True)
class PretrainOptions(FitOptions):
    """The options of `pretrain`; those of preparation.Options of the same name mean the same."""

    data: Annotated[list[Path], typer.Argument(metavar="FILES", help=f"Texts: {TEXTS}; see docs/training.md.")]
    validation: Annotated[
        list[Path] | None, typer.Option(help="Texts to validate on; may be given several times. Default: a part of the documents.")
    ] = None
    limit: Annotated[int | None, typer.Option(min=1, help="Train on this many documents at most, drawn by the seed.")] = None
    validation_limit: Annotated[int | None, typer.Option(min=1, help="Validate on this many documents at most.")] = None
    task: Annotated[
        Literal["pretraining", "masked-lm"], typer.Option(help="Masked words with next-sentence prediction, or masked words alone.")
    ] = "pretraining"
    text: TextColumn = None
    documents: Annotated[
        Literal["blank", "file"] | None,
        typer.Option(help="What ends a document of a .txt: a blank line, or the file. Default: as lines and blank lines alternate."),
    ] = None
    whole_words: Annotated[bool, typer.Option("--whole-word-masking", help="Mask all pieces of a word, or none.")] = False
    dupes: Annotated[
        int, typer.Option("--dupe-factor", min=1, max=1000, help="Divide each document so often into pairs of segments, each differently.")
    ] = 10
    epochs: Annotated[int, typer.Option(min=1, max=1_000_000, help="Passes over these pairs; each masks other words.")] = 1
    encoding: Encoding = "utf-8-sig"
    framework: Framework = "pt"


def pretrain(options: PretrainOptions) -> None:
    """Pre-train a model on plain text, and save it."""
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(options) if field.name != "framework"}
    fit(options.framework, preparation.Options(**given | {"validation": options.validation or None, "command": command()}))

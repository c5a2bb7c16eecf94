"""Console output shared by all commands (lines and tables), and commands that take their options as a dataclass."""

import contextlib
import dataclasses
import inspect
import logging
import os
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table as Grid

from .. import processes
from ..errors import printable
from ..frameworks import twin
from ..interrupts import catching
from ..training.twin import Twin

console = Console()


def say(text: str) -> None:
    """Print a line unwrapped and without markup, with control characters escaped."""
    console.print(printable(text), highlight=False, markup=False, soft_wrap=True)


def make_grid(*columns: str) -> Grid:
    """Make a table without vertical lines, to fit 80 columns."""
    return Grid(*columns, box=box.SIMPLE)


def add_row(grid: Grid, *cells: object) -> None:
    """Add a row of cells, with markup and control characters escaped."""
    grid.add_row(*(escape(printable(str(cell))) for cell in cells))


@contextlib.contextmanager
def rows_bar(rows: int, shown: bool) -> Iterator[Callable[[float], None]]:
    """A bar on the terminal, apart from the results, which takes the number of rows that are done."""
    terminal = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, disable=not (shown and terminal.is_terminal)) as bars:
        task = bars.add_task(f"{rows:,} rows", total=rows)
        yield lambda done: bars.advance(task, done)


class _Printable(logging.Formatter):
    """Escapes what a terminal would act on: messages may contain names from a stranger's file."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), keep="\n")


def show_warnings() -> None:
    """Print the warnings that libraries log, with control characters escaped."""
    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False)
    handler.setFormatter(_Printable("%(message)s"))
    level = logging.WARNING if processes.is_main() else logging.ERROR  # of several processes, the first one speaks
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("huggingface_hub").propagate = False  # it prints its own warnings


def open_twin(framework: str) -> Twin:
    """Import a framework, hiding what TensorFlow's C++ code prints before it reads its log level."""
    with catching() as interrupts:
        with silent_stderr(), interrupts.held():  # C code that imports Python turns an exception into another
            opened: Twin = twin(framework)
        interrupts.check()
    show_warnings()  # again, because frameworks add their own handlers
    return opened


def takes_object(command: Callable[[Any], None]) -> Callable[..., None]:
    """Turn a command that takes one dataclass into a function with one argument per field, as Typer needs it.

    The fields of the class itself come first, then those of each base.
    """
    (parameter,) = typing.get_type_hints(command).keys() - {"return"}
    options = typing.get_type_hints(command)[parameter]
    hints = typing.get_type_hints(options, include_extras=True)

    def run(**values: Any) -> None:
        command(options(**values))

    names = dict.fromkeys(name for each in options.__mro__ for name in inspect.get_annotations(each))
    given = sorted(dataclasses.fields(options), key=lambda field: list(names).index(field.name))
    fields = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in given
    ]
    run.__signature__ = inspect.Signature(fields)  # type: ignore[attr-defined]
    run.__annotations__ = {field.name: hints[field.name] for field in given}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


@contextlib.contextmanager
def silent_stderr() -> Iterator[None]:
    """Hide what C code prints to stderr in this block."""
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

"""The command-line app `mobilebert`, assembled from one file per group of commands."""

import functools
from collections.abc import Callable
from typing import Any

import typer

from .. import processes
from ..errors import Interrupted
from .checkpoints import convert, info, verify
from .console import takes_object
from .demo import demo
from .learning import evaluate, predict, train
from .pretraining import pretrain

app = typer.Typer(
    help="MobileBERT in PyTorch and in Keras: one checkpoint directory, two frameworks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def served(command: Callable[..., None], by_all: bool) -> Callable[..., None]:
    """A command that ends with a line and its exit status where a signal interrupts it.

    Args:
        by_all: whether several processes work on it together; if not, the first one does.
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        if not by_all and not processes.is_main():
            return
        try:
            command(*args, **kwargs)
        except Interrupted as error:
            if processes.is_main():
                typer.echo(error, err=True)
            raise typer.Exit(error.status) from None

    return run


for command in (takes_object(train), takes_object(pretrain)):
    app.command()(served(command, by_all=True))
for command in (demo, takes_object(evaluate), takes_object(predict), verify, takes_object(convert), info):
    app.command()(served(command, by_all=False))

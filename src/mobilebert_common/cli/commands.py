"""The command-line app `mobilebert`, assembled from one file per group of commands."""

import functools
from collections.abc import Callable
from typing import Any

import typer

from .. import processes
from .checkpoints import convert, info, verify
from .console import takes_object
from .demo import demo
from .distilling import distill
from .exports import export
from .learning import evaluate, predict, train
from .pretraining import pretrain

app = typer.Typer(
    help="MobileBERT in PyTorch and in Keras: one checkpoint directory, two frameworks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def by_one(command: Callable[..., None]) -> Callable[..., None]:
    """A command that the first of several processes runs alone."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        if processes.is_main():
            command(*args, **kwargs)

    return run


for command in (takes_object(train), takes_object(pretrain), takes_object(distill)):
    app.command()(command)
for command in (demo, takes_object(evaluate), takes_object(predict), takes_object(export), verify, takes_object(convert), info):
    app.command()(by_one(command))

"""The command-line app `mobilebert`, assembled from one file per group of commands."""

import typer

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
for command in (
    demo,
    takes_object(train),
    takes_object(evaluate),
    takes_object(predict),
    takes_object(pretrain),
    verify,
    takes_object(convert),
    info,
):
    app.command()(command)

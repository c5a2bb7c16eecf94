"""The commands of `mobilebert`: one file a group of them."""

import typer

from .checkpoints import convert, info, verify
from .console import takes_object
from .demo import demo
from .learning import evaluate, predict, train

app = typer.Typer(
    help="MobileBERT in PyTorch and in Keras: one checkpoint directory, two frameworks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, takes_object(train), takes_object(evaluate), takes_object(predict), verify, takes_object(convert), info):
    app.command()(command)

"""The project's promise in one command: train in PyTorch, open in Keras, train on, open in PyTorch. No network, no other files."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table as Grid

from . import jobs
from .tasks.classification import split
from .tasks.tables import Columns, Table, read_table
from .training import Recipe, Report
from .twins import Twin

MESSAGES = Path(__file__).parent / "data" / "messages.tsv"
VOCABULARY = 1000  # tokens, learned from the training messages
MAX_LENGTH = 64
IN_PYTORCH = Recipe(learning_rate=1e-3, epochs=20, batch_size=16)
IN_KERAS = Recipe(learning_rate=3e-4, epochs=5, batch_size=16, seed=1)

Watch = Callable[[str], AbstractContextManager[Callable[[int], Report]]]


def run(output: Path, console: Console, open_twin: Callable[[str], Twin], watch: Watch) -> None:
    """Do it and print a table of it all.

    Args:
        output: gets two checkpoint directories, pt and keras.
        open_twin: imports a framework.
        watch: opens a progress bar.
    """
    started = time.monotonic()
    table, held_out = split(read_table(MESSAGES, Columns()), 0.2, seed=0)
    console.print(
        f"{len(table.texts)} messages to train on, {len(held_out.texts)} held out, from {MESSAGES.name}",
        highlight=False,
    )
    grid = Grid("step", "framework", "accuracy", "F1 (macro)", "seconds")

    def row(step: str, framework: str, classifier: jobs.Classifier, begun: float) -> np.ndarray:
        scores, _ = classifier.evaluate(held_out)
        grid.add_row(
            step, framework, f"{scores['accuracy']:.1%}", f"{scores['f1']:.1%}", f"{time.monotonic() - begun:.0f}"
        )
        return classifier.logits(held_out)

    begin = jobs.start("mobilebert-mini", table.labels or [], table.texts, vocabulary_size=VOCABULARY)
    trained, begun = output / "pt", time.monotonic()
    torch_twin = open_twin("pt")
    _fit(torch_twin, begin, table, IN_PYTORCH, trained, watch("PyTorch"))
    torch_logits = row("train from scratch", "PyTorch", jobs.Classifier.open(torch_twin, trained), begun)

    continued, begun = output / "keras", time.monotonic()
    keras_twin = open_twin("tf")
    keras_logits = row("open the directory", "Keras", jobs.Classifier.open(keras_twin, trained), begun)

    begun = time.monotonic()
    begin = jobs.start(str(trained), table.labels or [], table.texts)
    _fit(keras_twin, begin, table, IN_KERAS, continued, watch("Keras"))
    row("train on with model.fit", "Keras", jobs.Classifier.open(keras_twin, continued), begun)

    begun = time.monotonic()
    row("open the directory", "PyTorch", jobs.Classifier.open(torch_twin, continued), begun)

    console.print(grid)
    console.print(
        f"PyTorch and Keras logits differ by {np.abs(torch_logits - keras_logits).max():.1e} at most over the held-out messages",
        highlight=False,
    )
    console.print(
        f"{time.monotonic() - started:.0f} s in all; try: mobilebert predict {continued} 'where is my parcel?' --framework tf",
        highlight=False,
    )


def _fit(
    twin: Twin,
    begin: jobs.Start,
    table: Table,
    recipe: Recipe,
    directory: Path,
    progress: AbstractContextManager[Callable[[int], Report]],
) -> None:
    with progress as watch:
        model = jobs.train(twin, begin, table, recipe, MAX_LENGTH, watch)
    jobs.save(model, begin.tokenizer, directory, MAX_LENGTH)

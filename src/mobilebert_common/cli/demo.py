"""The project's promise in one command: train in PyTorch, open in Keras, train on, open in PyTorch."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from rich.table import Table as Grid

from ..tasks.classification import split
from ..tasks.tables import Columns, read_table
from ..training import jobs
from ..training.recipe import Recipe, Report
from ..training.twin import Twin

MESSAGES = Path(__file__).parent / "data" / "messages.tsv"
VOCABULARY = 1000  # tokens, learned from the training messages
MAX_LENGTH = 64
IN_PYTORCH = Recipe(learning_rate=2e-3, epochs=8, batch_size=16)
IN_KERAS = Recipe(learning_rate=1e-3, epochs=12, batch_size=16, seed=1)

Watch = Callable[[str], AbstractContextManager[Callable[[int], Report]]]


def run(
    output: Path,
    say: Callable[[str], None],
    open_twin: Callable[[str], Twin],
    watch: Watch,
    make_grid: Callable[..., Grid],
) -> Grid:
    """Do it and return a table of it all.

    Args:
        output: gets two checkpoint directories, pt and keras.
        say: prints a line.
        open_twin: imports a framework.
        watch: opens a progress bar.
        make_grid: makes a table of the columns named.
    """
    table, held_out = split(read_table(MESSAGES, Columns()), 0.2, seed=0)
    labels = table.labels or []
    say(
        f"{len(table.texts)} customer messages to train on, {len(held_out.texts)} held out; "
        f"labels {', '.join(sorted(set(labels)))}"
    )
    grid = make_grid("step", "framework", "accuracy", "F1 (macro)", "seconds")
    torch_twin, keras_twin = open_twin("pt"), open_twin("tf")
    in_pytorch, in_keras = output / "pt", output / "keras"

    def train(twin: Twin, begin: jobs.Start, recipe: Recipe, directory: Path, title: str) -> None:
        with watch(title) as watching:
            model = jobs.train(twin, begin, table, recipe, MAX_LENGTH, watching)
        jobs.save(model, begin.tokenizer, directory, MAX_LENGTH)

    def evaluate(step: str, title: str, twin: Twin, directory: Path, began: float) -> np.ndarray:
        classifier = jobs.Classifier.open(twin, directory)
        scores, _ = classifier.evaluate(held_out)
        seconds = f"{time.monotonic() - began:.0f}"
        grid.add_row(step, title, f"{scores['accuracy']:.1%}", f"{scores['f1']:.1%}", seconds)
        return classifier.logits(held_out)

    began = time.monotonic()
    fresh = jobs.start("mobilebert-mini", labels, table.texts, vocabulary_size=VOCABULARY)
    train(torch_twin, fresh, IN_PYTORCH, in_pytorch, "PyTorch")
    ours = evaluate("train a new model", "PyTorch", torch_twin, in_pytorch, began)
    theirs = evaluate("open its directory", "Keras", keras_twin, in_pytorch, time.monotonic())
    say(f"the same directory in both: logits differ by {np.abs(ours - theirs).max():.0e} at most")

    began = time.monotonic()
    train(keras_twin, jobs.start(str(in_pytorch), labels, table.texts), IN_KERAS, in_keras, "Keras  ")
    theirs = evaluate("train on with model.fit", "Keras", keras_twin, in_keras, began)
    ours = evaluate("open that directory", "PyTorch", torch_twin, in_keras, time.monotonic())
    say(f"and after model.fit: logits differ by {np.abs(ours - theirs).max():.0e} at most")
    say(f"now try: mobilebert predict {in_keras} 'where is my parcel?' --framework tf")
    return grid

"""The command `demo`: train in PyTorch, open in Keras, continue training, open in PyTorch."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..tasks.tables import Columns
from ..tasks.task import TASKS
from ..training import jobs
from ..training.recipe import Recipe
from ..training.twin import Twin
from .console import add_row, console, make_grid, open_twin, say, watch_training
from .learning import claim, refuse_overwriting
from .options import Output, Overwrite

TASK = TASKS["classification"]
MESSAGES = Path(__file__).parents[1] / "data" / "messages.tsv"
VOCABULARY = 1000  # tokens, learned from the training messages
MAX_LENGTH = 64
IN_PYTORCH = Recipe(learning_rate=2e-3, epochs=8, batch_size=16)
IN_KERAS = Recipe(learning_rate=1e-3, epochs=12, batch_size=16, seed=1)


def demo(output: Output = Path("mobilebert-demo"), overwrite: Overwrite = False) -> None:
    """Train a small classifier in PyTorch, continue in Keras, open the result in PyTorch: takes a minute or two, no network."""
    in_pytorch, in_keras = output / "pt", output / "keras"
    for directory in (in_pytorch, in_keras):
        refuse_overwriting(directory, overwrite)
        claim(directory)
    data, held_out = TASK.split(TASK.read(MESSAGES, Columns(), "utf-8"), 0.2, seed=0)
    fresh = jobs.start(TASK, "mobilebert-mini", data, vocabulary_size=VOCABULARY)
    labels = ", ".join(sorted(fresh.config.id2label.values()))
    say(f"{len(data)} customer messages to train on, {len(held_out)} held out; labels {labels}")
    torch_twin, keras_twin = open_twin("pt"), open_twin("tf")
    grid = make_grid("step", "framework", "accuracy", "F1 (macro)", "seconds")

    began = time.monotonic()
    _train(torch_twin, fresh, data, IN_PYTORCH, in_pytorch, "PyTorch")
    rows = [_evaluate(torch_twin, in_pytorch, held_out)]
    add_row(grid, "train a new model", "PyTorch", *_shown(rows[-1], began))
    began = time.monotonic()
    rows.append(_evaluate(keras_twin, in_pytorch, held_out))
    add_row(grid, "open its directory", "Keras", *_shown(rows[-1], began))
    say(f"same directory, both frameworks: logits differ by at most {_apart(rows):.0e}")

    began = time.monotonic()
    _train(keras_twin, jobs.start(TASK, str(in_pytorch), data), data, IN_KERAS, in_keras, "Keras  ")
    rows = [_evaluate(keras_twin, in_keras, held_out)]
    add_row(grid, "continue with model.fit", "Keras", *_shown(rows[-1], began))
    began = time.monotonic()
    rows.append(_evaluate(torch_twin, in_keras, held_out))
    add_row(grid, "open that directory", "PyTorch", *_shown(rows[-1], began))
    say(f"after model.fit: logits differ by at most {_apart(rows):.0e}")
    say(f"next, try: mobilebert predict {in_keras} 'where is my parcel?' --framework tf")
    console.print(grid)


Evaluated = tuple[Mapping[str, float], np.ndarray]  # metrics, logits [examples labels]


def _train(twin: Twin, begin: jobs.Start, data: Any, recipe: Recipe, directory: Path, title: str) -> None:
    with watch_training(title) as watch:
        model = jobs.train(twin, begin, begin.examples(data, MAX_LENGTH), recipe, watch)
    jobs.save(twin, model, begin.tokenizer, directory, MAX_LENGTH)


def _evaluate(twin: Twin, directory: Path, data: Any) -> Evaluated:
    opened = jobs.Opened.open(twin, directory)
    scores, _ = opened.evaluate(data)
    return scores, np.concatenate([batch["logits"] for batch in opened.outputs(opened.examples(data))])


def _shown(evaluated: Evaluated, began: float) -> Iterable[str]:
    return *(f"{score:.1%}" for score in evaluated[0].values()), f"{time.monotonic() - began:.0f}"


def _apart(evaluated: list[Evaluated]) -> float:
    return float(np.abs(evaluated[0][1] - evaluated[1][1]).max())

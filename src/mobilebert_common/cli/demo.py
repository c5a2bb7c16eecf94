"""The command `demo`: train fresh and pre-trained weights in PyTorch, open in Keras, continue training, open in PyTorch."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..frameworks import FRAMEWORKS
from ..tasks.tables import Table
from ..tasks.task import TASKS
from ..training import jobs
from ..training.fine_tuning import fine_tune
from ..training.preparation import Options, claim, refuse_overwriting
from ..training.progress import bar
from ..training.twin import Twin
from .console import add_row, console, make_grid, open_twin, say
from .options import Output, Overwrite

TASK = TASKS["classification"]
MESSAGES = Path(__file__).parents[1] / "data" / "messages.tsv"
VOCABULARY = 1000  # tokens, learned from the training messages
MAX_LENGTH = 64
EVALUATED = 52  # steps from one evaluation to the next: two epochs
FRESH: dict[str, Any] = {"model": jobs.FRESH, "vocabulary_size": VOCABULARY, "learning_rate": 2e-3, "epochs": 8}
PRETRAINED: dict[str, Any] = {"model": jobs.PRETRAINED, "learning_rate": 1e-3, "epochs": 4}
IN_KERAS: dict[str, Any] = {"learning_rate": 3e-4, "epochs": 4, "seed": 1}


def demo(output: Output = Path("mobilebert-demo"), overwrite: Overwrite = False) -> None:
    """Train a classifier in PyTorch, continue in Keras, open the result in PyTorch: takes about three minutes, no network."""
    fresh, in_pytorch, in_keras = output / "fresh", output / "pt", output / "keras"
    for directory in (fresh, in_pytorch, in_keras):
        refuse_overwriting(directory, overwrite)
        claim(directory)
    data, held_out = TASK.split(TASK.read(MESSAGES, encoding="utf-8"), 0.2, seed=0)
    say(f"{len(data)} customer messages to train on, {len(held_out)} held out; labels {', '.join(sorted(set(data.labels or [])))}")
    torch_twin, keras_twin = open_twin("pt"), open_twin("tf")
    grid = make_grid("step", "framework", "accuracy", "F1 (macro)", "seconds")

    began = time.monotonic()
    _train("pt", data, held_out, fresh, **FRESH)
    add_row(grid, f"train fresh weights, {jobs.FRESH}", "PyTorch", *_shown(_evaluate(torch_twin, fresh, held_out), began))
    began = time.monotonic()
    _train("pt", data, held_out, in_pytorch, **PRETRAINED)
    rows = [_evaluate(torch_twin, in_pytorch, held_out)]
    add_row(grid, f"train pre-trained ones, {jobs.PRETRAINED}", "PyTorch", *_shown(rows[-1], began))
    began = time.monotonic()
    rows.append(_evaluate(keras_twin, in_pytorch, held_out))
    add_row(grid, "open its directory", "Keras", *_shown(rows[-1], began))
    say(f"same directory, both frameworks: logits differ by at most {_apart(rows):.0e}")

    began = time.monotonic()
    _train("tf", data, held_out, in_keras, model=str(in_pytorch), **IN_KERAS)
    rows = [_evaluate(keras_twin, in_keras, held_out)]
    add_row(grid, "continue with model.fit", "Keras", *_shown(rows[-1], began))
    began = time.monotonic()
    rows.append(_evaluate(torch_twin, in_keras, held_out))
    add_row(grid, "open that directory", "PyTorch", *_shown(rows[-1], began))
    say(f"after model.fit: logits differ by at most {_apart(rows):.0e}")
    say(f"next, try: mobilebert predict {in_keras} 'where is my parcel?' --framework tf")
    console.print(grid)


Evaluated = tuple[Mapping[str, float], np.ndarray]  # metrics, logits [examples labels]


def _train(framework: str, data: Table, held_out: Table, directory: Path, **options: Any) -> None:
    settings = Options(
        task=TASK.name,
        data=data.records,
        validation=held_out.records,
        batch_size=16,
        max_length=MAX_LENGTH,
        evaluate_every=EVALUATED,
        output=directory,
        overwrite=True,
        **options,
    )
    with bar(console) as progress:
        fine_tune(open_twin(framework), FRAMEWORKS[framework][1], settings, progress)


def _evaluate(twin: Twin, directory: Path, data: Table) -> Evaluated:
    opened = jobs.Opened.open(twin, directory)
    scores, _ = opened.evaluate(data)
    return scores.metrics, np.concatenate([batch["logits"] for batch in opened.outputs(opened.examples(data))])


def _shown(evaluated: Evaluated, began: float) -> Iterable[str]:
    return *(f"{evaluated[0][title]:.1%}" for title in ("accuracy", "F1 (macro)")), f"{time.monotonic() - began:.0f}"


def _apart(evaluated: list[Evaluated]) -> float:
    return float(np.abs(evaluated[0][1] - evaluated[1][1]).max())

"""`train`, `distill`, `evaluate` and `predict` as both twins export them, on names and data instead of opened files."""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from .. import processes
from ..frameworks import FRAMEWORKS, twin
from ..tasks.base import Data, beside_data
from ..tasks.examples import Examples
from ..tasks.metrics import Scores
from ..tasks.records import UTF8
from ..tasks.tables import Columns
from ..tasks.task import Setup
from . import jobs
from .fine_tuning import Trained, fine_tune
from .predictor import COLUMNS, given_data
from .preparation import Options, left_out
from .progress import bar

log = logging.getLogger(__name__)


def train(framework: str, model: Any, task: str | None, data: Any, progress: bool, **options: Any) -> Trained:
    """Fine-tune a model; see `preparation.Options`."""
    return _trained("train", framework, progress, options, model=model, task=task, data=data)


def distill(framework: str, teacher: str | Path, student: Any, task: str | None, data: Any, progress: bool, **options: Any) -> Trained:
    """Train a student with a teacher; see `preparation.Options`."""
    if not isinstance(teacher, str | Path):
        raise TypeError(f"the teacher must be a checkpoint's name or directory, not a {type(teacher).__name__}")
    return _trained("distill", framework, progress, options, teacher=teacher, model=student, task=task, data=data)


def _trained(function: str, framework: str, progress: bool, options: dict[str, Any], **given: Any) -> Trained:
    """Train as the arguments of a function say."""
    known = {field.name for field in fields(Options)} - set(given)
    if unknown := sorted(set(options) - known):
        raise TypeError(f"{function}() has no argument {', '.join(unknown)}; it takes {', '.join(sorted(known))}")
    with bar() if progress and processes.is_main() else contextlib.nullcontext() as shown:
        return fine_tune(twin(framework), FRAMEWORKS[framework][1], Options(**given, **options), shown)


def evaluate(framework: str, model: str | Path | Trained, data: Any, **options: Any) -> Scores:
    """The metrics of a saved or trained model on labelled data."""
    opened, encoding = _opened(framework, model, options)
    found = opened.setup.read(data, encoding)
    return opened.evaluate(found, _examples(opened, found))[0]


def predict(framework: str, model: str | Path | Trained, data: Any, all: bool = False, **options: Any) -> dict[str, Sequence[Any]]:
    """What a saved or trained model says of texts or data, as columns."""
    opened, encoding = _opened(framework, model, options)
    found = given_data(opened.setup, data, encoding)
    predictions = opened.predict(found, _examples(opened, found))
    return dict(beside_data(found, predictions, all))


def _examples(opened: jobs.Opened, data: Data) -> Examples:
    """Tokenize the data, and log what the model does not see of it."""
    examples = opened.examples(data)
    for line in left_out(opened.setup.task, opened.lengths, examples):
        log.warning(line)
    return examples


def _opened(framework: str, model: str | Path | Trained, options: dict[str, Any]) -> tuple[jobs.Opened, str]:
    """The model, with the columns that the options name, and the encoding of its data."""
    columns = {name: options.pop(name) for name in COLUMNS if name in options}
    encoding, task = options.pop("encoding", UTF8), options.pop("task", None)
    if options:
        raise TypeError(f"there is no argument {', '.join(sorted(options))}; there are task, encoding, {', '.join(COLUMNS)}")
    if not isinstance(model, str | Path | Trained):
        raise TypeError(f"the model must be a checkpoint's name or directory, or what train() returned, not a {type(model).__name__}")
    opened = model.opened if isinstance(model, Trained) else jobs.open_place(model, task, lambda: twin(framework))
    setup: Setup = opened.setup.with_columns(Columns(**columns))
    return replace(opened, setup=setup), encoding

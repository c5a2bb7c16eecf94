"""The table of tasks, GLUE's names for some of them, and what a checkpoint remembers of its task.

To add a task, write a module beside this one and add a row to TASKS; training, evaluation, prediction and the command line use it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError, brief
from ..model.architectures import named_architecture
from ..model.config import MobileBertConfig
from ..model.inputs import problem_type
from .answers import Answers
from .base import Lengths, Task
from .choices import Choices, has_choices
from .classification import Classification
from .conll import looks_like_conll
from .multi_label import MultiLabel
from .pretraining import MaskedWords, Pretraining
from .records import UTF8, Records, read_records
from .regression import Regression
from .sentences import SentenceTask
from .squad import is_squad, is_table_of_questions
from .tables import LABEL_COLUMNS, Columns, as_number, names_of
from .tokens import Tokens, has_words_and_tags

TASKS: dict[str, Task] = {
    task.name: task
    for task in (Classification(), Regression(), MultiLabel(), Tokens(), Answers(), Choices(), Pretraining(), MaskedWords())
}
DEFAULT_COLUMNS, DEFAULT_LENGTHS = Columns(), Lengths()
# of lengths; others are from 1
RANGES: dict[str, tuple[float, float]] = {"null_threshold": (-math.inf, math.inf), "whole_words": (0, 1), "seed": (0, 1 << 64)}
MEMORY = "fine_tuning"  # the key of config.json that a checkpoint remembers its task by


@dataclass(frozen=True)
class Preset:
    """A task of GLUE: ours, the metric that chooses the best model, and the columns of a file that does not name them.

    The names of text and label columns are the defaults of `tables`.
    """

    task: str
    metric: str = "accuracy"
    header: tuple[str, ...] | None = None


GLUE: dict[str, Preset] = {
    "cola": Preset("classification", "MCC", ("source", "label", "mark", "sentence")),
    "sst2": Preset("classification"),
    "mrpc": Preset("classification"),
    "stsb": Preset("regression", "Pearson"),
    "qqp": Preset("classification"),
    "mnli": Preset("classification"),
    "qnli": Preset("classification"),
    "rte": Preset("classification"),
    "wnli": Preset("classification"),
}
NAMES = (*TASKS, *GLUE)


@dataclass(frozen=True)
class Setup:
    """A task with the columns and lengths it was trained with.

    Attributes:
        metric: the metric that comes first and chooses the best model; None for the task's own.
        remembered: whether a checkpoint said so.
    """

    task: Task
    columns: Columns = DEFAULT_COLUMNS
    lengths: Lengths = DEFAULT_LENGTHS
    metric: str | None = None
    remembered: bool = False

    def read(self, source: Any, encoding: str = UTF8, *, labelled: bool = True) -> Any:
        """Read data for the task; see `Task.read`.

        Raises:
            DataError: the data cannot be used, or lack a column that the model was trained on.
        """
        known = ", which the model was trained on" if self.remembered else ""
        return self.task.read(source, self.columns, encoding, labelled=labelled, known=known)

    def with_columns(self, columns: Columns) -> "Setup":
        """The setup with the columns that are given, and its own where they are None."""
        given = {field.name: value for field in fields(columns) if (value := getattr(columns, field.name)) is not None}
        if "text" in given and "text_pair" not in given and not self.remembered:
            given["text_pair"] = None  # found by the text's name
        return replace(self, columns=replace(self.columns, **given))

    def with_lengths(self, **lengths: Any) -> "Setup":
        """The setup with the lengths that are given, and its own where they are None."""
        return replace(self, lengths=replace(self.lengths, **{name: value for name, value in lengths.items() if value is not None}))

    def settings(self) -> dict[str, Any]:
        """What config.json remembers it by."""
        columns = {name: value for name, value in asdict(self.columns).items() if value is not None}
        memory = {"task": self.task.name, "columns": columns, "lengths": asdict(self.lengths)}
        return {MEMORY: memory if self.metric is None else {**memory, "metric": self.metric}}


def new_setup(name: str) -> Setup:
    """The setup of a task, or of a preset, before training.

    Args:
        name: in TASKS or GLUE.
    Raises:
        ConfigError: the name is unknown.
    """
    if name in GLUE:
        preset = GLUE[name]
        task = TASKS[preset.task]
        return Setup(task, Columns(header=preset.header), task.lengths, preset.metric)
    if name not in TASKS:
        raise ConfigError(f"task must be one of {', '.join(NAMES)}, not {brief(name)}")
    return Setup(TASKS[name], Columns(), TASKS[name].lengths)


def setup_of(config: MobileBertConfig, name: str | None = None) -> Setup:
    """The setup of a checkpoint: what it remembers, or the task that its architecture and problem type are for.

    Args:
        name: of a task or a preset, which must fit the checkpoint.
    Raises:
        ConfigError: the name is unknown, the checkpoint is for another task, or what it remembers cannot be read.
    """
    found = _remembered(config)
    if found is None:
        task = _by_architecture(config) if name is None else new_setup(name).task
        found = Setup(task, lengths=task.lengths)
    if name is not None and new_setup(name).task is not found.task:
        raise ConfigError(f"was trained for {found.task.name}, not for {name}")
    architecture = named_architecture(config)
    if config.architectures and architecture != found.task.architecture:
        raise ConfigError(f"holds {', '.join(config.architectures)}, not a {found.task.architecture}")
    if found.metric not in (None, *found.task.titles(config)):
        raise ConfigError(f"{MEMORY} of config.json names the metric {found.metric!r:.80}, which {found.task.name} does not have")
    if isinstance(found.task, SentenceTask) and (kind := problem_type(config, integer_labels=True)) != found.task.problem_type:
        raise ConfigError(f"is a model for {kind}, not for {found.task.name}")
    return found


def _by_architecture(config: MobileBertConfig) -> Task:
    architecture, kind = named_architecture(config), problem_type(config, integer_labels=True)
    fitting = [task for task in TASKS.values() if task.architecture == architecture or (architecture is None and not config.architectures)]
    fitting = [task for task in fitting if not isinstance(task, SentenceTask) or task.problem_type == kind]
    if not fitting:
        wanted = " or ".join(dict.fromkeys(task.architecture for task in TASKS.values()))
        raise ConfigError(f"holds {', '.join(config.architectures or [])}, not a {wanted}")
    return fitting[0]


def _remembered(config: MobileBertConfig) -> Setup | None:
    """What config.json remembers; None if nothing."""
    memory = getattr(config, MEMORY, None)
    if memory is None:
        return None
    try:
        task = TASKS[memory["task"]]
        columns, lengths, metric = memory["columns"], memory["lengths"], memory.get("metric")
        if not (metric is None or isinstance(metric, str)):
            raise TypeError(metric)
        return Setup(task, _columns(columns), _lengths(lengths), metric, remembered=True)
    except (TypeError, KeyError, AttributeError, ValueError):
        raise ConfigError(f"{MEMORY} {brief(memory)} does not describe a task: remove it from config.json, or correct it") from None


def _columns(values: Mapping[str, Any]) -> Columns:
    """Columns from JSON, whose tuples are lists."""
    found: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    names = [name for value in found.values() for name in (value if isinstance(value, tuple) else [value])]
    if not all(isinstance(name, str) for name in names):
        raise TypeError(names)
    return Columns(**found)


def _lengths(values: Mapping[str, Any]) -> Lengths:
    lengths = Lengths(**values)
    for name, value in asdict(lengths).items():
        if value is None and name == "null_threshold":
            continue
        if not isinstance(value, bool if name == "whole_words" else int | float if name == "null_threshold" else int):
            raise TypeError(value)
        low, high = RANGES.get(name, (1, 1 << 20))
        if isinstance(value, bool) != (name == "whole_words") or not low <= value <= high or not math.isfinite(value):
            raise ValueError(value)
    return lengths


FILES: dict[str, Callable[[Path, str], bool]] = {Tokens.name: looks_like_conll, Answers.name: is_squad}  # with formats of their own
FITTING: dict[str, Callable[[Records, Columns], bool]] = {  # tasks that records leave no doubt about
    Tokens.name: has_words_and_tags,
    Answers.name: is_table_of_questions,
    Choices.name: has_choices,
}


def guess(source: Any, columns: Columns, encoding: str = UTF8) -> tuple[str, Any]:
    """Guess the task from the data, and return its name with the data as far as they were read.

    Raises:
        DataError: the data cannot be read.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if (found := next((name for name, fits in FILES.items() if fits(path, encoding)), None)) is not None:
            return found, source
    records = read_records(source, encoding, columns.header)
    return guess_of_records(records, columns), records


def guess_of_records(records: Records, columns: Columns) -> str:
    """The task of rows: by the columns they have, or by labels. Numbers with a fraction are for regression, lists for several labels."""
    if (found := next((name for name, fits in FITTING.items() if fits(records, columns)), None)) is not None:
        return found
    names = names_of(columns.label) or tuple(name for name in LABEL_COLUMNS if name in records.names)[:1]
    cells = [cell for name in names if name in records.names for cell in records.cells(name)]
    if cells and all(isinstance(cell, list | tuple) for cell in cells):
        return MultiLabel.name
    numbers = [as_number(cell) for cell in cells]
    if len(names) > 1:
        return MultiLabel.name if all(number in (0, 1) for number in numbers) else Regression.name
    if cells and all(number is not None for number in numbers) and any(number is not None and number % 1 for number in numbers):
        return Regression.name
    return Classification.name


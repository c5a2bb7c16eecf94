"""Multiple choice: which of several answers or endings fits a question or a text."""

import json
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from ..model.config import MobileBertConfig
from . import metrics
from .base import Lengths, Outputs, Predictions, Task, log_softmax
from .examples import Examples
from .metrics import Scores
from .records import UTF8, Records, as_list, as_text, is_unicode, read_records
from .tables import Columns, meaning, names_of

# default columns of the text and, if there are two, of what stands before each choice; the first that the data have
TEXT_COLUMNS: tuple[tuple[str, ...], ...] = (
    ("sent1", "sent2"),  # SWAG
    ("article", "question"),  # RACE
    ("context", "question"),  # CosmosQA, Social IQa
    ("premise", "question"),  # COPA
    ("question",),  # ARC, CommonsenseQA, MMLU
    ("question_stem",),  # OpenBookQA
    ("sent1",),
    ("context",),
    ("ctx",),  # HellaSwag
    ("prompt",),
    ("startphrase",),
    ("premise",),
    ("goal",),  # PIQA
    ("sentence",),  # WinoGrande
    ("text",),
)
SERIES = ("ending", "choice", "answer", "option", "sol", "")  # columns of choices, followed by 0, 1, ...; by 1, 2, ...; or by A, B, ...
LISTS = ("choices", "endings", "options")  # columns with all choices
LABEL_COLUMNS = ("label", "answerKey", "answer", "labels")

# the styles that labels are written in, with those of the first choices; "texts" means the text of the choice itself
STYLES: dict[str, Sequence[str]] = {
    "letters": string.ascii_uppercase,
    "small letters": string.ascii_lowercase,
    "numbers from 0": [*map(str, range(1000))],
    "numbers from 1": [*map(str, range(1, 1000))],
    "texts": (),
}
LETTERS = 5  # at least so many letters are read as labels: the answer E, where there are four choices, is one that is not there


@dataclass(frozen=True)
class Questions:
    """The questions of a data source.

    Attributes:
        seconds: what stands before each choice; None for nothing.
        choices: as many for each question; None for one that is not there.
        names: what the data themselves call the choices of a question; empty where they do not.
        labels: as they are written; None if they were not read.
    """

    path: Path
    texts: list[str]
    seconds: list[str] | None
    choices: list[list[str | None]]
    names: list[list[str]]
    labels: list[str] | None
    records: Records
    columns: Columns = field(default_factory=Columns)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def encoding(self) -> str:
        """In which results about the data are written."""
        return self.records.encoding

    @property
    def style(self) -> str:
        """How labels are written."""
        return self.columns.label_style or "letters"

    def there(self, row: int) -> list[int]:
        """The numbers of a question's choices; none if there are fewer than two."""
        found = [number for number, choice in enumerate(self.choices[row]) if choice is not None]
        return found if len(found) > 1 else []

    def take(self, rows: Iterable[int]) -> "Questions":
        """Some of the questions."""
        chosen = list(rows)
        parts = {name: getattr(self, name) for name in ("texts", "seconds", "choices", "names", "labels")}
        some: dict[str, Any] = {name: None if part is None else [part[row] for row in chosen] for name, part in parts.items()}
        return replace(self, **some, records=self.records.take(chosen))

    def kept(self) -> dict[str, list[Any]]:
        """All columns, to be written beside predictions."""
        return self.records.columns()


class Choices(Task):
    """One of several choices for a question."""

    name = "choices"
    architecture = "MobileBertForMultipleChoice"

    def read(
        self, source: Any, columns: Columns | None = None, encoding: str = UTF8, *, labelled: bool = True, known: str = ""
    ) -> Questions:
        """Read questions with their choices.

        The choices are in several columns, or in one that has a list of texts, or of ARC's form {"text": [...], "label": [...]}, whose
        labels name them. Where there are two columns of text, the second, such as sent2 of SWAG, stands before each choice.

        Raises:
            ConfigError: several columns of labels are named, or the label_style is unknown.
            DataError: see `records.read_records` and `style_of`; or a column is missing, a text or a label is empty or no Unicode, or no
                question has two choices. The message gives the lines.
        """
        columns = Columns() if columns is None else columns
        if len(names_of(columns.label)) > 1:
            raise ConfigError(f"choices takes one column of labels, not {len(names_of(columns.label))}")
        if columns.label_style not in (None, *STYLES):
            raise ConfigError(f"label_style must be one of {', '.join(STYLES)}, not {columns.label_style!r:.80}")
        records = read_records(source, encoding, columns.header)
        found = resolve(columns, records, labelled)
        label = next(iter(names_of(found.label)), "")
        wanted = [found.text, found.text_pair, *(found.choices or ()), label if labelled else ""]
        records.require([name for name in wanted if name], known)
        choices, names = _choices(records, found.choices or ())
        data = Questions(
            records.path,
            records.texts(found.text or ""),
            records.texts(found.text_pair) if found.text_pair else None,
            choices,
            names,
            [meaning(text) for text in records.texts(label)] if labelled else None,
            records,
            found,
        )
        if records.whole is None:
            _require_choices(data, any(map(data.there, range(len(data)))))
        return replace(data, columns=replace(found, label_style=style_of(data))) if labelled else data

    def survey(self, data: Questions, seen: tuple[int, bool] | None = None) -> tuple[int, bool]:
        """The number of choices, and whether a question has two."""
        width, has_two = seen or (0, False)
        return max(width, len(data.choices[0])), has_two or any(map(data.there, range(len(data))))

    def adapt(self, data: Questions, seen: tuple[int, bool], start: int) -> Questions:
        width, has_two = seen
        _require_choices(data, has_two)
        return replace(data, choices=[[*row, *[None] * (width - len(row))] for row in data.choices])

    def texts(self, data: Questions) -> list[str]:
        return [*data.texts, *(data.seconds or ()), *(choice for row in data.choices for choice in row if choice is not None)]

    def shown(self, data: Questions) -> list[str]:
        rows = zip(data.texts, data.seconds or [""] * len(data), data.choices, strict=True)
        return [" | ".join(part for part in (text, second, *choices) if part) for text, second, choices in rows]

    def settings(self, data: Questions, stored: MobileBertConfig | None) -> dict[str, Any]:
        """None.

        Raises:
            DataError: no question has its answer among two choices.
        """
        if all(number is None for number in label_numbers(data)):
            raise DataError(f"{data.path}: no question has its answer among its choices")
        return {}

    def make_examples(self, data: Questions, tokenizer: Any, config: MobileBertConfig, lengths: Lengths) -> Examples:
        """Tokenize each question with each choice, [choices t] in a row; over lengths.max_length, the longer one of the two is cut.

        A choice that others have and a question has not is empty. As the model's loss is over all choices, training takes it for a wrong
        answer; predictions, and the losses that come with them, are over the choices that are there. A question with fewer than two is
        dropped, and so is one whose answer is not there.

        Raises:
            ConfigError: lengths.max_length has no room for a question and a choice.
            DataError: there are no questions.
        """
        if lengths.max_length < 5:
            raise ConfigError(f"max_length {lengths.max_length} is too short for a question and a choice, which need 5 tokens")
        if not len(data):
            raise DataError(f"{data.path}: has no questions")
        numbers = None if data.labels is None else label_numbers(data)
        faults: dict[str, list[int]] = {}
        for row in range(len(data)):
            if not data.there(row):
                faults.setdefault("fewer than two choices", []).append(row)
            elif numbers is not None and numbers[row] is None:
                faults.setdefault("the answer is not among the choices", []).append(row)
        dropped = {f"{fault} ({data.records.places(found)})": found for fault, found in faults.items()}
        left_out = {row for found in faults.values() for row in found}
        rows = [row for row in range(len(data)) if row not in left_out]
        columns, cut = _tokenized(data, rows, tokenizer, lengths.max_length)
        if numbers is not None:
            columns["labels"] = [numbers[row] for row in rows]
        return Examples(columns, {"input_ids": tokenizer.pad_token_id}, rows, truncated=cut, dropped=dropped)

    def predict(
        self, data: Questions, examples: Examples, outputs: Outputs, config: MobileBertConfig, lengths: Lengths
    ) -> Predictions:
        """The most probable choice of each question, as the data write their labels, or as the training data did.

        The prediction for a question with fewer than two choices is empty.
        """
        numbers = [None] * len(data) if data.labels is None else label_numbers(data)
        shares: list[list[Any]] = [[""] * len(row) for row in data.choices]
        chosen: list[int | None] = [None] * len(data)
        losses: dict[int, float] = {}
        for row, logits in zip(examples.sources, (row for output in outputs for row in output["logits"]), strict=True):
            there = data.there(row)
            if not np.isfinite(logits[there]).all():
                raise DataError(f"{data.path}: the model's outputs are not finite for {data.records.place(row)}")
            logs = dict(zip(there, log_softmax(logits[there]).tolist(), strict=True))
            chosen[row] = max(logs, key=logs.__getitem__)
            for number, log in logs.items():
                shares[row][number] = round(float(np.exp(log)), 4)
            if (label := numbers[row]) is not None:
                losses[row] = -logs[label]
        columns: dict[str, list[Any]] = {
            "prediction": ["" if number is None else spelled(data, row, number) for row, number in enumerate(chosen)],
            "prediction text": ["" if number is None else data.choices[row][number] for row, number in enumerate(chosen)],
            "probability": ["" if number is None else shares[row][number] for row, number in enumerate(chosen)],
        }
        titles = STYLES[data.style] or STYLES["numbers from 1"]
        details = {f"probability {titles[number]}": [row[number] for row in shares] for number in range(len(data.choices[0]))}
        mean = float(np.mean([*losses.values()])) if losses else 0.0  # for questions that have no loss of their own
        all_losses = None if data.labels is None else [losses.get(row, mean) for row in range(len(data))]
        return Predictions(columns, details, all_losses, chosen)

    def evaluate(self, data: Questions, predictions: Predictions, config: MobileBertConfig) -> Scores:
        """The accuracy over the questions whose answer is among two or more choices."""
        numbers = label_numbers(data)
        judged = [(row, number) for row, number in enumerate(numbers) if number is not None]
        counts = [len(data.there(row)) for row, _ in judged]
        return metrics.choices([number for _, number in judged], [predictions.found[row] for row, _ in judged], counts)

    def titles(self, config: MobileBertConfig) -> tuple[str, ...]:
        return ("accuracy",)


def _require_choices(data: Questions, has_two: bool) -> None:
    if not has_two:
        raise DataError(f"{data.path}: no question has two choices in {', '.join(map(repr, data.columns.choices or ()))}")


def resolve(columns: Columns, records: Records, labelled: bool) -> Columns:
    """The names of the columns to read, where some are not given."""
    names, text, pair = records.names, columns.text, columns.text_pair
    groups = [group for group in TEXT_COLUMNS if set(group) <= set(names) and text in (None, group[0]) and pair != group[0]]
    if text is None:
        text = groups[0][0] if groups else "question"
    if pair is None:
        pair = next((group[1] for group in groups if group[0] == text and len(group) == 2), ())
    choices = columns.choices or next(_default_choices(names), ("choices",))
    label = columns.label
    if label is None and labelled:
        label = next((name for name in LABEL_COLUMNS if name in names), LABEL_COLUMNS[0])
    return replace(columns, text=text, text_pair=pair, choices=choices, label=label)


def _default_choices(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The columns of choices that there may be, by their names."""
    for start in SERIES:
        for style in ("numbers from 0", "numbers from 1", "letters") if start else ("letters",):
            ends = [end for end in STYLES[style] if f"{start}{end}" in names]
            run = [end for end, expected in zip(ends, STYLES[style], strict=False) if end == expected]
            if len(run) > (1 if start else 2):  # A and B alone may be anything
                yield tuple(f"{start}{end}" for end in run)
    yield from ((name,) for name in LISTS if name in names)


def has_choices(records: Records, columns: Columns) -> bool:
    """Whether records have columns of choices, of texts and of labels."""
    found = resolve(columns, records, labelled=True)
    return {*(found.choices or ()), found.text, *names_of(found.label)} <= set(records.names)


def _choices(records: Records, columns: Sequence[str]) -> tuple[list[list[str | None]], list[list[str]]]:
    """The choices of each question, as many for each, and what the data call them."""
    names: list[list[str]] = [[]] * len(records)
    if len(columns) == 1:
        [name] = columns
        listed = [_listed(cell) for cell in records.cells(name)]
        records.refuse(name, "is no list of choices", [cell is None for cell in listed])
        cells = [cell[0] if cell else [] for cell in listed]
        names = [cell[1] if cell else [] for cell in listed]
    else:
        cells = [list(row) for row in zip(*map(records.cells, columns), strict=True)]
    width = max(2, *map(len, cells))
    texts = [[as_text(cell) for cell in [*row, *[None] * (width - len(row))]] for row in cells]
    for place in range(width):
        name = columns[0] if len(columns) == 1 else columns[place]
        records.refuse(name, "is not text", [place < len(row) and isinstance(row[place], list | tuple | dict) for row in cells])
        records.refuse(name, "has half an emoji (a lone surrogate)", [not is_unicode(row[place]) for row in texts])
    return [[text if text.strip() else None for text in row] for row in texts], names


def _listed(cell: Any) -> tuple[list[Any], list[str]] | None:
    """The choices in a cell and their names, if they have names; None if it is no list of choices."""
    if isinstance(cell, str) and cell.lstrip().startswith("{"):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            return None
    if isinstance(cell, Mapping):
        texts, names = as_list(cell.get("text")), as_list(cell.get("label"))
    else:
        texts, names = as_list(cell), None
        if texts and all(isinstance(item, Mapping) for item in texts):
            texts, names = ([item.get(key) for item in texts] for key in ("text", "label"))
    if texts is None:
        return ([], []) if cell in (None, "") else None
    found = [meaning(as_text(name)) for name in names or ()]
    return texts, found if len(found) == len(texts) and all(found) and len(set(found)) == len(found) else []


def style_of(data: Questions) -> str:
    """The style of the labels: that of the training data, if it is known and explains all of them, or else the only one that does.

    Numbers count from 0 if 0 is among them, and from 1 if the number of choices is.

    Raises:
        DataError: none does, or several do and mean different choices; the message gives the lines.
    """
    found = {style: _numbers(data, style) for style in STYLES}
    wrong = {style: [row for row, number in enumerate(numbers) if number is None and data.there(row)] for style, numbers in found.items()}
    fitting = [style for style in STYLES if not wrong[style]]
    if data.columns.label_style in fitting:
        return str(data.columns.label_style)
    if not fitting:
        _refuse(data, min(wrong.values(), key=len))
    if any(found[style] != found[fitting[0]] for style in fitting[1:]):
        raise DataError(
            f"{data.path}: column {_label_name(data)!r} may have {' or '.join(fitting)}, which are different answers: say which by "
            "label_style (--label-style)"
        )
    return fitting[0]


def label_numbers(data: Questions) -> list[int | None]:
    """The number of each question's answer; None if it is not among two or more choices."""
    numbers = _numbers(data, data.style)
    return [number if number in data.there(row) else None for row, number in enumerate(numbers)]


def _refuse(data: Questions, rows: Sequence[int]) -> None:
    if rows and data.labels is not None:
        found = ", ".join(f"{label!r:.80}" for label in dict.fromkeys(data.labels[row] for row in rows[:5]))
        fault = f"column {_label_name(data)!r} names none of the choices, or two of them, in {data.records.places(rows)}"
        raise DataError(f"{data.path}: {fault}: {found}")


def _label_name(data: Questions) -> str:
    return next(iter(names_of(data.columns.label)), "")


def _numbers(data: Questions, style: str) -> list[int | None]:
    """The choice that each label means in a style, also one that is not there; None for a label that means none."""
    names = STYLES[style]
    width = len(data.choices[0])
    means = {name: number for number, name in enumerate(names[: max(width, LETTERS) if "letters" in style else width])}
    found: list[int | None] = []
    for label, own, choices in zip(data.labels or [], data.names, data.choices, strict=True):
        if label in own:
            found.append(own.index(label))
        elif names:
            found.append(means.get(label))
        else:
            same = [number for number, choice in enumerate(choices) if choice is not None and meaning(choice) == label]
            found.append(same[0] if len(same) == 1 else None)
    return found


def spelled(data: Questions, row: int, number: int) -> str:
    """A choice as its data write labels."""
    own = data.names[row]
    if own:
        return own[number]
    return STYLES[data.style][number] if STYLES[data.style] else data.choices[row][number] or ""


def _tokenized(data: Questions, rows: Sequence[int], tokenizer: Any, max_length: int) -> tuple[dict[str, Any], list[int]]:
    """The model's inputs for some questions, and which of these are truncated."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    if not rows:
        return {name: [] for name in names}, []
    width = len(data.choices[0])
    firsts = [data.texts[row] for row in rows for _ in range(width)]
    before = [f"{data.seconds[row]} " if data.seconds else "" for row in rows for _ in range(width)]
    choices = [choice or "" for row in rows for choice in data.choices[row]]
    endings = [f"{start}{choice}" for start, choice in zip(before, choices, strict=True)]
    encoded = tokenizer(firsts, endings, truncation=True, max_length=max_length)
    columns = {name: [encoded[name][start : start + width] for start in range(0, len(firsts), width)] for name in names}
    full = [number for number, ids in enumerate(encoded["input_ids"]) if len(ids) >= max_length]
    whole = tokenizer(*([side[number] for number in full] for side in (firsts, endings)), verbose=False)["input_ids"] if full else []
    cut = [rows[number // width] for number, ids in zip(full, whole, strict=True) if len(ids) > max_length]
    return columns, [*dict.fromkeys(cut)]

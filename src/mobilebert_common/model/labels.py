"""Label maps: id2label, label2id and num_labels, which may be incomplete or contradict each other in a config.json.

id2label decides, as in transformers, whose files often hold a stale label2id: its default, null, or that of an earlier task. We
keep labels numbered 0, 1, 2, ... with text for names; whoever reads a map says what it loses by that.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import brief
from .scalars import plain

MAX_LABELS = 10_000  # their names must fit into config.json
DEFAULT_LABELS = 2

# three forms of the same information: overriding one discards the others
LABEL_KEYS = ("num_labels", "id2label", "label2id")


class Labels(NamedTuple):
    """The labels of a model.

    Attributes:
        names: {number: name}, from 0 on.
        numbers: {name: number}; where two labels have one name, the last number.
        lost: what the values said beyond that, a line each.
    """

    names: dict[int, str]
    numbers: dict[str, int]
    lost: tuple[str, ...] = ()


def read_labels(values: Mapping[str, Any]) -> Labels | None:
    """The labels that num_labels, id2label and label2id describe; None if there is none of them.

    Raises:
        ValueError: a value that transformers never writes, or num_labels contradicts the names.
    """
    count, names, numbers = (values.get(key) for key in LABEL_KEYS)
    if count is not None:
        count = _checked_count(count)
    if names is None and numbers is None:
        return None if count is None else default_labels(count)
    labels = _from_names(names, numbers) if names is not None else _from_numbers(numbers)
    if count not in (None, len(labels.names)):
        raise ValueError(f"num_labels {count} contradicts the {len(labels.names)} labels that are named")
    return labels


def read_stored_labels(values: Mapping[str, Any]) -> Labels | None:
    """The labels that a config.json describes: where its keys contradict each other, id2label decides.

    Without id2label, transformers takes num_labels and ignores label2id, so that its names count only if there are as many.

    Raises:
        ValueError: see `read_labels`.
    """
    count, names, numbers = (values.get(key) for key in LABEL_KEYS)
    if names is not None:
        labels = _from_names(names, numbers)
        agree = count is None or plain(count) == len(labels.names)
        return labels if agree else _losing(labels, f"num_labels {brief(count)} is dropped: id2label names {len(labels.names)} labels")
    default = default_labels(DEFAULT_LABELS if count is None else _checked_count(count))
    if numbers is None:
        return None if count is None else default
    with contextlib.suppress(ValueError):
        labels = _from_numbers(numbers)
        if len(labels.names) == len(default.names):
            return labels
    return _losing(default, f"label2id {brief(numbers)} is dropped: without id2label, there are {len(default.names)} labels")


def default_labels(count: int) -> Labels:
    """LABEL_0, LABEL_1, ..., as in transformers."""
    return _numbered([f"LABEL_{index}" for index in range(count)])


def _numbered(names: list[str], lost: tuple[str, ...] = ()) -> Labels:
    return Labels(dict(enumerate(names)), {name: index for index, name in enumerate(names)}, lost)


def _losing(labels: Labels, what: str) -> Labels:
    return labels._replace(lost=(*labels.lost, what))


def _checked_count(count: Any) -> int:
    number = plain(count)
    if type(number) is not int or not 1 <= number <= MAX_LABELS:
        raise ValueError(f"num_labels must be a whole number from 1 to {MAX_LABELS:,}, not {brief(count)}")
    return number


def _from_names(names: Any, numbers: Any) -> Labels:
    """The labels of an id2label; of a label2id beside it, only what it loses."""
    entries = _entries(names)
    pairs = [(_number(number), plain(name)) for number, name in entries]
    if not entries or not all(number is not None and isinstance(name, str | int | float) for number, name in pairs):
        raise ValueError(f"id2label must map whole numbers to names, not {brief(names)}")
    labels = _ordered("id2label", [(number, name) for number, name in pairs if number is not None])
    given = all(type(number) is int for number, _ in entries)  # in Python rather than by a file, which was read before
    if len(labels.numbers) < len(labels.names) and not (given and isinstance(numbers, Mapping) and numbers == labels.numbers):
        labels = _losing(labels, f"id2label has one name for several labels, {brief(names)}; label2id has the last of each")
    if not _is_stale(numbers, [labels.numbers, {str(name): number for number, name in pairs}]):
        labels = _losing(labels, f"label2id {brief(numbers)} is dropped, because it contradicts id2label {brief(names)}")
    return labels


def _from_numbers(numbers: Any) -> Labels:
    """The labels of a label2id without an id2label."""
    entries = _entries(numbers)
    pairs = [(_number(number), plain(name)) for name, number in entries]
    if not entries or not all(number is not None and isinstance(name, str | int | float) for number, name in pairs):
        raise ValueError(f"label2id must map names to whole numbers, not {brief(numbers)}")
    return _ordered("label2id", [(number, name) for number, name in pairs if number is not None])


def _entries(labels: Any) -> list[tuple[Any, Any]]:
    entries = list(labels.items()) if isinstance(labels, Mapping) else []
    if len(entries) > MAX_LABELS:
        raise ValueError(f"there are {len(entries):,} labels; at most {MAX_LABELS:,} are allowed")
    return entries


def _ordered(key: str, pairs: list[tuple[int, Any]]) -> Labels:
    """The labels in the order of their numbers, with text for names."""
    numbers = sorted(number for number, _ in pairs)
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"two labels of {key} have the same number: {brief(numbers)}")
    names = [str(name) for _, name in sorted(pairs, key=lambda pair: pair[0])]
    lost = []
    if not all(isinstance(name, str) for _, name in pairs):
        lost.append(f"{key} has names that are numbers; they are text now: {brief(names)}")
    if numbers != list(range(len(numbers))):
        lost.append(f"{key} numbers its labels {brief(numbers)}; they are 0, 1, 2, ... now, in this order")
    return _numbered(names, tuple(lost))


def _is_stale(numbers: Any, inverses: list[dict[str, Any]]) -> bool:
    """Whether a label2id says nothing beyond id2label: it is absent, its inverse, or transformers' default."""
    if not isinstance(numbers, Mapping):
        return numbers is None
    found = {str(plain(name)): _number(number) for name, number in numbers.items()}
    return found in (*inverses, default_labels(min(len(found), MAX_LABELS)).numbers)


def _number(value: Any) -> int | None:
    """A label's number, which is text if it is a JSON key; None if it is not a number."""
    value = plain(value)
    if type(value) is int:
        return value
    digits = value.removeprefix("-") if isinstance(value, str) else ""
    return int(value) if digits.isascii() and digits.isdecimal() and len(digits) < 10 else None

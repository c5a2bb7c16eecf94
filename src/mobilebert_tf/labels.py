"""The labels of a batch: by name in x, or as y.

As y they are one array for a head with one label, else a mapping or a tuple in the order of ARCHITECTURES. A mapping has the
names of labels, or of the outputs they are compared with.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from mobilebert_common.model.architectures import ARCHITECTURES

ALIASES = {"next_sentence_label": "labels"}  # of a head that has no label of the first name
LABEL_NAMES = {*ALIASES, *(name for architecture in ARCHITECTURES.values() for name in architecture.labels)}


def labels_in(x: Any, architecture: str) -> dict[str, Any]:
    """The labels among the inputs, by the names the head has for them."""
    names = ARCHITECTURES[architecture].labels
    if not isinstance(x, Mapping):
        return {}
    found = {name: x[name] for name in names if x.get(name) is not None}
    return found | {name: x[other] for other, name in ALIASES.items() if other not in names and x.get(other) is not None}


def labels_by_name(x: Any, y: Any, architecture: str) -> dict[str, Any]:
    """The labels of a batch by name, those of y if it is given; names the head does not know come last."""
    names = list(ARCHITECTURES[architecture].labels)
    if y is None:
        return labels_in(x, architecture)
    if isinstance(y, Mapping):
        others = ALIASES | {label.scores: name for name, label in ARCHITECTURES[architecture].labels.items()}
        found = {name if name in names else others.get(name, name): label for name, label in y.items()}
        return {name: found[name] for name in sorted(found, key=[*names, *found].index)}
    several = isinstance(y, tuple | list) and len(names) > 1
    return dict(zip(names, y, strict=True)) if several else {names[0] if names else "labels": y}


def labels_as_y(x: Any, architecture: str) -> Any:
    """The labels among the inputs in the form of y; None if there are none."""
    found = labels_in(x, architecture)
    if found and len(ARCHITECTURES[architecture].labels) == 1:
        return next(iter(found.values()))
    return found or None


def without_labels(x: Any) -> Any:
    """The inputs without the labels of any head."""
    return {name: value for name, value in x.items() if name not in LABEL_NAMES} if isinstance(x, Mapping) else x


def split_labels(x: Any, y: Any, architecture: str) -> tuple[Any, Any]:
    """The batch with its labels moved from x to y; a y that is given wins."""
    return without_labels(x), labels_as_y(x, architecture) if y is None else y


def match_scores(x: Any, y: Any, y_pred: Any, architecture: str, given: Any = None) -> tuple[Any, Any]:
    """Labels and the scores they are compared with, for a loss or metrics that are not the head's own.

    One label and its scores are tensors, several are mappings by the name of the output.

    Args:
        given: the loss or the metrics; if they are a mapping, so are one label and its scores. A list is in the order of the
            table, which Keras sees only in an OrderedDict.
    """
    expected, labels = ARCHITECTURES[architecture].labels, labels_by_name(x, y, architecture)
    if not isinstance(y_pred, Mapping) or not labels or not set(labels) <= set(expected):
        return y, y_pred
    pairs = {expected[name].scores: label for name, label in labels.items()}
    if len(pairs) == 1 and not isinstance(given, dict):
        return next((label, y_pred[name]) for name, label in pairs.items())
    kind = OrderedDict if isinstance(given, list | tuple) else dict
    return kind(pairs), kind((name, y_pred[name]) for name in pairs)

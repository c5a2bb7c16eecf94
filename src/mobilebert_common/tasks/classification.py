"""Classification of texts and pairs of texts: one of several labels for each."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, shortened
from ..model.config import MobileBertConfig
from ..optional import needs
from . import metrics
from .base import Lengths, Outputs, Predictions, joined, log_softmax
from .examples import Examples
from .metrics import Scores
from .sentences import SentenceTask
from .tables import Table, meaning


class Classification(SentenceTask):
    """One of several labels for a text or a pair."""

    name = "classification"
    has_classes = True
    problem_type = "single_label_classification"

    def settings(self, data: Table, stored: MobileBertConfig | None) -> dict[str, Any]:
        """The labels of the training data as id2label; if the checkpoint has the same labels, its names and numbers are kept."""
        return class_settings(label_names(data.labels or []), data.labels or [], stored)

    def numbers(self, data: Table, id2label: Mapping[int, str]) -> np.ndarray:
        return label_numbers(data, id2label)

    def split(self, data: Table, fraction: float, seed: int) -> tuple[Table, Table]:
        """Split a table into a training and a validation part with the same proportions of labels.

        Raises:
            DataError: a label has only one example, or a part is too small to hold every label.
        """
        if rare := [label for label, count in Counter(data.labels or []).items() if count == 1]:
            examples = ", ".join(f"{label!r:.80}" for label in rare[:5]) + (f" and {len(rare) - 5:,} more" if len(rare) > 5 else "")
            raise DataError(
                f"{data.path}: cannot be split into training and validation by label: there is only one example of {examples}; "
                "is it the right --label? If so, add examples or pass a --validation file"
            )
        with needs("cli"):
            from sklearn.model_selection import train_test_split
        try:
            parts = train_test_split(np.arange(len(data)), test_size=fraction, random_state=seed, stratify=data.labels)
        except ValueError as error:
            raise DataError(
                f"{data.path}: cannot be split into training and validation by label: {error}; pass a --validation file"
            ) from None
        return data.take(np.sort(parts[0])), data.take(np.sort(parts[1]))

    def predict(self, data: Table, examples: Examples, outputs: Outputs, config: MobileBertConfig, lengths: Lengths) -> Predictions:
        """The most probable label of each text, and its probability."""
        names = names_in(data.labels or [], config.id2label)
        if len(names) < 2:
            raise ConfigError(f"the model has only the label {names[0]!r:.80} to choose from, and its problem_type is {self.problem_type}")
        logs = log_softmax(joined(outputs, "logits", data))  # [rows n]
        chosen, shares = logs.argmax(axis=-1), np.exp(logs)
        losses = None
        if data.labels is not None:
            losses = (-logs[np.arange(len(logs)), label_numbers(data, config.id2label)]).tolist()
        predicted = [names[int(number)] for number in chosen]
        return Predictions(
            {"prediction": predicted, "probability": [round(float(share), 4) for share in shares.max(axis=-1)]},
            columns_by_label("probability", names, shares),
            losses,
            predicted,
        )

    def evaluate(self, data: Table, predictions: Predictions, config: MobileBertConfig) -> Scores:
        names = names_in(data.labels or [], config.id2label)
        return metrics.classification(data.labels or [], predictions.found, list(names.values()))

    def titles(self, config: MobileBertConfig) -> tuple[str, ...]:
        positive = (f"F1 ({config.id2label[1]})",) if config.num_labels == 2 else ()
        return ("accuracy", "F1 (macro)", "MCC", *positive)


def class_settings(id2label: dict[int, str], labels: Sequence[str], stored: MobileBertConfig | None) -> dict[str, Any]:
    """The settings of a model that chooses one of several labels."""
    if stored is not None and set(names_in(labels, stored.id2label).values()) == set(id2label.values()):
        id2label = stored.id2label
    if stored is not None and stored.problem_type not in (None, Classification.problem_type):
        return {"id2label": id2label, "problem_type": Classification.problem_type}
    return {"id2label": id2label}


def label_names(labels: Sequence[str]) -> dict[int, str]:
    """Number the labels: {class number: label}, numeric labels by value, then words alphabetically.

    Raises:
        DataError: there is only one label.
    """

    def order(label: str) -> tuple[bool, float, str]:
        try:
            value = float(label)
        except ValueError:
            value = math.nan
        return (True, 0.0, label) if math.isnan(value) else (False, value, label)

    names = dict(enumerate(sorted(set(labels), key=order)))
    if len(names) < 2:
        raise DataError(f"a classifier needs at least two labels, but all rows have {names[0]!r:.80}")
    return names


def names_in(labels: Sequence[str], id2label: Mapping[int, str]) -> Mapping[int, str]:
    """The model's labels as data writes them: "1.0" for "1"; and "1" for "LABEL_1" where no label of the model has a name.

    Numbers stand for LABEL_0, LABEL_1, ... only if 0 is among them: 1, 2, ... could be meant from 1.
    """
    found = dict.fromkeys(labels)
    spellings = {meaning(label): label for label in found}
    numbered = are_nameless(id2label) and "0" in spellings
    names = {
        number: label if label in found else spellings.get(str(number) if numbered else meaning(label), label)
        for number, label in id2label.items()
    }
    return names if len(set(names.values())) == len(names) else id2label


def are_nameless(id2label: Mapping[int, str]) -> bool:
    """Whether the labels are LABEL_0, LABEL_1, ..., as a model has them that was never told their names."""
    return all(label == f"LABEL_{number}" for number, label in id2label.items())


def label_numbers(data: Table, id2label: Mapping[int, str]) -> np.ndarray:
    """Convert a table's labels to class numbers.

    Raises:
        DataError: id2label does not have one of the labels; the message gives the lines.
    """
    labels = data.labels or []
    numbers = {label: number for number, label in names_in(labels, id2label).items()}
    check_known(data, [(label,) for label in labels], numbers, id2label)
    return np.array([numbers[label] for label in labels])


def check_known(data: Table, labels: Sequence[Sequence[str]], known: Mapping[str, Any], id2label: Mapping[int, str]) -> None:
    """Require that the model has all labels of the data.

    Raises:
        DataError: it does not; the message gives the labels and their lines.
    """
    if unseen := sorted({label for row in labels for label in row if label not in known}):
        rows = [row for row, found in enumerate(labels) if not set(found).isdisjoint(unseen)]
        where = "" if data.records is None else f" in {data.records.places(rows)}"
        raise DataError(
            f"{data.path}: has labels unseen in training{where}: {', '.join(f'{label!r:.80}' for label in unseen[:10])}; the model has "
            f"{shortened([*map(repr, id2label.values())], ', ')}{_how_to_map([label for row in labels for label in row], id2label)}"
        )


def _how_to_map(labels: Sequence[str], id2label: Mapping[int, str]) -> str:
    """What to do about data whose labels are not LABEL_0, LABEL_1, ..., as text for an error."""
    if not are_nameless(id2label):
        return ""
    named = {**id2label, **dict(zip(id2label, sorted(set(labels)), strict=False))}
    return (
        f", which are not names: number the labels 0 to {len(id2label) - 1} in the data, or name those of the model, in the order of its "
        f"training, as by MobileBertConfig.from_pretrained(DIR, id2label={named!r:.200}).save_pretrained(DIR)"
    )


def columns_by_label(what: str, names: Mapping[int, str], numbers: np.ndarray) -> dict[str, list[float]]:
    """{title: values} for each label, numbers [rows n] to four digits; with the number where two labels have one name."""
    unique = len(set(names.values())) == len(names)
    return {
        f"{what} {name}" if unique else f"{what} {name} ({number})": [round(float(value), 4) for value in numbers[:, number]]
        for number, name in sorted(names.items())
    }

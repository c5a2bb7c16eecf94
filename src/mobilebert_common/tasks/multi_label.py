"""Multi-label classification of texts and pairs of texts: any number of labels for each."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import DataError
from ..model.config import MobileBertConfig
from . import metrics
from .base import Lengths, Outputs, Predictions, joined
from .classification import check_known, columns_by_label, label_names, names_in
from .examples import Examples
from .metrics import Scores
from .records import Records
from .sentences import SentenceTask
from .tables import Table, names_of, several_labels

THRESHOLD = 0.5  # of a label's probability


class MultiLabel(SentenceTask):
    """Any number of labels for a text or a pair."""

    name = "multi-label"
    problem_type = "multi_label_classification"

    def read_labels(self, records: Records, names: tuple[str, ...]) -> list[Any]:
        return several_labels(records, names)

    def settings(self, data: Table, stored: MobileBertConfig | None) -> dict[str, Any]:
        """The labels of the training data as id2label; if the checkpoint has the same labels, its names and numbers are kept.

        Raises:
            DataError: there are fewer than two labels, or no text has one.
        """
        flat = [label for labels in data.labels or [] for label in labels]
        if not flat:
            raise DataError(f"{data.path}: no row has a label")
        named = data.columns.label if isinstance(data.columns.label, tuple) and len(data.columns.label) > 1 else None
        id2label = label_names(flat) if named is None else dict(enumerate(named))
        if stored is not None and set(names_in(flat, stored.id2label).values()) == set(id2label.values()):
            id2label = stored.id2label
        return {"id2label": id2label, "problem_type": self.problem_type}

    def numbers(self, data: Table, id2label: Mapping[int, str]) -> np.ndarray:
        """A 0 or 1 for each label, [rows n]."""
        labels = data.labels or []
        numbers = {name: number for number, name in names_in([name for row in labels for name in row], id2label).items()}
        check_known(data, labels, numbers, id2label)
        marks = np.zeros((len(labels), len(id2label)), np.float32)
        for row, names in enumerate(labels):
            marks[row, [numbers[name] for name in names]] = 1
        return marks

    def predict(self, data: Table, examples: Examples, outputs: Outputs, config: MobileBertConfig, lengths: Lengths) -> Predictions:
        """The labels whose probability is at least THRESHOLD, and the probability of each label."""
        names = names_in([label for row in data.labels or [] for label in row], config.id2label)
        logits = joined(outputs, "logits", data)  # [rows n]
        shares = np.exp(-np.logaddexp(0.0, -logits))  # the sigmoid, without overflow
        chosen = [tuple(names[int(number)] for number in np.flatnonzero(row >= THRESHOLD)) for row in shares]
        losses = None
        if data.labels is not None:
            marks = self.numbers(data, config.id2label)
            losses = (np.logaddexp(0.0, -logits) * marks + np.logaddexp(0.0, logits) * (1 - marks)).mean(axis=-1).tolist()
        columns: dict[str, list[Any]] = {"prediction": [", ".join(labels) for labels in chosen]}
        return Predictions({**columns, **columns_by_label("probability", names, shares)}, {}, losses, chosen)

    def evaluate(self, data: Table, predictions: Predictions, config: MobileBertConfig) -> Scores:
        labels = data.labels or []
        names = names_in([label for row in labels for label in row], config.id2label)
        return metrics.multi_label(labels, predictions.found, list(names.values()))

    def titles(self, config: MobileBertConfig) -> tuple[str, ...]:
        return ("F1 (micro)", "F1 (macro)", "exact match")

    def labels(self, data: Table) -> dict[str, list[Any]]:
        if len(names_of(data.columns.label)) > 1:
            return {}
        return {"".join(names_of(data.columns.label)) or "label": [", ".join(labels) for labels in data.labels or []]}

"""Regression on texts and pairs of texts: one number or several for each."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import DataError
from ..model.config import MobileBertConfig
from . import metrics
from .base import Lengths, Outputs, Predictions, joined
from .examples import Examples
from .metrics import Scores
from .records import Records
from .sentences import SentenceTask
from .tables import Table, names_of, number_labels


class Regression(SentenceTask):
    """One number or several for a text or a pair."""

    name = "regression"
    problem_type = "regression"

    def read_labels(self, records: Records, names: tuple[str, ...]) -> list[Any]:
        return number_labels(records, names)

    def settings(self, data: Table, stored: MobileBertConfig | None) -> dict[str, Any]:
        """The columns' names as id2label.

        Raises:
            DataError: all rows have the same numbers.
        """
        if len(set(data.labels or [])) < 2:
            scores = ", ".join(map(str, (data.labels or [()])[0]))
            raise DataError(f"{data.path}: all rows have the score {scores}: there is nothing to learn")
        return {"id2label": dict(enumerate(names_of(data.columns.label))), "problem_type": self.problem_type}

    def numbers(self, data: Table, id2label: Mapping[int, str]) -> np.ndarray:
        """Numbers [rows], or [rows n] if there are several."""
        numbers = np.array(data.labels, np.float32)
        if numbers.shape[1] != len(id2label):
            raise DataError(f"{data.path}: has {numbers.shape[1]} columns of scores, but the model gives {len(id2label)}")
        return numbers[:, 0] if len(id2label) == 1 else numbers

    def predict(self, data: Table, examples: Examples, outputs: Outputs, config: MobileBertConfig, lengths: Lengths) -> Predictions:
        """The numbers that the model gives, to six digits; those of several by the names of the labels."""
        scores = joined(outputs, "logits", data)  # [rows n]
        names, several = config.id2label, len(config.id2label) > 1
        titles = [f"prediction {names[number]}" if several else "prediction" for number in sorted(names)]
        if len(set(titles)) < len(titles):
            titles = [f"{title} ({number})" for number, title in enumerate(titles)]
        columns = {title: [float(f"{score:.6g}") for score in scores[:, number]] for number, title in enumerate(titles)}
        losses = None if data.labels is None else ((scores - np.array(data.labels)) ** 2).mean(axis=-1).tolist()
        return Predictions(columns, {}, losses, scores)

    def evaluate(self, data: Table, predictions: Predictions, config: MobileBertConfig) -> Scores:
        names = [config.id2label[number] for number in sorted(config.id2label)]
        return metrics.regression(np.array(data.labels), predictions.found, names)

    def titles(self, config: MobileBertConfig) -> tuple[str, ...]:
        return ("Pearson", "Spearman")

    def labels(self, data: Table) -> dict[str, list[Any]]:
        names = names_of(data.columns.label) or ("label",)
        return dict(zip(names, map(list, zip(*(data.labels or []), strict=True)), strict=False))

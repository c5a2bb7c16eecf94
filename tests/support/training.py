"""A small training of every kind: configurations, examples and a recipe. Imports no framework."""

from typing import Any

import numpy as np

from mobilebert_common.model.architectures import ARCHITECTURES, has_choices
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import letters
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.training.recipe import Recipe

from .configs import CLASSIFIER

TINY = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "intra_bottleneck_size": 8,
    "num_feedforward_networks": 1,
}
LENGTHS = (3, 7, 4, 6, 5, 7, 3, 6, 5)
RECIPE = Recipe(learning_rate=2.0**-9, batch_size=4, max_steps=20, seed=3, epsilon=1e-5)  # the last step of an epoch has one example
TOKENS, MASKED = "MobileBertForTokenClassification", "MobileBertForMaskedLM"

# name -> architecture, and what differs from TINY
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "classes": (CLASSIFIER, {}),
    "regression": (CLASSIFIER, {"num_labels": 1}),
    "several labels": (CLASSIFIER, {"problem_type": "multi_label_classification"}),
    **{name: (name, {}) for name, architecture in ARCHITECTURES.items() if architecture.labels and name != CLASSIFIER},
}


def make_examples(config: MobileBertConfig, architecture: str, **changes: Any) -> Examples:
    """Nine examples of several lengths, with random labels, some of which do not count."""
    generator = np.random.default_rng(5)
    ids = [generator.integers(1, config.vocab_size, length).tolist() for length in LENGTHS]
    columns: dict[str, Any] = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}
    if has_choices(architecture):
        columns = {name: list(map(list, zip(rows, rows[1:] + rows[:1], strict=True))) for name, rows in columns.items()}
    sizes = {**letters(config), "c": 2, "": 9}
    for name, label in ARCHITECTURES[architecture].labels.items():
        if config.problem_type == "multi_label_classification":
            columns[name] = generator.integers(0, 2, (9, config.num_labels)).astype(float).tolist()
        elif label.by_problem_type and config.num_labels == 1:
            columns[name] = generator.normal(size=9).tolist()
        elif label.shape == "b":
            columns[name] = [*generator.integers(0, sizes[label.classes], 8).tolist(), -100]
        else:
            draws = [generator.integers(0, sizes[label.classes], length) for length in LENGTHS]
            columns[name] = [np.where(generator.random(len(row)) < 0.5, row, -100).tolist() for row in draws]
    return Examples({**columns, **changes}, {"labels": -100}, range(9))

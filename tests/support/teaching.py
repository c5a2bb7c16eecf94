"""A student, its teacher and a recipe, small enough for any number of steps. Imports no framework."""

from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.model.config import MobileBertConfig

from .configs import TEACHER, make_config, random_weights
from .training import CASES, TINY

STUDENT = {**TINY, "num_hidden_layers": 2}
TEACHERS = {**TINY, **TEACHER, "num_hidden_layers": 3, "intra_bottleneck_size": 12, "intermediate_size": 20}  # an ib-bert
PAIRS = {0: 0, 1: 2}  # the student's layers and the teacher's
NAMES = ("student", "teacher")


def write_school(folder: Path, case: str = "classes", **changes: Any) -> tuple[MobileBertConfig, str]:
    """Write both checkpoints into folders of their names; returns the student's configuration and the architecture."""
    architecture, overrides = CASES[case]
    for number, (name, sizes) in enumerate(zip(NAMES, (STUDENT, TEACHERS), strict=True)):
        config = make_config(**{**sizes, **overrides, **(changes if name == "student" else {})})
        weights = random_weights(config, architecture, number)
        weights["mobilebert.embeddings.word_embeddings.weight"][0] = 0
        checkpoint.save(folder / name, config, architecture, weights)
    return make_config(**{**STUDENT, **overrides, **changes}), architecture


def load_school(door: Any, folder: Path, architecture: str, dtype: str = "float64") -> list[Any]:
    """Both models in a twin."""
    return [door.load(folder / name, architecture, dtype) for name in NAMES]


def copied(door: Any, model: Any) -> dict[str, np.ndarray]:
    """A model's weights, in memory of their own."""
    return {name: array.copy() for name, array in door.tensors(model).items()}

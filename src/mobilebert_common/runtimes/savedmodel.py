"""Run a SavedModel of TensorFlow, by the names of the tensors of its signature."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..frameworks import library
from .artefact import Run
from .signature import Signature


def open_file(path: Path, signature: Signature, threads: int | None) -> Run:
    """Open a file; see `artefact.Artefact.open`. `threads` has no effect: TensorFlow has one number for all that a process runs."""
    tensorflow = library("tensorflow")
    model = tensorflow.saved_model.load(str(path.parent))

    def run(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        function = model.signatures["serving_default"]  # which does not keep the variables alive: the model does
        found = function(**{signature.inputs[name]: tensorflow.constant(array) for name, array in rows.items()})
        return {output: found[name].numpy() for output, name in signature.outputs.items()}

    return run

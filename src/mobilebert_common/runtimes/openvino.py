"""Run an OpenVINO file, by the names of its tensors."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .artefact import Run
from .signature import Signature


def open_file(path: Path, signature: Signature, threads: int | None) -> Run:
    """Open a file; see `artefact.Artefact.open`."""
    from openvino import Core

    options = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}  # where it has bfloat16 or float16, it would use it
    if threads:
        options["INFERENCE_NUM_THREADS"] = str(threads)
    request = Core().compile_model(path, "CPU", options).create_infer_request()

    def run(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = request.infer({signature.inputs[name]: array for name, array in rows.items()})
        return {output: found[name] for output, name in signature.outputs.items()}

    return run

"""Run an ONNX file in ONNX Runtime, by the names of its tensors."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .artefact import Run
from .signature import Signature


def open_file(path: Path, signature: Signature, threads: int | None) -> Run:
    """Open a file; see `artefact.Artefact.open`."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads or 0  # 0 stands for its own number
    session = InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = session.run([*signature.outputs.values()], {signature.inputs[name]: array for name, array in rows.items()})
        return dict(zip(signature.outputs, found, strict=True))

    return run

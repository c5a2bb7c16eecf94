"""Run an ExecuTorch (.pte) file: its tensors have no names, but are in the order of its signature."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..frameworks import twin
from .artefact import Run
from .signature import Signature


def open_file(path: Path, signature: Signature, threads: int | None) -> Run:
    """Open a file; see `artefact.Artefact.open`."""
    from executorch.extension.pybindings.portable_lib import _threadpool_get_thread_count, _unsafe_reset_threadpool
    from executorch.runtime import Runtime

    if threads and threads != _threadpool_get_thread_count():
        _unsafe_reset_threadpool(threads)
    method = Runtime.get().load_program(path).load_method("forward")
    tensor = twin("pt").tensor

    def run(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = method.execute([tensor(np.ascontiguousarray(rows[name])) for name in signature.inputs])
        return {output: array.numpy() for output, array in zip(signature.outputs, found, strict=True)}

    return run

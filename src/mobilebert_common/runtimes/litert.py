"""Run a LiteRT (.tflite) file, by the names of its signatures' tensors."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .artefact import Run
from .signature import Signature


def open_file(path: Path, signature: Signature, threads: int | None) -> Run:
    """Open a file; see `artefact.Artefact.open`."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=threads)
    runners = {length: interpreter.get_signature_runner(signature.key(length)) for length in signature.lengths}

    def run(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        runner = runners[rows["input_ids"].shape[1]]
        found = runner(**{signature.inputs[name]: array for name, array in rows.items()})
        return {output: found[name] for output, name in signature.outputs.items()}

    return run

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
    runners = {length: interpreter.get_signature_runner(signature_key(length, signature)) for length in signature.lengths}

    def run(rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        runner = runners[rows["input_ids"].shape[1]]
        found = runner(**{signature.inputs[name]: array for name, array in rows.items()})
        return {output: found[name] for output, name in signature.outputs.items()}

    return run


def signature_key(length: int, signature: Signature) -> str:
    """The name of the signature for a length in the file."""
    return "serving_default" if len(signature.lengths) == 1 else f"serving_{length}"

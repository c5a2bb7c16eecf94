"""ExecuTorch files that the PyTorch twin writes, in ExecuTorch. `tox run -e executorch` runs them."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from executorch.runtime import Runtime

from mobilebert_common.errors import InputError
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_pt import twin
from mobilebert_pt.exports.executorch import lower
from support import artefacts

NORMS = ("no_norm", "layer_norm")
LENGTH = 12


@pytest.mark.parametrize(("number", "architecture"), list(enumerate(ARCHITECTURES)))
def test_the_same_outputs(number: int, architecture: str, tmp_path: Path) -> None:
    model = artefacts.make_model(twin, architecture, normalization_type=NORMS[number % 2])
    artefact = artefacts.write(tmp_path / "out", model, artefacts.signature_for("executorch", model, "none", [LENGTH]))
    check(model, artefact, 1e-5)
    with pytest.raises(InputError, match="13"):
        artefact.outputs(artefacts.batch_for(model, 1, LENGTH + 1, 1))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("quantize", "tolerance"), [("dynamic-int8", 0.06), ("int8", 0.3)])
def test_quantized_files(quantize: str, tolerance: float, norm: str, tmp_path: Path) -> None:
    model = artefacts.make_model(twin, "MobileBertForTokenClassification", normalization_type=norm)
    rows = [artefacts.batch_for(model, 1, length, length, seed) for seed, length in enumerate((LENGTH, 3, 7, 1) * 16)]
    signature = artefacts.signature_for("executorch", model, quantize, [LENGTH])
    check(model, artefacts.write(tmp_path / "out", model, signature, rows), tolerance)


def check(model: Any, artefact: artefacts.Artefact, tolerance: float) -> None:
    for rows, length, used in ((2, LENGTH, 7), (1, 1, 1)):
        batch = artefacts.batch_for(model, rows, length, used)
        expected = {name: array for name, array in twin.outputs(model.fold(), batch).items() if name in artefact.signature.outputs}
        found = artefact.outputs(batch)
        shown = {name: slice(used) if artefact.signature.is_per_token(name) else slice(None) for name in found}
        expected, found = ({name: array[-1][shown[name]] for name, array in each.items()} for each in (expected, found))
        assert artefacts.farthest(expected, found) <= tolerance
    batch = artefacts.batch_for(model, 1, LENGTH, 7)
    changed = artefact.outputs(artefacts.without_hidden(batch, 8))
    for name, array in artefact.outputs(batch).items():
        shown = slice(7) if artefact.signature.is_per_token(name) else slice(None)
        assert np.array_equal(array[-1][shown], changed[name][-1][shown])


@pytest.mark.parametrize(("quantize", "rest"), [("none", 8), ("dynamic-int8", 10)])  # which converts ids twice more
def test_xnnpack_runs_all_but_the_tables_and_the_mask(quantize: str, rest: int) -> None:
    model = artefacts.make_model(twin, "MobileBertForSequenceClassification", num_hidden_layers=3)
    program = lower(model, artefacts.signature_for("executorch", model, quantize, [LENGTH])).exported_program()
    calls = Counter(str(node.target).partition("(")[0] for node in program.graph.nodes if node.op == "call_function")
    assert sum(count for name, count in calls.items() if "delegate" in name) <= 2
    assert sum(count for name, count in calls.items() if "delegate" not in name and "getitem" not in name) == rest  # of hundreds


def test_a_plain_script_calls_it_in_the_order_of_the_signature(tmp_path: Path) -> None:
    model = artefacts.make_model(twin, "MobileBertForQuestionAnswering")
    artefact = artefacts.write(tmp_path / "out", model, artefacts.signature_for("executorch", model, "none", [LENGTH]))
    forward = Runtime.get().load_program(tmp_path / "out" / "model.pte").load_method("forward")
    batch = artefacts.batch_for(model, 1, LENGTH, 6)
    found = forward.execute([torch.tensor(batch[name], dtype=torch.int32) for name in artefact.signature.inputs])
    for tensor, array in zip(found, artefact.outputs(batch).values(), strict=True):
        assert np.allclose(tensor.numpy(), array, atol=1e-6)

"""OpenVINO files that the PyTorch twin writes, in OpenVINO. `tox run -e openvino` runs them."""

from pathlib import Path

import numpy as np
import openvino
import pytest

from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_pt import twin
from support import artefacts

NORMS = ("no_norm", "layer_norm")
TOLERANCES = {"none": 1e-5, "fp16": 1e-2, "dynamic-int8": 0.05}


@pytest.mark.parametrize(("number", "architecture"), list(enumerate(ARCHITECTURES)))
def test_the_same_outputs_for_any_rows_and_lengths(number: int, architecture: str, tmp_path: Path) -> None:
    model = artefacts.make_model(twin, architecture, normalization_type=NORMS[number % 2])
    artefact = artefacts.write(tmp_path / "out", model, artefacts.signature_for("openvino", model))
    check(model, artefact, 1e-5)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("quantize", ["fp16", "dynamic-int8"])
def test_quantized_files(quantize: str, norm: str, tmp_path: Path) -> None:
    model = artefacts.make_model(twin, "MobileBertForPreTraining", normalization_type=norm)
    weights = {}
    for kind in ("none", quantize):
        artefact = artefacts.write(tmp_path / kind, model, artefacts.signature_for("openvino", model, kind))
        check(model, artefact, TOLERANCES[kind])
        weights[kind] = (tmp_path / kind / "openvino_model.bin").stat().st_size
    assert weights[quantize] < {"fp16": 0.55, "dynamic-int8": 0.5}[quantize] * weights["none"]  # they are tiny, and scales are not


def check(model: object, artefact: artefacts.Artefact, tolerance: float) -> None:
    for rows, length, used in ((3, 12, 7), (1, 1, 1), (2, 5, 0)):
        batch = artefacts.batch_for(model, rows, length, used)
        expected = {name: array for name, array in twin.outputs(model.fold(), batch).items() if name in artefact.signature.outputs}
        assert artefacts.farthest(expected, artefact.outputs(batch)) <= tolerance
    batch = artefacts.batch_for(model, 2, 12, 7)
    changed = artefact.outputs(artefacts.without_hidden(batch, 8))
    for name, array in artefact.outputs(batch).items():
        shown = slice(7) if artefact.signature.is_per_token(name) else slice(None)
        assert np.array_equal(array[-1][shown], changed[name][-1][shown])


def test_a_plain_script_calls_it_by_names(tmp_path: Path) -> None:
    model = artefacts.make_model(twin, "MobileBertForQuestionAnswering")
    artefact = artefacts.write(tmp_path / "out", model, artefacts.signature_for("openvino", model))
    compiled = openvino.Core().compile_model(tmp_path / "out" / "openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert [port.any_name for port in compiled.inputs] == ["input_ids", "attention_mask", "token_type_ids"]
    assert [port.any_name for port in compiled.outputs] == ["start_logits", "end_logits"]
    batch = artefacts.batch_for(model, 2, 9, 6)
    found = compiled(batch)
    assert all(np.allclose(found[name], array, atol=1e-6) for name, array in artefact.outputs(batch).items())

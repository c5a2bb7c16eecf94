"""ONNX files: each is run by ONNX Runtime, inputs by name, and compared with the folded model it was written from."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import mobilebert_pt.twin
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.runtimes.signature import Signature, names_of
from mobilebert_common.runtimes.targets import ARGUMENTS, ONNX
from mobilebert_pt import heads
from mobilebert_pt.exports.onnx import write
from mobilebert_pt.pretrained import MobileBertPreTrainedModel
from support.configs import CONFIGS, make_config
from support.reference import scaled_weights

TOLERANCE = 1e-5  # relative, of a float file to the folded model


def make_model(name: str, architecture: str, seed: int = 0) -> MobileBertPreTrainedModel:
    config = make_config(**CONFIGS[name])
    model = getattr(heads, architecture)(config).eval()
    mobilebert_pt.twin.set_tensors(model, scaled_weights(config, architecture, seed))
    return model


def make_signature(architecture: str, quantize: str = "none", max_length: int = 12) -> Signature:
    inputs, outputs = names_of("onnx", architecture)
    return Signature(
        target="onnx",
        quantize=quantize,
        architecture=architecture,
        inputs=dict(inputs),
        outputs=dict(outputs),
        ids="int64",
        max_length=max_length,
        file=ONNX[quantize],
    )


def make_rows(config: MobileBertConfig, rows: int, tokens: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of several lengths, padded at the end."""
    generator = np.random.default_rng(seed)
    mask = np.arange(tokens) < generator.integers(1, tokens + 1, rows)[:, None]
    ids = generator.integers(1, config.vocab_size, (rows, tokens))
    types = generator.integers(0, config.type_vocab_size, (rows, tokens))
    return dict(zip(ARGUMENTS, (ids * mask, mask.astype(np.int64), types * mask), strict=True))


def run(folder: Path, signature: Signature, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(folder / signature.file, providers=["CPUExecutionProvider"])
    return dict(zip(signature.outputs, session.run([*signature.outputs.values()], dict(rows)), strict=True))


def folded_outputs(model: MobileBertPreTrainedModel, signature: Signature, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if signature.has_choices:
        rows = {name: array[:, None] for name, array in rows.items()}
    outputs = mobilebert_pt.twin.outputs(model.fold(), dict(rows))
    return {name: outputs[name] for name in signature.outputs}


def apart(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> float:
    """The largest relative distance of an output."""
    assert expected.keys() == found.keys()
    for name in expected:
        assert found[name].shape == expected[name].shape and found[name].dtype == np.float32
    return max(float(np.linalg.norm(found[name] - expected[name]) / np.linalg.norm(expected[name])) for name in expected)


@pytest.mark.parametrize(("number", "architecture"), list(enumerate(ARCHITECTURES)))
def test_float_files(tmp_path: Path, number: int, architecture: str) -> None:
    """Each architecture in the default configuration and in an eighth of the others, for any number of rows and tokens."""
    for name in ["mobilebert", *list(CONFIGS)[number :: len(ARCHITECTURES)]]:
        model, signature = make_model(name, architecture), make_signature(architecture)
        write(model, signature, tmp_path)
        for rows, tokens in ((1, 1), (3, 12), (5, 4)):
            inputs = make_rows(model.config, rows, tokens)
            assert apart(folded_outputs(model, signature, inputs), run(tmp_path, signature, inputs)) <= TOLERANCE, name

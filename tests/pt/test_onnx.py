"""ONNX files: each is run by ONNX Runtime, inputs by name, and compared with the folded model it was written from."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

import mobilebert_pt.twin
from mobilebert_common.errors import ConfigError
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.runtimes.signature import Signature, names_of
from mobilebert_common.runtimes.targets import ARGUMENTS, ONNX
from mobilebert_pt import heads
from mobilebert_pt.exports.onnx import write
from mobilebert_pt.pretrained import MobileBertPreTrainedModel
from support.configs import CLASSIFIER, CONFIGS, make_config
from support.reference import scaled_weights

FLOAT_TABLES = ("position_embeddings.weight", "token_type_embeddings.weight", "word_embeddings.weight_scales")
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


@pytest.mark.parametrize(("number", "architecture"), list(enumerate(ARCHITECTURES)))
def test_quantized_files(tmp_path: Path, number: int, architecture: str) -> None:
    """Each architecture in each quantization: close to the float model, and products with weights are in eight bits."""
    model = make_model("mini" if number % 2 else "mobilebert", architecture)
    rows = make_rows(model.config, 3, 12)
    calibration = [make_rows(model.config, 1, tokens, tokens) for tokens in range(1, 13)]
    for quantize, tolerance in {"fp16": 0.003, "dynamic-int8": 0.1, "int8": 0.35}.items():
        signature = make_signature(architecture, quantize)
        write(model, signature, tmp_path, calibration)
        far = apart(folded_outputs(model, signature, rows), run(tmp_path, signature, rows))
        assert 0 < far <= tolerance, quantize
    fp16 = onnx.load(tmp_path / ONNX["fp16"])
    assert {tensor.data_type for tensor in fp16.graph.initializer} <= {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}
    for quantize in ("dynamic-int8", "int8"):
        file = onnx.load(tmp_path / ONNX[quantize])
        floats = [each for each in file.graph.initializer if each.data_type == onnx.TensorProto.FLOAT and len(each.dims) == 2]
        assert all(each.name.endswith(FLOAT_TABLES) for each in floats), quantize


def test_words_have_eight_bits_each_with_its_own_scale(tmp_path: Path) -> None:
    model = make_model("mobilebert", CLASSIFIER)
    with torch.no_grad():
        model.mobilebert.embeddings.word_embeddings.weight[7] *= 1000
    write(model, make_signature(CLASSIFIER, "dynamic-int8"), tmp_path)
    tensors = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(tmp_path / ONNX["dynamic-int8"]).graph.initializer}
    name = next(name.removesuffix("_int8") for name in tensors if name.endswith("word_embeddings.weight_int8"))
    whole, scales = tensors[f"{name}_int8"], tensors[f"{name}_scales"]
    words = model.mobilebert.embeddings.word_embeddings.weight.detach().numpy()
    assert whole.dtype == np.int8 and (np.abs(whole).max(axis=1) == 127).all()
    assert (np.abs(whole * scales - words) <= 0.501 * scales).all()


def test_dynamic_int8_has_the_float_file_beside_it(tmp_path: Path) -> None:
    """As transformers.js expects; in other quantizations there is one file."""
    model = make_model("mobilebert", CLASSIFIER)
    write(model, make_signature(CLASSIFIER), tmp_path / "float")
    signature = make_signature(CLASSIFIER, "dynamic-int8")
    write(model, signature, tmp_path)
    assert {path.name for path in (tmp_path / "onnx").iterdir()} == {"model.onnx", "model_quantized.onnx"}
    rows = make_rows(model.config, 3, 12)
    assert apart(folded_outputs(model, signature, rows), run(tmp_path, make_signature(CLASSIFIER), rows)) <= TOLERANCE
    write(model, make_signature(CLASSIFIER, "fp16"), tmp_path / "half")
    assert [path.name for path in (tmp_path / "half" / "onnx").iterdir()] == ["model_fp16.onnx"]


@pytest.mark.parametrize("quantize", ["none", "fp16", "int8"])
def test_hidden_tokens_do_not_count(tmp_path: Path, quantize: str) -> None:
    """Even where they score far higher than the others, in the dtype of the file; nor does a text of hidden tokens give NaN."""
    model = make_model("mobilebert", "MobileBertForTokenClassification")
    with torch.no_grad():
        for layer in model.mobilebert.encoder.layer:
            layer.attention.self.query.weight *= 8
    signature = make_signature("MobileBertForTokenClassification", quantize)
    rows = make_rows(model.config, 4, 12)
    rows["attention_mask"][:] = np.arange(12) < np.array([[1], [5], [9], [0]])
    far = np.arange(12) > np.array([[1], [5], [9], [0]])  # the trigram shows the last visible token the one after it
    other = {**rows, "input_ids": np.where(far, rows["input_ids"] % 39 + 1, rows["input_ids"])}
    write(model, signature, tmp_path, [rows, other])
    seen = rows["attention_mask"] == 1
    first, second = (run(tmp_path, signature, each)["logits"] for each in (rows, other))
    np.testing.assert_array_equal(first[seen], second[seen])
    assert not np.array_equal(first, second) and np.isfinite(first).all()


def test_files_hold_no_path_of_this_machine(tmp_path: Path) -> None:
    signature = make_signature(CLASSIFIER, "dynamic-int8")
    write(make_model("mobilebert", CLASSIFIER), signature, tmp_path)
    for path in tmp_path.rglob("*.onnx"):
        content = path.read_bytes()
        assert str(Path(mobilebert_pt.__file__).parent).encode() not in content and str(tmp_path).encode() not in content


def test_foreign_layers_are_refused(tmp_path: Path) -> None:
    """Their graph is not known, and leaving them out would be silent."""

    class Mine(heads.MobileBertForSequenceClassification):
        pass

    model = make_model("mobilebert", CLASSIFIER)
    with pytest.raises(ConfigError, match="not Mine"):
        write(Mine(model.config), make_signature(CLASSIFIER), tmp_path)
    model.classifier = type("Scaled", (torch.nn.Linear,), {})(32, 3)
    with pytest.raises(ConfigError, match="not Scaled"):
        write(model, make_signature(CLASSIFIER), tmp_path)
    assert not any(tmp_path.iterdir())

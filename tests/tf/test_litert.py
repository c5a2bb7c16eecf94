"""LiteRT files, run by LiteRT: the model's outputs at every length and quantization, nothing a phone lacks, and MediaPipe's client."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")

from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tensorflow.lite.python import schema_py_generated as schema

from mobilebert_common.errors import ConfigError
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.runtimes import litert as runtime
from mobilebert_common.runtimes.artefact import Artefact
from mobilebert_common.runtimes.signature import Signature, activation_of, names_of
from mobilebert_common.runtimes.targets import TARGETS
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_tf import heads
from mobilebert_tf.exports import metadata
from mobilebert_tf.exports.litert import write
from mobilebert_tf.twin import outputs, set_tensors
from support.configs import CHOICES, CLASSIFIER, CONFIGS, make_config, random_weights
from support.predicting import VOCABULARY
from support.reference import distance, scaled_weights

LENGTHS = [8, 12]
TARGET = TARGETS["litert"]
NAMES = ["mobilebert", "mini", "teacher", "no bottleneck, layer_norm", "silu", "relu6", "no trigram, e = h", "tiny"]
# wide enough that weights, not the description of the graph, make up a file
WIDE = {"hidden_size": 128, "intra_bottleneck_size": 64, "intermediate_size": 256, "embedding_size": 64, "vocab_size": 2000}

OPS = {  # of LiteRT, that a file may have; XNNPACK and phones have all of them, and none is Flex, custom, an assertion or a variable
    *("ADD", "SUB", "MUL", "NEG", "MEAN", "SQUARED_DIFFERENCE", "RSQRT", "SOFTMAX", "TANH", "LOGISTIC", "GELU", "LESS", "NOT_EQUAL"),
    *("FULLY_CONNECTED", "BATCH_MATMUL", "GATHER", "PAD", "CONCATENATION", "SPLIT", "STRIDED_SLICE", "RESHAPE", "TRANSPOSE"),
    *("SELECT", "SELECT_V2", "QUANTIZE", "DEQUANTIZE", "DELEGATE"),
}


def make_model(architecture: str = CLASSIFIER, dtype: str = "float32", tame: bool = False, **changes: Any) -> Any:
    """A model whose scores go beyond float16, or a tame one, whose activations are as near to each other as trained ones."""
    config = make_config(**changes)
    model = getattr(heads, f"TF{architecture}")(config, dtype=dtype)
    weights = random_weights(config, architecture, 0) if tame else scaled_weights(config, architecture, 0)
    for name in weights:
        if tame and weights[name].ndim > 1:
            weights[name] *= 0.4
        if name.endswith("word_embeddings.weight"):
            weights[name][0] = 0  # so that the trigram makes no difference between padding and the end of the sequence
    set_tensors(model, weights)
    return model


def make_signature(model: Any, lengths: list[int], quantize: str = "none") -> Signature:
    inputs, outputs = names_of("litert", model.architecture)
    return Signature(
        target="litert",
        quantize=quantize,
        architecture=model.architecture,
        inputs=inputs,
        outputs=outputs,
        ids=TARGET.ids,
        activation=activation_of("litert", model.architecture, model.config.problem_type or "single_label_classification"),
        lengths=lengths,
        max_length=lengths[-1],
        labels=[model.config.id2label[number] for number in range(model.config.num_labels)],
        file=TARGET.files[quantize],
    )


def make_batch(config: MobileBertConfig, architecture: str = CLASSIFIER, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of which the longest needs the last of LENGTHS, and the others the first."""
    generator = np.random.default_rng(seed)
    shape = (4, LENGTHS[-1])
    mask = (np.arange(shape[1]) < np.array([[12], [8], [5], [1]])).astype(np.int64)
    types = generator.integers(0, config.type_vocab_size, shape)
    batch = {"input_ids": generator.integers(1, config.vocab_size, shape) * mask, "attention_mask": mask, "token_type_ids": types}
    if architecture == CHOICES:
        return {name: np.stack([array, array[::-1]], axis=1) for name, array in batch.items()}
    return batch


def rows_of(batch: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """What a file is calibrated with."""
    return [{name: array[row : row + 1] for name, array in batch.items()} for row in range(len(batch["input_ids"]))]


def export(folder: Path, model: Any, lengths: list[int], quantize: str = "none", **options: Any) -> Artefact:
    signature = make_signature(model, lengths, quantize)
    write(model, signature, folder, **options)
    config = model.config.replace(max_position_embeddings=lengths[-1])
    return Artefact(config, signature, runtime.open_file(folder / signature.file, signature, 1))


def expected_of(model: Any, batch: dict[str, np.ndarray], artefact: Artefact) -> dict[str, np.ndarray]:
    """The model's outputs, comparable to the file's."""
    found = {name: array for name, array in outputs(model, batch).items() if name in artefact.signature.outputs}
    return comparable(found, batch, artefact.signature)


def comparable(found: dict[str, np.ndarray], batch: dict[str, np.ndarray], signature: Signature) -> dict[str, np.ndarray]:
    """Outputs without those of padding, and logits without the constant that a softmax forgets."""
    if signature.activation == "softmax":
        found = {"logits": found["logits"] - found["logits"].mean(axis=-1, keepdims=True)}
    visible = batch["attention_mask"].astype(bool)
    return {name: array[visible] if signature.is_per_token(name) else array for name, array in found.items()}


def buffers_of(path: Path) -> list[np.ndarray]:
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    return [buffer.data for buffer in model.buffers if buffer.data is not None]


def ops_of(path: Path) -> set[str]:
    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    return {op["op_name"] for op in interpreter._get_ops_details()}


@pytest.mark.parametrize(("number", "architecture"), list(enumerate(ARCHITECTURES)))
def test_a_float_file_gives_the_outputs_of_the_model(number: int, architecture: str, tmp_path: Path) -> None:
    changes = CONFIGS[NAMES[number]]
    lengths = LENGTHS if number % 2 else LENGTHS[-1:]
    artefact = export(tmp_path, make_model(architecture, **changes), lengths)
    batch = make_batch(artefact.config, architecture)
    expected = expected_of(make_model(architecture, "float64", **changes), batch, artefact)
    found = comparable(artefact.outputs(batch), batch, artefact.signature)
    assert list(found) == list(artefact.signature.outputs)
    assert distance(expected, {name: array.astype(np.float64) for name, array in found.items()}) <= 1e-5
    assert ops_of(tmp_path / "model.tflite") <= OPS


# (quantization, normalization) -> bytes a weight, and the relative error allowed
QUANTIZED = {
    ("fp16", "no_norm"): (2, 5e-3),
    ("dynamic-int8", "no_norm"): (1, 0.1),
    ("int8", "no_norm"): (1, 0.3),
    ("int8", "layer_norm"): (1, 0.3),
}


@pytest.mark.parametrize(("quantize", "norm"), list(QUANTIZED))
def test_quantized_files_are_small_near_and_blind_to_hidden_tokens(quantize: str, norm: str, tmp_path: Path) -> None:
    model = make_model(tame=quantize != "fp16", normalization_type=norm, **WIDE)
    batch = make_batch(model.config)
    artefact = export(tmp_path, model, LENGTHS, quantize, calibration=rows_of(batch))
    found = artefact.outputs(batch)
    width, error = QUANTIZED[quantize, norm]
    assert distance(expected_of(model, batch, artefact), comparable(found, batch, artefact.signature)) <= error
    matrices = [each.tobytes() for each in buffers_of(tmp_path / "model.tflite") if each.size >= 4096]
    assert len(set(matrices)) == len(matrices)  # both lengths have the same ones
    weights = sum(math.prod(variable.shape) for variable in model.variables if len(variable.shape) == 2)
    assert 0.9 * width * weights < sum(map(len, matrices)) < 1.3 * width * weights
    assert ops_of(tmp_path / "model.tflite") <= OPS
    rest = np.cumsum(1 - batch["attention_mask"], axis=1) > 1  # the trigram shows the first hidden token to the last visible one
    other = np.where(rest, (batch["input_ids"] + 7) % model.config.vocab_size, batch["input_ids"])
    assert rest.any() and np.array_equal(artefact.outputs({**batch, "input_ids": other})["logits"], found["logits"])


def test_a_model_in_bfloat16_is_computed_in_float32(tmp_path: Path) -> None:
    model = make_model(dtype="bfloat16")
    batch = make_batch(model.config)
    artefact = export(tmp_path, model, LENGTHS[-1:])
    expected = expected_of(model.fold(dtype="float32"), batch, artefact)
    assert distance(expected, comparable(artefact.outputs(batch), batch, artefact.signature)) <= 1e-5


def test_sigmoids_of_several_labels(tmp_path: Path) -> None:
    model = make_model(problem_type="multi_label_classification")
    batch = make_batch(model.config)
    artefact = export(tmp_path, model, LENGTHS[-1:])
    rows = {name: array.astype(np.int32) for name, array in rows_of(batch)[0].items()}
    found = artefact.run(rows)["logits"]
    assert found == pytest.approx(1 / (1 + np.exp(-outputs(model, rows)["logits"])), abs=1e-5)


TEXTS = ["The film was fine", "ODD, so odd: what is in the parcel?", "where is paris", ""]
LABELS = {0: "bad", 1: "good", 2: "mixed, so so"}


def test_mediapipe_opens_a_classifier(tmp_path: Path) -> None:
    text = pytest.importorskip("mediapipe.tasks.python.text", reason="MediaPipe is not installed")
    from mediapipe.tasks.python import BaseOptions

    model = make_model(vocab_size=len(VOCABULARY), id2label=LABELS, num_labels=3, classifier_activation=True)
    artefact = export(tmp_path, model, LENGTHS[-1:], tokens=VOCABULARY)
    tokenizer = MobileBertTokenizerFast(vocab=VOCABULARY)
    options = text.TextClassifierOptions(base_options=BaseOptions(model_asset_path=str(tmp_path / "model.tflite")))
    best = set()
    with text.TextClassifier.create_from_options(options) as classifier:
        for each in TEXTS:
            batch = tokenizer([each], truncation=True, max_length=12, padding="max_length", return_tensors="np")
            logits = outputs(model, {name: batch[name] for name in artefact.signature.inputs})["logits"][0].astype(np.float64)
            probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            [found] = classifier.classify(each).classifications
            scores = {category.category_name: category.score for category in found.categories}
            assert scores == pytest.approx({LABELS[number]: each for number, each in enumerate(probabilities)}, abs=5e-5)
            best.add(max(scores, key=scores.__getitem__))
    assert len(best) > 1  # else no text would show that labels are in order


def test_the_vocabulary_and_the_labels_are_in_the_file(tmp_path: Path) -> None:
    path, model = tmp_path / "model.tflite", make_model(vocab_size=len(VOCABULARY), id2label=LABELS, num_labels=3)
    export(tmp_path, model, LENGTHS, tokens=VOCABULARY)
    assert not zipfile.is_zipfile(path)  # TextClassifier takes one length
    export(tmp_path, model, LENGTHS[-1:], tokens=VOCABULARY)
    with zipfile.ZipFile(path) as files:
        assert files.read("vocab.txt").decode().splitlines() == VOCABULARY
        assert files.read("labels.txt").decode().splitlines() == list(LABELS.values())
        assert all(each.compress_type == zipfile.ZIP_STORED for each in files.infolist())
    content = path.read_bytes()
    places = [content.index(each.tobytes()) for each in buffers_of(path) if each.size > 1000]
    assert places and all(place % metadata.ALIGNMENT == 0 for place in places)


@pytest.mark.parametrize(
    ("tokens", "labels", "message"),
    [
        (VOCABULARY, ["a", "b\nc"], "line break"),
        ([*VOCABULARY, "a\rb"], ["a", "b"], "line break"),
        ([token for token in VOCABULARY if token != "[CLS]"], ["a", "b"], r"needs \[CLS\]"),
    ],
)
def test_metadata_that_mediapipe_would_misread(tokens: list[str], labels: list[str], message: str) -> None:
    signature = make_signature(make_model(), LENGTHS[-1:]).model_copy(update={"labels": labels})
    with pytest.raises(ConfigError, match=message):
        metadata.with_metadata(b"", signature, tokens)

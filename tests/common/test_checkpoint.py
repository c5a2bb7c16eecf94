import io
import json
import logging
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint, safetensors
from mobilebert_common.checkpoints.archive import Archive, Entry
from mobilebert_common.checkpoints.safetensors import WEIGHTS_FILE
from mobilebert_common.errors import CheckpointError, ConfigError
from mobilebert_common.files import folder as files
from mobilebert_common.files import reading, strict_json
from mobilebert_common.files.folder import MANIFEST_FILE
from mobilebert_common.files.reading import StableFile
from mobilebert_common.model import dtypes
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import CONFIG_FILE
from mobilebert_common.model.layout import to_layout
from mobilebert_common.model.schema import expand
from support.checkpoints import (
    BASE,
    CLASSIFIER,
    SIZES,
    Arrays,
    equal,
    make_config,
    make_weights,
    save,
    save_as_others_do,
)

HEAD_NAMES = ("classifier.weight", "classifier.bias")


@pytest.mark.parametrize("head", ARCHITECTURES)
@pytest.mark.parametrize("dtype", dtypes.DTYPES)
def test_round_trip(dtype: str, head: str, tmp_path: Path) -> None:
    weights = save(tmp_path / "a", head, dtypes.DTYPES[dtype])
    found = checkpoint.load(tmp_path / "a", head, dtype)
    assert equal(found.tensors, weights)
    assert (found.config.architectures, found.config.dtype, found.fresh) == ([head], dtype, ())
    checkpoint.save(tmp_path / "b", found.config, head, found.tensors)
    for name in (CONFIG_FILE, WEIGHTS_FILE, MANIFEST_FILE):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_saving_over_a_loaded_checkpoint(tmp_path: Path) -> None:
    weights = save(tmp_path)
    found = checkpoint.load(tmp_path, BASE)
    checkpoint.save(tmp_path, found.config, BASE, {name: array + 1 for name, array in found.tensors.items()})
    assert equal(found.tensors, weights)
    again = checkpoint.load(tmp_path, BASE)
    assert equal(again.tensors, {name: array + 1 for name, array in weights.items()})


def test_views_are_saved_as_they_look(tmp_path: Path) -> None:
    weights = {name: np.asfortranarray(array) for name, array in make_weights().items()}
    checkpoint.save(tmp_path, make_config(), BASE, weights)
    assert equal(checkpoint.load(tmp_path, BASE).tensors, weights)


def test_a_head_model_reads_a_base_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = save(tmp_path, BASE)
    found = checkpoint.load(tmp_path, CLASSIFIER, num_labels=5)
    assert found.fresh == HEAD_NAMES
    assert equal(found.tensors, {f"mobilebert.{name}": array for name, array in weights.items()})
    assert found.config.num_labels == 5
    assert len(caplog.records) == 1 and all(name in caplog.text for name in HEAD_NAMES)


def test_a_base_model_reads_a_head_model(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = save(tmp_path, CLASSIFIER)
    found = checkpoint.load(tmp_path, BASE)
    assert found.fresh == () and not caplog.records
    assert equal(
        found.tensors,
        {name.removeprefix("mobilebert."): array for name, array in weights.items() if name not in HEAD_NAMES},
    )


@pytest.mark.parametrize("file_head", ARCHITECTURES)
@pytest.mark.parametrize("head", ARCHITECTURES)
def test_what_transformers_writes(head: str, file_head: str, tmp_path: Path) -> None:
    """Any head from the file of any other: a buffer of old releases, no manifest. What the file lacks is fresh."""
    weights = make_weights(file_head)
    buffer = {f"{ARCHITECTURES[file_head].root}embeddings.position_ids": np.arange(6)[None]}
    save_as_others_do(tmp_path, {**weights, **buffer}, file_head)
    if {head, file_head} in SAME_NAME:
        with pytest.raises(CheckpointError, match=r"classifier.weight has shape .*\n.*\n.*ignore_mismatched_sizes=True"):
            checkpoint.load(tmp_path, head)
    found = checkpoint.load(tmp_path, head, ignore_mismatched_sizes=True)
    rooted = {f"mobilebert.{name}" if file_head == BASE else name: array for name, array in weights.items()}
    expected = {
        name: rooted[full]
        for name, tensor in expand(make_config(), head).items()
        if (full := f"mobilebert.{name}" if head == BASE else name) in rooted and rooted[full].shape == tensor.shape
    }
    assert equal(found.tensors, expected)
    assert set(found.fresh) == set(expand(make_config(), head)) - set(expected)
    assert all(name.startswith(("cls.", "classifier.", "qa_outputs.", f"{ARCHITECTURES[head].root}pooler")) for name in found.fresh)


CHOICE, TOKENS = "MobileBertForMultipleChoice", "MobileBertForTokenClassification"
SAME_NAME = [{CHOICE, CLASSIFIER}, {CHOICE, TOKENS}]  # heads whose layer has one name and different sizes


def test_half_a_head_is_damage(tmp_path: Path) -> None:
    weights = make_weights("MobileBertForPreTraining")
    del weights["cls.predictions.transform.dense.bias"]
    save_as_others_do(tmp_path, weights)
    with pytest.raises(CheckpointError, match=r"cls.predictions.transform.dense.bias is missing"):
        checkpoint.load(tmp_path, "MobileBertForMaskedLM")
    assert checkpoint.load(tmp_path, CLASSIFIER).fresh == HEAD_NAMES


PREDICTIONS, MASKED_LM = "cls.predictions.", "MobileBertForMaskedLM"
WORDS, DECODER = "mobilebert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"


def test_the_copies_of_a_tied_decoder_are_left_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = make_weights(MASKED_LM)
    copies = {DECODER: weights[WORDS], f"{PREDICTIONS}decoder.bias": weights[f"{PREDICTIONS}bias"]}
    save_as_others_do(tmp_path, {**weights, **copies})
    found = checkpoint.load(tmp_path, MASKED_LM)
    assert equal(found.tensors, weights) and found.ignored == ()
    assert DECODER in checkpoint.load(tmp_path, BASE).ignored
    del weights[f"{PREDICTIONS}bias"]
    save_as_others_do(tmp_path, {**weights, **copies})  # either name will do
    assert checkpoint.load(tmp_path, MASKED_LM).fresh == ()
    assert [record.args[1] for record in caplog.records] == ["pooler.dense.weight, pooler.dense.bias"]


def test_a_decoder_of_its_own_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = make_weights(MASKED_LM, tie_word_embeddings=False)
    save_as_others_do(tmp_path, weights)
    found = checkpoint.load(tmp_path, MASKED_LM)
    assert equal(found.tensors, weights)
    assert not found.config.tie_word_embeddings and "tie_word_embeddings is now false" in caplog.text
    assert DECODER not in checkpoint.load(tmp_path, MASKED_LM, tie_word_embeddings=True).tensors
    weights[f"{PREDICTIONS}decoder.bias"] = weights[f"{PREDICTIONS}bias"] + 1  # the one that transformers 5 adds
    save_as_others_do(tmp_path, weights)
    found = checkpoint.load(tmp_path, MASKED_LM)
    assert np.array_equal(found.tensors[f"{PREDICTIONS}bias"], weights[f"{PREDICTIONS}decoder.bias"])
    checkpoint.save(tmp_path / "again", found.config, MASKED_LM, found.tensors)
    assert f"{PREDICTIONS}decoder.bias" in safetensors.open_file(tmp_path / "again" / WEIGHTS_FILE).entries
    weights[DECODER] = weights[WORDS]
    save_as_others_do(tmp_path, weights)
    with pytest.raises(CheckpointError, match=r"decoder\.bias differs from cls\.predictions\.bias"):
        checkpoint.load(tmp_path, MASKED_LM)


def test_untying_starts_from_the_word_embeddings(tmp_path: Path) -> None:
    weights = save(tmp_path, MASKED_LM)
    found = checkpoint.load(tmp_path, MASKED_LM, tie_word_embeddings=False)
    assert found.fresh == ()
    assert np.array_equal(found.tensors[DECODER], weights[WORDS])
    assert not np.shares_memory(found.tensors[DECODER], found.tensors[WORDS])  # or training would change both


def test_distributed_training_leaves_a_prefix(tmp_path: Path) -> None:
    weights = make_weights(CLASSIFIER)
    save_as_others_do(tmp_path, {f"module.{name}": array for name, array in weights.items()})
    assert equal(checkpoint.load(tmp_path, CLASSIFIER).tensors, weights)


def test_a_row_of_padding_that_is_not_zero(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = make_weights()
    weights["embeddings.word_embeddings.weight"][0] = 1
    save_as_others_do(tmp_path, weights)
    assert equal(checkpoint.load(tmp_path, BASE).tensors, weights)
    assert len(caplog.records) == 1 and "zero_pad_embedding=True" in caplog.text
    found = checkpoint.load(tmp_path, BASE, zero_pad_embedding=True)
    weights["embeddings.word_embeddings.weight"][0] = 0
    assert equal(found.tensors, weights)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("dtype", dtypes.DTYPES)
def test_auto_is_the_dtype_of_the_file(dtype: str, tmp_path: Path) -> None:
    weights = save(tmp_path, dtype=dtypes.DTYPES[dtype])
    assert equal(checkpoint.load(tmp_path, BASE, "auto").tensors, weights)


@pytest.mark.parametrize(
    ("file_head", "name"),
    [
        (BASE, "encoder.layer.1.output.dense.weight"),
        (BASE, "pooler.extra"),
        (BASE, "junk"),
        (BASE, "classifier.scale"),
        (CLASSIFIER, "mobilebert.junk"),
        (CLASSIFIER, "junk"),
        (CLASSIFIER, "encoder.layer.0.output.dense.weight"),
    ],
)
@pytest.mark.parametrize("head", ARCHITECTURES)
def test_what_is_not_expected_is_refused(file_head: str, name: str, head: str, tmp_path: Path) -> None:
    save_as_others_do(tmp_path, {**make_weights(file_head), name: np.zeros(1, np.float32)}, file_head)
    with pytest.raises(CheckpointError, match=f"{name} is unexpected"):
        checkpoint.load(tmp_path, head)


def test_one_error_names_every_mismatch(tmp_path: Path) -> None:
    weights = make_weights(CLASSIFIER)
    del weights["mobilebert.embeddings.LayerNorm.bias"]
    del weights["classifier.bias"]
    weights["mobilebert.pooler.dense.weight"] = np.zeros((8, 9), np.float32)
    weights["mobilebert.pooler.dense.bias"] = np.zeros(8, np.int64)
    weights["mobilebert.extra"] = np.zeros(1, np.float32)
    save_as_others_do(tmp_path, weights, CLASSIFIER)
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(tmp_path, CLASSIFIER)
    assert error.value.path == tmp_path / WEIGHTS_FILE
    assert sorted(error.value.reason.splitlines()[1:]) == [
        "  a model with layers of your own opens only with its own class, in the framework that saved it",
        "  classifier.bias is missing",
        "  mobilebert.embeddings.LayerNorm.bias is missing",
        "  mobilebert.extra is unexpected",
        "  mobilebert.pooler.dense.bias holds integers",
        f"  mobilebert.pooler.dense.weight has shape [8, 9] where the configuration and {CLASSIFIER} expect [8, 8]",
    ]


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"num_labels": 4}, "classifier.weight"),
        ({"vocab_size": 12}, "word_embeddings"),
        ({"num_hidden_layers": 2}, "layer.1.output.dense.weight is missing"),
        ({"num_feedforward_networks": 1}, "ffn.0.output.dense.weight is unexpected"),
        ({"classifier_activation": False}, "pooler.dense.weight is unexpected"),
    ],
)
def test_overrides_must_fit_the_weights(overrides: dict[str, Any], named: str, tmp_path: Path) -> None:
    save(tmp_path, CLASSIFIER)
    with pytest.raises(CheckpointError, match=named):
        checkpoint.load(tmp_path, CLASSIFIER, **overrides)
    with pytest.raises(ConfigError, match="unknown argument"):
        checkpoint.load(tmp_path, CLASSIFIER, hidden=8)
    with pytest.raises(ValueError, match="float32, float64, bfloat16, float16"):
        checkpoint.load(tmp_path, CLASSIFIER, "int8")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", dtypes.DTYPES)
def test_weights_must_be_finite(value: float, dtype: str, tmp_path: Path) -> None:
    weights = make_weights(dtype=dtypes.DTYPES[dtype])
    weights["pooler.dense.weight"][1, 2] = value
    weights["embeddings.LayerNorm.bias"][-1] = value
    checkpoint.save(tmp_path, make_config(), BASE, weights)
    with pytest.raises(CheckpointError, match=r"NaN.*embeddings\.LayerNorm\.bias, pooler\.dense\.weight"):
        checkpoint.load(tmp_path, BASE, dtype)


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_what_overflows_the_dtype_is_refused(tmp_path: Path) -> None:
    weights = make_weights()
    weights["pooler.dense.bias"][0] = 1e6
    checkpoint.save(tmp_path, make_config(), BASE, weights)
    assert np.isfinite(checkpoint.load(tmp_path, BASE, "bfloat16").tensors["pooler.dense.bias"]).all()
    with pytest.raises(CheckpointError, match=r"as float16.*pooler\.dense\.bias"):
        checkpoint.load(tmp_path, BASE, "float16")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_dtypes_are_converted(dtype: str, tmp_path: Path) -> None:
    weights = save(tmp_path, dtype=np.float64)
    found = checkpoint.load(tmp_path, BASE, dtype)
    assert equal(found.tensors, {name: array.astype(dtypes.DTYPES[dtype]) for name, array in weights.items()})


def test_float16_warns_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint._warn_float16.cache_clear()
    save(tmp_path)
    for dtype in ("float32", "bfloat16", "float16", "float16"):
        checkpoint.load(tmp_path, BASE, dtype)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "bfloat16" in caplog.text


@pytest.mark.parametrize("manifest", [True, False])
def test_a_truncated_file_is_refused_at_any_length(manifest: bool, tmp_path: Path) -> None:
    save(tmp_path)
    if not manifest:
        (tmp_path / MANIFEST_FILE).unlink()
    path = tmp_path / WEIGHTS_FILE
    data = path.read_bytes()
    for length in [*range(20), *range(20, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError) as error:
            checkpoint.load(tmp_path, BASE)
        assert error.value.path == path


Header = dict[str, Any]
NAME = "pooler.dense.bias"


def entry(header: Header, **changes: Any) -> Header:
    return {**header, NAME: {**header[NAME], **changes}}


def renamed(header: Header, name: str) -> Header:
    return {name if key == NAME else key: value for key, value in header.items()}


def shifted(header: Header, change: int) -> Header:
    begin, end = header[NAME]["data_offsets"]
    return entry(header, data_offsets=[begin + change, end + change])


def twice(header: Header) -> str:
    return json.dumps(header)[:-1] + f", {json.dumps(NAME)}: {json.dumps(header[NAME])}}}"


# what is wrong -> a header made from a good one
HEADERS: dict[str, Callable[[Header], Any]] = {
    "a name twice": twice,
    "overlap": lambda header: shifted(header, -32),
    "gap": lambda header: shifted(header, 32),
    "one tensor on another": lambda header: {**header, "more": header[NAME]},
    "extra field": lambda header: entry(header, extra=1),
    "no shape": lambda header: {**header, NAME: {"dtype": "F32", "data_offsets": [0, 32]}},
    "not an object": lambda header: {**header, NAME: [1]},
    "null": lambda header: {**header, NAME: None},
    "unknown dtype": lambda header: entry(header, dtype="F8_E4M3"),
    "dtype of another size": lambda header: entry(header, dtype="F64"),
    "dtype a number": lambda header: entry(header, dtype=5),
    "dtype a list": lambda header: entry(header, dtype=["F32"]),
    "integers": lambda header: entry(header, dtype="I64", shape=[4]),
    "negative offsets": lambda header: entry(header, data_offsets=[-32, 0]),
    "reversed offsets": lambda header: entry(header, data_offsets=header[NAME]["data_offsets"][::-1]),
    "fractional offsets": lambda header: entry(header, data_offsets=[0.0, 32.0]),
    "three offsets": lambda header: entry(header, data_offsets=[0, 32, 64]),
    "no offsets": lambda header: entry(header, data_offsets=[]),
    "offsets null": lambda header: entry(header, data_offsets=None),
    "offsets far away": lambda header: entry(header, data_offsets=[1 << 40, (1 << 40) + 32]),
    "offsets without end": lambda header: entry(header, data_offsets=[10**4000, 10**4000 + 32]),
    "shape a number": lambda header: entry(header, shape=8),
    "shape of truth values": lambda header: entry(header, shape=[True, 8]),
    "negative shape": lambda header: entry(header, shape=[-2, -4]),
    "absurd shape": lambda header: entry(header, shape=[1 << 40, 1 << 40]),
    "absurd shape of nothing": lambda header: entry(header, shape=[0, 1 << 47], data_offsets=[0, 0]),
    "absurd rank": lambda header: entry(header, shape=[8] + [1] * 10_000),
    "other rank": lambda header: entry(header, shape=[8, 1]),
    "no rank": lambda header: entry(header, shape=[]),
    "NUL in a name": lambda header: renamed(header, f"{NAME}\0"),
    "empty name": lambda header: renamed(header, ""),
    "huge name": lambda header: renamed(header, "x" * 100_000),
    "lone surrogate": lambda header: renamed(header, "\ud800"),
    "metadata a number": lambda header: {**header, "__metadata__": 5},
    "metadata null": lambda header: {**header, "__metadata__": None},
    "metadata of numbers": lambda header: {**header, "__metadata__": {"format": 5}},
    "a list": lambda header: [header],
    "nothing": lambda header: {},
    "NaN": lambda header: json.dumps(header).replace("[8]", "[NaN]"),
    "not JSON": lambda header: json.dumps(header)[:-1],
    "deep": lambda header: '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "digits": lambda header: '{"a": ' + "9" * 100_000 + "}",
}


# where another check would refuse it too
REASONS = {
    "metadata null": "__metadata__ that does not map strings to strings",
    "NUL in a name": "impossible name",
    "empty name": "impossible name",
    "shape of truth values": r"has shape \[true, 8\]$",
    "negative shape": r"has shape \[-2, -4\]$",
    "overlap": "overlaps another",
    "one tensor on another": "overlaps another",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path)
    (tmp_path / MANIFEST_FILE).unlink()
    return tmp_path


def refuse_quickly(folder: Path, data: bytes, reason: str | None = None) -> None:
    (folder / WEIGHTS_FILE).write_bytes(data)
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(CheckpointError, match=reason) as error:
        checkpoint.load(folder, BASE)
    seconds, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert error.value.path == folder / WEIGHTS_FILE
    assert len(str(error.value)) < 10_000
    assert seconds < 1 and peak < 16 << 20


@pytest.mark.parametrize("wrong", HEADERS)
def test_bad_headers(wrong: str, folder: Path) -> None:
    data = (folder / WEIGHTS_FILE).read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = HEADERS[wrong](json.loads(data[8:end]))
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    refuse_quickly(folder, len(text).to_bytes(8, "little") + text + data[end:], REASONS.get(wrong))


def test_bytes_that_no_tensor_owns(folder: Path) -> None:
    data = (folder / WEIGHTS_FILE).read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    del header["__metadata__"]
    for name in header:
        header = {
            **header,
            name: {**header[name], "data_offsets": [place + 4 for place in header[name]["data_offsets"]]},
        }
    text = json.dumps(header).encode()
    refuse_quickly(folder, len(text).to_bytes(8, "little") + text + bytes(4) + data[end:], "leaves a gap")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: b"\0" * 8,
        lambda data: data[:8],
        lambda data: (1).to_bytes(8, "little") + data[8:],
        lambda data: (len(data) - 8).to_bytes(8, "little") + data[8:],
        lambda data: (len(data)).to_bytes(8, "little") + data[8:],
        lambda data: ((1 << 63) - 1).to_bytes(8, "little") + data[8:],
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data + b"\0",
        lambda data: b"\x80\x04" + data,
        lambda data: data[:8] + b"\xff" + data[9:],
    ],
)
def test_bad_files(change: Callable[[bytes], bytes], folder: Path) -> None:
    refuse_quickly(folder, change((folder / WEIGHTS_FILE).read_bytes()))


@pytest.mark.parametrize("missing", [CONFIG_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("manifest", [True, False])
def test_missing_files(missing: str, manifest: bool, tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / missing).unlink()
    if not manifest:
        (tmp_path / MANIFEST_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"cannot be read|is missing|has no weights: none of model\.safetensors, ") as error:
        checkpoint.load(tmp_path, BASE)
    assert error.value.path == (tmp_path / missing if manifest or missing == CONFIG_FILE else tmp_path)


def save_shards(folder: Path, weights: Arrays, **changes: str) -> None:
    """Two shards and their index, in which `changes` puts tensors into other files."""
    names = list(weights)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, inside in shards.items():
        safetensors.write(folder / file, {name: weights[name] for name in inside})
    index = {name: file for file, inside in shards.items() for name in inside} | changes
    (folder / f"{WEIGHTS_FILE}.index.json").write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": index}))
    (folder / CONFIG_FILE).write_text(json.dumps(SIZES))


def test_the_manifest_is_read_once_for_all_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = make_weights(CLASSIFIER)
    for name in weights:
        safetensors.write(tmp_path / f"{name}.safetensors", {name: weights[name]})
    index = {name: f"{name}.safetensors" for name in weights}
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    contents[f"{WEIGHTS_FILE}.index.json"] = json.dumps({"weight_map": index}).encode()
    files.save_files(tmp_path, {**contents, CONFIG_FILE: json.dumps(SIZES).encode()})
    read, parse = [], strict_json.parse_json
    monkeypatch.setattr(strict_json, "parse_json", lambda path, data: (read.append(path.name), parse(path, data))[1])
    assert equal(checkpoint.load(tmp_path, CLASSIFIER).tensors, weights)
    assert len(weights) > 20 and read.count(MANIFEST_FILE) <= 3


def test_a_file_is_hashed_after_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path)
    hashed: list[str] = []
    compare = StableFile._compare_digest
    monkeypatch.setattr(StableFile, "_compare_digest", lambda self, found: (hashed.append(self.name), compare(self, found))[1])
    with pytest.raises(CheckpointError, match="does not fit"):
        checkpoint.load(tmp_path, BASE, num_hidden_layers=2)
    assert WEIGHTS_FILE not in hashed
    checkpoint.load(tmp_path, BASE)
    assert hashed.count(WEIGHTS_FILE) == 1
    data = bytearray((tmp_path / WEIGHTS_FILE).read_bytes())
    data[-1] ^= 1
    (tmp_path / WEIGHTS_FILE).write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is not the file that was saved"):
        checkpoint.load(tmp_path, BASE)


@pytest.mark.parametrize("head", [CLASSIFIER, BASE])
def test_a_manifest_costs_no_second_reading(head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a model has no use for some of the tensors, which are hashed as well."""
    save(tmp_path, CLASSIFIER, vocab_size=50_000)
    size, counts = (tmp_path / WEIGHTS_FILE).stat().st_size, []

    class Counting(io.FileIO):
        def readinto(self, buffer: Any) -> int | None:
            count = super().readinto(buffer)
            counts.append(count or 0)
            return count

    monkeypatch.setattr(reading, "open", lambda descriptor, mode: io.BufferedReader(Counting(descriptor)), raising=False)
    assert checkpoint.load(tmp_path, head).fresh == ()
    assert size <= sum(counts) <= 1.1 * size  # the header is read twice, and there are two small files


@pytest.mark.parametrize("part", ["header", "used", "unused", "last"])
def test_every_byte_is_hashed(part: str, tmp_path: Path) -> None:
    """Although a base model reads only some of them: this file's own digest is of the file as it was."""
    save(tmp_path, CLASSIFIER)
    path = tmp_path / WEIGHTS_FILE
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    used, unused = (
        next(8 + length + found["data_offsets"][0] for name, found in header.items() if name.startswith(start))
        for start in ("mobilebert.encoder.layer.0.", "classifier.")
    )
    place = {"header": 8 + length - data[8 : 8 + length][::-1].index(b"}"), "used": used, "unused": unused, "last": len(data) - 1}[part]
    data[place] ^= 1 if part != "header" else ord(" ") ^ ord("\n")
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is not the file that was saved"):
        checkpoint.load(tmp_path, BASE)


def test_shards(tmp_path: Path) -> None:
    weights = make_weights(CLASSIFIER)
    save_shards(tmp_path, weights)
    assert equal(checkpoint.load(tmp_path, CLASSIFIER).tensors, weights)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"classifier.bias": "c.safetensors"}, "c.safetensors: cannot be read"),
        ({"classifier.bias": "../a.safetensors"}, "names files that cannot be shards"),
        ({"classifier.more": "a.safetensors"}, "'classifier.more' is not in a.safetensors"),
        ({"mobilebert.embeddings.word_embeddings.weight": "b.safetensors"}, r"word_embeddings.weight. is not in b\.safetensors"),
    ],
)
def test_shards_that_do_not_fit_their_index(changes: dict[str, str], reason: str, tmp_path: Path) -> None:
    save_shards(tmp_path, make_weights(CLASSIFIER), **changes)
    with pytest.raises(CheckpointError, match=reason):
        checkpoint.load(tmp_path, CLASSIFIER)


def test_what_stands_in_for_a_file_that_is_gone(tmp_path: Path) -> None:
    """Another dialect of the same save does; one that was there before does not."""
    weights = save(tmp_path)
    data = (tmp_path / WEIGHTS_FILE).read_bytes()
    shards = json.dumps({"weight_map": dict.fromkeys(weights, "a.safetensors")}).encode()
    files.save_files(tmp_path, {"a.safetensors": data, f"{WEIGHTS_FILE}.index.json": shards})
    (tmp_path / WEIGHTS_FILE).unlink()
    assert equal(checkpoint.load(tmp_path, BASE).tensors, weights)
    (tmp_path / MANIFEST_FILE).unlink()
    files.save_files(tmp_path, {WEIGHTS_FILE: data})
    (tmp_path / WEIGHTS_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read"):
        checkpoint.load(tmp_path, BASE)


def test_the_directory_must_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "nowhere", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match="is not a directory"):
            checkpoint.load(path, BASE)
    with pytest.raises(OSError):
        save(tmp_path / "file")
    (tmp_path / WEIGHTS_FILE).mkdir()
    make_config().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="is not a regular file"):
        checkpoint.load(tmp_path, BASE)


FILLING = """
import resource, sys
from pathlib import Path
from support.checkpoints import CLASSIFIER, save
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    save(Path(sys.argv[1]), CLASSIFIER, num_labels=7)
except OSError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.parametrize("limit", [10, 3000])
def test_a_full_disk_leaves_the_old_checkpoint(limit: int, tmp_path: Path) -> None:
    """As far as a limit on the size of a file can stand for a full disk."""
    weights = save(tmp_path, CLASSIFIER)
    paths = sorted(tmp_path.iterdir())
    command = [sys.executable, "-c", FILLING, str(tmp_path), str(limit)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("refused: "), done.stderr
    assert str(tmp_path) in done.stderr
    assert sorted(tmp_path.iterdir()) == paths
    assert equal(checkpoint.load(tmp_path, CLASSIFIER).tensors, weights)


@pytest.mark.parametrize(("half", "value"), [(np.float16, 1.0009765625), (ml_dtypes.bfloat16, 1e-30)])
def test_the_stored_dtype_holds_both_halves(half: Any, value: float, tmp_path: Path) -> None:
    others = {np.float16: ml_dtypes.bfloat16, ml_dtypes.bfloat16: np.float16}
    weights = make_weights(dtype=others[half])
    weights["pooler.dense.bias"] = np.full_like(weights["pooler.dense.bias"], value, half)
    save_as_others_do(tmp_path, weights)
    found = checkpoint.load(tmp_path, BASE, "auto")
    assert found.dtype == "float32"
    assert all((found.tensors[name] == array.astype(np.float32)).all() for name, array in weights.items())


def test_many_findings_make_a_short_error(tmp_path: Path) -> None:
    weights = make_weights(num_hidden_layers=24)
    save_as_others_do(tmp_path, {name: np.full_like(array, np.nan) for name, array in weights.items()}, num_hidden_layers=24)
    with pytest.raises(CheckpointError, match=r"holds NaN .*, and [0-9,]+ more$") as error:
        checkpoint.load(tmp_path, BASE)
    assert len(str(error.value)) < 5_000
    save_as_others_do(tmp_path, {**make_weights(), **{f"{n}".ljust(990, "x"): np.zeros(1, np.float32) for n in range(60)}})
    with pytest.raises(CheckpointError, match="and 10 more") as error:
        checkpoint.load(tmp_path, BASE)
    assert len(str(error.value)) < 20_000


def test_the_name_of_another_file_is_shown_safely(tmp_path: Path) -> None:
    make_config().save_pretrained(tmp_path)
    (tmp_path / "x\n\x1b[2J.weights.h5").touch()
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(tmp_path, BASE)
    assert str(error.value).isprintable() and "mobilebert convert" in str(error.value)


def test_bfloat16_needs_no_framework() -> None:
    assert dtypes.parse_dtype("bfloat16") == ml_dtypes.bfloat16


@pytest.mark.parametrize("length", [0, 1, 1000, 1 << 40])
def test_what_is_no_safetensors_file_is_called_so(length: int, folder: Path) -> None:
    """Also where its first bytes, as those of a web page, claim an endless header."""
    refuse_quickly(folder, length.to_bytes(8, "little") + b"{}".ljust(900), "is truncated or not safetensors")


def test_a_head_beside_an_encoder_without_its_prefix(tmp_path: Path) -> None:
    weights = make_weights(CLASSIFIER)
    save_as_others_do(tmp_path, {name.removeprefix("mobilebert."): array for name, array in weights.items()}, CLASSIFIER)
    assert equal(checkpoint.load(tmp_path, CLASSIFIER).tensors, weights)


def test_weights_in_the_dtype_of_the_file_are_not_copied() -> None:
    """A copy would double the memory that opening takes."""
    weights = make_weights()
    archive = Archive(Path(WEIGHTS_FILE), {name: Entry(array.dtype, array.shape) for name, array in weights.items()}, lambda names: weights)
    found = checkpoint.read(archive, "canonical", make_config(), BASE, "float32")
    assert all(np.shares_memory(found.tensors[name], array) for name, array in weights.items())


def test_what_an_optimizer_of_tf1_keeps_is_left_aside() -> None:
    """The masked-LM of google-research's own checkpoints, with Adam's slots and the number of steps."""
    architecture = "MobileBertForMaskedLM"
    weights = make_weights(architecture)
    places = {name: tensor.dialects["tf1"] for name, tensor in expand(make_config(), architecture).items()}
    arrays = {place.name: to_layout(weights[name], place.layout, 2) for name, place in places.items()}
    slots = {f"{name}/adam_{slot}": array for name, array in arrays.items() for slot in "mv"}
    stored = {**arrays, **slots, "global_step": np.array(3)}
    entries = {name: Entry(array.dtype, array.shape) for name, array in stored.items()}
    archive = Archive(Path("model.ckpt"), entries, lambda names: {name: stored[name] for name in names})
    found = checkpoint.read(archive, "tf1", make_config(), architecture)
    assert equal(found.tensors, weights) and not (found.fresh or found.ignored)


def test_a_prefix_that_only_some_names_have_is_none(tmp_path: Path) -> None:
    weights = {f"module.{name}" if name == NAME else name: array for name, array in make_weights().items()}
    save_as_others_do(tmp_path, weights)
    with pytest.raises(CheckpointError, match=f"module.{NAME} is unexpected"):
        checkpoint.load(tmp_path, BASE)

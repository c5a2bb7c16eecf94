"""Every dialect into every other: the same bits, and one error for what cannot be."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint, h5, safetensors, torch_bin
from mobilebert_common.errors import CheckpointError, ConfigError
from mobilebert_common.files.folder import MANIFEST_FILE, PENDING, TEMPORARY, read_manifest, save_files
from mobilebert_common.model import dtypes
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import CONFIG_FILE, MobileBertConfig
from mobilebert_common.model.schema import expand
from mobilebert_common.model.zoo import ZOO
from mobilebert_conversion import convert as conversion
from mobilebert_conversion import tf1
from mobilebert_conversion.convert import convert
from mobilebert_conversion.destination import WRITERS
from support.configs import CLASSIFIER, CONFIGS, SIZES, make_config, random_weights

SMALL = ("mobilebert", "tiny", "teacher", "no trigram, e = h", "no bottleneck")
VOCABULARY = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfilm\n"


def save(folder: Path, head: str = CLASSIFIER, dtype: Any = np.float32, **overrides: Any) -> Path:
    config = make_config(**overrides)
    weights = {name: array.astype(dtype) for name, array in random_weights(config, head).items()}
    checkpoint.save(folder, config, head, weights)
    return folder


def digests(folder: Path, head: str) -> dict[str, str]:
    """SHA-256 of every tensor's name, dtype, shape and bytes."""
    weights = checkpoint.load(folder, head, "auto")
    assert not weights.fresh
    return {
        name: hashlib.sha256(f"{array.dtype} {array.shape}".encode() + array.tobytes()).hexdigest()
        for name, array in weights.tensors.items()
    }


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("variant", [*SMALL, "mini"])  # which Google's code cannot say
@pytest.mark.parametrize("head", ARCHITECTURES)
def test_through_h5_and_bin(head: str, variant: str, tmp_path: Path) -> None:
    source = save(tmp_path / "0", head, **CONFIGS[variant])
    for step, to in enumerate(("h5", "bin", "safetensors"), 1):
        done = convert(tmp_path / str(step - 1), tmp_path / str(step), to)
        assert (done.head, done.dtype, done.destination) == (head, "float32", tmp_path / str(step))
        assert digests(tmp_path / str(step), head) == digests(source, head)
    for name in (CONFIG_FILE, safetensors.WEIGHTS_FILE):
        assert sha256(tmp_path / "3" / name) == sha256(source / name)


@pytest.mark.parametrize("variant", SMALL)
@pytest.mark.parametrize("head", ARCHITECTURES)
def test_through_tf1(head: str, variant: str, tmp_path: Path) -> None:
    source = save(tmp_path / "source", head, **CONFIGS[variant])
    convert(source, tmp_path / "tf1", "tf1")
    done = convert(tmp_path / "tf1", tmp_path / "back")
    assert (done.dialect, done.head, done.ignored) == ("tf1", head, ())
    for name in (CONFIG_FILE, safetensors.WEIGHTS_FILE):
        assert sha256(tmp_path / "back" / name) == sha256(source / name)
    convert(tmp_path / "back", tmp_path / "again", "tf1")
    for name in (tf1.CONFIG_FILE, tf1.WEIGHTS_FILE, tf1.DATA_FILE, tf1.STATE_FILE):
        assert sha256(tmp_path / "again" / name) == sha256(tmp_path / "tf1" / name)


@pytest.mark.parametrize("head", ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_through_keras(head: str, dtype: str, tmp_path: Path) -> None:
    source = save(tmp_path / "source", head, dtypes.DTYPES[dtype])
    convert(source, tmp_path / "keras", "keras")
    done = convert(tmp_path / "keras", tmp_path / "back")
    assert (done.dialect, done.head, done.dtype) == ("keras", head, dtype)
    assert sha256(tmp_path / "back" / safetensors.WEIGHTS_FILE) == sha256(source / safetensors.WEIGHTS_FILE)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("to", ["bin", "tf1", "safetensors"])
def test_dtypes_are_kept(to: Any, dtype: Any, tmp_path: Path) -> None:
    source = save(tmp_path / "source", dtype=dtype)
    convert(source, tmp_path / "there", to)
    convert(tmp_path / "there", tmp_path / "back")
    assert digests(tmp_path / "back", CLASSIFIER) == digests(source, CLASSIFIER)


def test_a_dtype_is_converted(tmp_path: Path) -> None:
    done = convert(save(tmp_path / "source"), tmp_path / "half", "safetensors", "bfloat16")
    assert done.dtype == "bfloat16"
    assert json.loads((tmp_path / "half" / CONFIG_FILE).read_text())["dtype"] == "bfloat16"
    with pytest.raises(ConfigError, match=r"tf_model.h5 holds float32 or float64, not bfloat16"):
        convert(tmp_path / "half", tmp_path / "h5", "h5")
    with pytest.raises(ValueError, match="dtype must be one of"):
        convert(tmp_path / "half", tmp_path / "h5", "safetensors", "int8")


def test_what_lies_beside_the_weights(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = save(tmp_path / "source", vocab_size=6)
    (source / "vocab.txt").write_text(VOCABULARY, encoding="utf-8")
    (source / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    (source / "special_tokens_map.json").write_text("{")
    done = convert(source, tmp_path / "there", "bin")
    assert done.written == (CONFIG_FILE, torch_bin.WEIGHTS_FILE, "vocab.txt", "tokenizer_config.json")
    assert set(read_manifest(tmp_path / "there")) == {*done.written}
    assert sorted(os.listdir(tmp_path / "there")) == sorted([*done.written, MANIFEST_FILE])
    assert (tmp_path / "there" / "vocab.txt").read_bytes() == (source / "vocab.txt").read_bytes()
    assert "special_tokens_map.json" in caplog.text


def test_a_single_file(tmp_path: Path) -> None:
    source = save(tmp_path / "source")
    shutil.copy(source / safetensors.WEIGHTS_FILE, source / "other.safetensors")
    assert convert(source / "other.safetensors", tmp_path / "there", "h5").source.name == "other.safetensors"
    with pytest.raises(CheckpointError, match="is not a weights file: its name must end in"):
        convert(source / CONFIG_FILE, tmp_path / "x")
    with pytest.raises(CheckpointError, match="does not exist"):
        convert(source / "none.bin", tmp_path / "x")
    (source / CONFIG_FILE).rename(tmp_path / CONFIG_FILE)
    with pytest.raises(CheckpointError, match=CONFIG_FILE):
        convert(source / "other.safetensors", tmp_path / "x")
    done = convert(source / "other.safetensors", tmp_path / "given", config=tmp_path / CONFIG_FILE)
    assert done.head == CLASSIFIER
    assert not (tmp_path / "x").exists()


def test_another_head(tmp_path: Path) -> None:
    source = save(tmp_path / "source", "MobileBertForPreTraining")
    done = convert(source, tmp_path / "base", head="MobileBertModel")
    assert done.head == "MobileBertModel" and "cls.predictions.bias" in done.ignored
    assert json.loads((tmp_path / "base" / CONFIG_FILE).read_text())["architectures"] == ["MobileBertModel"]
    with pytest.raises(CheckpointError, match=r"has no qa_outputs.weight, qa_outputs.bias, which MobileBertForQuestion"):
        convert(source, tmp_path / "qa", head="MobileBertForQuestionAnswering")
    with pytest.raises(ConfigError, match="head must be one of"):
        convert(source, tmp_path / "qa", head="MobileBert")


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    source, other = save(tmp_path / "source"), save(tmp_path / "other", num_labels=2)
    with pytest.raises(ConfigError, match=r"already holds model.safetensors; --overwrite"):
        convert(source, other)
    with pytest.raises(ConfigError, match=r"already holds config.json"):
        convert(source, other, "h5")
    with pytest.raises(ConfigError, match=r"also holds model.safetensors, which would be mixed up"):
        convert(source, other, "h5", overwrite=True)  # model.safetensors would be read in its place
    assert convert(source, other, overwrite=True).head == CLASSIFIER
    assert digests(other, CLASSIFIER) == digests(source, CLASSIFIER)


def test_no_tokenizer_of_another_model_stays(tmp_path: Path) -> None:
    source, other = save(tmp_path / "source"), save(tmp_path / "other")
    for folder, files in ((source, ["vocab.txt"]), (other, ["vocab.txt", "added_tokens.json"])):
        for name in files:
            (folder / name).write_text("{}" if name.endswith("json") else f"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n{folder.name}\n")
    with pytest.raises(ConfigError, match=r"also holds added_tokens.json, which would be mixed up"):
        convert(source, other, overwrite=True)
    assert "other" in (other / "vocab.txt").read_text()
    (other / "added_tokens.json").unlink()
    assert "vocab.txt" in convert(source, other, overwrite=True).written
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "added_tokens.json").write_text("{}")  # alone it may be of the model to come
    convert(source, tmp_path / "new")


def test_the_configuration_beside_the_source_stays(tmp_path: Path) -> None:
    source, other = save(tmp_path / "source"), save(tmp_path / "other")
    before = (source / CONFIG_FILE).read_bytes()
    assert convert(source, source, "h5", dtype="float64").written == (h5.WEIGHTS_FILE,)
    for options in ({"head": "MobileBertModel"}, {"config": other / CONFIG_FILE}):
        with pytest.raises(ConfigError, match=r"config.json stays as it is.* write to another folder"):
            convert(source, source, "tf1", **options)
    assert (source / CONFIG_FILE).read_bytes() == before
    convert(source, source, "h5", head="MobileBertModel", overwrite=True)
    assert b"MobileBertModel" in (source / CONFIG_FILE).read_bytes()


def test_places_that_are_no_folder(tmp_path: Path) -> None:
    source = save(tmp_path / "source")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file is not a folder"):
        convert(source, tmp_path / "file")
    shutil.copy(source / "model.safetensors", tmp_path)
    with pytest.raises(CheckpointError, match=r"has neither config.json nor bert_config.json: pass one with --config"):
        convert(tmp_path / "model.safetensors", tmp_path / "there")


def test_a_model_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(tmp_path / "source")
    asked: list[Any] = []

    def resolve(name: Any, files: Any, first_of: Any = ()) -> Path:
        asked.extend([name, *files, *first_of])
        return source if name == "google/mobilebert-uncased" else Path(name)

    monkeypatch.setattr("mobilebert_conversion.source.hub.resolve", resolve)
    assert convert("google/mobilebert-uncased", tmp_path / "there").source == source / "model.safetensors"
    assert {"google/mobilebert-uncased", "config.json", "vocab.txt", "model.safetensors", "tf_model.h5"} <= {*asked}
    with pytest.raises(CheckpointError, match="does not exist"):
        convert(Path("google/mobilebert-uncased"), tmp_path / "elsewhere")


def test_a_second_dialect_beside_the_first(tmp_path: Path) -> None:
    source = save(tmp_path)
    before = digests(source, CLASSIFIER)
    for to in ("h5", "bin", "tf1"):
        convert(source, source, to)  # type: ignore[arg-type]
    (source / MANIFEST_FILE).unlink()  # it names what is about to go
    for file in (safetensors.WEIGHTS_FILE, torch_bin.WEIGHTS_FILE, h5.WEIGHTS_FILE):
        assert digests(source, CLASSIFIER) == before
        os.remove(source / file)
    assert convert(source, source).dialect == "tf1"
    assert digests(source, CLASSIFIER) == before


@pytest.mark.parametrize("to", WRITERS)
def test_a_failure_leaves_nothing(to: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(tmp_path / "source")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "there").mkdir()
    monkeypatch.setattr("mobilebert_common.files.folder.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        convert(source, tmp_path / "there", to)
    assert [name for name in os.listdir(tmp_path / "there") if TEMPORARY not in name] == []
    monkeypatch.undo()
    convert(source, tmp_path / "there", to)
    assert not [name for name in os.listdir(tmp_path / "there") if TEMPORARY in name or PENDING in name]


def test_not_finite(tmp_path: Path) -> None:
    config = make_config()
    weights = random_weights(config, CLASSIFIER)
    weights["classifier.bias"][0] = np.nan
    checkpoint.save(tmp_path / "source", config, CLASSIFIER, weights)
    with pytest.raises(CheckpointError, match=r"NaN or infinite values .* in classifier.bias"):
        convert(tmp_path / "source", tmp_path / "there", "h5")


def test_too_many_parameters(tmp_path: Path) -> None:
    source = save(tmp_path / "source")
    huge = {"num_hidden_layers": 128, "hidden_size": 16_384, "intra_bottleneck_size": 16_384, "intermediate_size": 65_536}
    (tmp_path / CONFIG_FILE).write_text(json.dumps(huge))
    with pytest.raises(CheckpointError, match="parameters, more than") as error:
        convert(source, tmp_path / "there", config=tmp_path / CONFIG_FILE)
    assert error.value.path == tmp_path / CONFIG_FILE


def test_both_halves_in_one_file(tmp_path: Path) -> None:
    config = make_config()
    weights = {name: array.astype(np.float16) for name, array in random_weights(config, CLASSIFIER).items()}
    weights["classifier.bias"] = np.full_like(weights["classifier.bias"], 1e-30, ml_dtypes.bfloat16)
    checkpoint.save(tmp_path / "source", config, CLASSIFIER, weights)
    assert convert(tmp_path / "source", tmp_path / "there").dtype == "float32"
    assert checkpoint.load(tmp_path / "there", CLASSIFIER).tensors["classifier.bias"].all()


def test_a_file_is_hashed_after_its_header(tmp_path: Path) -> None:
    """A file of 4 GB, in a second."""
    source = save(tmp_path / "source")
    for name in ("a.safetensors", "a.bin", "a.h5", "a.keras", "a.weights.h5"):
        save_files(source, {name: b""})
        os.truncate(source / name, 4 << 30)
        started = time.monotonic()
        with pytest.raises(CheckpointError, match=name):
            convert(source / name, tmp_path / "there")
        assert time.monotonic() - started < 1
        os.truncate(source / name, 0)
    save_files(source, {"b.safetensors": (source / safetensors.WEIGHTS_FILE).read_bytes()})
    data = bytearray((source / "b.safetensors").read_bytes())
    data[-1] ^= 1
    (source / "b.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"b.safetensors: is not the file that was saved"):
        convert(source / "b.safetensors", tmp_path / "there")


def test_no_weights(tmp_path: Path) -> None:
    for name in (".index", ".data-00000-of-00001"):
        (tmp_path / name).touch()
        with pytest.raises(CheckpointError, match="is not a weights file: its name must end in"):
            convert(tmp_path / name, tmp_path / "there")
    with pytest.raises(CheckpointError, match="has no weights"):
        convert(tmp_path, tmp_path / "there")
    for name in ("a.keras", "b.keras"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=r"several models: choose one of 'a.keras', 'b.keras'"):
        convert(tmp_path, tmp_path / "there")
    for number in range(300):
        (tmp_path / (f"{number}\n".ljust(200, "x") + ".keras")).touch()
    with pytest.raises(CheckpointError, match="and 252 more") as error:
        convert(tmp_path, tmp_path / "there")
    assert str(error.value).isprintable() and len(str(error.value)) < 15_000
    with pytest.raises(ConfigError, match="to must be one of"):
        convert(tmp_path, tmp_path / "there", "onnx")  # type: ignore[arg-type]


def test_what_an_interrupted_save_leaves_is_no_model(tmp_path: Path) -> None:
    for name in ("model.keras", f".model.keras{TEMPORARY}1.keras", f".a.ckpt.index{TEMPORARY}1.index"):
        (tmp_path / name).touch()
    assert conversion.locate(tmp_path) == tmp_path / "model.keras"


def test_frameworks(tmp_path: Path) -> None:
    source = save(tmp_path)
    assert {to: conversion.frameworks(source, to) for to in WRITERS} == {
        "safetensors": set(),
        "bin": {"pt"},
        "h5": set(),
        "keras": {"tf"},
        "tf1": {"tf"},
    }
    (tmp_path / "a.weights.h5").touch()
    assert conversion.frameworks(tmp_path / "a.weights.h5", "h5") == {"tf"}


CODE = """
import sys
from mobilebert_conversion.convert import convert
print(convert(sys.argv[1], sys.argv[2], sys.argv[3]).seconds)
assert not {"torch", "tensorflow", "keras"} & {*sys.modules}, "a framework was imported"
"""


def test_the_full_model_without_a_framework(tmp_path: Path) -> None:
    """mobilebert as published, PreTraining head: 147 MB. The bound is generous; on two idle cores it takes about a second."""
    config, head = MobileBertConfig.from_zoo("mobilebert"), "MobileBertForPreTraining"
    generator = np.random.default_rng(0)
    weights = {
        name: generator.standard_normal(tensor.shape, np.float32)
        for name, tensor in expand(config, head).items()
    }
    checkpoint.save(tmp_path / "0", config, head, weights)
    del weights
    for step, to in enumerate(("h5", "safetensors"), 1):
        arguments = [str(tmp_path / str(step - 1)), str(tmp_path / str(step)), to]
        done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) < 10
    assert sha256(tmp_path / "2" / safetensors.WEIGHTS_FILE) == sha256(tmp_path / "0" / safetensors.WEIGHTS_FILE)


def test_a_configuration_from_the_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with --config NAME: weights of a public variant that come without a config.json."""
    source = save(tmp_path / "source")
    expected = digests(source, CLASSIFIER)
    (source / CONFIG_FILE).unlink()
    (source / MANIFEST_FILE).unlink()
    monkeypatch.setitem(ZOO, "small", SIZES)
    assert convert(source, tmp_path / "there", config="small").head == CLASSIFIER
    assert digests(tmp_path / "there", CLASSIFIER) == expected
    with pytest.raises(CheckpointError, match="does not fit"):
        convert(source, tmp_path / "other", config="mobilebert-tiny")
    with pytest.raises(ConfigError, match=r"must be named config\.json or, .*, or be one of the zoo \(mobilebert, "):
        convert(source, tmp_path / "other", config="huge")

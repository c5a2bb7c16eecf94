"""What a stranger's .keras or .weights.h5 may and may not say."""

import json
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import CheckpointError
from mobilebert_common.model.config import CONFIG_FILE
from mobilebert_conversion.convert import convert
from mobilebert_tf import TFMobileBertForSequenceClassification
from mobilebert_tf.arrays import to_numpy
from support.configs import CLASSIFIER, make_config

WEIGHTS = "model.weights.h5"
VARIABLE = "classifier/vars/0"


@pytest.fixture(scope="module")
def model() -> Any:
    keras.utils.set_random_seed(0)
    model = TFMobileBertForSequenceClassification(make_config(num_hidden_layers=1))
    model.compile("adam", metrics=["accuracy"])
    model.fit({"input_ids": np.ones((2, 5), int), "labels": np.ones(2, int)}, verbose=0)
    return model


@pytest.fixture(scope="module")
def good(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    model.save(folder / "model.keras")
    model.save_weights(folder / WEIGHTS)
    return folder


def same(folder: Path, model: Any) -> bool:
    tensors = checkpoint.load(folder, CLASSIFIER).tensors
    return all(
        np.array_equal(to_numpy(variable, layout), tensors[name])
        for name, (variable, layout) in model.canonical_variables().items()
    )


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_trained_model(method: int, model: Any, good: Path, tmp_path: Path) -> None:
    rewrite(good / "model.keras", tmp_path / "model.keras", method=method)
    done = convert(tmp_path / "model.keras", tmp_path / "ours")
    assert (done.dialect, done.head, done.ignored) == ("keras", CLASSIFIER, ())
    assert same(tmp_path / "ours", model)
    assert checkpoint.load(tmp_path / "ours", CLASSIFIER).config.num_labels == 3


def test_a_file_of_weights(model: Any, good: Path, tmp_path: Path) -> None:
    shutil.copy(good / WEIGHTS, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match=CONFIG_FILE):
        convert(tmp_path / WEIGHTS, tmp_path / "ours")
    model.config.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"choose it with --head \(head=\)"):
        convert(tmp_path / WEIGHTS, tmp_path / "ours")
    convert(tmp_path / WEIGHTS, tmp_path / "ours", head=CLASSIFIER)
    assert same(tmp_path / "ours", model)


def test_keras_opens_what_is_written(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "keras", "keras")
    again = keras.saving.load_model(tmp_path / "keras" / "model.keras")
    x = {"input_ids": np.ones((2, 5), int)}
    np.testing.assert_array_equal(again(x).logits, model(x).logits)


def rewrite(
    source: Path,
    target: Path,
    change: Callable[[dict[str, Any]], None] = lambda config: None,
    weights: Callable[[Path], None] = lambda path: None,
    more: dict[str, bytes] | None = None,
    method: int = zipfile.ZIP_STORED,
) -> None:
    """A copy of a .keras file with another description, other weights or further members."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    description = json.loads(members["config.json"])
    change(description)
    members["config.json"] = json.dumps(description).encode()
    path = target.with_name(WEIGHTS)
    path.write_bytes(members[WEIGHTS])
    weights(path)
    members[WEIGHTS] = path.read_bytes()
    path.unlink()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in {**members, **(more or {})}.items():
            archive.writestr(name, data)


def renamed(description: dict[str, Any]) -> None:
    description["class_name"] = "TFMobileBertForEverything"


def registered_elsewhere(description: dict[str, Any]) -> None:
    description["registered_name"] = f"other>{description['class_name']}"


def a_lambda(description: dict[str, Any]) -> None:
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}
    description.update(module="keras.layers", class_name="Lambda", registered_name=None, config={"function": code})


def a_lambda_inside(description: dict[str, Any]) -> None:
    """What Keras would build as an argument of ours is never looked at."""
    description["config"]["config"] = {"class_name": "Lambda", "module": "keras.layers", "hidden_size": -1}


def oversized(description: dict[str, Any]) -> None:
    description["config"]["config"]["hidden_size"] = 1 << 40


def enormous(description: dict[str, Any]) -> None:
    """A model that would take gigabytes to build."""
    description["config"]["config"].update(num_hidden_layers=64, hidden_size=4096, embedding_size=4096)


def many_words(description: dict[str, Any]) -> None:
    description["config"]["config"]["vocab_size"] = 1 << 17


def wider(description: dict[str, Any]) -> None:
    description["config"]["config"]["intermediate_size"] = 25


def deeper(description: dict[str, Any]) -> None:
    description["config"]["config"]["num_hidden_layers"] = 2


def no_config(description: dict[str, Any]) -> None:
    description["config"] = [1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (renamed, "class 'TFMobileBertForEverything', not one of TFMobileBertModel, TFMobileBertForPreTraining"),
        (registered_elsewhere, "holds a model of class"),
        (a_lambda, "holds a model of class 'Lambda'"),
        (a_lambda_inside, "hidden_size"),
        (oversized, "hidden_size"),
        (enormous, "far too few"),
        (wider, r"ffn/intermediate/dense/vars/0 has shape \[16, 24\], not \[16, 25\]"),
        (deeper, "transformer_layer_1/.* is missing"),
        (no_config, "has no MobileBERT configuration"),
    ],
)
def test_a_hostile_description(change: Any, reason: str, good: Path, tmp_path: Path) -> None:
    rewrite(good / "model.keras", tmp_path / "bad.keras", change)
    refused(tmp_path / "bad.keras", tmp_path, reason)


def refused(path: Path, folder: Path, reason: str, **options: Any) -> None:
    with pytest.raises(CheckpointError, match=reason) as caught:
        convert(path, folder / "ours", **options)
    assert str(caught.value).startswith(str(path))
    assert not (folder / "ours").exists()


def mis_shaped(file: h5py.File) -> None:
    replaced(file, np.zeros((32, 4), np.float32))


def of_integers(file: h5py.File) -> None:
    replaced(file, np.zeros((32, 3), np.int32))


def replaced(file: h5py.File, data: np.ndarray) -> None:
    del file[VARIABLE]
    file[VARIABLE] = data


def not_there(file: h5py.File) -> None:
    del file[VARIABLE]


def one_more(file: h5py.File) -> None:
    file["classifier/vars/2"] = np.zeros(2, np.float32)


def outside(file: h5py.File) -> None:
    del file[VARIABLE]
    file[VARIABLE] = h5py.ExternalLink("/etc/hostname", "/x")


def soft(file: h5py.File) -> None:
    del file[VARIABLE]
    file[VARIABLE] = h5py.SoftLink("/classifier/vars/1")


def external_data(file: h5py.File) -> None:
    del file[VARIABLE]
    file.create_dataset(VARIABLE, (32, 3), np.float32, external=[("/etc/hostname", 0, 384)])


def endless(file: h5py.File) -> None:
    """A chunk that says nothing is 4 GB of zeros to libhdf5."""
    del file[VARIABLE]
    file.create_dataset(VARIABLE, (1 << 15, 1 << 15), np.float32, chunks=(1 << 12, 1 << 12), compression="gzip")


def not_a_number(file: h5py.File) -> None:
    replaced(file, np.full((32, 3), np.nan, np.float32))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (mis_shaped, rf"{VARIABLE} has shape \[32, 4\], not \[32, 3\]"),
        (of_integers, "holds int32 instead of floats"),
        (not_there, f"{VARIABLE} is missing"),
        (one_more, "classifier/vars/2 is unexpected"),
        (outside, "a link"),
        (soft, "a link"),
        (external_data, "keeps its data elsewhere"),
        (endless, "chunks"),
        (not_a_number, "NaN or infinite"),
    ],
)
@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_hostile_weights(ending: str, change: Any, reason: str, model: Any, good: Path, tmp_path: Path) -> None:
    def edit(path: Path) -> None:
        with h5py.File(path, "a") as file:
            change(file)

    if ending == ".keras":
        rewrite(good / "model.keras", tmp_path / "bad.keras", weights=edit)
        refused(tmp_path / "bad.keras", tmp_path, reason)
    else:
        shutil.copy(good / WEIGHTS, tmp_path / "bad.weights.h5")
        edit(tmp_path / "bad.weights.h5")
        model.config.save_pretrained(tmp_path)
        refused(tmp_path / "bad.weights.h5", tmp_path, reason, head=CLASSIFIER)


def test_a_bomb(good: Path, tmp_path: Path) -> None:
    """64 MB of zeros in 64 KB of zip: more than a model this small can have."""

    def inflate(path: Path) -> None:
        path.write_bytes(bytes(64 << 20))

    rewrite(good / "model.keras", tmp_path / "bad.keras", weights=inflate, method=zipfile.ZIP_DEFLATED)
    assert (tmp_path / "bad.keras").stat().st_size < 1 << 17
    refused(tmp_path / "bad.keras", tmp_path, "has a model.weights.h5 of more than .* bytes")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_that_zipfile_would_unpack_at_once(method: int, tmp_path: Path) -> None:
    """A thousand bytes for each byte, and more."""
    with zipfile.ZipFile(tmp_path / "bad.keras", "w", method) as archive:
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            archive.writestr(name, bytes(1 << 20))
    assert (tmp_path / "bad.keras").stat().st_size < 1 << 12
    refused(tmp_path / "bad.keras", tmp_path, "has a config.json compressed with a method Keras does not use")


def test_values_that_are_not_there(good: Path, tmp_path: Path) -> None:
    """Bytes that belong to no variable do not stand for a large model."""

    def pad(path: Path) -> None:
        data = path.read_bytes() + bytes(1 << 24)
        path.write_bytes(data[:40] + struct.pack("<Q", len(data)) + data[48:])  # where the file ends

    rewrite(good / "model.keras", tmp_path / "bad.keras", many_words, pad)
    refused(tmp_path / "bad.keras", tmp_path, "far too few for the 1,057,507 parameters")


def test_weights_packed_better_than_weights_are(good: Path, tmp_path: Path) -> None:
    """What such a file would write to the disk is bounded before the model is known to fit."""

    def inflate(path: Path) -> None:
        path.write_bytes(bytes(16 << 20))

    rewrite(good / "model.keras", tmp_path / "bad.keras", many_words, inflate, method=zipfile.ZIP_DEFLATED)
    refused(tmp_path / "bad.keras", tmp_path, "has a model.weights.h5 of more than 1,[0-9,]+ bytes")


def test_other_zip_files(good: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.keras"
    rewrite(good / "model.keras", bad, more={"assets/x.py": b"print()"})
    refused(bad, tmp_path, "and nothing else")
    whole = (good / "model.keras").read_bytes()
    for data in (b"", b"junk", whole[:1000], whole[:-3], whole + b"x"):
        bad.write_bytes(data)
        refused(bad, tmp_path, "zip")
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1  # the checksum of the weights differs
    bad.write_bytes(damaged)
    refused(bad, tmp_path, "zip")

"""tf_model.h5 without TensorFlow. tests/oracle/test_hf_h5.py compares with what transformers writes."""

import os
import shlex
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint, h5, hdf5
from mobilebert_common.checkpoints.hdf5 import NOWHERE
from mobilebert_common.errors import CheckpointError
from mobilebert_common.model import dtypes
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_conversion import h5_files
from support.checkpoints import BASE, CLASSIFIER, equal, make_config, make_weights
from support.crafted_h5 import CRAFTED, SYMBOLS, File, header

from ..hostile import bombs

PRETRAINING = "MobileBertForPreTraining"
PREFIX = "layer/scope/"
WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)
Change = Callable[[h5py.File], Any]


def make(folder: Path, change: Change) -> Path:
    path = folder / h5.WEIGHTS_FILE
    with h5py.File(path, "w") as file:
        file[f"{PREFIX}a:0"] = WEIGHT
        change(file)
    return path


@pytest.mark.parametrize("head", ARCHITECTURES)
@pytest.mark.parametrize("dtype", h5_files.FLOATS)
@pytest.mark.parametrize(
    "case",
    [
        {},
        {"normalization_type": "layer_norm", "num_feedforward_networks": 1, "key_query_shared_bottleneck": False},
        {"use_bottleneck": False, "classifier_activation": False, "num_hidden_layers": 3},
        {"embedding_size": 8},
        {"tie_word_embeddings": False},
    ],
    ids=str,
)
def test_round_trip(case: dict[str, Any], dtype: str, head: str, tmp_path: Path) -> None:
    config, weights = make_config(**case), make_weights(head, dtype, **case)
    config.save_pretrained(tmp_path)
    h5_files.write(tmp_path / h5.WEIGHTS_FILE, config, head, weights)
    found = checkpoint.load(tmp_path, head, "auto")
    assert equal(found.tensors, weights) and not found.fresh and found.config == config


def test_names_and_attributes(tmp_path: Path) -> None:
    path = tmp_path / h5.WEIGHTS_FILE
    h5_files.write(path, make_config(num_hidden_layers=2), CLASSIFIER, make_weights(CLASSIFIER, num_hidden_layers=2))
    with h5py.File(path) as file:
        assert list(file.attrs["layer_names"]) == ["mobilebert", "dropout_5", "classifier"]
        assert list(file) == ["classifier", "dropout_5", "mobilebert", "top_level_model_weights"]
        assert list(file["dropout_5"].attrs["weight_names"]) == [] == list(file["dropout_5"])
        scope = "tf_mobile_bert_for_sequence_classification"
        assert list(file["classifier"].attrs["weight_names"]) == [f"{scope}/classifier/{part}:0" for part in ("kernel", "bias")]
        names = [name.removeprefix(f"{scope}/mobilebert/") for name in file["mobilebert"].attrs["weight_names"]]
        assert names[:3] == [
            "embeddings/word_embeddings/weight:0",
            "embeddings/token_type_embeddings/embeddings:0",
            "embeddings/position_embeddings/embeddings:0",
        ]
        layers = [name.split("/")[1] for name in names if "/layer_._" in name]
        assert layers == sorted(layers) and set(layers) == {"layer_._0", "layer_._1"}
        assert f"mobilebert/{scope}/mobilebert/encoder/layer_._0/ffn.0/output/LayerNorm/weight:0" in file


def test_a_long_list_of_names_is_in_parts(tmp_path: Path) -> None:
    case = {"num_hidden_layers": 24}
    config, weights = make_config(**case), make_weights(**case)
    config.save_pretrained(tmp_path)
    h5_files.write(tmp_path / h5.WEIGHTS_FILE, config, BASE, weights)
    with h5py.File(tmp_path / h5.WEIGHTS_FILE) as file:
        parts = file["mobilebert"].attrs
        assert list(parts) == ["weight_names0", "weight_names1"]
        assert sum(map(len, parts.values())) == len(weights)
    assert equal(checkpoint.load(tmp_path, BASE).tensors, weights)


def test_a_decoder_of_its_own_stays(tmp_path: Path) -> None:
    config, weights = make_config(tie_word_embeddings=False), make_weights(PRETRAINING, tie_word_embeddings=False)
    config.replace(tie_word_embeddings=True).save_pretrained(tmp_path)
    h5_files.write(tmp_path / h5.WEIGHTS_FILE, config, PRETRAINING, weights)
    found = checkpoint.load(tmp_path, PRETRAINING)
    assert not found.config.tie_word_embeddings and equal(found.tensors, weights)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_dtype_that_tensorflow_would_not_load(dtype: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="load with dtype='float32'"):
        h5_files.write(tmp_path / h5.WEIGHTS_FILE, make_config(), BASE, make_weights(dtype=dtypes.DTYPES[dtype]))
    assert not (tmp_path / h5.WEIGHTS_FILE).exists()


@pytest.mark.parametrize(
    "options",
    [{"chunks": (2, 3)}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True, "chunks": (2, 3)}],
)
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_chunks_and_gzip(dtype: str, options: dict[str, Any], tmp_path: Path) -> None:
    path = make(tmp_path, lambda file: file.create_dataset(f"{PREFIX}b:0", data=WEIGHT.astype(dtype), **options))
    archive = h5.open_file(path)
    found = archive.read(["b", "a"])
    assert list(archive.entries) == ["a", "b"] and list(found) == ["b", "a"]
    assert found["b"].dtype == archive.entries["b"].dtype == dtype and np.array_equal(found["b"], WEIGHT)
    assert np.array_equal(found["a"], WEIGHT)


def test_numbers_and_nothing(tmp_path: Path) -> None:
    def change(file: h5py.File) -> None:
        file[f"{PREFIX}number:0"] = np.float32(3)
        file[f"{PREFIX}nothing:0"] = np.zeros((0, 4))
        file[f"{PREFIX}count:0"] = np.int64(7)

    archive = h5.open_file(make(tmp_path, change))
    found = archive.read(["number", "nothing", "count"])
    assert {name: array.shape for name, array in found.items()} == {"number": (), "nothing": (0, 4), "count": ()}
    assert found["number"] == 3 and found["count"] == 7


def external(file: h5py.File) -> None:
    file.create_dataset(f"{PREFIX}b:0", (2,), "f4", external=[("/etc/passwd", 0, 8)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[...] = h5py.VirtualSource("other.h5", "a", (3, 4))
    file.create_virtual_dataset(f"{PREFIX}b:0", layout)


def committed(file: h5py.File) -> None:
    file["type"] = np.dtype("f4")
    file.create_dataset(f"{PREFIX}b:0", (2,), file["type"])


def compact(file: h5py.File) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((2,))
    made = h5py.h5d.create(file["layer/scope"].id, b"b:0", h5py.h5t.IEEE_F32LE, space, plan)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([1.5, -2.5], np.float32))


def rewriting(error: CheckpointError) -> list[str]:
    """The command that an error suggests, as the arguments of Python."""
    return shlex.split(error.reason.partition("python ")[2])


LATER: dict[str, tuple[dict[str, Any], Change]] = {  # how h5py.File is opened, and what is made in it
    "libver latest": ({"libver": "latest"}, lambda file: None),
    "libver v108": ({"libver": ("v108", "v108")}, lambda file: None),
    "chunks under libver latest": ({"libver": "latest"}, lambda file: file.create_dataset(f"{PREFIX}b:0", data=WEIGHT, chunks=(2, 3))),
    "track_order": ({"track_order": True}, lambda file: None),
    "a group with track_order": ({}, lambda file: file.create_group("group", track_order=True)),
    "a dataset with track_order": ({}, lambda file: file.create_dataset(f"{PREFIX}b:0", data=WEIGHT, track_order=True)),
    "a user block under libver latest": ({"libver": "latest", "userblock_size": 512}, lambda file: None),
    "lzf": ({}, lambda file: file.create_dataset(f"{PREFIX}b:0", data=WEIGHT, compression="lzf")),
    "checksums": ({}, lambda file: file.create_dataset(f"{PREFIX}b:0", data=WEIGHT, fletcher32=True)),
    "an external link": ({}, lambda file: file.__setitem__(f"{PREFIX}b:0", h5py.ExternalLink("/etc/passwd", "/"))),
}


@pytest.mark.parametrize("name", [h5.WEIGHTS_FILE, "it's \"$HOME\".h5"])
@pytest.mark.parametrize("kind", LATER)
def test_a_later_format_is_refused_with_the_command_that_rewrites_it(kind: str, name: str, tmp_path: Path) -> None:
    options, change = LATER[kind]
    path = tmp_path / name
    with h5py.File(path, "w", **options) as file:
        file[f"{PREFIX}a:0"] = WEIGHT
        change(file)
        expected = sum(key != "b:0" or isinstance(file[PREFIX].get(key, getlink=True), h5py.HardLink) for key in file[PREFIX])
    with pytest.raises(CheckpointError, match=r"is not as Keras writes HDF5: .*python -c") as error:
        h5.open_file(path)
    if name != h5.WEIGHTS_FILE:  # a name that a shell would act on is not in the command
        path.rename(tmp_path / "old.h5")
    subprocess.run([sys.executable, *rewriting(error.value)], cwd=tmp_path, check=True)
    archive = h5.open_file(tmp_path / "new.h5")
    arrays = archive.read(archive.entries)
    assert len(arrays) == expected and all(np.array_equal(array, WEIGHT) for array in arrays.values())


@pytest.mark.parametrize("options", [{}, {"userblock_size": 512}, {"userblock_size": 4096}, {"libver": ("earliest", "v110")}], ids=str)
def test_other_files_that_h5py_writes(options: dict[str, Any], tmp_path: Path) -> None:
    """A block of the user's in front, data in the header, an upper bound on the format."""
    path = tmp_path / h5.WEIGHTS_FILE
    with h5py.File(path, "w", **options) as file:
        file[f"{PREFIX}a:0"] = WEIGHT
        file.create_dataset(f"{PREFIX}chunks:0", data=WEIGHT, chunks=(2, 3), compression="gzip", shuffle=True)
        compact(file)
    if size := options.get("userblock_size"):
        with open(path, "r+b") as opened:
            opened.write(b"#!/bin/sh\n".ljust(size, b"\xff"))
    archive = h5.open_file(path)
    found = archive.read(archive.entries)
    assert list(found) == ["a", "b", "chunks"]
    assert all(np.array_equal(found[name], WEIGHT) for name in ("a", "chunks"))
    assert found["b"].tolist() == [1.5, -2.5]


def test_data_in_a_header_that_is_too_short(tmp_path: Path) -> None:
    path = make(tmp_path, compact)
    data = path.read_bytes()
    place = data.index(np.array([1.5, -2.5], "<f4").tobytes()) - 2
    path.write_bytes(data[:place] + b"\x40" + data[place + 1 :])
    with pytest.raises(CheckpointError, match="does not lie in the file"):
        h5.open_file(path)


def test_what_gzip_makes_of_a_small_file(tmp_path: Path) -> None:
    """Weights are not packed to a thousandth; a few that are all zero are."""
    zeros = np.zeros((8, 1 << 18), np.float32)
    path = make(tmp_path, dataset(zeros, chunks=(1, 1 << 18), compression="gzip"))
    archive = h5.open_file(path)
    assert list(archive.read(["a"])) == ["a"]
    with pytest.raises(CheckpointError, match="packs 8,388,608 bytes of weights into"):
        archive.read(["b"])
    path = make(tmp_path, dataset(zeros[:1, : 1 << 17], chunks=(1, 1 << 17), compression="gzip"))
    assert not h5.open_file(path).read(["b"])["b"].any()


def chunk_of(data: bytes, shape: tuple[int, ...] = (256,), **options: Any) -> Change:
    def change(file: h5py.File) -> None:
        dataset = file.create_dataset(f"{PREFIX}b:0", shape, "f4", chunks=shape, **options)
        dataset.id.write_direct_chunk((0,) * len(shape), data)

    return change


def dataset(data: Any = None, name: str = "b:0", **options: Any) -> Change:
    return lambda file: file.create_dataset(f"{PREFIX}{name}", data=data, **options)


def link(target: Any, name: str = "b:0") -> Change:
    def change(file: h5py.File) -> None:
        file[f"{PREFIX}{name}"] = target(file) if callable(target) else target

    return change


def deep(file: h5py.File) -> None:
    file["/".join("g" * 60)] = WEIGHT


REFUSED: dict[str, tuple[Change, str]] = {
    "a soft link": (link(h5py.SoftLink("/layer/scope/a:0")), "leads elsewhere"),
    "a broken soft link": (link(h5py.SoftLink("/nowhere")), "leads elsewhere"),
    "an external link": (link(h5py.ExternalLink("/etc/passwd", "/")), "leads elsewhere"),
    "a second name": (link(lambda file: file[f"{PREFIX}a:0"]), "a second time"),
    "a cycle": (link(lambda file: file["layer"]), "a second time"),
    "the root again": (link(lambda file: file["/"]), "a second time|no group or dataset"),
    "external data": (external, "elsewhere"),
    "a virtual dataset": (virtual, "virtual"),
    "a committed type": (committed, "kind 3"),
    "a committed type alone": (lambda file: file.__setitem__("type", np.dtype("f4")), "no group or dataset"),
    "never written": (dataset(shape=(1 << 20, 1 << 20), dtype="f4"), "does not lie in the file"),
    "chunks never written": (dataset(shape=(1 << 10, 1 << 10), dtype="f4", chunks=(1 << 8, 1 << 8)), "all its chunks"),
    "more chunks than allowed": (dataset(shape=(1 << 20, 1 << 20), dtype="f4", chunks=(1 << 10, 1 << 10)), "1,048,576 chunks"),
    "huge chunks": (dataset(shape=(1 << 28,), dtype="f4", chunks=(1 << 28,)), "has chunks"),
    "text": (dataset("text"), "no weight"),
    "bytes": (dataset(np.array([b"text"])), "no weight"),
    "big-endian": (dataset(WEIGHT.astype(">f4")), "no weight"),
    "complex": (dataset(WEIGHT.astype("c8")), "no weight"),
    "a compound": (dataset(np.zeros(2, [("a", "f4"), ("b", "f4")])), "no weight"),
    "an array type": (dataset(np.zeros(2, [("a", "f4", (2,))])), "no weight"),
    "truth values": (dataset(np.zeros(2, bool)), "no weight"),
    "references": (lambda file: file.create_dataset("r/s/b:0", data=file.ref, dtype=h5py.ref_dtype), "no weight"),
    "null space": (dataset(h5py.Empty("f4")), "no shape"),
    "rank": (dataset(np.zeros((1,) * 20)), "too many dimensions"),
    "lzf": (dataset(WEIGHT, compression="lzf"), "filters"),
    "checksums": (dataset(WEIGHT, fletcher32=True), "filters"),
    "scale and offset": (dataset(WEIGHT, scaleoffset=2), "filters"),
    "no suffix": (dataset(WEIGHT, "b"), "no variable"),
    "too few levels": (lambda file: file.__setitem__("top:0", WEIGHT), "no variable"),
    "of two classes": (lambda file: file.__setitem__("layer/other/a:0", WEIGHT), "has 'a:0' twice"),
    "control characters": (dataset(WEIGHT, "\x1b[2J:0"), "impossible name"),
    "deep": (deep, "levels"),
    "a chunk larger than its dataset": (
        lambda file: file.create_dataset(f"{PREFIX}b:0", (8,), "f4", maxshape=(None,), chunks=(1 << 20,)),
        "has chunks",
    ),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_is_refused(wrong: str, tmp_path: Path) -> None:
    change, reason = REFUSED[wrong]
    path = make(tmp_path, change)
    with pytest.raises(CheckpointError, match=reason) as error:
        h5.open_file(path)
    assert error.value.path == path


@pytest.mark.parametrize("wrong", CRAFTED)
def test_structures_that_claim_too_much(wrong: str, tmp_path: Path) -> None:
    craft, reason = CRAFTED[wrong]
    path = tmp_path / h5.WEIGHTS_FILE
    path.write_bytes(craft())
    with pytest.raises(CheckpointError, match=reason):
        h5.open_file(path)


@pytest.mark.parametrize(
    ("make", "limit", "reason"),
    [
        (bombs.shared_heap, 20_000, "more than 8,004,096 characters in the paths"),
        (lambda: bombs.one_group(1000, bombs.empty_group), 100, "more than 432 groups and datasets"),
        (lambda: bombs.one_group(50, bombs.many_messages), 100, "more than 6,528 parts"),
        (lambda: bombs.one_group(101, bombs.empty_dataset), 100, "lists more than 100 tensors"),
    ],
)
def test_small_things_are_bounded_in_proportion(make: Callable[[], bytes], limit: int, reason: str, tmp_path: Path) -> None:
    path = tmp_path / h5.WEIGHTS_FILE
    path.write_bytes(make())
    with pytest.raises(CheckpointError, match=reason):
        h5.open_file(path, limit)


def test_nothing_in_chunks(tmp_path: Path) -> None:
    path = tmp_path / h5.WEIGHTS_FILE
    path.write_bytes(bombs.one_group(1, bombs.nothing_in_chunks))
    archive = h5.open_file(path)
    assert archive.read(["00000000"])["00000000"].shape == (0, 1 << 40)


@pytest.mark.parametrize("names", [(b"a:0", b"a:0"), (b"b:0", b"a:0"), (b"", b"a:0")])
def test_names_of_a_group_are_sorted(names: tuple[bytes, bytes], tmp_path: Path) -> None:
    file = File()
    scope = file.group([(name, bombs.empty_dataset(file)) for name in names])
    path = tmp_path / h5.WEIGHTS_FILE
    path.write_bytes(file.finished(file.group([(b"layer", file.group([(b"scope", scope)]))])))
    with pytest.raises(CheckpointError, match=r"impossible name .*, or has it twice or out of order"):
        h5.open_file(path)


@pytest.mark.parametrize("count", [1, 2])
def test_data_in_the_head_of_the_file(count: int, tmp_path: Path) -> None:
    """Where each of several datasets would lie if 0 meant that it has no place."""

    def change(file: h5py.File) -> None:
        for name in "bc"[:count]:
            file[f"{PREFIX}{name}:0"] = WEIGHT

    path = make(tmp_path, change)
    with h5py.File(path) as file:
        places = [file[f"{PREFIX}{name}:0"].id.get_offset() for name in "bc"[:count]]
    data = path.read_bytes()
    for place in places:
        data = data.replace(struct.pack("<2Q", place, WEIGHT.nbytes), struct.pack("<2Q", 0, WEIGHT.nbytes))
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="overlap"):
        h5.open_file(path)


CHUNKS: dict[str, Change] = {
    "a bomb": chunk_of(zlib.compress(bytes(64 << 20)), compression="gzip"),
    "too short": chunk_of(zlib.compress(bytes(1000)), compression="gzip"),
    "no gzip": chunk_of(b"no gzip", compression="gzip"),
}


@pytest.mark.parametrize("wrong", CHUNKS)
def test_chunks_that_are_not_of_their_size(wrong: str, tmp_path: Path) -> None:
    archive = h5.open_file(make(tmp_path, CHUNKS[wrong]))
    assert archive.entries["b"].shape == (256,)
    with pytest.raises(CheckpointError):
        archive.read(["b"])
    assert np.array_equal(archive.read(["a"])["a"], WEIGHT)


@pytest.mark.parametrize("length", [256, 1 << 16])  # the packed bomb is larger than the first chunk, not than the second
def test_a_bomb_is_not_unpacked(length: int, tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(64 << 20), 9)
    archive = h5.open_file(make(tmp_path, chunk_of(bomb, (length,), compression="gzip")))
    tracemalloc.start()
    with pytest.raises(CheckpointError):
        archive.read(["b"])
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (0, 1 << 40, "does not lie in the file"),
        (-24, 1, "in other places"),  # its first row
        (-28, 1, "without its filters"),
        (-32, 1 << 30, "does not lie in the file"),
    ],
)
def test_chunks_that_lie_elsewhere(offset: int, value: int, reason: str, tmp_path: Path) -> None:
    path = make(tmp_path, dataset(WEIGHT, chunks=(3, 4)))
    with h5py.File(path) as file:
        address = file[f"{PREFIX}b:0"].id.get_chunk_info(0).byte_offset.to_bytes(8, "little")
    data = path.read_bytes()
    place = data.index(WEIGHT.nbytes.to_bytes(8, "little") + bytes(24) + address) + 32
    width = 8 if offset in (0, -24) else 4
    path.write_bytes(data[: place + offset] + value.to_bytes(width, "little") + data[place + offset + width :])
    with pytest.raises(CheckpointError, match=reason):
        h5.open_file(path)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (lambda first, second: first, "overlap"),
        (lambda first, second: first + 4, "overlap"),
        (lambda first, second: 1 << 20, "does not lie in the file"),
        (lambda first, second: 1 << 40, "does not lie in the file"),
    ],
)
def test_data_that_lies_elsewhere(place: Callable[[int, int], int], reason: str, tmp_path: Path) -> None:
    path = make(tmp_path, dataset(WEIGHT))
    with h5py.File(path) as file:
        first, second = (file[f"{PREFIX}{name}:0"].id.get_offset() for name in "ab")
    data = path.read_bytes()
    address = second.to_bytes(8, "little") + WEIGHT.nbytes.to_bytes(8, "little")
    assert data.count(address) == 1
    path.write_bytes(data.replace(address, place(first, second).to_bytes(8, "little") + address[8:]))
    with pytest.raises(CheckpointError, match=reason):
        h5.open_file(path)


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path, lambda file: None)
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            h5.open_file(path)


def test_datasets_of_any_name(tmp_path: Path) -> None:
    path = make(tmp_path, lambda file: file.create_dataset("vars/0", data=np.int64(3)))
    entries = h5.open_datasets(path).entries
    assert {name: (entry.shape, str(entry.dtype)) for name, entry in entries.items()} == {
        f"{PREFIX}a:0": ((3, 4), "float32"),
        "vars/0": ((), "int64"),
    }


def test_bfloat16_as_keras_writes_it(tmp_path: Path) -> None:
    path = make(tmp_path, dataset(WEIGHT.astype(ml_dtypes.bfloat16).view("V2")))
    archive = h5.open_datasets(path)
    assert archive.entries[f"{PREFIX}b:0"].dtype == ml_dtypes.bfloat16
    assert np.array_equal(archive.read([f"{PREFIX}b:0"])[f"{PREFIX}b:0"], WEIGHT)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        h5.open_file(tmp_path / h5.WEIGHTS_FILE)


FULL = """
import resource, sys
from pathlib import Path
from support.checkpoints import BASE, make_config, make_weights
from mobilebert_conversion import h5_files
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    h5_files.write(Path(sys.argv[1]), make_config(), BASE, make_weights())
except OSError:
    print("an OSError")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_no_room_to_write(tmp_path: Path) -> None:
    """libhdf5 on a full disk raises what is no OSError, and ends the process with a crash later."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path / "x.h5"], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "an OSError\n", "")


@pytest.mark.parametrize("signature", ["HEAP", "SNOD", "TREE"])
def test_a_structure_without_its_signature(signature: str, tmp_path: Path) -> None:
    path = make(tmp_path, dataset(WEIGHT, chunks=(2, 3)))
    data = path.read_bytes()
    path.write_bytes(data.replace(signature.encode(), b"XXXX"))
    with pytest.raises(CheckpointError, match=f"has no {signature} at "):
        h5.open_file(path)


def test_a_name_outside_its_heap(tmp_path: Path) -> None:
    """A link has its name further on in the file, in a block that was read before."""
    file = File()
    leaf, _, names = bombs.empty_dataset(file), file.add(bytes(1024)), file.add(bytes(8))
    file.add(bytes(hdf5.BLOCK - len(file.data)))
    name = file.add(b"name\0\0\0\0")
    heap = file.add(b"HEAP" + struct.pack("<4x3Q", 8, NOWHERE, names))
    node = file.add(b"SNOD\1\0\1\0" + struct.pack("<2Q2L16x", name - names, leaf, 0, 0))
    group = file.add(header([(SYMBOLS, struct.pack("<2Q", file.tree(0, [struct.pack("<2Q", 0, node)]), heap))]))
    file.add(bytes(hdf5.BLOCK))
    path = tmp_path / h5.WEIGHTS_FILE
    path.write_bytes(file.finished(group))
    with pytest.raises(CheckpointError, match="impossible name ''"):
        h5.open_datasets(path)


@pytest.mark.parametrize(("chunk", "fits"), [((4, 3), True), ((4, 8), False), ((16, 3), False)])
def test_chunks_are_no_larger_than_their_dataset_on_any_side(chunk: tuple[int, int], fits: bool, tmp_path: Path) -> None:
    path = make(tmp_path, dataset(np.ones((8, 6), np.float32), chunks=chunk, maxshape=(None, None)))
    if fits:
        assert h5.open_file(path).read(["b"])["b"].sum() == 48
        return
    with pytest.raises(CheckpointError, match="has chunks of shape"):
        h5.open_file(path)


@pytest.mark.parametrize(("length", "fits"), [(2 * 1024 + 1024, True), (2 * 1024 + 1025, False)])
def test_how_long_a_packed_chunk_may_be(length: int, fits: bool, tmp_path: Path) -> None:
    """What gzip cannot make smaller grows a little; no more than that is read."""
    packed = zlib.compress(np.ones(256, np.float32).tobytes()).ljust(length, b"\0")
    archive = h5.open_file(make(tmp_path, chunk_of(packed, compression="gzip")))
    if fits:
        assert archive.read(["b"])["b"].tolist() == [1.0] * 256
        return
    with pytest.raises(CheckpointError):
        archive.read(["b"])

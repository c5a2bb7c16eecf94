"""Files that were made to harm, or are broken, in every dialect: what a folder holds, and what must refuse it.

A case is written into a folder of its own. Outside of that folder lies SENTINEL, which nothing may read; code that runs in
a case leaves a file CANARY. Imports no framework.
"""

import functools
import json
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from mobilebert_common.checkpoints import checkpoint, h5, safetensors, torch_bin
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import expand
from mobilebert_common.tokenization import MobileBertTokenizer, MobileBertTokenizerFast
from mobilebert_conversion import h5_files as h5_writer
from support.checkpoints import BASE, SIZES, VOCABULARY, make_config, make_weights
from support.crafted import (
    ORDERED_DICT,
    Spec,
    bin_of,
    members_of,
    old_bin,
    old_bin_of,
    pickle_of,
    specs,
    tensor,
    text,
    zip_of,
)
from support.crafted_h5 import CRAFTED

from ..common import test_checkpoint, test_h5, test_torch_bin
from ..common.test_files import manifest
from .bombs import bombs

CANARY = test_torch_bin.CANARY
SENTINEL = "sentinel"
SECRET = b"sentinel: nobody reads this\n"
Write = Callable[[Path], Any]


class Case(NamedTuple):
    """One folder to refuse."""

    name: str
    loader: str
    write: Write


LOADERS: dict[str, Callable[[Path], Any]] = {
    "weights": lambda folder: checkpoint.load(folder, BASE),
    "config": MobileBertConfig.from_pretrained,
    "fast tokenizer": MobileBertTokenizerFast.from_pretrained,
    "tokenizer": MobileBertTokenizer.from_pretrained,
}

# Good files


@functools.cache
def weights() -> dict[str, np.ndarray]:
    return make_weights()


@functools.cache
def good(name: str) -> bytes:
    """The content of a good file of each dialect."""
    if name == "config.json":
        return json.dumps(SIZES).encode()
    if name == "pytorch_model.bin":
        return bin_of(weights())
    if name == "old pytorch_model.bin":
        return old_bin_of(weights())
    with tempfile.TemporaryDirectory() as folder:
        if name == safetensors.WEIGHTS_FILE:
            safetensors.write(Path(folder, name), weights())
        elif name == h5.WEIGHTS_FILE:
            h5_writer.write(Path(folder, name), make_config(), BASE, weights())
        else:
            MobileBertTokenizer(vocab=VOCABULARY, additional_special_tokens=["<x>"]).save_pretrained(folder)
        return Path(folder, name).read_bytes()


def put(folder: Path, **files: bytes) -> None:
    """Write files; __ in a name stands for its dot."""
    for name, data in files.items():
        (folder / name.replace("__", ".")).write_bytes(data)


def weights_file(name: str, data: bytes) -> Write:
    def write(folder: Path) -> None:
        put(folder, config__json=good("config.json"))
        (folder / name).write_bytes(data)

    return write


# Weights: the same faults in every dialect

OLD = "old pytorch_model.bin"
DIALECTS = (safetensors.WEIGHTS_FILE, torch_bin.WEIGHTS_FILE, OLD, h5.WEIGHTS_FILE)
Arrays = dict[str, np.ndarray]
FIRST = "embeddings.word_embeddings.weight"
BIAS = "pooler.dense.bias"


def changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {**arrays, name: change(arrays[name])}


def with_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[..., -1] = value
        return array

    return change


WRONG_WEIGHTS: dict[str, Callable[[Arrays], Arrays]] = {
    "NaN": changed(FIRST, with_value(float("nan"))),
    "infinity": changed(BIAS, with_value(float("-inf"))),
    "float64 beyond float32": changed(BIAS, lambda array: with_value(1e300)(array.astype(np.float64))),
    "a missing tensor": lambda arrays: {name: array for name, array in arrays.items() if name != FIRST},
    "half a pooler": lambda arrays: {name: array for name, array in arrays.items() if name != BIAS},
    "transposed": changed(FIRST, lambda array: np.ascontiguousarray(array.T)),
    "another rank": changed(BIAS, lambda array: array[None]),
    "longer": changed(FIRST, lambda array: np.concatenate([array, array])),
    "integers": changed(BIAS, lambda array: array.astype(np.int64)),
    "nothing": lambda arrays: {},
}


def write_dialect(dialect: str, arrays: Arrays) -> Write:
    def write(folder: Path) -> None:
        put(folder, config__json=good("config.json"))
        path = folder / dialect.removeprefix("old ")
        if dialect == h5.WEIGHTS_FILE:
            path.write_bytes(good(dialect))
            _rewrite(path, arrays)
        elif dialect == safetensors.WEIGHTS_FILE:
            safetensors.write(path, arrays)
        else:
            path.write_bytes((old_bin_of if dialect == OLD else bin_of)(arrays))

    return write


def _rewrite(path: Path, arrays: Arrays) -> None:
    """Make an h5 hold other arrays than it did."""
    with h5py.File(path, "r+") as file:
        found: dict[str, Any] = {}
        file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        places = {_canonical(name): name for name in found}
        for name in set(places) - set(arrays):
            del file[places[name]]
        for name, array in arrays.items():
            old = np.asarray(weights()[name])
            if array.shape != old.shape or array.dtype != old.dtype or array.tobytes() != old.tobytes():
                del file[places[name]]
                file[places[name]] = array


@functools.cache
def _h5_names() -> dict[str, str]:
    tensors = expand(make_config(), BASE).values()
    return {tensor.dialects["h5"].name: tensor.name for tensor in tensors}


def _canonical(place: str) -> str:
    return _h5_names()[place.split("/", 2)[2].removesuffix(":0")]


def same_faults() -> Iterator[Case]:
    for dialect in DIALECTS:
        for wrong, change in WRONG_WEIGHTS.items():
            yield Case(f"{dialect}: {wrong}", "weights", write_dialect(dialect, change(weights())))
        data = good(dialect)
        file = dialect.removeprefix("old ")
        for length in (0, 1, 8, 100, len(data) // 2, len(data) - 1):
            yield Case(f"{dialect}: {length} bytes", "weights", weights_file(file, data[:length]))
        for place in (0, 1, 3):
            flipped = data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :]
            yield Case(f"{dialect}: a flipped bit in byte {place}", "weights", weights_file(file, flipped))
        yield Case(f"{dialect}: zeros", "weights", weights_file(file, bytes(len(data))))
        if dialect != h5.WEIGHTS_FILE:  # libhdf5 reads as far as the file says it goes
            yield Case(f"{dialect}: twice", "weights", weights_file(file, data + data))
        for other in sorted({*SHARDED, h5.WEIGHTS_FILE} - {file}):
            yield Case(f"{dialect}: {other} under its name", "weights", weights_file(file, good(other)))


# model.safetensors


def safetensors_headers() -> Iterator[Case]:
    data = good(safetensors.WEIGHTS_FILE)
    end = 8 + int.from_bytes(data[:8], "little")
    for wrong, change in test_checkpoint.HEADERS.items():
        header = change(json.loads(data[8:end]))
        raw = (header if isinstance(header, str) else json.dumps(header)).encode()
        whole = struct.pack("<Q", len(raw)) + raw + data[end:]
        yield Case(f"safetensors header: {wrong}", "weights", weights_file(safetensors.WEIGHTS_FILE, whole))
    many = ("{" + ",".join(f'"{n}":0' for n in range(240_000)) + "}").encode()
    objects = ("{" + ",".join(f'"{n:x}":{{"{n:x}":0}}' for n in range(120_000)) + "}").encode()
    for wrong, raw in {
        "huge length": b"\xff" * 8 + data[8:],
        "length of the file": struct.pack("<Q", len(data)) + data[8:],
        "of zeros": struct.pack("<Q", 4 << 20) + bytes(4 << 20),
        "of spaces": struct.pack("<Q", 4 << 20) + b" " * (4 << 20),
        "of brackets": struct.pack("<Q", 1 << 20) + b"[" * (1 << 20),
        "of many objects": struct.pack("<Q", len(objects)) + objects,
    "of many entries": struct.pack("<Q", len(many)) + many,
        "wide characters": struct.pack("<Q", 4 << 20) + ("{\"" + "\U0001f600" * ((1 << 20) - 1)).encode() + b'":',
    }.items():
        yield Case(f"safetensors header: {wrong}", "weights", weights_file(safetensors.WEIGHTS_FILE, raw))


# manifest.json

GIGABYTES = 4 << 30
MANY_FILES = {f"{number:x}": "a" * 64 for number in range(13_000)}  # 1 MB


def with_manifest(file: str, digests: Mapping[str, str] | None = None) -> Write:
    """A file without content that the manifest names, so large that it must not be hashed."""

    def write(folder: Path) -> None:
        put(folder, config__json=good("config.json"), manifest__json=manifest(digests or {file: "a" * 64}).encode())
        sparse(folder / file, GIGABYTES)

    return write


def _described(folder: Path) -> None:
    """One whose header is in order."""
    with_manifest(safetensors.WEIGHTS_FILE)(folder)
    size = (GIGABYTES - 256) // 4 * 4
    header = json.dumps({"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).ljust(248).encode()
    with open(folder / safetensors.WEIGHTS_FILE, "r+b") as file:
        file.write(struct.pack("<Q", len(header)) + header)


def _empty_shards(folder: Path) -> None:
    """As many as make it slow to read the manifest for each."""
    index = {f"t{number}": f"s{number}" for number in range(100)}
    put(folder, config__json=good("config.json"), manifest__json=manifest(MANY_FILES).encode())
    put(folder, model__safetensors__index__json=json.dumps({"weight_map": index}).encode())
    for shard in index.values():
        (folder / shard).write_bytes(struct.pack("<Q", 2) + b"{}")


def _long_shard(folder: Path) -> None:
    """A name that a folder may have, and its hidden one may not."""
    name = "s" * 255
    put(folder, config__json=good("config.json"), manifest__json=manifest({name: "a" * 64}).encode())
    put(folder, model__safetensors__index__json=json.dumps({"weight_map": dict.fromkeys(weights(), name)}).encode())
    (folder / name).write_bytes(good(safetensors.WEIGHTS_FILE))


def manifests() -> Iterator[Case]:
    for file in (safetensors.WEIGHTS_FILE, torch_bin.WEIGHTS_FILE, h5.WEIGHTS_FILE, f"{safetensors.WEIGHTS_FILE}.index.json"):
        yield Case(f"manifest.json: 4 GB of {file}", "weights", with_manifest(file))
    yield Case("manifest.json: 4 GB of model.safetensors under a good header", "weights", _described)
    yield Case("manifest.json: 4 GB of config.json", "config", with_manifest("config.json"))
    for loader in ("fast tokenizer", "tokenizer"):
        for file in ("vocab.txt", "tokenizer.json", "added_tokens.json"):
            yield Case(f"manifest.json: 4 GB of {file}, {loader}", loader, with_manifest(file))
    yield Case("manifest.json: of 1 MB, beside a hundred empty shards", "weights", _empty_shards)
    yield Case("manifest.json: a name of 255 characters", "weights", _long_shard)


# Shards

SHARD_NAMES: dict[str, Any] = {
    "above": f"../{SENTINEL}",
    "far above": f"../../../../../../../../tmp/{SENTINEL}",
    "absolute": "/etc/passwd",
    "below": "folder/model.safetensors",
    "backslashes": f"..\\{SENTINEL}",
    "drive": "C:\\model.safetensors",
    "NUL": f"../{SENTINEL}\0.safetensors",
    "empty": "",
    "dot": ".",
    "dots": "..",
    "long": "a" * 300,
    "a number": 7,
    "a list": ["model.safetensors"],
    "nothing": None,
    "an address": "https://example.com/model.safetensors",
    "a file address": "file:///etc/passwd",
    "another slash": f"..\u2215{SENTINEL}",
    "line break": "model\n.safetensors",
    "home": "~/model.safetensors",
    "itself": "{file}.index.json",
    "missing": "model-00001-of-00002.safetensors",
}
INDEXES: dict[str, str] = {
    "a list": "[]",
    "no map": "{}",
    "a map that is a list": '{"weight_map": []}',
    "empty": '{"weight_map": {}}',
    "a key twice": '{"weight_map": {"a": "b", "a": "c"}}',
    "NaN": '{"weight_map": {}, "metadata": {"total_size": NaN}}',
    "deep": '{"weight_map": ' + "[" * 200_000 + "]" * 200_000 + "}",
    "many files": json.dumps({"weight_map": {f"t{number}": f"s{number}" for number in range(2000)}}),
    "many tensors": json.dumps({"weight_map": {f"t{number}": "s" for number in range(150_000)}}),
    "many names": json.dumps({"weight_map": {f"t{number}": f"/{number}" + "x" * 200 for number in range(1000)}}),
    "other tensors": json.dumps({"weight_map": {"a": "shard"}}),
    "too few tensors": json.dumps({"weight_map": {FIRST: "shard"}}),
}
SHARDED = (safetensors.WEIGHTS_FILE, torch_bin.WEIGHTS_FILE)


def shards() -> Iterator[Case]:
    for file in SHARDED:
        index = f"{file}.index.json"
        for wrong, name in SHARD_NAMES.items():
            shard = name.format(file=file) if isinstance(name, str) else name
            content = json.dumps({"weight_map": dict.fromkeys(weights(), shard)}).encode()
            yield Case(f"{index}: a name: {wrong}", "weights", weights_file(index, content))
        for wrong, content in INDEXES.items():
            yield Case(f"{index}: {wrong}", "weights", _with_shard(file, content.encode()))
        yield Case(f"{index}: a shard linked out", "weights", _linked_shard(file))
        yield Case(f"{index}: a shard that is a pipe", "weights", _linked_shard(file, pipe=True))


def _with_shard(file: str, index: bytes) -> Write:
    def write(folder: Path) -> None:
        weights_file(f"{file}.index.json", index)(folder)
        (folder / "shard").write_bytes(good(file))

    return write


def _linked_shard(file: str, pipe: bool = False) -> Write:
    def write(folder: Path) -> None:
        content = json.dumps({"weight_map": dict.fromkeys(weights(), "shard")})
        weights_file(f"{file}.index.json", content.encode())(folder)
        if pipe:
            os.mkfifo(folder / "shard")
        else:
            (folder / "shard").symlink_to(folder.parent / SENTINEL)

    return write


# pytorch_model.bin


def bins() -> Iterator[Case]:
    items = specs(weights())
    name = torch_bin.WEIGHTS_FILE
    bias = tensor(items[BIAS]).removesuffix(ORDERED_DICT + b"tR")
    for code, opcodes in test_torch_bin.CODE.items():
        for place, data in {
            "a value": pickle_of({**items, "bad": opcodes}),
            "the metadata": pickle_of(items)[:-2] + opcodes + b"bb.",
            "a tensor's hooks": pickle_of({**items, BIAS: bias + opcodes + b"tR"}),
        }.items():
            whole = zip_of({**members_of(items), "archive/data.pkl": data})
            yield Case(f"{name}: {code} in {place}", "weights", weights_file(name, whole))
        old = old_bin(items).replace(pickle_of(items, b"N"), pickle_of({**items, "bad": opcodes}, b"N"))
        yield Case(f"{OLD}: {code}", "weights", weights_file(name, old))
        yield Case(f"{name}: {code} as a bare pickle", "weights", weights_file(name, b"\x80\x02" + opcodes + b"."))
    for wrong, (data, _) in test_torch_bin.PICKLES.items():
        whole = zip_of({**members_of(items), "archive/data.pkl": data})
        yield Case(f"{name}: pickle: {wrong}", "weights", weights_file(name, whole))
    for wrong, (make, _) in test_torch_bin.ZIPS.items():
        yield Case(f"{name}: zip: {wrong}", "weights", weights_file(name, make()))
    for wrong, (data, _) in test_torch_bin.OLDS.items():
        yield Case(f"{OLD}: file: {wrong}", "weights", weights_file(name, data))
    for wrong, (tensors, _) in test_torch_bin.TENSORS.items():
        spec = {**items, FIRST: tensors["a"]._replace(key=items[FIRST].key)} if "a" in tensors else {**items, **tensors}
        yield Case(f"{name}: tensor: {wrong}", "weights", weights_file(name, zip_of(members_of(spec))))
        yield Case(f"{OLD}: tensor: {wrong}", "weights", weights_file(name, old_bin(spec)))
    swapped = {**items, FIRST: Spec(items[FIRST].array, "99")}
    yield Case(f"{name}: bomb", "weights", _zip_bomb(swapped))
    yield Case(f"{name}: ten thousand members", "weights", weights_file(name, zip_of({f"archive/data/{n}": b"" for n in range(10_000)})))
    for wrong, data in {
        "memo of the memo": b"}q\x00" + b"".join(b"(h" + bytes([n]) + b"h" + bytes([n]) + b"tq" + bytes([n + 1]) for n in range(200)),
        "a long STRING": b"S" + b"x" * (3 << 20) + b"\n",
        "a long FLOAT": b"F" + b"x" * (3 << 20) + b"\n",
        "deep tuples": b"N" + b"\x85" * 290_000,
        "deep lists": b"]" * 149_000 + b"a" * 148_999,
        "many lists": b"](" + b"]" * 290_000 + b"e",
        "many dicts in the memo": b"](" + b"}\x94" * 140_000 + b"e",
        "long texts": b"](" + text("x" * 1000) * 3000 + b"e",
    }.items():
        whole = zip_of({**members_of(items), "archive/data.pkl": b"\x80\x04" + data + b"."})
        yield Case(f"{name}: pickle: {wrong}", "weights", weights_file(name, whole))


def _zip_bomb(items: Mapping[str, Spec]) -> Write:
    """A storage of 128 MB that takes 128 KB in the file."""

    def write(folder: Path) -> None:
        put(folder, config__json=good("config.json"))
        with zipfile.ZipFile(folder / torch_bin.WEIGHTS_FILE, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in members_of(items).items():
                file.writestr(name, data, zipfile.ZIP_STORED)
            with file.open("archive/data/100", "w") as member:
                for _ in range(128):
                    member.write(bytes(1 << 20))

    return write


# tf_model.h5


def h5_files() -> Iterator[Case]:
    for wrong, (change, _) in test_h5.REFUSED.items():
        yield Case(f"{h5.WEIGHTS_FILE}: beside the good: {wrong}", "weights", _h5_changed(change))
    for wrong, change in {
        "a bomb of one chunk": functools.partial(_chunk_bomb, 256),
        "a smaller bomb of one chunk": functools.partial(_chunk_bomb, 64),
        "a link to the sentinel": lambda file: _h5_replaced(file, h5py.ExternalLink(f"../{SENTINEL}", "/")),
        "a link to /dev/zero": lambda file: _h5_replaced(file, h5py.ExternalLink("/dev/zero", "/")),
        "a soft link": lambda file: _h5_replaced(file, h5py.SoftLink("/mobilebert")),
        "the sentinel's bytes": _sentinel_bytes,
        "the sentinel's data set": _sentinel_virtual,
        "another order of bytes": lambda file: _h5_replaced(file, np.zeros(8, ">f4")),
        "never written": lambda file: file.create_dataset(_h5_removed(file), (8,), "f4"),
    }.items():
        yield Case(f"{h5.WEIGHTS_FILE}: in place of a good one: {wrong}", "weights", _h5_changed(change, with_example=False))
    for wrong, (craft, _) in CRAFTED.items():
        yield Case(f"{h5.WEIGHTS_FILE}: {wrong}", "weights", lambda folder, craft=craft: weights_file(h5.WEIGHTS_FILE, craft())(folder))
    for place in range(8, 96, 8):  # the superblock: addresses and sizes
        data = good(h5.WEIGHTS_FILE)
        broken = data[:place] + b"\xfe" * 8 + data[place + 8 :]
        if place not in (16, 32, 48, 56, 72, 80, 88):  # what is written there is not read, or not used
            yield Case(f"{h5.WEIGHTS_FILE}: superblock from {place} on", "weights", weights_file(h5.WEIGHTS_FILE, broken))


def _h5_changed(change: Callable[[h5py.File], Any], with_example: bool = True) -> Write:
    def write(folder: Path) -> None:
        weights_file(h5.WEIGHTS_FILE, good(h5.WEIGHTS_FILE))(folder)
        with h5py.File(folder / h5.WEIGHTS_FILE, "r+") as file:
            if with_example:
                file[f"{test_h5.PREFIX}a:0"] = test_h5.WEIGHT
            change(file)

    return write


def _h5_removed(file: h5py.File) -> str:
    """Take a bias out of a good file; where it was."""
    place = "mobilebert/tf_mobile_bert_model/mobilebert/pooler/dense/bias:0"
    del file[place]
    return place


def _h5_replaced(file: h5py.File, value: Any) -> None:
    file[_h5_removed(file)] = value


def _chunk_bomb(megabytes: int, file: h5py.File) -> None:
    packer = zlib.compressobj(9)
    data = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(megabytes)), packer.flush()])
    options = {"maxshape": (None,), "chunks": (1 << 16,), "compression": "gzip"}
    found = file.create_dataset(_h5_removed(file), (8,), "f4", **options)
    found.id.write_direct_chunk((0,), data)


def _sentinel_bytes(file: h5py.File) -> None:
    path = Path(file.filename).parent.parent / SENTINEL
    file.create_dataset(_h5_removed(file), (8,), "f4", external=[(str(path), 0, 32)])


def _sentinel_virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((8,), "f4")
    layout[...] = h5py.VirtualSource(str(Path(file.filename).parent.parent / SENTINEL), "a", (8,))
    file.create_virtual_dataset(_h5_removed(file), layout)


# config.json

CONFIGS: dict[str, str] = {
    "empty": "",
    "null": "null",
    "a list": "[]",
    "a string": '"mobilebert"',
    "not JSON": "{'hidden_size': 8}",
    "cut": '{"hidden_size": 8',
    "more after it": "{} {}",
    "a comment": "{} // ok",
    "deep": '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "deep objects": '{"a":' * 50_000 + "1" + "}" * 50_000,
    "rather deep": '{"a": ' + "[" * 900 + "0," * 40_000 + "0" + "]" * 900 + "}",
    "larger when it is written": '{"a": ' + "[" * 20 + "0," * 40_000 + "0" + "]" * 20 + "}",
    "a key twice": '{"hidden_size": 8, "hidden_size": 16}',
    "many keys twice": "{" + ",".join(f'"k{n}": 0, "k{n}": 0' for n in range(30_000)) + "}",
    "a long key twice": '{"' + "k" * 400_000 + '": 0, "' + "k" * 400_000 + '": 0}',
    "half a character": '{"a": "\\ud800"}',
    "half a character in a key": '{"a": {"\\udfff": 0}}',
    "half a character in a label": '{"id2label": {"0": "\\uD800"}}',
    "half a character in the dtype": '{"dtype": "\\ud83dx"}',
    "an inner key twice": '{"id2label": {"0": "a", "0": "b"}}',
    "NaN": '{"layer_norm_eps": NaN}',
    "infinity": '{"initializer_range": Infinity}',
    "minus infinity": '{"initializer_range": -Infinity}',
    "infinity in digits": '{"initializer_range": 1e999}',
    "digits": '{"hidden_size": ' + "9" * 4000 + "}",
    "more digits": '{"hidden_size": ' + "9" * 100_000 + "}",
    "digits in an unknown key": '{"x": ' + "9" * 100_000 + "}",
    "true as a number": '{"num_hidden_layers": true}',
    "number as true": '{"use_bottleneck": 1}',
    "text as a number": '{"hidden_size": "512"}',
    "float as a number": '{"hidden_size": 512.0}',
    "zero": '{"hidden_size": 0}',
    "negative": '{"num_hidden_layers": -1}',
    "null size": '{"hidden_size": null}',
    "huge layers": '{"num_hidden_layers": 1000000000}',
    "huge vocabulary": '{"vocab_size": 1000000000000}',
    "huge width": '{"hidden_size": 1000000}',
    "huge positions": '{"max_position_embeddings": 1000000000}',
    "huge labels": '{"num_labels": 1000000000}',
    "many labels": json.dumps({"id2label": {str(number): str(number) for number in range(20_000)}}),
    "labels that are lists": '{"id2label": {"0": ["a"]}}',
    "a fraction as a label's number": '{"id2label": {"0.5": "a"}}',
    "two labels of one number": '{"id2label": {"0": "a", "00": "b"}}',
    "label digits": '{"id2label": {"' + "9" * 5000 + '": "a"}}',
    "a superscript as a number": '{"id2label": {"\u00b2": "a"}}',
    "no labels": '{"id2label": {}}',
    "another model": '{"model_type": "bert"}',
    "a long name of another model": json.dumps({"model_type": "x" * 1_000_000}),
    "a model that is a list": '{"model_type": []}',
    "an unknown activation": '{"hidden_act": "os.system"}',
    "a negative chance": '{"hidden_dropout_prob": -0.1}',
    "a sure drop": '{"hidden_dropout_prob": 1.0}',
    "heads that do not divide": '{"num_attention_heads": 7}',
    "padding outside": '{"pad_token_id": 99999999}',
    "architectures of numbers": '{"architectures": [1]}',
    "many architectures of numbers": json.dumps({"architectures": [1] * 240_000}),
    "many architectures": json.dumps({"architectures": ["a"] * 1_000}),
    "many values": '{"a": [' + "0," * 400_000 + "0]}",
    "many long strings": '{"a": [' + '"",' * 330_000 + '""]}',
    "a control character": '{"a": "\x01"}',
    "bad UTF-8": '{"a": "\udcff"}',
    "a byte order mark": "\ufeff{}",
}
HUGE_CONFIG = {
    "num_hidden_layers": 128,
    "num_feedforward_networks": 16,
    "hidden_size": 16_384,
    "intra_bottleneck_size": 16_384,
    "intermediate_size": 65_536,
}
LARGE_CONFIG = {**HUGE_CONFIG, "hidden_size": 64, "intra_bottleneck_size": 16, "intermediate_size": 16, "embedding_size": 16}


def configs() -> Iterator[Case]:
    for wrong, content in CONFIGS.items():
        data = content.encode("utf-8", "surrogateescape")
        yield Case(f"config.json: {wrong}", "config", lambda folder, data=data: put(folder, config__json=data))
    yield Case("config.json: UTF-16", "config", lambda folder: put(folder, config__json="{}".encode("utf-16")))
    yield Case("config.json: absent", "config", lambda folder: None)
    yield Case("config.json: 2 GB", "config", lambda folder: sparse(folder / "config.json", 2 << 30))
    for wrong, sizes in {"too many parameters": HUGE_CONFIG, "more tensors than the file": LARGE_CONFIG}.items():
        for file in (safetensors.WEIGHTS_FILE, torch_bin.WEIGHTS_FILE, h5.WEIGHTS_FILE):
            yield Case(f"config.json: {wrong}, {file}", "weights", _with_config(file, {**SIZES, **sizes}))


def _with_config(file: str, values: dict[str, Any]) -> Write:
    def write(folder: Path) -> None:
        (folder / file).write_bytes(good(file))
        put(folder, config__json=json.dumps(values).encode())

    return write


def sparse(path: Path, size: int) -> None:
    """A file of a size that takes no room."""
    with open(path, "wb") as file:
        file.truncate(size)


# vocab.txt, tokenizer.json, tokenizer_config.json

VOCABULARIES: dict[str, bytes] = {
    "empty": b"",
    "an empty line": b"[PAD]\n\n[UNK]\n",
    "bad UTF-8": b"[PAD]\n\xff\n",
    "a cut character": "[PAD]\n\u00e9".encode()[:-1],
    "an encoded surrogate": b"[PAD]\n\xed\xa0\x80\n",
    "an overlong character": b"[PAD]\n\xc0\xaf\n",
    "UTF-16": "\n".join(VOCABULARY).encode("utf-16"),
    "a token twice": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\na\n",
    "a huge token": b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n" + b"a" * 100_000,
    "no special tokens": b"a\nb\n",
    "empty lines": b"\n" * (8 << 20),
    "millions of lines": b"\n".join(b"%06x" % number for number in range(1_100_000)),
    "wide characters": "\U0001f600".encode() * (2 << 20),
    "zeros": bytes(1 << 20),
    "one wide character": b"ab\n" * 240_000 + b"x" * (3 << 20) + "\U0001f600".encode(),
    "as many lines as allowed": b"\n".join(b"%014x" % number for number in range(240_000)),
}


def edited(change: Callable[[Any], Any]) -> bytes:
    content = json.loads(good("tokenizer.json"))
    return json.dumps(change(content) or content).encode()


def with_part(name: str, **values: Any) -> bytes:
    return edited(lambda content: {**content, name: {**content[name], **values}})


def _many_tokens(count: int) -> bytes:
    return edited(lambda content: {**content, "model": {**content["model"], "vocab": {f"{n:x}": n for n in range(count)}}})


TOKENIZERS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "a list": lambda: b"[]",
    "an empty object": lambda: b"{}",
    "an unknown part": lambda: edited(lambda content: {**content, "auto_map": {}}),
    "many unknown parts": lambda: edited(lambda content: {**content, **{f"k{n}": 0 for n in range(100_000)}}),
    "a long unknown part": lambda: edited(lambda content: {**content, "x" * (3 << 20): 0}),
    "no model": lambda: edited(lambda content: {**content, "model": None}),
    "another model": lambda: with_part("model", type="BPE", merges=[]),
    "a unigram model": lambda: edited(lambda content: {**content, "model": {"type": "Unigram", "unk_id": 9, "vocab": []}}),
    "another prefix": lambda: with_part("model", continuing_subword_prefix=""),
    "a longer word": lambda: with_part("model", max_input_chars_per_word=10**18),
    "true as a number": lambda: with_part("model", max_input_chars_per_word=True),
    "a vocabulary that is a list": lambda: with_part("model", vocab=VOCABULARY),
    "an empty vocabulary": lambda: with_part("model", vocab={}),
    "a negative id": lambda: with_part("model", vocab={"[PAD]": -1}),
    "a huge id": lambda: with_part("model", vocab={"[PAD]": 2**64}),
    "an id that is a float": lambda: with_part("model", vocab={"[PAD]": 0.0}),
    "an id that is true": lambda: with_part("model", vocab={"[PAD]": False}),
    "ids with a gap": lambda: with_part("model", vocab={"[PAD]": 0, "[UNK]": 2}),
    "two of one id": lambda: with_part("model", vocab={"[PAD]": 0, "[UNK]": 0}),
    "a lone surrogate": lambda: with_part("model", vocab={"\ud800": 0}),
    "an unknown word that is none": lambda: with_part("model", unk_token=7),
    "no unknown word": lambda: with_part("model", unk_token="nowhere"),
    "a normalizer that replaces by a pattern": lambda: edited(
        lambda content: {**content, "normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}}
    ),
    "a precompiled normalizer": lambda: edited(
        lambda content: {**content, "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}
    ),
    "a splitter with a pattern": lambda: edited(
        lambda content: {**content, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Removed", "invert": False}}
    ),
    "another frame": lambda: edited(lambda content: {**content, "post_processor": {"type": "ByteLevel"}}),
    "a frame without ids": lambda: with_part("post_processor", special_tokens={}),
    "a frame of huge ids": lambda: edited(
        lambda content: {**content, "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2**40], "cls": ["[CLS]", 2]}}
    ),
    "deep decoders": lambda: edited(
        lambda content: {**content, "decoder": functools.reduce(lambda inner, _: {"type": "Sequence", "decoders": [inner]}, range(300), {})}
    ),
    "an added token of another id": lambda: edited(
        lambda content: {**content, "added_tokens": [{"id": 10**9, "content": "<y>", "special": True}]}
    ),
    "an added token that is empty": lambda: edited(lambda content: {**content, "added_tokens": [{"id": 11, "content": ""}]}),
    "many added tokens": lambda: edited(
        lambda content: content["added_tokens"].extend({"id": 12 + n, "content": f"<{n}>"} for n in range(30_000))
    ),
    "an added token with a flag of text": lambda: edited(
        lambda content: {**content, "added_tokens": [{"id": 11, "content": "<y>", "special": "yes"}]}
    ),
    "added tokens that are text": lambda: edited(lambda content: {**content, "added_tokens": "<y>"}),
    "an option of the wrong type": lambda: with_part("normalizer", lowercase="yes"),
    "a key twice": lambda: b'{"version": "1.0", "version": "2.0"}',
    "NaN": lambda: b'{"version": NaN}',
    "deep": lambda: b"[" * 200_000 + b"]" * 200_000,
    "digits": lambda: b'{"version": ' + b"9" * 100_000 + b"}",
    "bad UTF-8": lambda: good("tokenizer.json").replace(b"[PAD]", b"[\xff]", 1),
    "many tokens and no frame": lambda: _many_tokens(150_000),
    "too many tokens": lambda: _many_tokens(700_000),
    "wide characters": lambda: b'{"' + "\U0001f600".encode() * (3 << 20) + b'":',
    "one wide character": lambda: b'{"version": "' + b"x" * (7 << 20) + "\U0001f600".encode() + b'"}',
    "a long string": lambda: b'{"version": "' + b"x" * (15 << 20) + b'"}',
}
TOKENIZER_CONFIGS: dict[str, str] = {
    "a list": "[]",
    "not JSON": "{",
    "NaN": '{"model_max_length": NaN}',
    "infinity": '{"model_max_length": 1e999}',
    "a key twice": '{"do_lower_case": true, "do_lower_case": false}',
    "an option of text": '{"do_lower_case": "no"}',
    "a number as option": '{"strip_accents": 1}',
    "a side": '{"padding_side": "up"}',
    "a side of truncation": '{"truncation_side": ""}',
    "a token that is a number": '{"cls_token": 7}',
    "a token that is empty": '{"sep_token": ""}',
    "a token with a lone surrogate": '{"sep_token": "\\ud800"}',
    "never split numbers": '{"never_split": [1]}',
    "additional tokens that are numbers": '{"additional_special_tokens": [1]}',
    "many additional tokens": json.dumps({"additional_special_tokens": [f"<{n}>" for n in range(80_000)]}),
    "many long additional tokens": json.dumps({"extra_special_tokens": [f"<{n}>".ljust(990, "x") for n in range(1_000)]}),
    "many words that are never split": json.dumps({"never_split": [f"<{n}>" for n in range(80_000)]}),
    "a huge token": '{"pad_token": "' + "x" * 100_000 + '"}',
    "deep": '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "many values": '{"a": [' + "0," * 450_000 + "0]}",
}


def tokenizers() -> Iterator[Case]:
    for loader in ("fast tokenizer", "tokenizer"):
        for wrong, data in VOCABULARIES.items():
            yield Case(f"vocab.txt: {wrong}, {loader}", loader, lambda folder, data=data: put(folder, vocab__txt=data))
        for wrong, make in TOKENIZERS.items():
            yield Case(f"tokenizer.json: {wrong}, {loader}", loader, lambda folder, make=make: put(folder, tokenizer__json=make()))
        for wrong, content in TOKENIZER_CONFIGS.items():
            files = {"tokenizer_config__json": content.encode(), "tokenizer__json": good("tokenizer.json")}
            yield Case(f"tokenizer_config.json: {wrong}, {loader}", loader, lambda folder, files=files: put(folder, **files))
        yield Case(f"vocab.txt: 2 GB, {loader}", loader, lambda folder: sparse(folder / "vocab.txt", 2 << 30))
        yield Case(f"tokenizer.json: 2 GB, {loader}", loader, lambda folder: sparse(folder / "tokenizer.json", 2 << 30))


# What is no file


def link_out(path: Path) -> None:
    path.symlink_to(path.parent.parent / SENTINEL)


def link_through(path: Path) -> None:
    """A link to a folder outside, and the file below it."""
    (path.parent / "inside").symlink_to(path.parent.parent, target_is_directory=True)
    path.symlink_to(Path("inside") / SENTINEL)


SPECIAL: dict[str, Callable[[Path], Any]] = {
    "a link out": link_out,
    "a link through a link": link_through,
    "a link to /etc/passwd": lambda path: path.symlink_to("/etc/passwd"),
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
}
SPECIAL_FILES = {
    "config.json": "config",
    **dict.fromkeys(("model.safetensors", "pytorch_model.bin", "tf_model.h5", "model.safetensors.index.json"), "weights"),
    **dict.fromkeys(("vocab.txt", "tokenizer.json", "tokenizer_config.json"), "tokenizer"),
    "manifest.json": "weights",
}


def special_files() -> Iterator[Case]:
    for file, loader in SPECIAL_FILES.items():
        for wrong, make in SPECIAL.items():
            yield Case(f"{file}: {wrong}", loader, _special(file, loader, make))


def _special(file: str, loader: str, make: Callable[[Path], Any]) -> Write:
    def write(folder: Path) -> None:
        if loader == "weights":
            put(folder, config__json=good("config.json"))
        if file == "manifest.json":
            put(folder, model__safetensors=good("model.safetensors"))
        if file == "tokenizer_config.json":
            put(folder, tokenizer__json=good("tokenizer.json"))
        make(folder / file)

    return write


def small_things() -> Iterator[Case]:
    yield from (Case(name, "weights", write) for name, write in bombs().items())


def cases() -> list[Case]:
    """All of them."""
    makers = (same_faults, safetensors_headers, manifests, shards, bins, h5_files, configs, tokenizers, special_files, small_things)
    found = [case for make in makers for case in make()]
    assert len({case.name for case in found}) == len(found), "two cases of one name"
    return found


# The stage of a case


def prepare(stage: Path) -> None:
    """The files around the folders of the cases."""
    (stage / SENTINEL).write_bytes(SECRET)
    os.utime(stage / SENTINEL, ns=(0, 1))  # read once, its time of access would be now


def folder_of(stage: Path, case: Case) -> Path:
    """A fresh folder with the files of a case."""
    folder = stage / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    case.write(folder)
    return folder


def harm(stage: Path) -> str | None:
    """What a case has done that it must not."""
    if any(stage.rglob(CANARY)):
        return "code from the file ran"
    touched = (stage / SENTINEL).stat().st_atime_ns != 0 or (stage / SENTINEL).read_bytes() != SECRET
    os.utime(stage / SENTINEL, ns=(0, 1))
    return "a file outside the folder was touched" if touched else None

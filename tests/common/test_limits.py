"""Where the limits of the readers lie: the last file that is opened, and the first that is refused."""

import json
import pickletools
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mobilebert_common.checkpoints import archive, checkpoint, hdf5, pickled, safetensors, torch_bin, zipped
from mobilebert_common.errors import CheckpointError, ConfigError
from mobilebert_common.files import folder, hub, shard_index, strict_json
from mobilebert_common.files.folder import Folder
from mobilebert_common.model import config, labels, schema
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import expand
from mobilebert_common.tokenization import base, basic, storage
from support.crafted import bin_of, members_of, old_bin_of, specs, zip_of
from support.crafted_h5 import LAYOUT, File, header, shaped

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
PICKLE = members_of(specs({"weight": WEIGHT}))["archive/data.pkl"]

LIMITS: dict[ModuleType, dict[str, Any]] = {
    archive: {"MAX_NAME": 1000, "MAX_RANK": 8},
    hdf5: {"MAX_DEPTH": 40, "MAX_CHUNK": 16 * 1024**2, "STEPS": (200_000, 128, 64), "LINKS": (100_000, 32, 4)},
    pickled: {"MAX_PICKLE": 4 * 1024**2, "MAX_OPCODES": 300_000},
    safetensors: {"MAX_HEADER": 4 * 1024**2},
    torch_bin: {"MAX_SYSTEM": (1024, 64), "MAX_SHARING": 2},
    zipped: {"MAX_DIRECTORY": 4 * 1024**2, "MAX_FIELDS": 8},
    folder: {"MAX_NAME": 233, "LOCK_SECONDS": 600, "LEFT_BEHIND": 86_400},
    hub: {"MAX_NAME": 96},
    shard_index: {"MAX_INDEX": 4 * 1024**2, "MAX_SHARDS": 500, "MAX_TENSORS": 15_500},
    strict_json: {"MAX_JSON": 1024**2, "MAX_DEPTH": 32, "MAX_VALUES": 250_000},
    config: {"MAX_CONFIG": 1024**2},
    labels: {"MAX_LABELS": 10_000},
    schema: {"MAX_PARAMETERS": 4_000_000_000},
    base: {"MAX_LENGTH": 512},
    basic: {"MAX_WORD": 100},
    storage: {"MAX_TOKENS": 250_000, "MAX_TOKEN": 1000},
}


@pytest.mark.parametrize("module", LIMITS, ids=lambda module: module.__name__)
def test_limits(module: ModuleType) -> None:
    assert {name: getattr(module, name) for name in LIMITS[module]} == LIMITS[module]


def h5(name: str = "layer/scope/a:0", messages: Iterable[tuple[int, bytes]] | None = None) -> bytes:
    """An HDF5 file with one dataset, of two floats if nothing else is said."""
    file = File()
    data = file.add(np.ones(2, np.float32).tobytes())
    in_one_piece = [*shaped(2), (LAYOUT, bytes([3, 1]) + data.to_bytes(8, "little") + (8).to_bytes(8, "little"))]
    place = file.add(header([*(in_one_piece if messages is None else messages)]))
    for part in reversed(name.encode().split(b"/")):
        place = file.group([(part, place)])
    return file.finished(place)


def h5_chunked() -> bytes:
    """The same in one chunk."""
    file = File()
    data = file.add(np.ones(2, np.float32).tobytes())
    tree = file.tree(1, [b"".join(number.to_bytes(4, "little") for number in (8, 0)) + bytes(16) + data.to_bytes(8, "little")], key=24)
    layout = bytes([3, 2, 2]) + tree.to_bytes(8, "little") + b"".join(side.to_bytes(4, "little") for side in (2, 4))
    place = file.add(header([*shaped(2), (LAYOUT, layout)]))
    for part in (b"a:0", b"scope", b"layer"):
        place = file.group([(part, place)])
    return file.finished(place)


def safe(name: str = "weight") -> bytes:
    text = json.dumps({name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    return len(text).to_bytes(8, "little") + text + WEIGHT.tobytes()


def weights(name: str, data: bytes) -> Callable[[Path], Any]:
    """Writes a weights file and opens it."""

    def call(place: Path) -> Any:
        (place / name).write_bytes(data)
        found, _ = checkpoint.open_weights(Folder.open(place))
        return found.read(found.entries)

    return call


def index(place: Path) -> Any:
    (place / "index.json").write_text(json.dumps({"weight_map": {"a": "1", "b": "2", "c": "1"}}))
    return shard_index.read_index(place / "index.json")


def parsed(place: Path) -> Any:
    return strict_json.parse_json(place, b'{"a": [[1, 2], {"b": [{}]}], "c": 3}')


BIN, OLD_BIN, SAFE, H5 = "pytorch_model.bin", "pytorch_model.bin", "model.safetensors", "tf_model.h5"
ZIP = bin_of({"weight": WEIGHT})
DIRECTORY = len(ZIP) - ZIP.index(b"PK\1\2") - 22  # bytes up to the record that ends the file

# (what opens a file, whose limit, which one, the least under which it opens)
LEAST: dict[str, tuple[Callable[[Path], Any], ModuleType, str, int]] = {
    "levels in h5": (weights(H5, h5()), hdf5, "MAX_DEPTH", 2),
    "a path in h5": (weights(H5, h5()), hdf5, "MAX_NAME", len("layer/scope") + len("a:0") + 1),
    "a chunk": (weights(H5, h5_chunked()), hdf5, "MAX_CHUNK", 8),
    "rank in h5": (weights(H5, h5()), hdf5, "MAX_RANK", 1),
    "a name": (weights(SAFE, safe()), archive, "MAX_NAME", 6),
    "rank": (weights(SAFE, safe()), safetensors, "MAX_RANK", 2),
    "rank in bin": (weights(BIN, ZIP), pickled, "MAX_RANK", 2),
    "a header": (weights(SAFE, safe()), safetensors, "MAX_HEADER", len(safe()) - 8 - WEIGHT.nbytes),
    "opcodes": (weights(BIN, ZIP), pickled, "MAX_OPCODES", len([*pickletools.genops(PICKLE)])),
    "a pickle": (weights(BIN, ZIP), pickled, "MAX_PICKLE", len(PICKLE)),
    "a directory": (weights(BIN, ZIP), zipped, "MAX_DIRECTORY", DIRECTORY),
    "shards": (index, shard_index, "MAX_SHARDS", 2),
    "values of JSON": (parsed, strict_json, "MAX_VALUES", 3 + 3 + 3),  # commas, lists, objects
    "levels of JSON": (parsed, strict_json, "MAX_DEPTH", 5),
}


@pytest.mark.parametrize("case", LEAST)
def test_the_least_limit_that_opens_a_file(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, module, limit, least = LEAST[case]
    monkeypatch.setattr(module, limit, least)
    opened(tmp_path)
    monkeypatch.setattr(module, limit, least - 1)
    with pytest.raises(CheckpointError):
        opened(tmp_path)


def test_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    made = MobileBertConfig(num_hidden_layers=1)
    monkeypatch.setattr(schema, "MAX_PARAMETERS", schema.count_parameters(expand(made, "MobileBertModel")))
    expand(made, "MobileBertModel")
    with pytest.raises(ConfigError, match=r"has [\d,]+ parameters, more than the"):
        expand(made, "MobileBertForMaskedLM")


@pytest.mark.parametrize("size", [8, 9])
def test_rank_of_a_tensor(size: int, tmp_path: Path) -> None:
    array = np.ones((1,) * size, np.float32)
    for data in (bin_of({"weight": array}), old_bin_of({"weight": array})):
        if size == 8:
            assert weights(BIN, data)(tmp_path)["weight"].shape == array.shape
        else:
            with pytest.raises(CheckpointError, match="9 dimensions"):
                weights(BIN, data)(tmp_path)


# --- HDF5 ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", range(0x20))
def test_messages_of_hdf5(kind: int, tmp_path: Path) -> None:
    """What a dataset's header may also say: nothing, fill values, attributes, a comment, its times."""
    plain = h5()
    extra = [*shaped(2), (LAYOUT, bytes([3, 1]) + hdf5.HEAD.to_bytes(8, "little") + (8).to_bytes(8, "little")), (kind, bytes(8))]
    opened = weights(H5, h5(messages=extra))
    if kind in (0x00, 0x04, 0x05, 0x0C, 0x0D, 0x0E, 0x12):
        found = opened(tmp_path)
        assert {name: array.tolist() for name, array in found.items()} == {"a": [1.0, 1.0]} and weights(H5, plain)(tmp_path)
    else:
        with pytest.raises(CheckpointError):
            opened(tmp_path)


@pytest.mark.parametrize(
    ("names", "reason"),
    [((b"a:0", b"b:0"), ""), ((b"a:0", b"a:0"), "has it twice"), ((b"a:0", b""), "impossible"), ((b"a:0", b"b/c:0"), "impossible")],
)
def test_names_in_a_group_of_hdf5(names: tuple[bytes, ...], reason: str, tmp_path: Path) -> None:
    file = File()
    empty = [*shaped(0), (LAYOUT, bytes([3, 1]) + bytes(16))]
    place = file.group([(name, file.add(header(empty))) for name in names])
    for part in (b"scope", b"layer"):
        place = file.group([(part, place)])
    opened = weights(H5, file.finished(place))
    if reason:
        with pytest.raises(CheckpointError, match=reason):
            opened(tmp_path)
    else:
        assert list(opened(tmp_path)) == ["a", "b"]


def test_an_object_of_hdf5_has_one_header(tmp_path: Path) -> None:
    for again in shaped(2):
        messages = [*shaped(2), (LAYOUT, bytes([3, 1]) + bytes(16)), again]
        with pytest.raises(CheckpointError, match=f"a message of kind {again[0]} that is damaged"):
            weights(H5, h5(messages=messages))(tmp_path)


# --- zip64 ---------------------------------------------------------------------------------------------------------------------


def zip64(changes: dict[int, int] | None = None, narrow: dict[int, int] | None = None) -> bytes:
    """A file whose directory is described in 64 bits; changes are {place in that record: value}, narrow {place in the old one: value}."""
    data = zip_of(members_of(specs({"weight": WEIGHT})))
    place, start = len(data) - 22, len(data) - 22 - DIRECTORY
    record = bytearray(zipped.END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, 4, 4, DIRECTORY, start))
    locator = bytearray(zipped.LOCATOR64.pack(b"PK\6\7", 0, place, 1))
    end = bytearray(zipped.END.pack(b"PK\5\6", 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    both = record + locator
    for at, value in (changes or {}).items():
        both[at] = value
    for at, value in (narrow or {}).items():
        end[at] = value
    return bytes(data[:place] + both + end)


def test_a_directory_in_64_bits(tmp_path: Path) -> None:
    assert np.array_equal(weights(BIN, zip64())(tmp_path)["weight"], WEIGHT)
    said_twice = zip64(narrow={4: 0, 5: 0, 6: 0, 7: 0, 8: 4, 9: 0, 10: 4, 11: 0})
    assert np.array_equal(weights(BIN, said_twice)(tmp_path)["weight"], WEIGHT)


@pytest.mark.parametrize(
    ("changes", "narrow", "reason"),
    [
        ({0: 0}, {}, "damaged zip64"),
        ({4: 45}, {}, "damaged zip64"),  # its length
        ({16: 1}, {}, "does not end where"),  # the number of its disk
        ({20: 1}, {}, "does not end where"),
        ({24: 5}, {}, "does not end where"),  # members here, and in all
        ({24: 3, 32: 3}, {}, "no member owns"),
        ({40: 1}, {}, "does not end where"),  # bytes
        ({56 + 4: 1}, {}, "damaged zip64"),  # the locator
        ({56 + 8: 1}, {}, "damaged zip64"),
        ({56 + 16: 2}, {}, "damaged zip64"),
        ({}, {4: 1, 5: 0}, "contradict each other"),
        ({}, {8: 5, 9: 0}, "contradict each other"),
        ({}, {12: 1, 13: 0, 14: 0, 15: 0}, "contradict each other"),
        ({}, {16: 1, 17: 0, 18: 0, 19: 0}, "contradict each other"),
    ],
)
def test_a_damaged_directory_in_64_bits(changes: dict[int, int], narrow: dict[int, int], reason: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=reason):
        weights(BIN, zip64(changes, narrow))(tmp_path)


def with_extra(wide: bool, fields: bytes = b"", *, local: bool = True) -> bytes:
    """A file whose storage has extra fields, after which its sizes stand in 64 bits."""
    members = members_of(specs({"weight": WEIGHT}))
    body, directory = bytearray(), bytearray()
    for name, data in members.items():
        is_storage = name.endswith("data/0")
        size = 0xFFFFFFFF if wide and is_storage else len(data)
        field = fields if is_storage else b""
        sizes = (len(data).to_bytes(8, "little") * 2) if wide and is_storage else b""
        extra = field + (b"\1\0\x10\0" + sizes if sizes else b"")
        crc, raw, offset = torch_bin.zlib.crc32(data), name.encode(), len(body)
        there = extra if local else b""
        body += zipped.LOCAL.pack(b"PK\3\4", 45, 0, 0, 0, 0, crc, size, size, len(raw), len(there)) + raw + there + data
        directory += zipped.CENTRAL.pack(b"PK\1\2", 45, 45, 0, 0, 0, 0, crc, size, size, len(raw), len(extra), 0, 0, 0, 0, offset)
        directory += raw + extra
    end = zipped.END.pack(b"PK\5\6", 0, 0, 4, 4, len(directory), len(body), 0)
    return bytes(body + directory + end)


FIELD = b"FB\2\0xy"  # how torch fills up, so that data is aligned


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_extra_fields(count: int, wide: bool, tmp_path: Path) -> None:
    assert np.array_equal(weights(BIN, with_extra(wide, FIELD * count))(tmp_path)["weight"], WEIGHT)


def test_sizes_in_64_bits_are_among_the_first_extra_fields(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="zip64 member without its size"):
        weights(BIN, with_extra(True, FIELD * 8))(tmp_path)
    with pytest.raises(CheckpointError):  # the header has no such field
        weights(BIN, with_extra(True, local=False))(tmp_path)

"""pytorch_model.bin, what torch.save writes for a state_dict: read without torch and without the pickle module.

torch 1.6 and later write a zip file: data.pkl, and one member per storage. Before, it was one file: three small pickles, the
state_dict's, the list of storages, and per storage its length and data. Both are checked before any data is read.
"""

import math
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import CheckpointError, shortened
from ..files.reading import StableFile, stable
from ..files.shard_index import MAX_TENSORS
from . import pickled, zipped
from .archive import Archive, Entry, is_name, read_array, too_many

WEIGHTS_FILE = "pytorch_model.bin"
MAGIC = 0x1950A86A20F9469CFC6C  # what the first pickle of the old format holds
PROTOCOL = 1001
MAX_SYSTEM = 1024, 64  # bytes and opcodes of each pickle that describes the writer's machine
MAX_SHARING = 2  # times the bytes of its storages that a file's tensors may have; a tied decoder shares its storage
# members beside data.pkl and the storages -> the contents that are understood; None is any
MEMBERS: dict[str, tuple[bytes, ...] | None] = {
    "version": None,
    "byteorder": (b"little",),
    ".format_version": None,
    ".storage_alignment": None,
    ".data/serialization_id": None,
}


class Place(NamedTuple):
    """Where a storage lies: file[start:stop], with a checksum in the newer format."""

    start: int
    stop: int
    crc: int | None


def open_file(file: StableFile | Path, limit: int = MAX_TENSORS) -> Archive:
    """The tensors of a file. Nothing in it is run, whatever it holds.

    Args:
        limit: how many tensors it may list.
    Raises:
        CheckpointError: a missing, truncated or malformed file; a pickle of anything but a state_dict; a tensor that is not
            the whole of its storage; more tensors than allowed.
    """
    file = stable(file)
    try:
        with file.open() as opened:
            reader = _zip if opened.read(2) == b"PK" else _old
            state, places = reader(opened, file.size(), limit)
            tensors = _tensors(state, limit)
            _check_storages(tensors, places)
    except CheckpointError:
        raise
    except (ValueError, struct.error) as error:
        raise CheckpointError(file.path, shortened([str(error)])) from None
    entries = {name: Entry(tensor.storage.dtype, tensor.shape) for name, tensor in tensors.items()}

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        wanted = {name: places[tensors[name].storage.key] for name in names}
        arrays = {}
        with file.open(verify=True) as opened:
            for name in sorted(wanted, key=wanted.__getitem__):
                arrays[name] = _read(file.path, opened, name, tensors[name], wanted[name])
        return {name: arrays[name] for name in wanted}

    return Archive(file.path, entries, read)


def _zip(file: BinaryIO, size: int, limit: int) -> tuple[Any, dict[str, Place]]:
    """The object and the storages of a file of torch 1.6 or later."""
    found = zipped.members(file, size, limit + len(MEMBERS) + 1)
    folder = next(iter(found), "").partition("/")[0] + "/"
    if strange := [name for name in found if not name.startswith(folder)]:
        raise ValueError(f"has members outside the one folder {folder[:80]!r}: {strange[0][:80]!r}")
    inner = {name.removeprefix(folder): member for name, member in found.items()}
    storages = {name.removeprefix("data/"): Place(*place) for name, place in inner.items() if _is_storage(name)}
    if strange := [name for name in inner if not (name in MEMBERS or name == "data.pkl" or _is_storage(name))]:
        raise ValueError(f"has the member {strange[0][:80]!r}, which no state_dict has")
    for name, allowed in MEMBERS.items():
        if allowed and name in inner and _member(file, inner[name], 64) not in allowed:
            raise ValueError(f"has a {name} that is not {allowed[0].decode()}")
    if "data.pkl" not in inner:
        raise ValueError("is a zip file without data.pkl: not one of torch.save")
    longest, opcodes = pickled.budget(limit)
    return _only(_member(file, inner["data.pkl"], longest), opcodes), storages


def _member(file: BinaryIO, member: zipped.Member, limit: int) -> bytes:
    """A small member's content."""
    if member.stop - member.start > limit:
        raise ValueError(f"has a member of {member.stop - member.start:,} bytes where {limit:,} are allowed")
    file.seek(member.start)
    data = file.read(member.stop - member.start)
    if zlib.crc32(data) != member.crc:
        raise ValueError("is damaged: a member does not have its checksum")
    return data


def _only(data: bytes, opcodes: int) -> Any:
    value, end = pickled.load(data, opcodes)
    if end != len(data):
        raise ValueError("has bytes after its pickle")
    return value


def _old(file: BinaryIO, size: int, limit: int) -> tuple[Any, dict[str, Place]]:
    """The object and the storages of a file before torch 1.6."""
    place = 0
    found = []
    for longest, opcodes in (MAX_SYSTEM, MAX_SYSTEM, MAX_SYSTEM, pickled.budget(limit), pickled.budget(limit)):
        file.seek(place)
        value, length = pickled.load(file.read(longest), opcodes)
        found.append(value)
        place += length
        if found[0] != MAGIC:
            raise ValueError("is no file of torch.save")
    _, protocol, system, state, keys = found
    if protocol != PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("was not written by torch.save on a little-endian machine")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
        raise ValueError("has no list of storages")
    items = {tensor.storage.key: tensor.storage.dtype.itemsize for tensor in _tensors(state, limit).values()}
    storages = {}
    for key in keys:
        if key not in items:
            raise ValueError(f"has the storage {key[:80]!r}, which no tensor uses")
        file.seek(place)
        if len(head := file.read(8)) < 8:
            raise ValueError(f"is truncated: the storage {key[:80]!r} starts after the file")
        (count,) = struct.unpack("<q", head)
        storages[key] = Place(place + 8, place + 8 + count * items[key], None)
        if count < 0 or storages[key].stop > size:
            raise ValueError(f"is truncated: the storage {key[:80]!r} ends after the file")
        place = storages[key].stop
    if place != size:
        raise ValueError("has bytes that no tensor owns")
    return state, storages


def _tensors(state: object, limit: int) -> dict[str, pickled.Tensor]:
    """The tensors of a state_dict, each the whole of its storage."""
    if not isinstance(state, dict):
        raise ValueError(f"holds a {type(state).__name__} where a state_dict belongs")
    if len(state) > limit:
        raise ValueError(too_many(limit))
    tensors: dict[str, pickled.Tensor] = {}
    for name, value in state.items():
        if not is_name(name):
            raise ValueError(f"tensor {name[:200]!r} has an impossible name")
        if not isinstance(value, pickled.Tensor):
            raise ValueError(f"holds a {type(value).__name__} under {name[:200]!r}: save the state_dict alone")
        if reason := _misfit(value):
            raise ValueError(f"tensor {name[:200]!r} {reason}")
        tensors[name] = value
    return tensors


def _misfit(tensor: pickled.Tensor) -> str | None:
    """Why a tensor is not the whole of its storage, each element once."""
    count = math.prod(tensor.shape)  # Python's integers do not overflow
    if tensor.offset or count != tensor.storage.size:
        return f"has {count:,} elements from {tensor.offset:,} on in a storage of {tensor.storage.size:,}: save a clone"
    step = 1
    for stride, length in sorted((stride, length) for stride, length in zip(tensor.strides, tensor.shape, strict=True) if length > 1):
        if count and stride != step:
            return f"has strides {list(tensor.strides)} for shape {list(tensor.shape)}: save it contiguous"
        step *= length
    return None


def _check_storages(tensors: Mapping[str, pickled.Tensor], places: Mapping[str, Place]) -> None:
    """Every storage is there, as long as its tensors say, of one dtype, and used, but not by tensors that add up to a bomb."""
    used: dict[str, pickled.Storage] = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        if used.setdefault(storage.key, storage) != storage:
            raise ValueError(f"tensor {name[:200]!r} shares a storage with another and describes it differently")
        if storage.key not in places:
            raise ValueError(f"has no storage {storage.key[:80]!r}, which {name[:200]!r} needs")
        place = places[storage.key]
        if place.stop - place.start != storage.size * storage.dtype.itemsize:
            raise ValueError(
                f"tensor {name[:200]!r} needs {storage.size * storage.dtype.itemsize:,} bytes, "
                f"and its storage has {place.stop - place.start:,}"
            )
    described = sum(tensor.storage.size * tensor.storage.dtype.itemsize for tensor in tensors.values())
    stored = sum(place.stop - place.start for place in places.values())
    if described > MAX_SHARING * stored:
        raise ValueError(f"has {described:,} bytes of tensors that share {stored:,} bytes of storages")
    if unused := [key for key in places if key not in used]:
        raise ValueError(f"has the storage {unused[0][:80]!r}, which no tensor uses")


def _read(path: Path, file: BinaryIO, name: str, tensor: pickled.Tensor, place: Place) -> np.ndarray:
    """A tensor's data: its storage, axes in the order of their strides, and then in the tensor's own."""
    order = sorted(range(len(tensor.shape)), key=lambda axis: (-tensor.strides[axis], -tensor.shape[axis]))
    array = read_array(path, file, place.start, tensor.storage.dtype, [tensor.shape[axis] for axis in order])
    if place.crc is not None and zlib.crc32(array.reshape(-1).view(np.uint8).data) != place.crc:
        raise CheckpointError(path, f"is damaged: the data of {name!r} does not have its checksum")
    return array.transpose([order.index(axis) for axis in range(len(order))])


def _is_storage(name: str) -> bool:
    key = name.removeprefix("data/")
    return key != name and key.isascii() and key.isdecimal() and len(key) < 10



"""pytorch_model.bin, what torch.save writes for a state_dict: read without torch and without the pickle module.

torch 1.6 and later write a zip file: data.pkl, and one member per storage. Before, it was one file: three small pickles, the
state_dict's, the list of storages, and per storage its length and data. Both are mapped, and checked before any data is read.
"""

import math
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ..errors import CheckpointError, shortened
from . import pickled, zipped
from .archive import MAX_RANK, Archive, Entry, is_name

WEIGHTS_FILE = "pytorch_model.bin"
MAGIC = 0x1950A86A20F9469CFC6C  # what the first pickle of the old format holds
PROTOCOL = 1001
MAX_SYSTEM = 1024  # bytes of each pickle that describes the writer's machine
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


def open_file(path: Path) -> Archive:
    """The tensors of a file. Nothing in it is run, whatever it holds.

    Raises:
        CheckpointError: missing, truncated or malformed file; a pickle of anything but a state_dict; a tensor that is not
            the whole of its storage.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            reader = _zip if file.read(2) == b"PK" else _old
            state, places = reader(file, size)
            tensors = _tensors(state)
            _check_storages(tensors, places)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror or error}") from None
    except (ValueError, struct.error) as error:
        raise CheckpointError(path, shortened([str(error)])) from None
    entries = {name: Entry(tensor.storage.dtype, tensor.shape) for name, tensor in tensors.items()}

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        arrays = {}
        for name in names:
            place = places[tensors[name].storage.key]
            stored = data[place.start : place.stop]
            if place.crc is not None and zlib.crc32(stored.data) != place.crc:
                raise CheckpointError(path, f"is damaged: the data of {name!r} does not have its checksum")
            arrays[name] = _view(stored, tensors[name])
        return arrays

    return Archive(path, entries, read)


def _zip(file: BinaryIO, size: int) -> tuple[Any, dict[str, Place]]:
    """The object and the storages of a file of torch 1.6 or later."""
    found = zipped.members(file, size)
    folder = next(iter(found), "").partition("/")[0] + "/"
    if strange := [name for name in found if not name.startswith(folder)]:
        raise ValueError(f"has members outside the one folder {folder!r:.80}: {strange[0]!r:.80}")
    inner = {name.removeprefix(folder): member for name, member in found.items()}
    storages = {name.removeprefix("data/"): Place(*place) for name, place in inner.items() if _is_storage(name)}
    if strange := [name for name in inner if not (name in MEMBERS or name == "data.pkl" or _is_storage(name))]:
        raise ValueError(f"has the member {strange[0]!r:.80}, which no state_dict has")
    for name, allowed in MEMBERS.items():
        if allowed and name in inner and _member(file, inner[name], 64) not in allowed:
            raise ValueError(f"has a {name} that is not {allowed[0].decode()}")
    if "data.pkl" not in inner:
        raise ValueError("is a zip file without data.pkl: not one of torch.save")
    return _only(_member(file, inner["data.pkl"], pickled.MAX_PICKLE)), storages


def _member(file: BinaryIO, member: zipped.Member, limit: int) -> bytes:
    """A small member's content."""
    if member.stop - member.start > limit:
        raise ValueError(f"has a member of {member.stop - member.start:,} bytes where {limit:,} are allowed")
    file.seek(member.start)
    data = file.read(member.stop - member.start)
    if zlib.crc32(data) != member.crc:
        raise ValueError("is damaged: a member does not have its checksum")
    return data


def _only(data: bytes) -> Any:
    value, end = pickled.load(data)
    if end != len(data):
        raise ValueError("has bytes after its pickle")
    return value


def _old(file: BinaryIO, size: int) -> tuple[Any, dict[str, Place]]:
    """The object and the storages of a file before torch 1.6."""
    place = 0
    found = []
    for limit in (MAX_SYSTEM, MAX_SYSTEM, MAX_SYSTEM, pickled.MAX_PICKLE, pickled.MAX_PICKLE):
        file.seek(place)
        value, length = pickled.load(file.read(limit))
        found.append(value)
        place += length
        if found[0] != MAGIC:
            raise ValueError("is no file of torch.save")
    _, protocol, system, state, keys = found
    if protocol != PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("was not written by torch.save on a little-endian machine")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
        raise ValueError("has no list of storages")
    items = {tensor.storage.key: tensor.storage.dtype.itemsize for tensor in _tensors(state).values()}
    storages = {}
    for key in keys:
        if key not in items:
            raise ValueError(f"has the storage {key!r:.80}, which no tensor uses")
        file.seek(place)
        (count,) = struct.unpack("<q", file.read(8))
        storages[key] = Place(place + 8, place + 8 + count * items[key], None)
        if count < 0 or storages[key].stop > size:
            raise ValueError(f"is truncated: the storage {key!r:.80} ends after the file")
        place = storages[key].stop
    if place != size:
        raise ValueError("has bytes that no tensor owns")
    return state, storages


def _tensors(state: object) -> dict[str, pickled.Tensor]:
    """The tensors of a state_dict, each the whole of its storage."""
    if not isinstance(state, dict):
        raise ValueError(f"holds a {type(state).__name__} where a state_dict belongs")
    tensors: dict[str, pickled.Tensor] = {}
    for name, value in state.items():
        if not is_name(name):
            raise ValueError(f"tensor {name!r:.200} has an impossible name")
        if not isinstance(value, pickled.Tensor):
            raise ValueError(f"holds a {type(value).__name__} under {name!r:.200}: save the state_dict alone")
        if reason := _misfit(value):
            raise ValueError(f"tensor {name!r:.200} {reason}")
        tensors[name] = value
    return tensors


def _misfit(tensor: pickled.Tensor) -> str | None:
    """Why a tensor is not the whole of its storage, each element once."""
    if len(tensor.shape) > MAX_RANK:
        return f"has {len(tensor.shape):,} dimensions"
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
    """Every storage is there, as long as its tensors say, of one dtype, and used."""
    used: dict[str, pickled.Storage] = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        if used.setdefault(storage.key, storage) != storage:
            raise ValueError(f"tensor {name!r:.200} shares a storage with another and describes it differently")
        if storage.key not in places:
            raise ValueError(f"has no storage {storage.key!r:.80}, which {name!r:.200} needs")
        place = places[storage.key]
        if place.stop - place.start != storage.size * storage.dtype.itemsize:
            raise ValueError(
                f"tensor {name!r:.200} needs {storage.size * storage.dtype.itemsize:,} bytes, "
                f"and its storage has {place.stop - place.start:,}"
            )
    if unused := [key for key in places if key not in used]:
        raise ValueError(f"has the storage {unused[0]!r:.80}, which no tensor uses")


def _view(stored: np.ndarray, tensor: pickled.Tensor) -> np.ndarray:
    """A storage's bytes as its tensor, axes in the order of their strides and then in the tensor's own."""
    order = sorted(range(len(tensor.shape)), key=lambda axis: (-tensor.strides[axis], -tensor.shape[axis]))
    array = stored.view(tensor.storage.dtype).reshape([tensor.shape[axis] for axis in order])
    return array.transpose([order.index(axis) for axis in range(len(order))])


def _is_storage(name: str) -> bool:
    key = name.removeprefix("data/")
    return key != name and key.isascii() and key.isdecimal() and len(key) < 10



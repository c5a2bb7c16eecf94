"""Weights files made by hand, so that they can be made wrong, and where no framework is installed. Not a test."""

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Arrays = Mapping[str, np.ndarray]

STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
}
MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
ORDERED_DICT = b"ccollections\nOrderedDict\n)R"
CALL_TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"


class Spec(NamedTuple):
    """What a pickle says of one tensor; None is what the array is."""

    array: np.ndarray
    key: str
    storage: str | None = None
    count: int | None = None
    offset: int = 0
    shape: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    data = value.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(spec: Spec, view: bytes = b"") -> bytes:
    """The opcodes of one tensor."""
    array = spec.array
    shape = array.shape if spec.shape is None else spec.shape
    strides = tuple(step // array.itemsize for step in array.strides) if spec.strides is None else spec.strides
    storage = spec.storage or f"torch\n{STORAGES[str(array.dtype)]}"
    count = array.size if spec.count is None else spec.count
    place = b"(" + text("storage") + b"c" + storage.encode() + b"\n" + text(spec.key) + text("cpu") + number(count) + view + b"tQ"
    return CALL_TENSOR + b"(" + place + number(spec.offset) + numbers(shape) + numbers(strides) + b"\x89" + ORDERED_DICT + b"tR"


def specs(arrays: Arrays) -> dict[str, Spec]:
    """One storage for each array; arrays that are one object share theirs."""
    keys: dict[int, str] = {}
    return {name: Spec(array, keys.setdefault(id(array), str(len(keys)))) for name, array in arrays.items()}


def pickle_of(items: Mapping[str, Spec | bytes], view: bytes = b"") -> bytes:
    """The pickle of a state_dict; bytes stand for the opcodes of a value."""
    pairs = [text(name) + (item if isinstance(item, bytes) else tensor(item, view)) for name, item in items.items()]
    metadata = b"}" + text("_metadata") + ORDERED_DICT + text("") + b"}" + text("version") + b"K\x01sssb"
    return b"\x80\x02" + ORDERED_DICT + b"(" + b"".join(pairs) + b"u" + metadata + b"."


def data_of(items: Mapping[str, Spec | bytes]) -> dict[str, bytes]:
    """{key: the bytes of the storage}."""
    found = {item.key: item.array for item in items.values() if isinstance(item, Spec)}
    return {key: array.transpose(np.argsort(array.strides)[::-1]).tobytes() for key, array in found.items()}


def members_of(items: Mapping[str, Spec | bytes], folder: str = "archive") -> dict[str, bytes]:
    """The members of the zip file torch.save writes."""
    inner = {
        "data.pkl": pickle_of(items),
        "byteorder": b"little",
        **{f"data/{key}": data for key, data in data_of(items).items()},
        "version": b"3\n",
    }
    return {f"{folder}/{name}": data for name, data in inner.items()}


def zip_of(members: Mapping[str, bytes] | list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in members.items() if isinstance(members, Mapping) else members:
            file.writestr(zipfile.ZipInfo(name), data, compression)
    return buffer.getvalue()


def bin_of(arrays: Arrays) -> bytes:
    """pytorch_model.bin as torch 1.6 and later write it."""
    return zip_of(members_of(specs(arrays)))


def old_bin(items: Mapping[str, Spec | bytes], keys: list[str] | None = None, little: bool = True) -> bytes:
    """pytorch_model.bin as torch before 1.6 wrote it."""
    data = data_of(items)
    sizes = {item.key: item.array.size for item in items.values() if isinstance(item, Spec)}
    system = b"\x80\x02}(" + text("protocol_version") + b"M\xe9\x03" + text("little_endian") + (b"\x88" if little else b"\x89") + b"u."
    listed = b"\x80\x02](" + b"".join(map(text, data if keys is None else keys)) + b"e."
    stored = b"".join(struct.pack("<q", sizes[key]) + part for key, part in data.items())
    return MAGIC + b"\x80\x02M\xe9\x03." + system + pickle_of(items, b"N") + listed + stored


def old_bin_of(arrays: Arrays) -> bytes:
    return old_bin(specs(arrays))

"""model.safetensors: the header is read and checked first, then the data of the tensors that are asked for."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from ..errors import CheckpointError
from ..files.reading import StableFile, stable
from ..files.shard_index import MAX_TENSORS
from ..files.strict_json import parse_json
from .archive import MAX_RANK, Archive, Entry, is_name, too_many

WEIGHTS_FILE = "model.safetensors"
MAX_HEADER = 4 << 20  # bytes; the deepest MobileBERT there can be needs half of it
HEADER, HEADER_EACH = 16 << 10, 1024  # bytes allowed at all, and for each tensor; 150 are usual
VALUES, VALUES_EACH = 64, 16  # JSON values; 7 for a matrix
DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),  # an old checkpoint's embeddings.position_ids
}
# what can be written, in the order of the library, which begins a file with the last
WRITTEN = ["bool", "uint8", "int8", "int16", "uint16", "float16", "bfloat16", "int32", "uint32", "float32", "float64", "int64", "uint64"]


def open_file(file: StableFile | Path, limit: int = MAX_TENSORS) -> Archive:
    """The tensors of a file, checked against its size.

    Args:
        limit: how many tensors it may list.
    Raises:
        CheckpointError: a missing, truncated or malformed file; a dtype no weight has; overlapping tensors or unused
            bytes; more tensors than allowed.
    """
    file = stable(file)
    with file.open() as opened:
        size = file.size()
        length = int.from_bytes(opened.read(8), "little")
        if not 2 <= length <= size - 8:
            raise CheckpointError(
                file.path, f"is truncated or not safetensors: {size:,} bytes cannot hold its header of {length:,}"
            )
        if length > (longest := min(MAX_HEADER, HEADER + HEADER_EACH * limit)):
            raise CheckpointError(file.path, f"has a header of {length:,} bytes where {limit:,} tensors need at most {longest:,}")
        raw = opened.read(length)
    header = parse_json(file.path, raw, max_values=VALUES + VALUES_EACH * limit)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(file.path, "has __metadata__ that does not map strings to strings")
    if len(header) > limit:
        raise CheckpointError(file.path, too_many(limit))
    entries = {name: _entry(file.path, name, found) for name, found in header.items()}
    data = 8 + length
    places = {name: (data + header[name]["data_offsets"][0], data + header[name]["data_offsets"][1]) for name in entries}
    _check_places(file.path, places, data, size)

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        wanted = list(dict.fromkeys(names))
        arrays: dict[str, np.ndarray] = {}

        def parts() -> Iterator[tuple[int, memoryview]]:
            for name in sorted(wanted, key=places.__getitem__):
                array = arrays[name] = np.empty(entries[name].shape, entries[name].dtype)
                if array.nbytes:
                    yield places[name][0], array.reshape(-1).view(np.uint8).data

        file.fill(parts())
        return {name: arrays[name] for name in wanted}

    return Archive(file.path, entries, read)


def _check_places(path: Path, places: Mapping[str, tuple[int, int]], start: int, size: int) -> None:
    """Tensors lie one after the other, from the end of the header to the end of the file."""
    end = start
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        if place[0] != end:
            raise CheckpointError(path, f"tensor {name[:200]!r} overlaps another or leaves a gap before it")
        end = place[1]
    if end != size:
        raise CheckpointError(
            path, f"is truncated or has bytes no tensor owns: {size:,} bytes where the header describes {end:,}"
        )


def write(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write tensors under the metadata that transformers asks for, to the bytes that the library safetensors writes.

    Not by the library: its save_file reports a full disk as an error of its own, and leaves temporary files of its own when
    killed; its save copies all tensors first, which takes longer than writing them.
    """
    kinds = {name: WRITTEN.index(array.dtype.name) for name, array in tensors.items()}
    arrays = {name: np.require(tensors[name], requirements="C") for name in sorted(tensors, key=lambda name: (-kinds[name], name))}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": _title(array.dtype.name), "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.reshape(-1).view(np.uint8).data)


def _title(dtype: str) -> str:
    """What a header calls a dtype of numpy: F32 for float32."""
    letter = "BF" if dtype.startswith("b") else dtype[0].upper()
    return "BOOL" if dtype == "bool" else letter + dtype.lstrip("abcdefghijklmnopqrstuvwxyz")


def _entry(path: Path, name: str, found: object) -> Entry:
    def wrong(reason: str) -> CheckpointError:
        return CheckpointError(path, f"tensor {name[:200]!r} {reason}")

    if not is_name(name):
        raise wrong("has an impossible name")
    if not isinstance(found, dict) or set(found) != {"dtype", "shape", "data_offsets"}:
        raise wrong("must have dtype, shape and data_offsets and nothing else")
    dtype, shape, offsets = found["dtype"], found["shape"], found["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise wrong(f"has dtype {dtype!r:.40}; weights are {', '.join(DTYPES)}")
    if not _are_sizes(shape) or len(shape) > MAX_RANK:
        raise wrong(f"has shape {json.dumps(shape):.80}")
    if (
        not _are_sizes(offsets)
        or len(offsets) != 2
        or offsets[1] - offsets[0] != math.prod(shape) * DTYPES[dtype].itemsize
    ):
        raise wrong(f"has data_offsets {json.dumps(offsets):.80}, which do not fit its dtype and shape")
    return Entry(DTYPES[dtype], tuple(shape))


def _are_sizes(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 48 for item in value)

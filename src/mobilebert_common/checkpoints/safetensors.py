"""model.safetensors: the header is read and checked first, the data only for what was asked for."""

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save

from ..errors import CheckpointError
from ..files.strict_json import parse_json
from .archive import MAX_RANK, Archive, Entry, is_name

WEIGHTS_FILE = "model.safetensors"
MAX_HEADER = 4 << 20  # bytes; the deepest MobileBERT there can be needs half of it
DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype(np.int64),  # an old checkpoint's embeddings.position_ids
}


def open_file(path: Path) -> Archive:
    """The tensors of a file, checked against its size; the data is mapped when it is asked for.

    Raises:
        CheckpointError: missing, truncated or malformed file; a dtype no weight has; overlapping tensors or unused
            bytes.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER, size - 8):
                raise CheckpointError(
                    path, f"is truncated or not safetensors: {size:,} bytes cannot hold its header of {length:,}"
                )
            header = parse_json(path, file.read(length))
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror or error}") from None
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise CheckpointError(path, "has __metadata__ that does not map strings to strings")
    entries = {name: _entry(path, name, found) for name, found in header.items()}
    places = {name: slice(*(8 + length + offset for offset in header[name]["data_offsets"])) for name in entries}
    end = 8 + length
    for name, place in sorted(places.items(), key=lambda item: (item[1].start, item[1].stop)):
        if place.start != end:
            raise CheckpointError(path, f"tensor {name!r:.200} overlaps another or leaves a gap before it")
        end = place.stop
    if end != size:
        raise CheckpointError(
            path, f"is truncated or has bytes no tensor owns: {size:,} bytes where the header describes {end:,}"
        )

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        data = np.memmap(path, dtype=np.uint8, mode="r") if entries else np.zeros(0, np.uint8)
        return {name: data[places[name]].view(entries[name].dtype).reshape(entries[name].shape) for name in names}

    return Archive(path, entries, read)


def write(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write tensors under the metadata that transformers asks for.

    Not by the library's save_file: it reports a full disk as an error of its own, and leaves temporary files of its own
    when killed.
    """
    arrays = {name: np.require(array, requirements="C") for name, array in tensors.items()}
    path.write_bytes(save(arrays, metadata={"format": "pt"}))


def _entry(path: Path, name: str, found: object) -> Entry:
    def wrong(reason: str) -> CheckpointError:
        return CheckpointError(path, f"tensor {name!r:.200} {reason}")

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

"""tf_model.h5, in the layout of transformers: read without TensorFlow and without libhdf5.

Our own reader (hdf5.py) checks every dataset's type, shape and place before any data. mobilebert_conversion.h5_files writes.
"""

import math
import mmap
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..errors import CheckpointError
from . import hdf5
from .archive import Archive, Entry
from .hdf5 import Dataset

WEIGHTS_FILE = "tf_model.h5"


def open_file(path: Path) -> Archive:
    """The tensors of a file, by the names that follow the writer's class in its datasets' paths.

    Raises:
        CheckpointError: missing, truncated or malformed file; anything but plain datasets and groups in it; two tensors
            of one name.
    """
    datasets = _datasets(path)
    names: dict[str, str] = {}
    for place in datasets:
        _, _, name = (*place.split("/", 2), "", "")[:3]  # the layer, the model's class, the variable
        if not name.endswith(":0"):
            raise CheckpointError(path, f"has {place!r:.200}, which is no variable of a TF model")
        if name in names:
            raise CheckpointError(path, f"has {name!r:.200} twice, at {names[name]!r:.200} and {place!r:.200}")
        names[name] = place
    return _archive(path, {name.removesuffix(":0"): datasets[place] for name, place in names.items()})


def open_datasets(path: Path) -> Archive:
    """Every dataset of a file under its path.

    Raises:
        CheckpointError: as `open_file`, but names may be any.
    """
    return _archive(path, _datasets(path))


def _archive(path: Path, datasets: dict[str, Dataset]) -> Archive:
    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        return {name: _read(path, data, datasets[name]) for name in names}

    entries = {name: Entry(dataset.dtype, dataset.shape) for name, dataset in datasets.items()}
    return Archive(path, entries, read)


def _datasets(path: Path) -> dict[str, Dataset]:
    try:
        with open(path, "rb") as opened:
            if os.fstat(opened.fileno()).st_size < hdf5.HEAD:  # an empty file cannot be mapped
                raise CheckpointError(path, "is truncated or no HDF5 file")
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return hdf5.datasets(data)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror or error}") from None
    except CheckpointError:
        raise
    except (ValueError, OverflowError, struct.error) as error:
        raise CheckpointError(path, f"is not as Keras writes HDF5: {error}") from None


def _read(path: Path, data: np.ndarray, dataset: Dataset) -> np.ndarray:
    """The array of a checked dataset."""
    if not dataset.nbytes:
        return np.zeros(dataset.shape, dataset.dtype)
    if dataset.chunk is None:
        return data[dataset.start : dataset.start + dataset.nbytes].view(dataset.dtype).reshape(dataset.shape)
    array = np.empty(dataset.shape, dataset.dtype)
    for first in hdf5.firsts(dataset):
        target = array[tuple(slice(start, start + part) for start, part in zip(first, dataset.chunk, strict=True))]
        target[...] = _chunk(path, data, first, dataset)[tuple(slice(side) for side in target.shape)]
    return array


def _chunk(path: Path, data: np.ndarray, first: tuple[int, ...], dataset: Dataset) -> np.ndarray:
    """One chunk, unpacked to exactly the size it must have: gzip may go on without end."""
    size = math.prod(dataset.chunk or ()) * dataset.dtype.itemsize
    start, length = dataset.chunks[first]
    raw = data[start : start + length].tobytes() if length <= 2 * size + 1024 else b""
    if hdf5.DEFLATE in dataset.filters:
        try:
            raw = zlib.decompressobj().decompress(raw, size + 1)
        except zlib.error as error:
            raise CheckpointError(path, f"has a chunk that gzip cannot unpack: {error}") from None
    if len(raw) != size:
        raise CheckpointError(path, f"has a chunk that is not of {size:,} bytes")
    if hdf5.SHUFFLE in dataset.filters:
        raw = np.frombuffer(raw, np.uint8).reshape(dataset.dtype.itemsize, -1).T.tobytes()
    return np.frombuffer(raw, dataset.dtype).reshape(dataset.chunk or ())

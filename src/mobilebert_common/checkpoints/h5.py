"""tf_model.h5, in the layout of transformers: read without TensorFlow and without libhdf5.

Our own reader (hdf5.py) checks every dataset's type, shape and place before any data. mobilebert_conversion.h5_files writes.
"""

import math
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import CheckpointError
from ..files.reading import StableFile, stable
from ..files.shard_index import MAX_TENSORS, is_plain
from . import hdf5
from .archive import Archive, Entry, read_array
from .hdf5 import Dataset

WEIGHTS_FILE = "tf_model.h5"
MAX_RATIO, PACKED = 20, 1 << 20  # to which a file's values were packed, beyond so many bytes

# Copies every dataset into a file of the kind that is read here; attributes are not needed.
REWRITE = (
    "import h5py; new = h5py.File('new.h5', 'w'); "
    "h5py.File('{name}').visititems(lambda name, item: new.__setitem__(name, item[()]) if isinstance(item, h5py.Dataset) else None)"
)


def open_file(file: StableFile | Path, limit: int = MAX_TENSORS) -> Archive:
    """The tensors of a file, by the names that follow the writer's class in its datasets' paths.

    Args:
        limit: how many datasets it may have.
    Raises:
        CheckpointError: a missing, truncated or malformed file; anything but plain datasets and groups in it, or too many;
            two tensors of one name.
    """
    file = stable(file)
    datasets = _datasets(file, limit)
    names: dict[str, str] = {}
    for place in datasets:
        _, _, name = (*place.split("/", 2), "", "")[:3]  # the layer, the model's class, the variable
        if not name.endswith(":0"):
            raise CheckpointError(file.path, f"has {place[:200]!r}, which is no variable of a TF model")
        if name in names:
            raise CheckpointError(file.path, f"has {name[:200]!r} twice, at {names[name][:200]!r} and {place[:200]!r}")
        names[name] = place
    return _archive(file, {name.removesuffix(":0"): datasets[place] for name, place in names.items()})


def open_datasets(file: StableFile | Path, limit: int = MAX_TENSORS) -> Archive:
    """Every dataset of a file under its path.

    Raises:
        CheckpointError: as `open_file`, but names may be any.
    """
    file = stable(file)
    return _archive(file, _datasets(file, limit))


def _archive(file: StableFile, datasets: dict[str, Dataset]) -> Archive:
    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        wanted = {name: datasets[name] for name in names}
        _refuse_bomb(file, wanted.values())
        with file.open(verify=True) as opened:
            return {name: _read(file.path, opened, dataset) for name, dataset in wanted.items()}

    entries: dict[str, Entry] = {name: Entry(dataset.dtype, dataset.shape) for name, dataset in datasets.items()}
    return Archive(file.path, entries, read)


def _datasets(file: StableFile, limit: int) -> dict[str, Dataset]:
    try:
        with file.open() as opened:
            return hdf5.datasets(opened, file.size(), limit)
    except CheckpointError:
        raise
    except hdf5.Unknown as error:
        raise CheckpointError(
            file.path,
            f"is not as Keras writes HDF5: {error}. If you trust the file, this writes it anew as new.h5: "
            f'python -c "{REWRITE.format(name=file.name if is_plain(file.name) else "old.h5")}"',
        ) from None
    except (ValueError, OverflowError, struct.error) as error:
        raise CheckpointError(file.path, f"is not as Keras writes HDF5: {error}") from None


def _refuse_bomb(file: StableFile, datasets: Iterable[Dataset]) -> None:
    """Refuse datasets that are far larger than the file they are packed in."""
    size = sum(dataset.nbytes for dataset in datasets)
    if size > PACKED + MAX_RATIO * file.size():
        raise CheckpointError(file.path, f"packs {size:,} bytes of weights into {file.size():,}, which no weights allow")


def _read(path: Path, file: BinaryIO, dataset: Dataset) -> np.ndarray:
    """The array of a checked dataset."""
    if dataset.chunk is None or not dataset.nbytes:
        return read_array(path, file, dataset.start, dataset.dtype, dataset.shape)
    array = np.empty(dataset.shape, dataset.dtype)
    places = zip(dataset.chunks[::2], dataset.chunks[1::2], strict=True)
    for first, (start, length) in zip(hdf5.firsts(dataset), places, strict=True):
        target = array[tuple(slice(start, start + part) for start, part in zip(first, dataset.chunk, strict=True))]
        target[...] = _chunk(path, file, start, length, dataset)[tuple(slice(side) for side in target.shape)]
    return array


def _chunk(path: Path, file: BinaryIO, start: int, length: int, dataset: Dataset) -> np.ndarray:
    """One chunk, unpacked to exactly the size it must have: gzip may go on without end."""
    size = math.prod(dataset.chunk or ()) * dataset.dtype.itemsize
    file.seek(start)
    raw = file.read(length) if length <= 2 * size + 1024 else b""
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

"""tf_model.h5, in the layout of transformers: read and written without TensorFlow.

A file is read by our own reader (hdf5.py), which checks every dataset's type, shape and place before any data; libhdf5 only
writes.
"""

import io
import math
import mmap
import os
import re
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import h5py
import numpy as np

from ..config import MobileBertConfig
from ..errors import CheckpointError
from ..schema import HEADS, TIED, Tensor, expand, to_layout
from . import hdf5
from .archive import Archive, Entry
from .hdf5 import Dataset

WEIGHTS_FILE = "tf_model.h5"

KERAS_VERSION = "2.21.0"  # of the layout; a Keras 2 of any release reads it
MAX_ATTRIBUTE = 64_512  # bytes that Keras puts into one attribute
FLOATS = ("float32", "float64")


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


def write(path: Path, config: MobileBertConfig, head: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Write what save_pretrained of the TF class in transformers 4 writes, for its from_pretrained to read.

    Args:
        head: class name, see schema.HEADS.
        tensors: {canonical name: array} of that class, float32 or float64.
    Raises:
        ValueError: another dtype.
    """
    if wrong := {str(array.dtype) for array in tensors.values()} - {*FLOATS}:
        raise ValueError(f"{WEIGHTS_FILE} holds {' or '.join(FLOATS)}, not {', '.join(sorted(wrong))}: load with dtype='float32'")
    scope = _snake_case(f"TF{head}")
    groups: dict[str, dict[str, np.ndarray]] = {}
    for tensor in _in_order(expand(config.replace(tie_word_embeddings=False), head)):  # TF always has a decoder
        foreign = tensor.dialects["h5"]
        array = tensors[tensor.name if tensor.name in tensors else TIED[tensor.name]]
        weights = groups.setdefault(foreign.name.partition("/")[0], {})
        weights[f"{scope}/{foreign.name}:0"] = to_layout(array, foreign.layout, config.num_attention_heads)
    if {"classifier", "choice"} & {*HEADS[head].blocks}:
        groups = {"mobilebert": groups["mobilebert"], _dropout(config): {}, "classifier": groups["classifier"]}
    content = io.BytesIO()  # libhdf5 brings the process down where the disk is full
    with h5py.File(content, "w") as file:
        _write_names(file, "layer_names", list(groups))
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = KERAS_VERSION.encode()
        for name in [*sorted(groups), "top_level_model_weights"]:
            group = file.create_group(name)
            arrays = groups.get(name, {})
            _write_names(group, "weight_names", list(arrays))
            for place, array in arrays.items():
                group.create_dataset(place, data=array)
    path.write_bytes(content.getbuffer())


# modules that the TF classes build before the others of their block
EARLY = {
    module: rank
    for rank, module in enumerate(
        (
            "embeddings.word_embeddings",
            "embeddings.token_type_embeddings",
            "embeddings.position_embeddings",
            "cls.predictions",
            "cls.predictions.dense",
            "cls.predictions.decoder",
        )
    )
}


def _in_order(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Tensors as the TF classes list them: layer by layer, each with its FFNs last; a NoNorm has its bias first."""
    blocks = list(dict.fromkeys("layer" if tensor.block == "ffn" else tensor.block for tensor in tensors.values()))
    modules = list(dict.fromkeys(tensor.module for tensor in tensors.values()))
    rank = {module: EARLY.get(module.removeprefix("mobilebert."), len(EARLY) + index) for index, module in enumerate(modules)}

    def key(tensor: Tensor) -> tuple[int, list[int], int, bool]:
        numbers = [int(part) for part in tensor.name.split(".") if part.isdecimal()]  # of the layer, of the FFN
        block = blocks.index("layer" if tensor.block == "ffn" else tensor.block)
        return block, numbers, rank[tensor.module], not tensor.dialects["h5"].name.endswith("LayerNorm/bias")

    return sorted(tensors.values(), key=key)


def _dropout(config: MobileBertConfig) -> str:
    """The name of a classifier's dropout, an empty group: Keras numbers the dropouts of a model through."""
    return f"dropout_{1 + config.num_hidden_layers * (2 if config.use_bottleneck else 3)}"


def _write_names(group: h5py.Group, attribute: str, names: list[str]) -> None:
    """A list of names as Keras keeps it: in parts where it is too long for one attribute."""
    data = [name.encode() for name in names]
    array = np.asarray(data)
    count = 1
    while any(part.nbytes > MAX_ATTRIBUTE for part in np.array_split(array, count)):
        count += 1
    if count == 1:
        group.attrs[attribute] = data
    else:
        for number, part in enumerate(np.array_split(array, count)):
            group.attrs[f"{attribute}{number}"] = part


def _snake_case(name: str) -> str:
    """As Keras names an instance after its class."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", name)).lower()

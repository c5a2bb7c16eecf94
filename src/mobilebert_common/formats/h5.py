"""tf_model.h5, in the layout of transformers: read and written without TensorFlow.

HDF5 files can name other files, plug-ins and sizes without end. A file is walked over hard links alone, every dataset's type,
shape and place are checked, and the data is then taken from the file itself: libhdf5 decodes none of it.
"""

import itertools
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import ml_dtypes
import numpy as np

from ..config import MobileBertConfig
from ..errors import CheckpointError
from ..schema import HEADS, TIED, Tensor, expand, to_layout
from .archive import MAX_RANK, Archive, Entry, is_name

WEIGHTS_FILE = "tf_model.h5"
MAX_OBJECTS = 50_000
MAX_DEPTH = 40
MAX_CHUNK = 16 << 20  # bytes
SIGNATURE = b"\x89HDF\r\n\x1a\n"
TYPES = (  # as HDF5 spells them; weights are the floats, the rest a Keras file keeps for its optimizer
    (h5py.h5t.IEEE_F16LE, np.dtype("<f2")),
    (h5py.h5t.IEEE_F32LE, np.dtype("<f4")),
    (h5py.h5t.IEEE_F64LE, np.dtype("<f8")),
    (h5py.h5t.py_create(np.dtype("V2")), np.dtype(ml_dtypes.bfloat16)),  # as Keras writes it
    (h5py.h5t.STD_I32LE, np.dtype("<i4")),
    (h5py.h5t.STD_U32LE, np.dtype("<u4")),
    (h5py.h5t.STD_I64LE, np.dtype("<i8")),
)
FILTERS = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE)  # as written; reading undoes them from the last on

KERAS_VERSION = "2.21.0"  # of the layout; a Keras 2 of any release reads it
MAX_ATTRIBUTE = 64_512  # bytes that Keras puts into one attribute
FLOATS = ("float32", "float64")


@dataclass(frozen=True)
class _Dataset(Entry):
    """A dataset: the bytes file[start : start + its size], or the shape of its chunks and their filters."""

    start: int
    chunk: tuple[int, ...] | None = None
    filters: tuple[int, ...] = ()


def open_file(path: Path) -> Archive:
    """The tensors of a file, by the names that follow the writer's class in its datasets' paths.

    Raises:
        CheckpointError: missing, truncated or malformed file; anything but plain datasets and groups in it; two tensors
            of one name.
    """
    with _opened(path) as file:
        datasets = _walk(file, path)
    names: dict[str, str] = {}
    for place in datasets:
        _, _, name = (*place.split("/", 2), "", "")[:3]  # the layer, the model's class, the variable
        if not name.endswith(":0") or name in names:
            raise CheckpointError(path, f"has {place!r:.200}, a second of its name or no variable of a TF model")
        names[name] = place
    places = {name.removesuffix(":0"): place for name, place in names.items()}
    entries = {name: Entry(datasets[place].dtype, datasets[place].shape) for name, place in places.items()}

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        return {name: _read(path, places[name], datasets[places[name]]) for name in names}

    return Archive(path, entries, read)


def open_datasets(path: Path) -> Archive:
    """Every dataset of a file under its path; see `walk`, which has checked it.

    Raises:
        CheckpointError: as `open_file`, but names may be any.
    """
    with _opened(path) as file:
        datasets = _walk(file, path)

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        return {name: _read(path, name, datasets[name]) for name in names}

    return Archive(path, {place: Entry(found.dtype, found.shape) for place, found in datasets.items()}, read)


def walk(file: h5py.File, path: Path) -> dict[str, Entry]:
    """{path: what it is} of every dataset in a file nobody vouches for; no data is read.

    Raises:
        CheckpointError: links other than hard ones, an object linked twice, data outside the file, a filter other than
            gzip, or more than a model can need of anything.
    """
    return {place: Entry(found.dtype, found.shape) for place, found in _walk(file, path).items()}


def _walk(file: h5py.File, path: Path) -> dict[str, _Dataset]:
    size = path.stat().st_size
    found: dict[str, _Dataset] = {}
    seen: set[int] = set()
    groups = [("", file["/"].id)]
    while groups:
        place, group = groups.pop()
        for name in _links(group, path):
            below = f"{place}/{name}".removeprefix("/")
            object_id = h5py.h5o.open(group, name.encode())
            address = h5py.h5o.get_info(object_id).addr
            if address in seen or len(seen) >= MAX_OBJECTS or below.count("/") >= MAX_DEPTH:
                raise CheckpointError(path, f"reaches {below!r:.200} a second time, or holds too many objects or levels")
            seen.add(address)
            if isinstance(object_id, h5py.h5g.GroupID):
                groups.append((below, object_id))
            elif isinstance(object_id, h5py.h5d.DatasetID):
                found[below] = _dataset(object_id, below, path, size)
            else:
                raise CheckpointError(path, f"holds {below!r:.200}, which is no group or dataset")
    spans = sorted((one.start, one.start + _length(one)) for one in found.values() if one.chunk is None and _length(one))
    if any(start < stop for (_, stop), (start, _) in itertools.pairwise(spans)):
        raise CheckpointError(path, "has datasets that overlap")
    return found


def _links(group: h5py.h5g.GroupID, path: Path) -> list[str]:
    """The names of a group's members, each a hard link."""
    raw: list[bytes] = []

    def take(name: bytes) -> bool | None:
        raw.append(name)
        return len(raw) > MAX_OBJECTS or None

    group.links.iterate(take)
    for name in raw:
        if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            raise CheckpointError(path, f"has a link {name!r:.200} that leads elsewhere: soft or external")
    names = [name.decode("utf-8") for name in raw]
    if strange := [name for name in names if not is_name(name) or "/" in name]:
        raise CheckpointError(path, f"has the impossible name {strange[0]!r:.200}")
    return names


def _dataset(dataset: h5py.h5d.DatasetID, name: str, path: Path, size: int) -> _Dataset:
    """What a dataset is, once it is known to be plain."""

    def wrong(reason: str) -> CheckpointError:
        return CheckpointError(path, f"dataset {name!r:.200} {reason}")

    kind, space, plan = dataset.get_type(), dataset.get_space(), dataset.get_create_plist()
    dtype = next((dtype for known, dtype in TYPES if kind.equal(known)), None)
    if dtype is None:
        raise wrong("has a type that no weight has")
    if space.get_simple_extent_type() == h5py.h5s.NULL or space.get_simple_extent_ndims() > MAX_RANK:
        raise wrong("has no shape or too many dimensions")
    shape = tuple(int(length) for length in space.get_simple_extent_dims())
    length = math.prod(shape) * dtype.itemsize
    layout = plan.get_layout()
    if plan.get_external_count() or layout not in (h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
        raise wrong("keeps its data elsewhere: external or virtual")
    filters = tuple(plan.get_filter(number)[0] for number in range(plan.get_nfilters()))
    if [known for known in FILTERS if known in filters] != list(filters):
        raise wrong(f"has the filters {list(filters)}; only gzip and shuffle are known here")
    if layout == h5py.h5d.CONTIGUOUS:
        start = dataset.get_offset() or 0
        if length and (not start or start + length > size or dataset.get_storage_size() != length):
            raise wrong(f"of shape {list(shape)} does not lie in the file")
        return _Dataset(dtype, shape, start)
    chunk = tuple(int(side) for side in plan.get_chunk())
    if len(chunk) != len(shape) or not 0 < math.prod(chunk) * dtype.itemsize <= MAX_CHUNK:
        raise wrong(f"has chunks of shape {list(chunk)}")
    if math.prod(-(-side // part) for side, part in zip(shape, chunk, strict=True)) != dataset.get_num_chunks():
        raise wrong("does not have all its chunks")
    return _Dataset(dtype, shape, 0, chunk, filters)


def _length(dataset: _Dataset) -> int:
    """Bytes."""
    return math.prod(dataset.shape) * dataset.dtype.itemsize


def _read(path: Path, place: str, dataset: _Dataset) -> np.ndarray:
    """The array of a checked dataset."""
    if not _length(dataset):
        return np.zeros(dataset.shape, dataset.dtype)
    if dataset.chunk is None:
        data = np.memmap(path, dtype=np.uint8, mode="r")
        return data[dataset.start : dataset.start + _length(dataset)].view(dataset.dtype).reshape(dataset.shape)
    array = np.empty(dataset.shape, dataset.dtype)
    with _opened(path) as file:
        source = file[place].id
        for start in itertools.product(*(range(0, side, part) for side, part in zip(dataset.shape, dataset.chunk, strict=True))):
            target = array[tuple(slice(first, first + part) for first, part in zip(start, dataset.chunk, strict=True))]
            target[...] = _chunk(path, source, start, dataset)[tuple(slice(side) for side in target.shape)]
    return array


def _chunk(path: Path, source: h5py.h5d.DatasetID, start: tuple[int, ...], dataset: _Dataset) -> np.ndarray:
    """One chunk, unpacked to exactly the size it must have: libhdf5 would go on as long as gzip does."""
    size = math.prod(dataset.chunk or ()) * dataset.dtype.itemsize
    if source.get_chunk_info_by_coord(start).size > 2 * size + 1024:
        raise CheckpointError(path, "has a chunk that is larger packed than unpacked")
    skipped, data = source.read_direct_chunk(start)
    if skipped:
        raise CheckpointError(path, "has a chunk without its filters")
    if h5py.h5z.FILTER_DEFLATE in dataset.filters:
        packed = zlib.decompressobj()
        data = packed.decompress(data, size + 1)
    if len(data) != size:
        raise CheckpointError(path, f"has a chunk that is not of {size:,} bytes")
    raw = np.frombuffer(data, np.uint8)
    if h5py.h5z.FILTER_SHUFFLE in dataset.filters:
        raw = np.ascontiguousarray(raw.reshape(dataset.dtype.itemsize, -1).T).reshape(-1)
    return raw.view(dataset.dtype).reshape(dataset.chunk)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file whose every failure is one error: h5py passes on many types."""
    try:
        with open(path, "rb") as start:
            if start.read(len(SIGNATURE)) != SIGNATURE:
                raise CheckpointError(path, "is truncated or no HDF5 file")
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror}") from None
    except Exception as error:  # OSError, RuntimeError, KeyError, ValueError, TypeError, zlib.error, UnicodeError
        raise CheckpointError(path, f"is truncated or malformed HDF5: {error!s:.300}") from None


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
    with h5py.File(path, "w") as file:
        _write_names(file, "layer_names", list(groups))
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = KERAS_VERSION.encode()
        for name in [*sorted(groups), "top_level_model_weights"]:
            group = file.create_group(name)
            arrays = groups.get(name, {})
            _write_names(group, "weight_names", list(arrays))
            for place, array in arrays.items():
                group.create_dataset(place, data=array)


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

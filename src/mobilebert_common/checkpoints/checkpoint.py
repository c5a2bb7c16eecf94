"""A checkpoint directory <-> {canonical name: array}. All weights go through here."""

import contextlib
import functools
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import keywords
from ..errors import CheckpointError, ConfigError, shortened
from ..files import folder as folders
from ..files import hub
from ..files.folder import Content, Folder, finish_renames, read_consistently, save_files
from ..files.shard_index import INDEX, MAX_TENSORS
from ..model.architectures import named_architecture
from ..model.config import CONFIG_FILE, MobileBertConfig
from ..model.dtypes import DTYPES, parse_dtype
from ..model.layout import from_layout
from ..model.schema import WORDS, most_tensors
from . import h5, safetensors, torch_bin
from .archive import Archive, Open
from .matching import Naming, Shape, match, naming_of, with_copies
from .shards import open_shards

log = logging.getLogger(__name__)


class Source(NamedTuple):
    """A weights file by its name: how it names its tensors, and what opens it."""

    file: str
    naming: Naming
    open: Callable[[Folder, str, int], Archive]


def _whole(file: str, naming: Naming, open_file: Open) -> Source:
    return Source(file, naming, lambda folder, name, limit: open_file(folder.file(name), limit))


def _sharded(file: str, naming: Naming, open_file: Open) -> Source:
    return Source(f"{file}{INDEX}", naming, lambda folder, name, limit: open_shards(folder, name, limit, open_shard=open_file))


# what a directory may hold, the best first
SOURCES: tuple[Source, ...] = (
    _whole(safetensors.WEIGHTS_FILE, "canonical", safetensors.open_file),
    _sharded(safetensors.WEIGHTS_FILE, "canonical", safetensors.open_file),
    _whole(torch_bin.WEIGHTS_FILE, "canonical", torch_bin.open_file),
    _sharded(torch_bin.WEIGHTS_FILE, "canonical", torch_bin.open_file),
    _whole(h5.WEIGHTS_FILE, "h5", h5.open_file),
    _sharded(h5.WEIGHTS_FILE, "h5", h5.open_datasets),
)
# what only `mobilebert convert` reads
CONVERTIBLE = ("*.ckpt*.index", "*.keras", "*.weights.h5")


@dataclass(frozen=True)
class Weights:
    """What `load` found.

    Attributes:
        config: the configuration of the directory with the caller's overrides.
        tensors: {canonical name: array in the dtype asked for}; may be read-only.
        dtype: the name of that dtype.
        fresh: canonical names of tensors the checkpoint does not have; the model keeps its initial values there.
        mismatched: those of `fresh` that the file has in another shape: {canonical name: (the file's, the model's)}.
        ignored: names of tensors in the file that this model has no use for.
        untied: the file has a decoder of its own, although its configuration says that it is tied.
    """

    config: MobileBertConfig
    tensors: dict[str, np.ndarray]
    dtype: str
    fresh: tuple[str, ...] = ()
    mismatched: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    untied: bool = False

    def loading_info(self) -> dict[str, list[Any]]:
        """What transformers returns for output_loading_info; its error_msgs are exceptions here."""
        return {
            "missing_keys": [name for name in self.fresh if name not in self.mismatched],
            "unexpected_keys": list(self.ignored),
            "mismatched_keys": [(name, *shapes) for name, shapes in self.mismatched.items()],
            "error_msgs": [],
        }


def load(
    name_or_path: str | Path | Folder | None,
    architecture: str,
    dtype: str = "float32",
    *,
    config: Any = None,
    ignore_mismatched_sizes: bool = False,
    zero_pad_embedding: bool = False,
    without: Collection[str] = (),
    shapes: Callable[[MobileBertConfig], Mapping[str, Shape]] | None = None,
    state: Archive | None = None,
    **options: Any,
) -> Weights:
    """Read the weights a model class needs, from the best of the files in SOURCES.

    A head model takes the file of a base model or of another head and gets a fresh head, reported once; a base model
    takes that of any head.

    Args:
        name_or_path: a folder with config.json and weights, which are held against its manifest.json if it has one, or, as
            a str, a name on the hub, from which those two files are downloaded. While another process saves into the
            folder, all of what is read is from before the save or all of it from after. None with both config and state.
        architecture: class name, see ARCHITECTURES.
        dtype: "float32", "float64", "bfloat16" or "float16", whatever the file holds; "auto" is what it holds.
        config: takes the place of config.json: what MobileBertConfig.from_any takes, such as one of transformers.
        ignore_mismatched_sizes: a tensor of another shape starts fresh, as a classifier for other labels does.
        zero_pad_embedding: set the word embedding of [PAD] to zero, without which padding changes results.
        without: blocks of the head that the model is made without, as "pooler".
        shapes: what a model with layers of its own has for a configuration, see matching.match.
        state: weights in memory, which are used in place of the folder's.
        options: keys of the configuration that take precedence over config.json; hub.Options; what
            keywords.OPENING_MODEL accepts.
    Raises:
        CheckpointError: a file is missing or damaged, or tensors are missing, unexpected, mis-shaped or not finite: all
            in one error.
        ConfigError: an option that is unknown, impossible or not supported.
        OSError, ImportError: see hub.resolve.
    """
    where, _, overrides = keywords.sort_options(options, keywords.OPENING_MODEL)
    MobileBertConfig.refuse_unknown(overrides)
    given = None if config is None else MobileBertConfig.from_any(config)
    if dtype != "auto":
        parse_dtype(dtype)
    files = [] if given is not None else [CONFIG_FILE]
    if state is not None and given is not None:
        place: Path | Folder = Folder(state.path, {})  # nothing of it is read
    elif name_or_path is None:
        raise ConfigError("without the name of a model or a folder, both config= and state_dict= are needed")
    else:
        place = hub.resolve(name_or_path, files, [source.file for source in SOURCES] if state is None else (), **where)
    if isinstance(place, Path) and not place.is_dir():
        raise CheckpointError(place, "is not a directory; a checkpoint is a directory with config.json and weights")

    def read_folder(folder: Folder) -> Weights:
        wanted = MobileBertConfig.from_folder(folder, overrides) if given is None else given.replace(**overrides)
        layers = _cut_down(folder, wanted) if given is not None or "num_hidden_layers" in overrides else None
        limit = most_tensors(wanted if layers is None else wanted.replace(num_hidden_layers=layers))
        naming: Naming = "canonical"
        if state is None:
            archive, naming = open_weights(folder, limit)
        else:
            archive = state
        try:
            return read(
                archive,
                naming,
                wanted,
                architecture,
                dtype,
                ignore_mismatched_sizes=ignore_mismatched_sizes,
                keep_tied="tie_word_embeddings" in overrides,
                without=without,
                shapes=None if shapes is None else shapes(wanted),
                layers=layers,
            )
        except ConfigError as error:  # more parameters than any model
            raise CheckpointError(folder.path / CONFIG_FILE, str(error)) from None

    weights = read_consistently(place, read_folder)
    weights.config.update({"name_or_path": str(name_or_path)})
    if zero_pad_embedding:
        _zero_padding(weights)
    _warn(weights, place)
    return weights


def _cut_down(folder: Folder, wanted: MobileBertConfig) -> int | None:
    """The layers of the model in a folder, where the caller asks for fewer."""
    try:
        there = MobileBertConfig.from_folder(folder).num_hidden_layers
    except CheckpointError:  # the caller's configuration takes its place
        return None
    if there <= wanted.num_hidden_layers:
        return None
    log.warning("%s has %d layers, of which the first %d are used", folder, there, wanted.num_hidden_layers)
    return there


def open_weights(folder: Folder, limit: int = MAX_TENSORS) -> tuple[Archive, Naming]:
    """The best weights file of a directory, and how it names its tensors.

    Args:
        limit: how many tensors it may list.
    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    if source := find_weights(folder):
        archive = source.open(folder, source.file, limit)
        return archive, naming_of(archive, source.naming)
    files = ", ".join(source.file for source in SOURCES)
    if others := [path.name for pattern in CONVERTIBLE for path in sorted(folder.path.glob(pattern))]:
        raise CheckpointError(
            folder.path, f"has {others[0]!r}, which `mobilebert convert` turns into {safetensors.WEIGHTS_FILE}, and none of {files}"
        )
    raise CheckpointError(folder.path, f"has no weights: none of {files}")


def find_weights(folder: Folder) -> Source | None:
    """The best weights file of a directory; one that the manifest names and that is gone gives way only to another such."""
    there = [source for source in SOURCES if folder.has(source.file)]
    gone = [source for source in SOURCES if source.file in folder.digests and source not in there]
    if gone and not (there and there[0].file in folder.digests):  # a file of another origin does not stand in for it
        return gone[0]
    return there[0] if there else None


def read(
    archive: Archive,
    naming: Naming,
    config: MobileBertConfig,
    architecture: str,
    dtype: str = "float32",
    *,
    ignore_mismatched_sizes: bool = False,
    keep_tied: bool = False,
    without: Collection[str] = (),
    shapes: Mapping[str, Shape] | None = None,
    layers: int | None = None,
) -> Weights:
    """The canonical tensors of a model from a file in any dialect; see `load` and `matching.match`.

    Raises:
        CheckpointError: the tensors do not fit, or hold NaN or infinite values.
    """
    found = match(
        archive,
        naming,
        config,
        architecture,
        ignore_mismatched_sizes=ignore_mismatched_sizes,
        keep_tied=keep_tied,
        without=without,
        shapes=shapes,
        layers=layers,
    )
    arrays = archive.read(place.name for place in found.source.values())
    wanted = _stored_dtype(arrays) if dtype == "auto" else parse_dtype(dtype)
    last = {place.name: name for name, place in found.source.items()}
    tensors: dict[str, np.ndarray] = {}
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused below
        for name, place in found.source.items():
            # one at a time is there in both dtypes; a tensor that stands in for another as well is copied
            array = arrays.pop(place.name) if last[place.name] == name else arrays[place.name].copy()
            tensors[name] = _as_dtype(from_layout(array, place.layout), wanted)
    tensors |= {
        name: np.zeros(tensor.shape, wanted)
        for name, tensor in found.expected.items()
        if 0 in tensor.shape and name not in (*tensors, *found.fresh)
    }
    if broken := [name for name, array in tensors.items() if not np.isfinite(array).all()]:
        raise CheckpointError(archive.path, f"holds NaN or infinite values (as {wanted}) in {shortened(broken, ', ')}")
    untied = config.tie_word_embeddings and not found.config.tie_word_embeddings
    return Weights(found.config, tensors, str(wanted), found.fresh, found.mismatched, found.ignored, untied)


def accept(directory: str | Path) -> list[str]:
    """Accept the files of a checkpoint directory as they are, after an edit that its manifest does not know.

    The configuration and the weights must be usable: values in range, all tensors there and finite.

    Returns:
        The names of the files that changed; empty where there is no manifest.
    Raises:
        CheckpointError: they are not usable; nothing was written.
        OSError: the manifest cannot be written.
    """
    path = Path(directory)
    if not path.is_dir():
        raise CheckpointError(path, "is not a folder on this machine: only such a folder can be accepted")
    with contextlib.suppress(CheckpointError):  # the manifest may be what is damaged
        finish_renames(path)
    unverified = Folder(path, {})
    if unverified.has(CONFIG_FILE) and find_weights(unverified):
        config = MobileBertConfig.from_folder(unverified)
        load(unverified, named_architecture(config) or "MobileBertModel", dtype="auto")
    return folders.accept(path)


def save(directory: str | Path, config: MobileBertConfig, architecture: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Write config.json and model.safetensors, and their SHA-256 into manifest.json, in one step.

    Args:
        directory: created where it is absent; other files in it stay.
        config, architecture, tensors: see `contents`.
    Raises:
        OSError: nothing was written, and what was there is intact.
    """
    save_files(Path(directory), contents(config, architecture, tensors))


def contents(config: MobileBertConfig, architecture: str, tensors: Mapping[str, np.ndarray]) -> dict[str, Content]:
    """The files of a checkpoint without its tokenizer, for save_files.

    Args:
        config: what the model is; `architectures` and `dtype` are set from the model saved.
        architecture: class name, see ARCHITECTURES.
        tensors: {canonical name: array}; all that are not whole numbers are of one dtype.
    """
    dtype = str(next(array.dtype for array in tensors.values() if array.dtype.kind not in "iu"))
    config = config.replace(architectures=[architecture], dtype=dtype)
    return {
        CONFIG_FILE: config.to_json_string().encode(),
        safetensors.WEIGHTS_FILE: lambda path: safetensors.write(path, with_copies(config, tensors)),
    }


def _as_dtype(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An array in another floating-point dtype; whole numbers, which a layer of a user's own may have, stay as they are."""
    return array if array.dtype.kind in "iu" else array.astype(dtype, copy=False)


def _stored_dtype(arrays: Mapping[str, np.ndarray]) -> np.dtype:
    """The dtype of a file's tensors; where they differ, the smallest that holds the values of all."""
    dtypes = {array.dtype for array in arrays.values() if array.dtype.kind not in "iu"}
    if {DTYPES["bfloat16"], DTYPES["float16"]} <= dtypes:
        dtypes.add(DTYPES["float32"])
    return max(dtypes, key=lambda dtype: dtype.itemsize, default=DTYPES["float32"])


def _padding_row(weights: Weights) -> np.ndarray | None:
    """The word embedding of [PAD], if the model has word embeddings."""
    name = next((name for name in weights.tensors if WORDS.endswith(name)), None)
    return None if name is None else weights.tensors[name][weights.config.pad_token_id]


def _zero_padding(weights: Weights) -> None:
    """Set the word embedding of [PAD] to zero."""
    name = next((name for name in weights.tensors if WORDS.endswith(name)), None)
    if name is not None:
        weights.tensors[name] = weights.tensors[name].copy()
        weights.tensors[name][weights.config.pad_token_id] = 0


def _warn(weights: Weights, path: Path | Folder) -> None:
    """Log what the caller should know of a checkpoint."""
    if weights.untied:
        log.warning("%s has a decoder that is not the word embeddings: tie_word_embeddings is now false", path)
    if weights.fresh:
        log.warning("%s has nothing that fits %s: fresh weights, to be trained before use", path, ", ".join(weights.fresh))
    row = _padding_row(weights)
    if row is not None and row.any():  # the trigram lets the last token read it
        log.warning(
            "%s has a word embedding of [PAD] that is not zero, so padding changes results; "
            "zero_pad_embedding=True sets it to zero",
            path,
        )
    if "float16" in {str(array.dtype) for array in weights.tensors.values()}:
        _warn_float16()


@functools.cache
def _warn_float16() -> None:
    """Once a process."""
    log.warning("float16 overflows in the published MobileBERT (its hidden states reach -2.5e7); bfloat16 does not")

"""A checkpoint directory <-> {canonical name: array}. All weights go through here."""

import functools
import logging
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import keywords
from ..errors import CheckpointError, ConfigError, shortened
from ..files import hub
from ..files.folder import Content, Digests, located, read_manifest, save_files, stored
from ..files.reading import StableFile
from ..files.shard_index import MAX_TENSORS
from ..model.config import CONFIG_FILE, MobileBertConfig, refuse_unknown
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
    open: Open


# what a directory may hold, the best first
SOURCES: tuple[Source, ...] = (
    Source(safetensors.WEIGHTS_FILE, "canonical", safetensors.open_file),
    Source(f"{safetensors.WEIGHTS_FILE}.index.json", "canonical", functools.partial(open_shards, open_shard=safetensors.open_file)),
    Source(torch_bin.WEIGHTS_FILE, "canonical", torch_bin.open_file),
    Source(f"{torch_bin.WEIGHTS_FILE}.index.json", "canonical", functools.partial(open_shards, open_shard=torch_bin.open_file)),
    Source(h5.WEIGHTS_FILE, "h5", h5.open_file),
    Source(f"{h5.WEIGHTS_FILE}.index.json", "h5", functools.partial(open_shards, open_shard=h5.open_datasets)),
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
    """

    config: MobileBertConfig
    tensors: dict[str, np.ndarray]
    dtype: str
    fresh: tuple[str, ...] = ()
    mismatched: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    def loading_info(self) -> dict[str, list[Any]]:
        """What transformers returns for output_loading_info; its error_msgs are exceptions here."""
        return {
            "missing_keys": [name for name in self.fresh if name not in self.mismatched],
            "unexpected_keys": list(self.ignored),
            "mismatched_keys": [(name, *shapes) for name, shapes in self.mismatched.items()],
            "error_msgs": [],
        }


def load(
    name_or_path: str | Path,
    architecture: str,
    dtype: str = "float32",
    *,
    config: MobileBertConfig | None = None,
    ignore_mismatched_sizes: bool = False,
    zero_pad_embedding: bool = False,
    without: Collection[str] = (),
    **options: Any,
) -> Weights:
    """Read the weights a model class needs, from the best of the files in SOURCES.

    A head model takes the file of a base model or of another head and gets a fresh head, reported once; a base model
    takes that of any head.

    Args:
        name_or_path: a folder with config.json and weights, which are verified first where it has a manifest.json, or, as
            a str, a name on the hub, from which those two files are downloaded.
        architecture: class name, see schema.ARCHITECTURES.
        dtype: "float32", "float64", "bfloat16" or "float16", whatever the file holds; "auto" is what it holds.
        config: takes the place of config.json.
        ignore_mismatched_sizes: a tensor of another shape starts fresh, as a classifier for other labels does.
        zero_pad_embedding: set the word embedding of [PAD] to zero, without which padding changes results.
        without: blocks of the head that the model is made without, as "pooler".
        options: keys of the configuration that take precedence over config.json; hub.Options; what
            keywords.OPENING_MODEL accepts.
    Raises:
        CheckpointError: a file is missing or damaged, or tensors are missing, unexpected, mis-shaped or not finite: all
            in one error.
        ConfigError: an option that is unknown, impossible or not supported.
        OSError, ImportError: see hub.resolve.
    """
    where, overrides = hub.split_options(keywords.meaningful(options, keywords.OPENING_MODEL))
    refuse_unknown(overrides)
    if not isinstance(config, MobileBertConfig | None):
        raise ConfigError(f"config must be a MobileBertConfig of this package, not {type(config).__name__}")
    if dtype != "auto":
        parse_dtype(dtype)
    files = [] if config is not None else [CONFIG_FILE]
    folder = hub.resolve(name_or_path, files, [source.file for source in SOURCES], **where)
    if not folder.is_dir():
        raise CheckpointError(folder, "is not a directory; a checkpoint is a directory with config.json and weights")
    if config is None:
        config = MobileBertConfig.from_pretrained(folder, **overrides)
    elif overrides:
        config = config.replace(**overrides)
    archive, names = open_weights(folder, most_tensors(config))
    keep_tied = "tie_word_embeddings" in overrides
    try:
        weights = read(archive, names, config, architecture, dtype, ignore_mismatched_sizes, keep_tied, without)
    except ConfigError as error:  # more parameters than any model
        raise CheckpointError(folder / CONFIG_FILE, str(error)) from None
    if weights.fresh:
        log.warning("%s has nothing that fits %s: fresh weights, to be trained before use", folder, ", ".join(weights.fresh))
    _treat_padding(weights, folder, zero_pad_embedding)
    if "float16" in {str(array.dtype) for array in weights.tensors.values()}:
        _warn_float16()
    return weights


def open_weights(folder: Path, limit: int = MAX_TENSORS) -> tuple[Archive, Naming]:
    """The best weights file of a directory, and how it names its tensors.

    Args:
        limit: how many tensors it may list.
    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    digests = read_manifest(folder)
    if source := find_weights(folder, digests):
        places = (located(folder, source.file, digests), folder / source.file)
        archive = source.open(StableFile(folder / source.file, places, digests.get(source.file)), limit)
        return archive, naming_of(archive, source.naming)
    files = ", ".join(source.file for source in SOURCES)
    if others := [path.name for pattern in CONVERTIBLE for path in sorted(folder.glob(pattern))]:
        raise CheckpointError(
            folder, f"has {others[0]!r}, which `mobilebert convert` turns into {safetensors.WEIGHTS_FILE}, and none of {files}"
        )
    raise CheckpointError(folder, f"has no weights: none of {files}")


def find_weights(folder: Path, digests: Digests | None = None) -> Source | None:
    """The best weights file of a directory; one that the manifest names and that is gone gives way only to another such."""
    saved = read_manifest(folder) if digests is None else digests
    there = [source for source in SOURCES if os.path.lexists(stored(folder, source.file, saved))]
    gone = [source for source in SOURCES if source.file in saved and source not in there]
    if gone and not (there and there[0].file in saved):  # a file of another origin does not stand in for it
        return gone[0]
    return there[0] if there else None


def read(
    archive: Archive,
    names: Naming,
    config: MobileBertConfig,
    architecture: str,
    dtype: str = "float32",
    ignore_mismatched_sizes: bool = False,
    keep_tied: bool = False,
    without: Collection[str] = (),
) -> Weights:
    """The canonical tensors of a model from a file in any dialect; see `load` and `matching.match`.

    Raises:
        CheckpointError: the tensors do not fit, or hold NaN or infinite values.
    """
    found = match(archive, names, config, architecture, ignore_mismatched_sizes, keep_tied, without)
    arrays = archive.read(place.name for place in found.source.values())
    wanted = _stored_dtype(arrays) if dtype == "auto" else parse_dtype(dtype)
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused below
        tensors = {
            name: from_layout(arrays[place.name], place.layout).astype(wanted, copy=False)
            for name, place in found.source.items()
        }
    tensors |= {
        name: np.zeros(tensor.shape, wanted)
        for name, tensor in found.expected.items()
        if 0 in tensor.shape and name not in (*tensors, *found.fresh)
    }
    if broken := [name for name, array in tensors.items() if not np.isfinite(array).all()]:
        raise CheckpointError(archive.path, f"holds NaN or infinite values (as {wanted}) in {shortened(broken, ', ')}")
    return Weights(found.config, tensors, str(wanted), found.fresh, found.mismatched, found.ignored)


def save(directory: str | Path, config: MobileBertConfig, architecture: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Write config.json and model.safetensors, and their SHA-256 into manifest.json, in one step.

    Args:
        directory: created where it is absent; other files in it stay.
        config: what the model is; `architectures` and `dtype` are set from the model saved.
        architecture: class name, see schema.ARCHITECTURES.
        tensors: {canonical name: array}, all of one dtype.
    Raises:
        OSError: nothing was written, and what was there is intact.
    """
    dtype = str(next(iter(tensors.values())).dtype)
    config = config.replace(architectures=[architecture], dtype=dtype)
    contents: dict[str, Content] = {
        CONFIG_FILE: config.to_json_string().encode(),
        safetensors.WEIGHTS_FILE: lambda path: safetensors.write(path, with_copies(config, tensors)),
    }
    save_files(Path(directory), contents)


def _stored_dtype(arrays: Mapping[str, np.ndarray]) -> np.dtype:
    """The dtype of a file's tensors; where they differ, the smallest that holds the values of all."""
    dtypes = {array.dtype for array in arrays.values()}
    if {DTYPES["bfloat16"], DTYPES["float16"]} <= dtypes:
        dtypes.add(DTYPES["float32"])
    return max(dtypes, key=lambda dtype: dtype.itemsize, default=DTYPES["float32"])


def _treat_padding(weights: Weights, folder: Path, zero: bool) -> None:
    """Set the row of [PAD] to zero or say that it is not: the trigram lets the last token read it."""
    name = next((name for name in weights.tensors if WORDS.endswith(name)), None)
    pad = weights.config.pad_token_id
    if name is None or not weights.tensors[name][pad].any():
        return
    if zero:
        weights.tensors[name] = weights.tensors[name].copy()
        weights.tensors[name][pad] = 0
    else:
        log.warning(
            "%s has a word embedding of [PAD] that is not zero, so padding changes results; "
            "zero_pad_embedding=True sets it to zero",
            folder,
        )


@functools.cache
def _warn_float16() -> None:
    """Once a process."""
    log.warning("float16 overflows in the published MobileBERT (its hidden states reach -2.5e7); bfloat16 does not")

"""A checkpoint directory <-> {canonical name: array}. All weights go through here."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import ml_dtypes
import numpy as np

from .config import CONFIG_FILE, MobileBertConfig
from .errors import CheckpointError, ConfigError
from .files import Content, read_manifest, save_files, verify
from .formats import h5, safetensors, torch_bin
from .formats.archive import Archive
from .formats.shards import open_shards
from .matching import Names, match
from .schema import from_layout

log = logging.getLogger(__name__)

DTYPES: dict[str, np.dtype] = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
}
WORDS = "embeddings.word_embeddings.weight"


class Source(NamedTuple):
    """A weights file by its name: how it names its tensors, and what opens it."""

    file: str
    names: Names
    open: Callable[[Path], Archive]


# what a directory may hold, the best first
SOURCES: tuple[Source, ...] = (
    Source(safetensors.WEIGHTS_FILE, "canonical", safetensors.open_file),
    Source(f"{safetensors.WEIGHTS_FILE}.index.json", "canonical", partial(open_shards, open_shard=safetensors.open_file)),
    Source(torch_bin.WEIGHTS_FILE, "canonical", torch_bin.open_file),
    Source(f"{torch_bin.WEIGHTS_FILE}.index.json", "canonical", partial(open_shards, open_shard=torch_bin.open_file)),
    Source(h5.WEIGHTS_FILE, "h5", h5.open_file),
)
# what only `mobilebert convert` reads
CONVERTIBLE = ("*.ckpt*.index", "*.keras", "*.weights.h5")


@dataclass(frozen=True)
class Weights:
    """What `load` found.

    Attributes:
        config: the configuration of the directory with the caller's overrides.
        tensors: {canonical name: array in the dtype asked for}; may be read-only.
        fresh: canonical names of tensors the checkpoint does not have; the model keeps its initial values there.
        ignored: names of tensors in the file that this model has no use for.
    """

    config: MobileBertConfig
    tensors: dict[str, np.ndarray]
    fresh: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def load(
    directory: str | Path,
    head: str,
    dtype: str = "float32",
    *,
    ignore_mismatched_sizes: bool = False,
    zero_pad_embedding: bool = False,
    **overrides: object,
) -> Weights:
    """Read the weights a model class needs, from the best of the files in SOURCES.

    A head model takes the file of a base model or of another head and gets a fresh head, reported once; a base model
    takes that of any head.

    Args:
        directory: holds config.json and weights; with manifest.json beside them both are verified first.
        head: class name, see schema.HEADS.
        dtype: "float32", "float64", "bfloat16" or "float16", whatever the file holds; "auto" is what it holds.
        ignore_mismatched_sizes: a tensor of another shape starts fresh, as a classifier for other labels does.
        zero_pad_embedding: set the word embedding of [PAD] to zero, without which padding changes results.
        overrides: keys of the configuration that take precedence over config.json.
    Raises:
        CheckpointError: a file is missing or damaged, or tensors are missing, unexpected, mis-shaped or not finite: all
            in one error.
        ConfigError: an unknown or impossible override.
    """
    folder = Path(directory)
    if dtype != "auto":
        parse_dtype(dtype)
    if not folder.is_dir():
        raise CheckpointError(folder, "is not a directory; a checkpoint is a directory with config.json and weights")
    config = MobileBertConfig.from_pretrained(folder, **overrides)
    archive, names = open_weights(folder)
    keep_tied = "tie_word_embeddings" in overrides
    try:
        weights = read(archive, names, config, head, dtype, ignore_mismatched_sizes, keep_tied)
    except ConfigError as error:  # more parameters than any model
        raise CheckpointError(folder / CONFIG_FILE, str(error)) from None
    if weights.fresh:
        log.warning("%s has nothing that fits %s: fresh weights, to be trained before use", folder, ", ".join(weights.fresh))
    _treat_padding(weights, folder, zero_pad_embedding)
    if "float16" in {str(array.dtype) for array in weights.tensors.values()}:
        _warn_float16()
    return weights


def open_weights(folder: Path) -> tuple[Archive, Names]:
    """The best weights file of a directory, and how it names its tensors.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    saved = read_manifest(folder)
    for source in SOURCES:
        path = folder / source.file  # one that the manifest names and that is gone is not replaced by another
        if source.file in saved or path.is_symlink() or path.exists():
            return source.open(verify(folder, source.file)), source.names
    files = ", ".join(source.file for source in SOURCES)
    if others := [path.name for pattern in CONVERTIBLE for path in sorted(folder.glob(pattern))]:
        raise CheckpointError(
            folder, f"has {others[0]}, which `mobilebert convert` turns into {safetensors.WEIGHTS_FILE}, and none of {files}"
        )
    raise CheckpointError(folder, f"has no weights: none of {files}")


def read(
    archive: Archive,
    names: Names,
    config: MobileBertConfig,
    head: str,
    dtype: str = "float32",
    ignore_mismatched_sizes: bool = False,
    keep_tied: bool = False,
) -> Weights:
    """The canonical tensors of a model from a file in any dialect; see `load` and `matching.match`.

    Raises:
        CheckpointError: the tensors do not fit, or hold NaN or infinite values.
    """
    found = match(archive, names, config, head, ignore_mismatched_sizes, keep_tied)
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
        raise CheckpointError(archive.path, f"holds NaN or infinite values (as {wanted}) in {', '.join(broken)}")
    return Weights(found.config, tensors, found.fresh, found.ignored)


def save(directory: str | Path, config: MobileBertConfig, head: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Write config.json and model.safetensors, and their SHA-256 into manifest.json, in one step.

    Args:
        directory: created where it is absent; other files in it stay.
        config: what the model is; `architectures` and `dtype` are set from the model saved.
        head: class name, see schema.HEADS.
        tensors: {canonical name: array}, all of one dtype.
    Raises:
        OSError: nothing was written, and what was there is intact.
    """
    dtype = str(next(iter(tensors.values())).dtype)
    config = config.replace(architectures=[head], dtype=dtype)
    contents: dict[str, Content] = {
        CONFIG_FILE: config.to_json_string().encode(),
        safetensors.WEIGHTS_FILE: lambda path: safetensors.write(path, tensors),
    }
    save_files(Path(directory), contents)


def parse_dtype(dtype: str) -> np.dtype:
    """The numpy dtype of a name; ml_dtypes supplies bfloat16."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    return DTYPES[dtype]


def _stored_dtype(arrays: Mapping[str, np.ndarray]) -> np.dtype:
    """The dtype of a file's tensors, the widest where they differ."""
    return max((array.dtype for array in arrays.values()), key=lambda dtype: dtype.itemsize)


def _treat_padding(weights: Weights, folder: Path, zero: bool) -> None:
    """Set the row of [PAD] to zero or say that it is not: the trigram lets the last token read it."""
    name = next((name for name in weights.tensors if name.endswith(WORDS)), None)
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


_warned_float16 = False


def _warn_float16() -> None:
    global _warned_float16
    if not _warned_float16:
        log.warning("float16 overflows in the published MobileBERT (its hidden states reach -2.5e7); bfloat16 does not")
        _warned_float16 = True

"""A checkpoint directory <-> {canonical name: array}. All weights go through here."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np

from .config import CONFIG_FILE, MobileBertConfig
from .errors import CheckpointError
from .files import Content, save_files, verify
from .formats import safetensors
from .schema import HEADS, Tensor, expand

log = logging.getLogger(__name__)

DTYPES: dict[str, np.dtype] = {
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float16": np.dtype(np.float16),
}
ROOT = "mobilebert."
OTHER_HEADS = ("cls.", "classifier.", "qa_outputs.")  # what a model leaves aside if its own head has other names
IGNORED = "embeddings.position_ids"  # a buffer old transformers releases saved


@dataclass(frozen=True)
class Weights:
    """What `load` found.

    Attributes:
        config: the configuration of the directory with the caller's overrides.
        tensors: {canonical name: array in the dtype asked for}; may be read-only.
        fresh: canonical names of head tensors the checkpoint does not have; the model keeps its initial values there.
    """

    config: MobileBertConfig
    tensors: dict[str, np.ndarray]
    fresh: tuple[str, ...]


def load(directory: str | Path, head: str, dtype: str = "float32", **overrides: object) -> Weights:
    """Read the weights a model class needs.

    A head model takes the file of a base model or of another head and gets a fresh head, reported once; a base model
    takes that of any head.

    Args:
        directory: holds config.json and model.safetensors; with manifest.json beside them both are verified first.
        head: class name, see schema.HEADS.
        dtype: "float32", "float64", "bfloat16" or "float16", whatever the file holds.
        overrides: keys of the configuration that take precedence over config.json.
    Raises:
        CheckpointError: a file is missing or damaged, or tensors are missing, unexpected, mis-shaped or not finite: all
            in one error.
        ConfigError: an unknown or impossible override.
    """
    folder, wanted = Path(directory), parse_dtype(dtype)
    if not folder.is_dir():
        raise CheckpointError(
            folder, "is not a directory; a checkpoint is a directory with config.json and model.safetensors"
        )
    config = MobileBertConfig.from_pretrained(folder, **overrides)
    path = verify(folder, safetensors.WEIGHTS_FILE)
    entries = safetensors.read_header(path)
    expected = expand(config, head)
    source = _match_root(expected, entries)
    fresh = _check_names(path, head, expected, source, entries)
    arrays = safetensors.read_tensors(path, entries, [source[name] for name in expected if name not in fresh])
    tensors = {name: arrays[source[name]].astype(wanted, copy=False) for name in expected if name not in fresh}
    if broken := [name for name, array in tensors.items() if not np.isfinite(array).all()]:
        raise CheckpointError(path, f"holds NaN or infinite values (as {dtype}) in {', '.join(broken)}")
    if fresh:
        log.warning("%s has no %s: fresh weights, to be trained before use", folder, ", ".join(fresh))
    if dtype == "float16":
        _warn_float16()
    return Weights(config, tensors, fresh)


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


def _match_root(expected: Mapping[str, Tensor], entries: Mapping[str, safetensors.Entry]) -> dict[str, str]:
    """{expected name: name in the file}; only a base model's file has names without "mobilebert."."""
    has_root = any(name.startswith(ROOT) for name in entries)
    if has_root:
        return {name: name if name.startswith(ROOT) or _is_head(name) else ROOT + name for name in expected}
    return {name: name.removeprefix(ROOT) for name in expected}


def _is_head(name: str) -> bool:
    return any(name.startswith(f"{module}.") for head in HEADS.values() for module in head.modules)


def _check_names(
    path: Path,
    head: str,
    expected: Mapping[str, Tensor],
    source: Mapping[str, str],
    entries: Mapping[str, safetensors.Entry],
) -> tuple[str, ...]:
    """Refuse, in one error, all that does not fit; return the names of a head that is not in the file at all."""
    absent = [name for name in expected if source[name] not in entries]
    fresh = tuple(name for name in absent if _is_head(name))
    if any(source[name] in entries for name in expected if _is_head(name)):
        fresh = ()  # half a head is damage, not a base model
    known = {*source.values(), IGNORED, ROOT + IGNORED}
    foreign = [name for name in entries if name not in known]
    if any(name.startswith(ROOT) for name in entries):  # a head model's file, of another head perhaps
        foreign = [name for name in foreign if not name.startswith(OTHER_HEADS) or name in expected]
    findings = [
        *(f"{name} is missing" for name in absent if name not in fresh),
        *(f"{name} is unexpected" for name in foreign),
        *(
            f"{name} has shape {list(entries[source[name]].shape)} "
            f"where config.json and {head} expect {list(tensor.shape)}"
            for name, tensor in expected.items()
            if source[name] in entries and entries[source[name]].shape != tensor.shape
        ),
        *(
            f"{name} holds integers"
            for name in expected
            if source[name] in entries and entries[source[name]].dtype.kind == "i"
        ),
    ]
    if findings:
        raise CheckpointError(path, f"does not fit {head}:\n  " + "\n  ".join(findings))
    return fresh


_warned_float16 = False


def _warn_float16() -> None:
    global _warned_float16
    if not _warned_float16:
        log.warning("float16 overflows in the published MobileBERT (its hidden states reach -2.5e7); bfloat16 does not")
        _warned_float16 = True

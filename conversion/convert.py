"""Convert a checkpoint from any dialect to a directory in another without losing a bit."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.checkpoints.matching import architecture_of
from mobilebert_common.errors import CheckpointError, ConfigError
from mobilebert_common.files.folder import Content, Folder, read_consistently, save_files
from mobilebert_common.model import dtypes
from mobilebert_common.model.architectures import ARCHITECTURES, named_architecture
from mobilebert_common.model.config import CONFIG_FILE

from . import keras_files
from .destination import Dialect, Writer, keeps_config, refuse_overwriting, same, writer_of
from .source import config_file, locate, open_source, reader_of, tokenizer_files

log = logging.getLogger(__name__)
Stage = Callable[[str], None]  # called with a line at the start of each stage


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    Attributes:
        source: the weights file that was read.
        dialect: its dialect: safetensors, bin, h5, keras, tf1 or garden.
        head: the architecture, a name in ARCHITECTURES.
        dtype: the dtype of every tensor written.
        tensors, parameters: the numbers of tensors and parameters written.
        ignored: names of tensors in the source that this architecture does not use.
        destination: the folder written to.
        written: names of the files written there.
        seconds: duration.
    """

    source: Path
    dialect: str
    head: str
    dtype: str
    tensors: int
    parameters: int
    ignored: tuple[str, ...]
    destination: Path
    written: tuple[str, ...]
    seconds: float


def convert(
    source: str | Path,
    destination: str | Path,
    to: Dialect = "safetensors",
    dtype: str | None = None,
    head: str | None = None,
    *,
    config: str | Path | None = None,
    overwrite: bool = False,
    stage: Stage = lambda text: None,
) -> Report:
    """Read a checkpoint and write config.json, weights and tokenizer to a folder in another dialect, in one step.

    Reading safetensors, bin and h5 and writing safetensors and h5 needs no framework.

    Args:
        source: a checkpoint folder, a weights file with its configuration beside it, the prefix of a TensorFlow
            checkpoint, or, as a str, owner/name on the hub.
        destination: a folder, created if it does not exist. In the source's own folder, config.json stays as it is.
        to: the dialect to write.
        dtype: "float32", "float64", "bfloat16" or "float16"; default: the source's.
        head: a name in ARCHITECTURES; default: the architecture the source was saved from.
        config: a config.json or bert_config.json to use instead of the one beside the weights, or a name in the zoo.
        overwrite: replace an existing checkpoint, including the source's own configuration.
        stage: called with a line at the start of each stage.
    Raises:
        CheckpointError: the source is damaged or lacks tensors of the model.
        ConfigError: the destination holds another checkpoint, or the dialect cannot express this model.
        ImportError: the dialect needs a framework that is not installed.
        OSError: writing failed; the destination is unchanged.
    """
    started = time.monotonic()
    writer, folder, given = writer_of(to), Path(destination), None if config is None else Path(config)
    if dtype is not None:
        dtypes.parse_dtype(dtype)
    if head is not None and head not in ARCHITECTURES:
        raise ConfigError(f"head must be one of {', '.join(ARCHITECTURES)}, not {head!r}")
    path = locate(source)
    refuse_overwriting(folder, writer.file, path.parent, overwrite)
    stage(f"reading {path.name}")
    taken = read_consistently(path.parent, lambda opened: _take(opened, path.name, given, head, dtype))
    contents = _contents(taken, writer, folder, keeps_config(path.parent, folder, overwrite), given is not None)
    stage(f"writing {writer.file}")
    save_files(folder, contents)
    return Report(
        source=path,
        dialect=taken.format,
        head=taken.architecture,
        dtype=taken.weights.dtype,
        tensors=len(taken.weights.tensors),
        parameters=sum(array.size for array in taken.weights.tensors.values()),
        ignored=taken.weights.ignored,
        destination=folder,
        written=tuple(contents),
        seconds=time.monotonic() - started,
    )


class Taken(NamedTuple):
    """The content of a source.

    Attributes:
        format: its format or TensorFlow naming: safetensors, bin, h5, keras, tf1 or garden.
        architecture: the architecture to write.
        named: the architecture in its configuration.
        tokenizer: its tokenizer files, unchanged.
    """

    path: Path
    format: str
    architecture: str
    named: str | None
    weights: checkpoint.Weights
    tokenizer: dict[str, Content]


def _take(folder: Folder, name: str, config: Path | None, architecture: str | None, dtype: str | None) -> Taken:
    """Read a source completely.

    Raises:
        CheckpointError: it is damaged, or lacks tensors of the model.
    """
    path = folder.path / name
    described = path if config is None and name.endswith(keras_files.MODEL) else config_file(folder, config)
    try:
        opened = open_source(folder, name, config, architecture)
        wanted = architecture or opened.architecture or architecture_of(opened.archive, opened.naming, opened.config)
        weights = checkpoint.read(opened.archive, opened.naming, opened.config, wanted, dtype or "auto")
    except ConfigError as error:  # more parameters than any model
        raise CheckpointError(described, str(error)) from None
    if weights.fresh:
        raise CheckpointError(
            opened.archive.path,
            f"has no {', '.join(weights.fresh)}, which {wanted} needs: choose a head it has with --head (head=), or let "
            f"{wanted}.from_pretrained start them fresh",
        )
    return Taken(path, opened.format, wanted, named_architecture(opened.config), weights, tokenizer_files(folder))


def _contents(taken: Taken, writer: Writer, folder: Path, keeps: bool, configured: bool) -> dict[str, Content]:
    """The files to write: the weights and, unless the destination already has them, configuration and tokenizer.

    Args:
        keeps: whether the folder keeps its own configuration.
        configured: whether the caller passed a configuration.
    """
    weights, architecture = taken.weights, taken.architecture
    if weights.dtype not in writer.dtypes:
        raise ConfigError(f"{writer.file} holds {' or '.join(writer.dtypes)}, not {weights.dtype}: choose one with --dtype (dtype=)")
    if keeps and (configured or taken.named not in (None, architecture)):
        raise ConfigError(
            f"{folder / CONFIG_FILE} stays as it is, so this {architecture} with another configuration cannot go beside it: "
            "write to another folder, or replace it with --overwrite (overwrite=True)"
        )
    config = weights.config.replace(architectures=[architecture], dtype=weights.dtype)
    return {
        **({} if keeps else {CONFIG_FILE: config.to_json_string().encode()}),
        **writer.contents(config, architecture, weights.tensors),
        **({} if same(taken.path.parent, folder) else taken.tokenizer),
    }


def frameworks(source: str | Path, to: str) -> set[str]:
    """The twins ("pt", "tf") a conversion needs, judged by file names alone."""
    path = locate(source)
    reading = None if reader_of(path) else "tf"
    return {name for name in (reading, writer_of(to).framework) if name is not None}

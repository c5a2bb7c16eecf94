"""A checkpoint of any dialect -> a checkpoint directory of another, without losing a bit."""

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
Stage = Callable[[str], None]  # is told what begins


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    Attributes:
        source: the weights file that was read.
        dialect: safetensors, bin, h5, keras, tf1 or garden.
        head: class name, see schema.ARCHITECTURES.
        dtype: of every tensor written.
        tensors, parameters: how many were written.
        ignored: names in the source that this model has no use for.
        destination: the folder.
        written: the files in it that are new.
        seconds: how long it took.
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
    """Read a checkpoint and write it as a directory in another dialect: config.json, weights and tokenizer, in one step.

    safetensors, bin and h5 are read, and safetensors and h5 written, without a framework.

    Args:
        source: a checkpoint folder, a weights file with its configuration beside it, the prefix of a TensorFlow
            checkpoint, or, as a str, owner/name on the hub.
        destination: a folder, created where it is absent; in that of the source, its config.json stays as it is.
        to: the dialect to write.
        dtype: "float32", "float64", "bfloat16" or "float16"; by default what the source has.
        head: class name of schema.ARCHITECTURES; by default what the source was saved from.
        config: a config.json or bert_config.json in place of the one beside the weights.
        overwrite: replace a checkpoint, or the source's own configuration, that is already there.
        stage: called with a line for each part of the work.
    Raises:
        CheckpointError: the source is damaged, or does not have every tensor of the model.
        ConfigError: the destination holds another checkpoint, or the dialect has no place for this model.
        ImportError: the dialect needs a framework that is not installed.
        OSError: nothing was written, and what was there is intact.
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
    """A source that has been read.

    Attributes:
        named: the class that its configuration names.
        tokenizer: its tokenizer's files as they are.
    """

    path: Path
    format: str
    architecture: str
    named: str | None
    weights: checkpoint.Weights
    tokenizer: dict[str, Content]


def _take(folder: Folder, name: str, config: Path | None, architecture: str | None, dtype: str | None) -> Taken:
    """Read a source whole.

    Raises:
        CheckpointError: it is damaged, or does not have every tensor of the model.
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
            f"has no {', '.join(weights.fresh)}, which {wanted} needs; nothing is made up here: name the head that is "
            f"there, or have {wanted}.from_pretrained start these fresh",
        )
    return Taken(path, opened.format, wanted, named_architecture(opened.config), weights, tokenizer_files(folder))


def _contents(taken: Taken, writer: Writer, folder: Path, keeps: bool, configured: bool) -> dict[str, Content]:
    """The files to write: weights, and unless they go beside their source, configuration and tokenizer.

    Args:
        keeps: the folder keeps its configuration.
        configured: the caller gave a configuration.
    """
    weights, architecture = taken.weights, taken.architecture
    if weights.dtype not in writer.dtypes:
        raise ConfigError(f"{writer.file} holds {' or '.join(writer.dtypes)}, not {weights.dtype}: choose a dtype")
    if keeps and (configured or taken.named not in (None, architecture)):
        raise ConfigError(
            f"{folder / CONFIG_FILE} stays as it is beside the source: name another folder for "
            f"a {architecture} with a configuration of its own, or replace it with --overwrite (overwrite=True)"
        )
    config = weights.config.replace(architectures=[architecture], dtype=weights.dtype)
    return {
        **({} if keeps else {CONFIG_FILE: config.to_json_string().encode()}),
        **writer.contents(config, architecture, weights.tensors),
        **({} if same(taken.path.parent, folder) else taken.tokenizer),
    }


def frameworks(source: str | Path, to: str) -> set[str]:
    """The twins, "pt" and "tf", whose frameworks a conversion needs; by names alone."""
    path = locate(source)
    reading = None if reader_of(path) else "tf"
    return {name for name in (reading, writer_of(to).framework) if name is not None}

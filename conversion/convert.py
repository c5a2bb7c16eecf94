"""A checkpoint of any dialect -> a checkpoint directory of another, without losing a bit."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from mobilebert_common import checkpoint, hub
from mobilebert_common.config import CONFIG_FILE, MobileBertConfig
from mobilebert_common.errors import CheckpointError, ConfigError, shortened
from mobilebert_common.files import Content, finish_renames, located, read_bytes, read_json, save_files, stored, verify
from mobilebert_common.formats import h5, safetensors, torch_bin
from mobilebert_common.formats.archive import Archive, verified
from mobilebert_common.matching import Names, head_of, names_of, with_copies
from mobilebert_common.schema import HEADS, named_head
from mobilebert_common.tokenization import storage

from . import bundle, keras_files, tf1, torch_files

log = logging.getLogger(__name__)

Dialect = Literal["safetensors", "bin", "h5", "keras", "tf1"]
Stage = Callable[[str], None]  # is told what begins


@dataclass(frozen=True)
class Report:
    """What a conversion did.

    Attributes:
        source: the weights file that was read.
        dialect: safetensors, bin, h5, keras, tf1 or garden.
        head: class name, see schema.HEADS.
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


class Opened(NamedTuple):
    """A source whose tensors are listed and not read."""

    dialect: str
    config: MobileBertConfig
    archive: Archive
    names: Names
    head: str | None = None  # where the file itself says it


class Reader(NamedTuple):
    """A weights file by how its name ends."""

    ending: str
    dialect: str
    names: Names
    open: Callable[[Path], Archive]


class Writer(NamedTuple):
    """A dialect that is written: its weights file and what makes its files."""

    file: str
    contents: Callable[[MobileBertConfig, str, Mapping[str, np.ndarray]], dict[str, Content]]
    framework: str | None = None  # the twin whose framework it needs
    dtypes: tuple[str, ...] = tuple(checkpoint.DTYPES)


# those of checkpoint.SOURCES under any name: model.safetensors.index.json -> .safetensors.index.json, safetensors
READERS: tuple[Reader, ...] = tuple(
    Reader(source.file[source.file.index(".") :], source.file.split(".")[1], source.names, source.open)
    for source in checkpoint.SOURCES
)
WRITERS: dict[str, Writer] = {
    "safetensors": Writer(
        safetensors.WEIGHTS_FILE,
        lambda config, head, tensors: {safetensors.WEIGHTS_FILE: lambda path: safetensors.write(path, with_copies(config, tensors))},
    ),
    "bin": Writer(torch_bin.WEIGHTS_FILE, torch_files.contents, "pt"),
    "h5": Writer(
        h5.WEIGHTS_FILE,
        lambda config, head, tensors: {h5.WEIGHTS_FILE: lambda path: h5.write(path, config, head, tensors)},
        dtypes=h5.FLOATS,
    ),
    "keras": Writer(keras_files.WEIGHTS_FILE, keras_files.contents, "tf"),
    "tf1": Writer(tf1.WEIGHTS_FILE, tf1.contents, "tf"),
}
# copied as they are, by what can tell a damaged one
TOKENIZER_FILES: dict[str, Callable[[Path], object]] = {
    storage.VOCAB_FILE: storage.read_vocabulary,
    storage.TOKENIZER_FILE: storage.read_tokenizer,
    storage.CONFIG_FILE: read_json,
    storage.MAP_FILE: read_json,
    storage.ADDED_FILE: read_json,
}


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
        head: class name of schema.HEADS; by default what the source was saved from.
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
    writer, folder = writer_of(to), Path(destination)
    if dtype is not None:
        checkpoint.parse_dtype(dtype)
    if head is not None and head not in HEADS:
        raise ConfigError(f"head must be one of {', '.join(HEADS)}, not {head!r}")
    path = locate(source)
    refuse_overwriting(folder, writer.file, path.parent, overwrite)
    stage(f"reading {path.name}")
    given = None if config is None else Path(config)
    described = path if given is None and path.name.endswith(keras_files.MODEL) else config_file(path.parent, given)
    try:
        opened = open_source(path, given, head)
        head = head or opened.head or head_of(opened.archive, opened.names, opened.config)
        weights = checkpoint.read(opened.archive, opened.names, opened.config, head, dtype or "auto")
    except ConfigError as error:  # more parameters than any model
        raise CheckpointError(described, str(error)) from None
    if weights.fresh:
        raise CheckpointError(
            opened.archive.path,
            f"has no {', '.join(weights.fresh)}, which {head} needs; nothing is made up here: name the head that is "
            f"there, or have {head}.from_pretrained start these fresh",
        )
    stored_dtype = str(next(iter(weights.tensors.values())).dtype)
    if stored_dtype not in writer.dtypes:
        raise ConfigError(f"{writer.file} holds {' or '.join(writer.dtypes)}, not {stored_dtype}: choose a dtype")
    final = weights.config.replace(architectures=[head], dtype=stored_dtype)
    contents = dict(writer.contents(final, head, weights.tensors))
    if not _same(path.parent, folder):
        contents |= tokenizer_files(path.parent)
    if not _keeps_config(path.parent, folder, overwrite):
        contents = {CONFIG_FILE: final.to_json_string().encode(), **contents}
    elif config is not None or named_head(opened.config) not in (None, head):
        raise ConfigError(
            f"{folder / CONFIG_FILE} stays as it is beside the source: name another folder for "
            f"a {head} with a configuration of its own, or replace it with --overwrite (overwrite=True)"
        )
    stage(f"writing {writer.file}")
    save_files(folder, contents)
    return Report(
        source=path,
        dialect=opened.dialect,
        head=head,
        dtype=stored_dtype,
        tensors=len(weights.tensors),
        parameters=sum(array.size for array in weights.tensors.values()),
        ignored=weights.ignored,
        destination=folder,
        written=tuple(contents),
        seconds=time.monotonic() - started,
    )


def reader_of(path: Path) -> Reader | None:
    """What opens a weights file without a framework; None for those of TensorFlow and Keras."""
    return None if _is_keras(path) else next((reader for reader in READERS if path.name.endswith(reader.ending)), None)


def writer_of(to: str) -> Writer:
    """The writer of a dialect.

    Raises:
        ConfigError: there is none.
    """
    if to not in WRITERS:
        raise ConfigError(f"to must be one of {', '.join(WRITERS)}, not {to!r}")
    return WRITERS[to]


def frameworks(source: str | Path, to: str) -> set[str]:
    """The twins, "pt" and "tf", whose frameworks a conversion needs; by names alone."""
    path = locate(source)
    reading = None if reader_of(path) else "tf"
    return {name for name in (reading, writer_of(to).framework) if name is not None}


def locate(source: str | Path) -> Path:
    """The weights file that a source stands for; of a folder, or of a model on the hub, the best one it has.

    Raises:
        CheckpointError: there is none.
        OSError, ImportError: see hub.resolve.
    """
    if isinstance(source, str) and not os.path.lexists(source) and hub.is_owned(source):
        source = hub.resolve(source, [CONFIG_FILE, *TOKENIZER_FILES], [known.file for known in checkpoint.SOURCES])
    source = Path(source)
    if source.is_dir() and (weights := checkpoint.find_weights(source)):
        return source / weights.file
    finish_renames(source if source.is_dir() else source.parent)  # the others are found, and opened, by their names
    if prefix := bundle.find_prefix(source):
        return prefix.with_name(prefix.name + bundle.INDEX)
    if source.is_dir():
        found = sorted(path for ending in keras_files.ENDINGS for path in source.glob(f"*{ending}"))
        files = [path for path in found if not path.name.startswith(".")]  # what an interrupted save has left
        if len(files) > 1:
            names = shortened([repr(path.name) for path in files], ", ")
            raise CheckpointError(source, f"has several models; name one of {names}")
        if not files:
            names = ", ".join(known.file for known in checkpoint.SOURCES)
            raise CheckpointError(source, f"has no weights: none of {names}, TensorFlow checkpoint or Keras file")
        return files[0]
    if not stored(source.parent, source.name).exists():
        raise CheckpointError(source, "does not exist")
    if not _is_keras(source) and not reader_of(source):
        endings = [*(reader.ending for reader in READERS), *keras_files.ENDINGS, bundle.INDEX]
        raise CheckpointError(source, f"is none of {', '.join(endings)}")
    return source


def open_source(path: Path, config: Path | None, head: str | None) -> Opened:
    """List the tensors of a weights file and read its configuration.

    Args:
        path: from `locate`.
        config: a configuration file in place of the one beside the weights.
        head: the class asked for, which a .weights.h5 does not say.
    Raises:
        CheckpointError: one of the two is missing or damaged.
    """
    if _is_keras(path):
        given = None if path.name.endswith(keras_files.MODEL) and config is None else read_config(path.parent, config)
        found, head, archive = keras_files.open_file(located(path.parent, path.name), given, head)
        return Opened("keras", found, verified(archive, path.parent, path.name), "canonical", head)
    if path.name.endswith(bundle.INDEX):
        archive, names = tf1.open_file(path)
        found = read_config(path.parent, config)
        if config_file(path.parent, config).name == tf1.CONFIG_FILE:
            found = tf1.completed(found, archive, names)
        return Opened(names, found, archive, names)
    reader = next(reader for reader in READERS if path.name.endswith(reader.ending))
    found = read_config(path.parent, config)
    archive = verified(reader.open(located(path.parent, path.name)), path.parent, path.name)
    return Opened(reader.dialect, found, archive, names_of(archive, reader.names))


def read_config(folder: Path, given: Path | None) -> MobileBertConfig:
    """The configuration in `config_file`."""
    path = config_file(folder, given)
    return tf1.read_config(path) if path.name == tf1.CONFIG_FILE else MobileBertConfig.from_pretrained(path.parent)


def config_file(folder: Path, given: Path | None) -> Path:
    """The file given, or config.json of a folder, or else its bert_config.json.

    Raises:
        ConfigError: the file given has neither name, which says what it means.
        CheckpointError: none is given, and the folder has neither.
    """
    if given is not None:
        if given.name not in (CONFIG_FILE, tf1.CONFIG_FILE):
            raise ConfigError(f"{given} must be named {CONFIG_FILE} or, in Google's form, {tf1.CONFIG_FILE}")
        return given
    for name in (CONFIG_FILE, tf1.CONFIG_FILE):
        if os.path.lexists(stored(folder, name)):
            return folder / name
    raise CheckpointError(folder, f"has neither {CONFIG_FILE} nor {tf1.CONFIG_FILE}: name one with --config (config=)")


def tokenizer_files(folder: Path) -> dict[str, Content]:
    """The tokenizer's files of a folder as they are; a damaged one is left out with a warning."""
    contents: dict[str, Content] = {}
    for name, check in TOKENIZER_FILES.items():
        if not stored(folder, name).exists():
            continue
        try:
            path = verify(folder, name, storage.FILES[name])
            check(path)
            contents[name] = read_bytes(path, storage.FILES[name])
        except CheckpointError as error:
            log.warning("not copied: %s", error)
    return contents


def refuse_overwriting(folder: Path, file: str, source: Path, overwrite: bool) -> None:
    """A folder holds one model: what is there must be of the source, or be replaced, and nothing of another may stay.

    Args:
        file: the weights file to be written.
        source: the folder of the source; another dialect beside it is the same model.
    Raises:
        ConfigError: with what is in the way.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: a checkpoint is a folder of several files")
    here = _same(folder, source)
    files = [name for name in (CONFIG_FILE, file) if stored(folder, name).exists()]
    if not overwrite and (file in files or (files and not here)):
        raise ConfigError(f"{folder} already holds {files[-1]}; --overwrite (overwrite=True) replaces it")
    others = [found.file for found in checkpoint.SOURCES if found.file != file and stored(folder, found.file).exists()]
    if files:  # a tokenizer alone may be there for the model to come
        others += [name for name in TOKENIZER_FILES if stored(folder, name).exists() and not stored(source, name).exists()]
    if others and not here:
        raise ConfigError(
            f"{folder} also holds {others[0]}, which would stay and be read with this model: remove it, or name another folder"
        )


def _keeps_config(source: Path, folder: Path, overwrite: bool) -> bool:
    """Whether the new weights go beside those that the configuration there is of."""
    return _same(source, folder) and stored(folder, CONFIG_FILE).exists() and not overwrite


def _same(folder: Path, other: Path) -> bool:
    return folder.exists() and folder.resolve() == other.resolve()


def _is_keras(path: Path) -> bool:
    return path.name.endswith(keras_files.ENDINGS)

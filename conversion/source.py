"""What is converted: the weights file a source stands for, its configuration and its tensors, in whatever dialect."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.checkpoints.archive import Archive, verified
from mobilebert_common.checkpoints.matching import Naming, naming_of
from mobilebert_common.errors import CheckpointError, ConfigError, shortened
from mobilebert_common.files import hub
from mobilebert_common.files.folder import Content, finish_renames, located, stored, verify
from mobilebert_common.files.strict_json import read_bytes, read_json
from mobilebert_common.model.config import CONFIG_FILE, MobileBertConfig
from mobilebert_common.tokenization import storage

from . import bundle, keras_files, tf1

log = logging.getLogger(__name__)


class Opened(NamedTuple):
    """A source whose tensors are listed and not read."""

    format: str  # of the container: safetensors, bin, h5, keras, tf1 or garden
    config: MobileBertConfig
    archive: Archive
    naming: Naming
    architecture: str | None = None  # where the file itself says it


class Reader(NamedTuple):
    """A weights file by how its name ends."""

    ending: str
    format: str  # of the container: safetensors, bin, h5, keras, tf1 or garden
    naming: Naming
    open: Callable[[Path], Archive]


# those of checkpoint.SOURCES under any name: model.safetensors.index.json -> .safetensors.index.json, safetensors
READERS: tuple[Reader, ...] = tuple(
    Reader(source.file[source.file.index(".") :], source.file.split(".")[1], source.naming, source.open)
    for source in checkpoint.SOURCES
)
# copied as they are, by what can tell a damaged one
TOKENIZER_FILES: dict[str, Callable[[Path], object]] = {
    storage.VOCAB_FILE: storage.read_vocabulary,
    storage.TOKENIZER_FILE: storage.read_tokenizer,
    storage.CONFIG_FILE: read_json,
    storage.MAP_FILE: read_json,
    storage.ADDED_FILE: read_json,
}


def reader_of(path: Path) -> Reader | None:
    """What opens a weights file without a framework; None for those of TensorFlow and Keras."""
    return None if is_keras(path) else next((reader for reader in READERS if path.name.endswith(reader.ending)), None)


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
    if not is_keras(source) and not reader_of(source):
        endings = [*(reader.ending for reader in READERS), *keras_files.ENDINGS, bundle.INDEX]
        raise CheckpointError(source, f"is none of {', '.join(endings)}")
    return source


def open_source(path: Path, config: Path | None, architecture: str | None) -> Opened:
    """List the tensors of a weights file and read its configuration.

    Args:
        path: from `locate`.
        config: a configuration file in place of the one beside the weights.
        architecture: the class asked for, which a .weights.h5 does not say.
    Raises:
        CheckpointError: one of the two is missing or damaged.
    """
    if is_keras(path):
        given = None if path.name.endswith(keras_files.MODEL) and config is None else read_config(path.parent, config)
        found, architecture, archive = keras_files.open_file(located(path.parent, path.name), given, architecture)
        return Opened("keras", found, verified(archive, path.parent, path.name), "canonical", architecture)
    if path.name.endswith(bundle.INDEX):
        archive, names = tf1.open_file(path)
        found = read_config(path.parent, config)
        if config_file(path.parent, config).name == tf1.CONFIG_FILE:
            found = tf1.completed(found, archive, names)
        return Opened(names, found, archive, names)
    reader = next(reader for reader in READERS if path.name.endswith(reader.ending))
    found = read_config(path.parent, config)
    archive = verified(reader.open(located(path.parent, path.name)), path.parent, path.name)
    return Opened(reader.format, found, archive, naming_of(archive, reader.naming))


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


def is_keras(path: Path) -> bool:
    """Whether a path names a file that Keras writes."""
    return path.name.endswith(keras_files.ENDINGS)

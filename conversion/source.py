"""What is converted: the weights file a source stands for, its configuration and its tensors, in whatever dialect."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.checkpoints.archive import Archive
from mobilebert_common.checkpoints.matching import Naming, naming_of
from mobilebert_common.errors import CheckpointError, ConfigError, shortened
from mobilebert_common.files import hub
from mobilebert_common.files.folder import Content, Folder, finish_renames
from mobilebert_common.files.strict_json import parse_json
from mobilebert_common.model.config import CONFIG_FILE, MobileBertConfig
from mobilebert_common.model.schema import most_tensors
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
    open: Callable[[Folder, str, int], Archive]


# those of checkpoint.SOURCES under any name: model.safetensors.index.json -> .safetensors.index.json, safetensors
READERS: tuple[Reader, ...] = tuple(
    Reader(source.file[source.file.index(".") :], source.file.split(".")[1], source.naming, source.open)
    for source in checkpoint.SOURCES
)
# copied as they are, by what can tell a damaged one
TOKENIZER_FILES: dict[str, Callable[[Path, bytes], object]] = {
    storage.VOCAB_FILE: storage.parse_vocabulary,
    storage.TOKENIZER_FILE: storage.parse_tokenizer,
    storage.CONFIG_FILE: parse_json,
    storage.MAP_FILE: parse_json,
    storage.ADDED_FILE: parse_json,
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
    if source.is_dir() and (weights := checkpoint.find_weights(Folder.open(source))):
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
    if not Folder.open(source.parent).has(source.name):
        raise CheckpointError(source, "does not exist")
    if not is_keras(source) and not reader_of(source):
        endings = [*(reader.ending for reader in READERS), *keras_files.ENDINGS, bundle.INDEX]
        raise CheckpointError(source, f"is none of {', '.join(endings)}")
    return source


def open_source(folder: Folder, name: str, config: Path | None, architecture: str | None) -> Opened:
    """List the tensors of a weights file and read its configuration.

    Args:
        folder, name: where the file is, from `locate`, and its name.
        config: a configuration file in place of the one beside the weights.
        architecture: the class asked for, which a .weights.h5 does not say.
    Raises:
        CheckpointError: one of the two is missing or damaged.
    """
    path = folder.path / name
    if is_keras(path):
        given = None if name.endswith(keras_files.MODEL) and config is None else read_config(folder, config)
        found, architecture, archive = keras_files.open_file(folder.file(name), given, architecture)
        return Opened("keras", found, archive, "canonical", architecture)
    if name.endswith(bundle.INDEX):
        archive, naming = tf1.open_file(folder, name)
        found = read_config(folder, config)
        if config_file(folder, config).name == tf1.CONFIG_FILE:
            found = tf1.completed(found, archive, naming)
        return Opened(naming, found, archive, naming)
    reader = next(reader for reader in READERS if name.endswith(reader.ending))
    found = read_config(folder, config)
    archive = reader.open(folder, name, most_tensors(found))
    return Opened(reader.format, found, archive, naming_of(archive, reader.naming))


def read_config(folder: Folder, given: Path | None) -> MobileBertConfig:
    """The configuration in `config_file`."""
    path = config_file(folder, given)
    beside = folder if given is None else Folder.open(path.parent)
    return tf1.read_config(beside, path.name) if path.name == tf1.CONFIG_FILE else MobileBertConfig.from_folder(beside)


def config_file(folder: Folder, given: Path | None) -> Path:
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
        if folder.has(name):
            return folder.path / name
    raise CheckpointError(folder.path, f"has neither {CONFIG_FILE} nor {tf1.CONFIG_FILE}: name one with --config (config=)")


def tokenizer_files(folder: Folder) -> dict[str, Content]:
    """The tokenizer's files of a folder as they are; a damaged one is left out with a warning."""
    contents: dict[str, Content] = {}
    for name, check in TOKENIZER_FILES.items():
        if not folder.has(name):
            continue
        try:
            data = folder.read(name, storage.FILES[name])
            check(folder.path / name, data)
            contents[name] = data
        except CheckpointError as error:
            log.warning("not copied: %s", error)
    return contents


def is_keras(path: Path) -> bool:
    """Whether a path names a file that Keras writes."""
    return path.name.endswith(keras_files.ENDINGS)

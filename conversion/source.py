"""Sources: find a source's weights file and open it, with its configuration, in any dialect."""

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
from mobilebert_common.files.folder import Content, Folder, finish_renames, read_consistently
from mobilebert_common.files.strict_json import parse_json
from mobilebert_common.model.config import CONFIG_FILE, MobileBertConfig
from mobilebert_common.model.schema import most_tensors
from mobilebert_common.model.zoo import ZOO
from mobilebert_common.tokenization import storage

from . import bundle, keras_files, tf1

log = logging.getLogger(__name__)


class Opened(NamedTuple):
    """An opened source: its tensors are listed but not read."""

    format: str  # safetensors, bin, h5, keras, tf1 or garden
    config: MobileBertConfig
    archive: Archive
    naming: Naming
    architecture: str | None = None  # if the file itself names it


class Reader(NamedTuple):
    """How to open weights files with a certain ending."""

    ending: str
    format: str  # of the container: safetensors, bin or h5
    naming: Naming
    open: Callable[[Folder, str, int], Archive]


# checkpoint.SOURCES with any stem: model.safetensors.index.json -> ending .safetensors.index.json, format safetensors
READERS: tuple[Reader, ...] = tuple(
    Reader(source.file[source.file.index(".") :], source.file.split(".")[1], source.naming, source.open)
    for source in checkpoint.SOURCES
)
# files to copy unchanged -> the parser that detects damage
TOKENIZER_FILES: dict[str, Callable[[Path, bytes], object]] = {
    storage.VOCAB_FILE: storage.parse_vocabulary,
    storage.TOKENIZER_FILE: storage.parse_tokenizer,
    storage.CONFIG_FILE: parse_json,
    storage.MAP_FILE: parse_json,
    storage.ADDED_FILE: parse_json,
}


def reader_of(path: Path) -> Reader | None:
    """Find the reader for a weights file that needs no framework; None for TensorFlow and Keras files."""
    return None if is_keras(path) else next((reader for reader in READERS if path.name.endswith(reader.ending)), None)


def locate(source: str | Path) -> Path:
    """Find a source's weights file; in a folder or a hub repository, the best one.

    Raises:
        CheckpointError: there is none, or the choice is ambiguous.
        OSError, ImportError: see hub.resolve.
    """
    if isinstance(source, str) and not os.path.lexists(source) and hub.is_known(source):
        source = hub.resolve(source, [CONFIG_FILE, *TOKENIZER_FILES], [known.file for known in checkpoint.SOURCES])
    source = Path(source)
    if source.is_dir() and (weights := checkpoint.find_weights(Folder.open(source))):
        return source / weights.file
    finish_renames(source if source.is_dir() else source.parent)  # other dialects are found and opened by name
    if prefix := bundle.find_prefix(source):
        return prefix.with_name(prefix.name + bundle.INDEX)
    if source.is_dir():
        found = sorted(path for ending in keras_files.ENDINGS for path in source.glob(f"*{ending}"))
        files = [path for path in found if not path.name.startswith(".")]  # left by an interrupted save
        if len(files) > 1:
            names = shortened([repr(path.name) for path in files], ", ")
            raise CheckpointError(source, f"has several models: choose one of {names}")
        if not files:
            names = ", ".join(known.file for known in checkpoint.SOURCES)
            raise CheckpointError(source, f"has no weights: neither {names} nor a TensorFlow checkpoint or a Keras file")
        return files[0]
    if not Folder.open(source.parent).has(source.name):
        raise CheckpointError(source, "does not exist")
    if not is_keras(source) and not reader_of(source):
        endings = [*(reader.ending for reader in READERS), *keras_files.ENDINGS, bundle.INDEX]
        raise CheckpointError(source, f"is not a weights file: its name must end in {', '.join(endings)}")
    return source


def open_source(folder: Folder, name: str, config: Path | None, architecture: str | None) -> Opened:
    """List the tensors of a weights file and read its configuration.

    Args:
        folder, name: the folder and name of the file from `locate`.
        config: a configuration file, or a name in the zoo, to use instead of the one beside the weights.
        architecture: the architecture asked for; a .weights.h5 does not store its own.
    Raises:
        CheckpointError: the weights or the configuration are missing or damaged.
    """
    path = folder.path / name
    if is_keras(path):
        given = None if name.endswith(keras_files.MODEL) and config is None else read_config(folder, config)
        found, architecture, archive = keras_files.open_file(folder.file(name), given, architecture)
        return Opened("keras", found, archive, "canonical", architecture)
    if name.endswith(bundle.INDEX):
        archive, naming = tf1.open_file(folder, name)
        found = read_config(folder, config)
        if config_file(folder, config).name != CONFIG_FILE:
            found = tf1.completed(found, archive, naming)
        return Opened(naming, found, archive, naming)
    reader = next(reader for reader in READERS if name.endswith(reader.ending))
    found = read_config(folder, config)
    archive = reader.open(folder, name, most_tensors(found))
    return Opened(reader.format, found, archive, naming_of(archive, reader.naming))


def read_config(folder: Folder, given: Path | None) -> MobileBertConfig:
    """Read the configuration in `config_file`, or take the one of that name from the zoo."""
    path = config_file(folder, given)
    if path.name in ZOO:
        return MobileBertConfig.from_zoo(path.name)

    def read(beside: Folder) -> MobileBertConfig:
        return tf1.read_config(beside, path.name) if path.name == tf1.CONFIG_FILE else MobileBertConfig.from_folder(beside)

    return read(folder) if given is None else read_consistently(path.parent, read)


def config_file(folder: Folder, given: Path | None) -> Path:
    """Find the configuration: the file or the name in the zoo given, the folder's config.json, or its bert_config.json.

    Raises:
        ConfigError: the file given has none of these names, so its meaning is unknown.
        CheckpointError: no file was given, and the folder has neither.
    """
    if given is not None:
        if given.name not in (CONFIG_FILE, tf1.CONFIG_FILE) and str(given) not in ZOO:
            names = f"must be named {CONFIG_FILE} or, in Google's format, {tf1.CONFIG_FILE}"
            raise ConfigError(f"{given} {names}, or be one of the zoo ({', '.join(ZOO)})")
        return given
    for name in (CONFIG_FILE, tf1.CONFIG_FILE):
        if folder.has(name):
            return folder.path / name
    raise CheckpointError(folder.path, f"has neither {CONFIG_FILE} nor {tf1.CONFIG_FILE}: pass one with --config (config=)")


def tokenizer_files(folder: Folder) -> dict[str, Content]:
    """Read a folder's tokenizer files unchanged; a damaged one is skipped with a warning."""
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
    """Whether a path has the ending of a Keras file."""
    return path.name.endswith(keras_files.ENDINGS)

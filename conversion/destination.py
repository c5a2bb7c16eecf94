"""Destinations: one row per dialect that can be written, and the checks against overwriting."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from mobilebert_common.checkpoints import checkpoint, h5, safetensors, torch_bin
from mobilebert_common.checkpoints.matching import with_copies
from mobilebert_common.errors import ConfigError
from mobilebert_common.files.folder import Content, Folder
from mobilebert_common.model import dtypes
from mobilebert_common.model.config import CONFIG_FILE, MobileBertConfig

from . import h5_files, keras_files, tf1, torch_files
from .source import TOKENIZER_FILES

Dialect = Literal["safetensors", "bin", "h5", "keras", "tf1"]


class Writer(NamedTuple):
    """How to write a dialect: its weights file, and the function that makes all its files."""

    file: str
    contents: Callable[[MobileBertConfig, str, Mapping[str, np.ndarray]], dict[str, Content]]
    framework: str | None = None  # the twin it needs
    dtypes: tuple[str, ...] = tuple(dtypes.DTYPES)


WRITERS: dict[str, Writer] = {
    "safetensors": Writer(
        safetensors.WEIGHTS_FILE,
        lambda config, _, tensors: {safetensors.WEIGHTS_FILE: lambda path: safetensors.write(path, with_copies(config, tensors))},
    ),
    "bin": Writer(torch_bin.WEIGHTS_FILE, torch_files.contents, "pt"),
    "h5": Writer(h5.WEIGHTS_FILE, h5_files.contents, dtypes=h5_files.FLOATS),
    "keras": Writer(keras_files.WEIGHTS_FILE, keras_files.contents, "tf"),
    "tf1": Writer(tf1.WEIGHTS_FILE, tf1.contents, "tf"),
}


def writer_of(to: str) -> Writer:
    """Find the writer of a dialect.

    Raises:
        ConfigError: this dialect cannot be written.
    """
    if to not in WRITERS:
        raise ConfigError(f"to must be one of {', '.join(WRITERS)}, not {to!r}")
    return WRITERS[to]


def refuse_overwriting(folder: Path, file: str, source: Path, overwrite: bool) -> None:
    """Make sure the folder holds only one model afterwards, and replace nothing without `overwrite`.

    Args:
        file: the weights file to be written.
        source: the folder of the source; writing another dialect into it is fine, because it is the same model.
    Raises:
        ConfigError: a file is in the way; the message names it.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder: name a folder for the checkpoint")
    here, there, beside = same(folder, source), Folder.open(folder), Folder.open(source)
    files = [name for name in (CONFIG_FILE, file) if there.has(name)]
    if not overwrite and (file in files or (files and not here)):
        raise ConfigError(f"{folder} already holds {files[-1]}; --overwrite (overwrite=True) replaces it")
    others = [found.file for found in checkpoint.SOURCES if found.file != file and there.has(found.file)]
    if files:  # a folder with only a tokenizer may be waiting for its model
        others += [name for name in TOKENIZER_FILES if there.has(name) and not beside.has(name)]
    if others and not here:
        raise ConfigError(
            f"{folder} also holds {others[0]}, which would be mixed up with this model: remove it, or choose another folder"
        )


def keeps_config(source: Path, folder: Path, overwrite: bool) -> bool:
    """Whether the destination is the source's own folder and keeps its configuration."""
    return same(source, folder) and Folder.open(folder).has(CONFIG_FILE) and not overwrite


def same(folder: Path, other: Path) -> bool:
    """Whether two paths lead to the same existing folder."""
    return folder.exists() and folder.resolve() == other.resolve()

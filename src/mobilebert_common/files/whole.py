"""A folder that appears whole or not at all."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError
from .folder import LEFT_BEHIND, TEMPORARY, sync_folder, temporary_name


def require_new(path: Path) -> None:
    """Require that nothing is at a path.

    Raises:
        ConfigError: something is.
    """
    if os.path.lexists(path):
        raise ConfigError(f"{path} exists already: remove it, or write to another folder")


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A hidden folder to fill, which gets its name when the block ends; if that fails, nothing is left.

    Raises:
        ConfigError: something is at the path already.
        OSError: the disk is full, or the folder cannot be written.
    """
    require_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    scratch = temporary_name(path)
    try:
        scratch.mkdir()
        yield scratch
        for folder, _, names in os.walk(scratch, topdown=False):
            for name in names:
                with open(Path(folder, name), "rb") as file:
                    os.fsync(file.fileno())
            sync_folder(Path(folder))
        require_new(path)
        os.rename(scratch, path)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    sync_folder(path.parent)


def _sweep(path: Path) -> None:
    """Remove what a killed process has left of this folder long ago."""
    for left in path.parent.glob(f".{path.name}{TEMPORARY}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > LEFT_BEHIND:
                shutil.rmtree(left, ignore_errors=True)

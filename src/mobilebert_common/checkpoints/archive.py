"""What the reader of every dialect returns: a checked list of a file's tensors, and a way to read some of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..files.reading import StableFile

MAX_NAME = 1000  # characters of a tensor's name
MAX_RANK = 8


@dataclass(frozen=True)
class Entry:
    """What a file's header says of one tensor, in the file's own layout."""

    dtype: np.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Archive:
    """A weights file whose header has been read and checked and whose data has not been touched.

    Attributes:
        path: the file, for errors.
        entries: {name in the file's dialect: Entry}, without what is only the writer's (a class's scope, a suffix).
        read: the arrays of some names; may be read-only and lie in the mapped file.
    """

    path: Path
    entries: dict[str, Entry]
    read: Callable[[Iterable[str]], dict[str, np.ndarray]]


def open_stable(open_file: Callable[[Path], Archive], file: StableFile) -> Archive:
    """An archive of a file that is held against the manifest before its data is first read.

    Not when it is opened: a hash takes as long as the file is large, and a hostile one is refused by its header sooner.
    """
    with file.open():
        place = next((place for place in file.places if place.is_file()), file.path)
    archive = open_file(place)

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        with file.open(verify=True):
            return archive.read(names)

    return replace(archive, path=file.path, read=read)


def is_name(name: str) -> bool:
    """Whether a tensor can have this name: not empty or huge, and nothing in it that a terminal would act on."""
    return 0 < len(name) <= MAX_NAME and name.isprintable()

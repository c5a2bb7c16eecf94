"""What the reader of every dialect returns: a checked list of a file's tensors, and a way to read some of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from ..errors import CheckpointError
from ..files.folder import Digests, compare
from ..files.reading import StableFile

MAX_NAME = 1000  # characters of a tensor's name
MAX_RANK = 8


@dataclass(frozen=True, slots=True)
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
        read: the arrays of some names, in memory of their own. It refuses a file that changed since its header was read,
            and one that is not what the manifest says.
    """

    path: Path
    entries: dict[str, Entry]
    read: Callable[[Iterable[str]], dict[str, np.ndarray]]


class Open(Protocol):
    """A reader: the file, and how many tensors it may list."""

    def __call__(self, file: StableFile | Path, limit: int = ..., /) -> Archive: ...


def verified(archive: Archive, directory: Path, name: str, digests: Digests | None = None) -> Archive:
    """An archive of a file that is held against the manifest before its data is first read.

    Not when it is opened: a hash takes as long as the file is large, and a hostile one is refused by its header sooner.
    """

    @cache
    def check() -> None:
        compare(directory, name, digests)

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        check()
        return archive.read(names)

    return replace(archive, read=read)


def read_array(path: Path, file: BinaryIO, start: int, dtype: np.dtype, shape: Iterable[int]) -> np.ndarray:
    """The array that lies in a file from `start` on.

    Raises:
        CheckpointError: the file ends before it does.
    """
    array = np.empty(tuple(shape), dtype)
    if array.nbytes:
        file.seek(start)
        if file.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:  # type: ignore[attr-defined]
            raise CheckpointError(path, f"is truncated: {array.nbytes:,} bytes from {start:,} on are not all there")
    return array


def is_name(name: str) -> bool:
    """Whether a tensor can have this name: not empty or huge, and nothing in it that a terminal would act on.

    In ASCII, as all names are that a model of ours has: one wide character makes each of a string's take four bytes.
    """
    return 0 < len(name) <= MAX_NAME and name.isascii() and name.isprintable()


def too_many(limit: int) -> str:
    """The reason to refuse a file that lists more tensors than its configuration can have."""
    return f"lists more than {limit:,} tensors, the most that are expected of it"

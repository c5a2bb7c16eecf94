"""A file that is read in pieces and must stay the same meanwhile."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from ..errors import CheckpointError

PIECE = 1 << 18  # bytes hashed at a time; they stay in the cache
BATCH = 1 << 20  # bytes handed to the hashing thread at a time
POINTER = b"version https://git-lfs.github.com/spec/"  # starts the file that git-lfs keeps in place of a large one
MAX_POINTER = 1024
POINTS = "is a git-lfs pointer, not the file itself: run `git lfs pull` in its repository, or download the file again"
ANOTHER = "is not the file that was saved: its SHA-256 differs from manifest.json"
FLAGS = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


class StableFile:
    """A regular file that is opened several times and refused where it is not the same each time.

    Nothing is mapped into memory: a mapped file that another process truncates ends this one with SIGBUS. A file that was
    renamed is still the same; one that was replaced, or written to, is not.

    Args:
        path: the file's name, for errors.
        places: where its content may lie, the first that is there counts; by default only under its name.
        digest: the SHA-256 that its content must have, in hexadecimal; None is any.
        differs: called with the file's name where it has another one; returns the error to raise, or None to go on.
    """

    def __init__(
        self,
        path: Path,
        places: Sequence[Path] = (),
        digest: str | None = None,
        differs: Callable[[str], CheckpointError | None] | None = None,
    ) -> None:
        self.path = path
        self.places = tuple(places) or (path,)
        self.digest = digest
        self.differs = differs
        self.identity: tuple[int, ...] | None = None
        self.verified = digest is None

    @property
    def name(self) -> str:
        """The file's name in its folder."""
        return self.path.name

    @contextlib.contextmanager
    def open(self, verify: bool = False) -> Iterator[BinaryIO]:
        """Open the file for reading at places.

        Args:
            verify: compare its SHA-256 first, once; that takes as long as the file is large.
        Raises:
            CheckpointError: it is missing, not a regular file, a link out of its folder, not the file that was saved, or not
                the one that was opened before; also at the end of the block, where it changed during it.
        """
        try:
            descriptor = self._descriptor()
        except OSError as error:
            raise CheckpointError(self.path, f"cannot be read: {error.strerror or error}") from None
        try:
            self._compare_identity(descriptor)
            _refuse_pointer(self.path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        with open(descriptor, "rb") as file:
            if verify and not self.verified:
                self._verify(file)
            try:
                yield file
            except OSError as error:
                raise CheckpointError(self.path, f"cannot be read: {error.strerror or error}") from None
            self._compare_identity(descriptor)

    def size(self) -> int:
        """Its size in bytes, as of the first time it was opened."""
        if self.identity is None:
            with self.open():
                pass
        assert self.identity is not None
        return self.identity[2]

    def read(self, max_bytes: int) -> bytes:
        """All of a small file, verified.

        Raises:
            CheckpointError: as `open`, or the file is larger.
        """
        with self.open() as file:
            data = file.read(max_bytes + 1)
            if len(data) > max_bytes:
                raise CheckpointError(self.path, f"is larger than the {max_bytes:,} bytes allowed here")
            self._compare_digest(hashlib.sha256(data).hexdigest())
        return data

    def fill(self, parts: Iterable[tuple[int, memoryview]]) -> None:
        """Read parts of the file into memory, and verify the file from the same bytes, without a second reading.

        Args:
            parts: (where it starts, the memory to fill) of each, in the order of the file and without overlaps.
        Raises:
            CheckpointError: as `open` with verify, or the file ends before a part does. What was filled must not be used then.
        """
        with self.open() as file, Hashing() as hashing:
            verify, place = not self.verified, 0
            for start, part in parts:
                if verify:
                    _hash_rest(file, start - place, hashing)
                else:
                    file.seek(start)
                if file.readinto(part) != part.nbytes:  # type: ignore[attr-defined]
                    raise CheckpointError(self.path, f"is truncated: {part.nbytes:,} bytes from {start:,} on are not all there")
                if verify:
                    hashing.add(part)
                place = start + part.nbytes
            if verify:
                _hash_rest(file, self.size() - place, hashing)
                self._compare_digest(hashing.hexdigest())

    def _descriptor(self) -> int:
        """A descriptor of the first place that holds a file, or of the last. Opening a pipe does not wait for a writer."""
        *hidden, last = self.places
        for place in hidden:
            with contextlib.suppress(FileNotFoundError):
                if place.is_file():
                    return _open(place, self.path)
        return _open(last, self.path)

    def _compare_identity(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError(self.path, "is not a regular file")
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if self.identity not in (None, identity):
            raise CheckpointError(self.path, "changed while it was being read")
        self.identity = identity

    def _verify(self, file: BinaryIO) -> None:
        digest, buffer = hashlib.sha256(), bytearray(PIECE)
        file.seek(0)
        with memoryview(buffer) as view:
            while count := file.raw.readinto(view):  # type: ignore[attr-defined]
                digest.update(view[:count])
        file.seek(0)
        self._compare_digest(digest.hexdigest())

    def _compare_digest(self, found: str) -> None:
        if self.digest not in (None, found):
            error = self.differs(self.name) if self.differs else CheckpointError(self.path, ANOTHER)
            if error:
                raise error
        self.verified = True


class Hashing:
    """The SHA-256 of pieces in memory, in a thread beside the one that reads them: neither holds the interpreter's lock."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1)  # started by the first piece
        self._pieces: list[memoryview | bytes] = []
        self._bytes = 0

    def __enter__(self) -> "Hashing":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def add(self, piece: memoryview | bytes) -> None:
        """Hash a piece, which must not change until `hexdigest`."""
        self._pieces.append(piece)
        self._bytes += len(piece)
        if self._bytes >= BATCH:
            self.flush()

    def flush(self) -> Future[None]:
        """Start on the pieces that wait."""
        pieces, self._pieces, self._bytes = self._pieces, [], 0
        return self._thread.submit(self._update, pieces)

    def _update(self, pieces: Iterable[memoryview | bytes]) -> None:
        for piece in pieces:
            self._digest.update(piece)

    def hexdigest(self) -> str:
        """The SHA-256 of all pieces, in hexadecimal."""
        self.flush().result()
        return self._digest.hexdigest()


def _hash_rest(file: BinaryIO, count: int, hashing: Hashing) -> None:
    """Hash the next bytes, which are in no part, one piece in memory at a time."""
    while count > 0 and (piece := file.read(min(count, PIECE))):
        hashing.add(piece)
        hashing.flush().result()
        count -= len(piece)


def stable(file: StableFile | Path) -> StableFile:
    """A path as a file that is only found under it and may have any content."""
    return file if isinstance(file, StableFile) else StableFile(file)


def _refuse_pointer(path: Path, descriptor: int) -> None:
    if os.fstat(descriptor).st_size <= MAX_POINTER:
        start = os.read(descriptor, len(POINTER))
        os.lseek(descriptor, 0, os.SEEK_SET)
        if start == POINTER:
            raise CheckpointError(path, POINTS)


def _open(place: Path, shown: Path) -> int:
    if place.is_symlink() and not is_inside(place, place.parent):
        raise CheckpointError(shown, "is a link to a file outside its folder; put the file itself there")
    return os.open(place, FLAGS)


def is_inside(path: Path, directory: Path) -> bool:
    """Whether a path, its links followed, lies in a directory, or where a snapshot of the hub's cache has its files.

    That is <cache>/models--owner--name/blobs, or, for what several repositories share, <cache>/blobs.
    """
    try:
        folder, place = directory.resolve(), path.resolve()
    except (OSError, RuntimeError):  # a loop of links
        return False
    snapshot = next((parent for parent in (folder, *folder.parents) if parent.parent.name == "snapshots"), None)
    parents = [folder]
    if snapshot is not None:
        repository = snapshot.parent.parent
        parents += [repository / "blobs", *([repository.parent / "blobs"] if repository.name.startswith("models--") else [])]
    return any(place.is_relative_to(parent) for parent in parents)

"""A checkpoint directory: read as its manifest says, and written whole or not at all.

A directory changes in one step, however many files are saved. `save_files` first writes every new file under a hidden name that
holds its SHA-256, then replaces manifest.json, then renames. The manifest is the commit point: before it the directory is the
old one, after it the new one, and a file that waits for its name is found under the hidden one. The manifest holds a SHA-256 of
itself as well: a damaged name in it would leave a file unchecked.

Writers take turns: each holds a lock on the directory (flock) while it saves, and the last one wins, whole. Readers take no lock
and write nothing. They read the manifest once, hold every file against it, and start again where another process has saved
meanwhile (`read_consistently`), so that they see all of the old save or all of the new one.

A file that is not what the manifest says may be damaged, edited, or saved by another program, which knows no manifest. Small files
(configuration, tokenizer) are validated when they are read, so that a change is a warning. Weights have nothing that would tell a
changed bit, so that a change is an error, unless config.json changed too, which means that another program saved both.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import secrets
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..errors import CheckpointError
from .reading import ANOTHER, StableFile
from .strict_json import MAX_JSON, parse_json

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

T = TypeVar("T")

MANIFEST_FILE = "manifest.json"
CONFIG_FILE = "config.json"
TEMPORARY = ".tmp-"  # marks a file that a save has not finished
PENDING = ".new-"  # marks a finished file that waits for its name

HEXADECIMAL = frozenset("0123456789abcdef")
MAX_NAME = 255 - len(f".{PENDING}") - 16  # bytes of a name in the manifest, which must have a hidden one too

ATTEMPTS = 100  # to read a folder that other processes keep saving into
LONGEST_PAUSE = 0.05  # seconds between them
LOCK_SECONDS = 600  # a writer waits for the others
NO_LOCKS = {errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
LEFT_BEHIND = 24 * 3600  # seconds after which a temporary file has no owner where there are no locks

Content = bytes | Callable[[Path], None]  # what a file will hold, or the function that writes it to a path


@dataclass(frozen=True)
class Folder:
    """A directory as its manifest describes it, which was read once.

    Attributes:
        path: of the directory.
        digests: {file name: SHA-256 in hexadecimal}; empty where there is no manifest.
    """

    path: Path
    digests: Mapping[str, str]
    _unverified: set[str] = field(default_factory=set, compare=False, repr=False)  # files read that no manifest vouches for
    _changed: set[str] = field(default_factory=set, compare=False, repr=False)  # files read that are not what it says

    @classmethod
    def open(cls, path: Path) -> "Folder":
        """Read the manifest of a directory, if it has one.

        Raises:
            CheckpointError: the manifest is damaged, or neither it nor its directory can be read.
        """
        return cls(path, read_manifest(path))

    def __str__(self) -> str:
        return str(self.path)

    def has(self, name: str) -> bool:
        """Whether there is anything under a name, or under the hidden name of a save that was interrupted."""
        return any(map(os.path.lexists, self._places(name)))

    def file(self, name: str) -> StableFile:
        """A weights file: if the manifest names it, its content must be the one saved, unless config.json changed as well."""
        return self._file(name, self._refuse_weights)

    def read(self, name: str, max_bytes: int = MAX_JSON) -> bytes:
        """The content of a small file, which the caller validates: read_consistently then warns if it is not what was saved.

        Raises:
            CheckpointError: it is missing, larger, not a regular file, or a link out of the directory.
        """
        return self._file(name, self._note).read(max_bytes)

    def read_json(self, name: str, max_bytes: int = MAX_JSON) -> dict[str, Any]:
        """The JSON object in a small file.

        Raises:
            CheckpointError: as `read` and `parse_json`.
        """
        return parse_json(self.path / name, self.read(name, max_bytes))

    def saved(self, name: str) -> StableFile:
        """A file that must be the one that was saved, whatever else changed.

        Raises:
            CheckpointError: the manifest does not name it; when it is read, its content is another.
        """
        if name not in self.digests:
            raise CheckpointError(self.path / name, f"is not in {MANIFEST_FILE}")
        return StableFile(self.path / name, self._places(name), self.digests[name])

    def saved_json(self, name: str, max_bytes: int = MAX_JSON) -> dict[str, Any]:
        """The JSON object in such a file."""
        return parse_json(self.path / name, self.saved(name).read(max_bytes))

    def is_current(self) -> bool:
        """Whether the manifest is still the one that was read."""
        try:
            return read_manifest(self.path) == self.digests
        except CheckpointError:
            return False

    def was_consistent(self) -> bool:
        """Whether all that was read is of one save: each file is as one manifest says, or no save came between."""
        return not (self._unverified or self._changed) or self.is_current()

    def warn(self) -> None:
        """Log, once, which of the files that were read are not those that were saved."""
        if self._changed:
            names = ", ".join(sorted(self._changed))
            others = self._changed - {CONFIG_FILE} and CONFIG_FILE in self._changed
            log.warning(
                "%s: not as saved (the SHA-256 in manifest.json differs): %s; %s %s",
                self.path,
                names,
                "another program saved here, or they are damaged;" if others else "edited or damaged;",
                _how_to_accept(self.path),
            )

    def _file(self, name: str, differs: Callable[[str], CheckpointError | None]) -> StableFile:
        digest = self.digests.get(name)
        if digest is None:
            self._unverified.add(name)
        return StableFile(self.path / name, self._places(name), digest, differs)

    def _note(self, name: str) -> None:
        self._changed.add(name)

    def _refuse_weights(self, name: str) -> CheckpointError | None:
        with contextlib.suppress(CheckpointError):
            self.read(CONFIG_FILE)
        if CONFIG_FILE in self._changed:
            self._changed.add(name)
            return None
        return CheckpointError(self.path / name, f"{ANOTHER}; if the change was meant, {_how_to_accept(self.path)}")

    def _places(self, name: str) -> tuple[Path, ...]:
        path, digest = self.path / name, self.digests.get(name)
        return (path,) if digest is None else (_pending_name(path, digest), path)


def read_consistently(place: Path | Folder, read: Callable[[Folder], T]) -> T:
    """What `read` makes of a directory, all of it from one save; it is called again where another process saved meanwhile.

    Args:
        place: a Folder is already being read consistently by the caller, who starts again if need be.
    Raises:
        CheckpointError: what `read` raises, or other processes save into the directory without a pause.
    """
    if isinstance(place, Folder):
        return read(place)
    path = place
    for attempt in range(ATTEMPTS):
        folder = None
        try:
            folder = Folder.open(path)
            result = read(folder)
            if folder.was_consistent():
                folder.warn()
                return result
        except (CheckpointError, OSError):
            if folder is None or folder.is_current():
                raise
        time.sleep(min(LONGEST_PAUSE, 0.001 * 2**attempt) * (0.5 + secrets.randbelow(1000) / 1000))
    raise CheckpointError(path, f"changed each of {ATTEMPTS} times it was read: other processes keep saving into it")


def read_manifest(directory: Path) -> dict[str, str]:
    """{file name: SHA-256 in hexadecimal}; empty where the directory has no manifest."""
    file = StableFile(directory / MANIFEST_FILE)
    try:
        content = parse_json(file.path, file.read(MAX_JSON))
    except CheckpointError as error:
        if isinstance(error.__context__, FileNotFoundError | NotADirectoryError):
            return {}
        raise
    digests = content.get("sha256")
    if not isinstance(digests, dict) or not all(_is_entry(name, digest) for name, digest in digests.items()):
        raise CheckpointError(file.path, "does not map file names to SHA-256 digests under the key sha256")
    if content.get("self") != _self_digest(digests):
        raise CheckpointError(
            file.path,
            f"is damaged: it does not have the SHA-256 it was saved with; to keep the files as they are, {_how_to_accept(directory)}",
        )
    return digests


def save_files(directory: Path, contents: Mapping[str, Content]) -> None:
    """Write several files of a directory in one step and record their SHA-256 in manifest.json.

    Other writers wait; the last one wins.

    Args:
        directory: created where it is absent.
        contents: {file name: its bytes, or a function that writes the file at the path it is given}.
    Raises:
        OSError: the disk is full, the folder cannot be written, or other writers do not finish; the directory is what it was, or,
            where the failure comes after the commit, the new one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory) as alone:
        digests = _recover(directory, alone)
        _commit(directory, contents, digests)


def _commit(directory: Path, contents: Mapping[str, Content], digests: dict[str, str]) -> None:
    """Stage the new files, replace the manifest, and give the files their names."""
    manifest, staged = directory / MANIFEST_FILE, temporary_name(directory / MANIFEST_FILE)
    pending: dict[Path, Path] = {}
    hidden = [staged]  # a path is here before its file exists, so that a failure sweeps it too
    try:
        for name, content in contents.items():
            temporary = temporary_name(directory / name)
            hidden.append(temporary)
            _write(temporary, content, directory / name)
            digests[name] = sha256(temporary)
            finished = _pending_name(directory / name, digests[name])
            hidden.append(finished)
            os.replace(temporary, finished)
            pending[finished] = directory / name
        _write(staged, _manifest_text(digests), manifest)
        sync_folder(directory)
    except BaseException:
        _remove(hidden)
        raise
    try:
        os.replace(staged, manifest)  # the commit: an interrupt from here on sweeps nothing
    except OSError:
        _remove(hidden)
        raise
    sync_folder(directory)
    for finished, path in pending.items():
        os.replace(finished, path)
    sync_folder(directory)


def accept(directory: Path) -> list[str]:
    """Write the SHA-256 of a directory's files as they are into its manifest.

    A damaged manifest is replaced by one of all files.

    Returns:
        The names of the files that it did not describe as they are; empty where there is no manifest.
    Raises:
        OSError: a file cannot be read, or the manifest cannot be written.
    """
    if not os.path.lexists(directory / MANIFEST_FILE):
        return []
    with _locked(directory) as alone:
        digests = _recover(directory, alone)
        visible = [path.name for path in directory.iterdir() if path.is_file() and not path.name.startswith(".")]
        names = sorted(digests or {*visible} - {MANIFEST_FILE})
        found = {name: sha256(directory / name) for name in names}
        _commit(directory, {}, dict(found))
    return [name for name in names if digests.get(name) != found[name]]


def finish_renames(directory: Path) -> None:
    """Give the files of an interrupted save their names, for a library that opens files by name."""
    digests = read_manifest(directory)
    if any(_pending_name(directory / name, digest).exists() for name, digest in digests.items()):
        with _locked(directory):
            _finish_renames(directory, read_manifest(directory))


def write_atomically(path: Path, content: Content) -> None:
    """Write a file so that a reader, a crash or a full disk sees the old content or the new, never a part."""
    temporary = temporary_name(path)
    try:
        _write(temporary, content, path)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path` for content that is not complete yet, of this call alone."""
    return path.with_name(f".{path.name}{TEMPORARY}{secrets.token_hex(8)}")


def sync_folder(folder: Path) -> None:
    """Make the renames done in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[bool]:
    """Hold the lock that writers of a directory take turns with; yields whether there is one.

    Without locks (some network file systems) threads of this process still take turns. Of several processes one must save
    (is_main_process): their saves would mix.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            if not _lock(descriptor, directory, deadline):
                with _WITHOUT_LOCKS:
                    yield False
                return
            if not _is_at(descriptor, directory):  # removed and made anew while we waited
                continue
            try:
                yield True
            finally:
                _unlock(descriptor)
            return
        finally:
            os.close(descriptor)


_WITHOUT_LOCKS = threading.RLock()


def _lock(descriptor: int, directory: Path, deadline: float) -> bool:
    """Wait for the lock of a directory; False where its file system has none."""
    if sys.platform == "win32":
        return False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                reason = f"another process has been saving into it for {LOCK_SECONDS} seconds"
                raise TimeoutError(errno.ETIMEDOUT, reason, str(directory)) from None
            time.sleep(0.005)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            log.warning("%s: this file system has no locks: let one process at a time save there", directory)
            return False


def _unlock(descriptor: int) -> None:
    """Let the next writer in, even where a forked child still holds the descriptor."""
    if sys.platform != "win32":
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _is_at(descriptor: int, directory: Path) -> bool:
    """Whether an open directory is the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(directory))
    except FileNotFoundError:
        directory.mkdir(parents=True, exist_ok=True)
        return False


def _recover(directory: Path, alone: bool) -> dict[str, str]:
    """Finish the renames of a save that was interrupted, sweep what an unfinished one left, and return the manifest.

    Args:
        alone: whether no other writer can be at work; otherwise only what is old is swept.
    """
    try:
        digests = read_manifest(directory)
    except CheckpointError as error:
        if isinstance(error.__context__, OSError):  # it may well be a good one
            raise error.__context__ from None
        digests = {}  # a save replaces a damaged manifest
    _finish_renames(directory, digests)
    for path in directory.glob(".*"):
        if (TEMPORARY in path.name or PENDING in path.name) and path.is_file() and (alone or _is_old(path)):
            path.unlink(missing_ok=True)
    return {name: digest for name, digest in digests.items() if (directory / name).exists()}


def _is_old(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > LEFT_BEHIND
    return False


def _finish_renames(directory: Path, digests: Mapping[str, str]) -> None:
    for name, digest in digests.items():
        finished = _pending_name(directory / name, digest)
        if finished.is_file():
            os.replace(finished, directory / name)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _write(path: Path, content: Content, final: Path) -> None:
    """Write a file and wait until the disk has it; an error names the file it was to become."""
    try:
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content(path)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno and error.filename in (None, str(path)):  # a full disk says so without a name
            error.filename = str(final)
        raise


def _how_to_accept(directory: Path) -> str:
    return f"`mobilebert verify --accept {shlex.quote(str(directory))}` accepts it (in Python, checkpoints.checkpoint.accept)"


def _is_entry(name: str, digest: Any) -> bool:
    plain = name == os.path.basename(name) and name not in ("", ".", "..") and "\0" not in name
    fits = len(name.encode()) <= MAX_NAME
    return plain and fits and isinstance(digest, str) and len(digest) == 64 and HEXADECIMAL.issuperset(digest)


def _manifest_text(digests: Mapping[str, str]) -> bytes:
    content = {"self": _self_digest(digests), "sha256": dict(digests)}
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def _self_digest(digests: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(digests), sort_keys=True).encode()).hexdigest()


def _pending_name(path: Path, digest: str) -> Path:
    return path.with_name(f".{path.name}{PENDING}{digest[:16]}")

"""Files that are read with suspicion and written whole or not at all.

A checkpoint directory changes in one step, however many files it has. `save_files` first writes every new file under a
hidden name that holds its SHA-256, then replaces manifest.json, then renames. The manifest is the commit point: before
it the directory is the old one, after it the new one, and `stored` finds a file that a crash has left under its hidden
name. The manifest holds a SHA-256 of itself as well: a damaged name in it would leave a file unchecked.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .strict_json import _too_large, read_json

MANIFEST_FILE = "manifest.json"
TEMPORARY = ".tmp-"  # marks a file that a save has not finished
PENDING = ".new-"  # marks a finished file that waits for its name

HEXADECIMAL = frozenset("0123456789abcdef")
MAX_NAME = 255 - len(f".{PENDING}") - 16  # bytes of a name in the manifest, which must have a hidden one too

Content = bytes | Callable[[Path], None]  # what a file will hold, or the function that writes it to a path
Digests = Mapping[str, str]  # what read_manifest returns; where a function takes None for it, it reads the manifest itself


def save_files(directory: Path, contents: Mapping[str, Content]) -> None:
    """Write several files of a directory in one step and record their SHA-256 in manifest.json.

    Args:
        directory: created where it is absent.
        contents: {file name: its bytes, or a function that writes the file at the path it is given}.
    Raises:
        OSError: the disk is full, or the folder cannot be written; the directory is what it was, or, where the failure
            comes after the commit, the new one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    new = _recover(directory)
    manifest, staged = directory / MANIFEST_FILE, temporary_name(directory / MANIFEST_FILE)
    pending: dict[Path, Path] = {}
    hidden = [staged]  # a path is here before its file exists, so that a failure sweeps it too
    try:
        for name, content in contents.items():
            temporary = temporary_name(directory / name)
            hidden.append(temporary)
            _write(temporary, content)
            new[name] = sha256(temporary)
            finished = _pending_name(directory / name, new[name])
            hidden.append(finished)
            os.replace(temporary, finished)
            pending[finished] = directory / name
        _write(staged, _manifest_text(new))
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


def stored(directory: Path, name: str, digests: Digests | None = None) -> Path:
    """Where the content of a file lies: under its name, or under the hidden one if a crash came before the rename."""
    path = directory / name
    digest = (read_manifest(directory) if digests is None else digests).get(name)
    finished = _pending_name(path, digest) if digest else path
    return finished if finished.is_file() else path


def located(directory: Path, name: str, digests: Digests | None = None) -> Path:
    """`stored`, after a look at what kind of file it is.

    Raises:
        CheckpointError: the file is a link out of the directory, a device or a pipe.
    """
    path = stored(directory, name, digests)
    _refuse_link_out(path)
    if path.exists() and not path.is_file():
        raise CheckpointError(directory / name, "is not a regular file")
    return path


def verify(directory: Path, name: str, max_bytes: int | None = None, digests: Digests | None = None) -> Path:
    """`located`, after a look at its size and, where there is a manifest, at its SHA-256.

    Raises:
        CheckpointError: as `located`, or the file is too large to be hashed, or as `compare`.
    """
    digests = read_manifest(directory) if digests is None else digests
    path = located(directory, name, digests)
    if max_bytes is not None and path.exists() and path.stat().st_size > max_bytes:
        raise _too_large(directory / name, max_bytes)
    compare(directory, name, digests)
    return path


def compare(directory: Path, name: str, digests: Digests | None = None) -> None:
    """Hold a file, where it is there, against the manifest, where there is one.

    Raises:
        CheckpointError: the file is not the one that was saved; the message says how to accept it.
    """
    digests = read_manifest(directory) if digests is None else digests
    path, digest = stored(directory, name, digests), digests.get(name)
    if digest and path.exists() and sha256(path) != digest:
        raise CheckpointError(
            directory / name,
            f"is not the file that was saved (its SHA-256 differs from {MANIFEST_FILE}); "
            f"if the change was meant, delete {MANIFEST_FILE} to accept it",
        )


def _refuse_link_out(path: Path) -> None:
    """Refuse a link to what is not in its folder, or to itself."""
    if path.is_symlink() and not is_inside(path, path.parent):
        raise CheckpointError(path, "is a link to a file outside its folder; put the file itself there")


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


def read_manifest(directory: Path) -> dict[str, str]:
    """{file name: SHA-256 in hexadecimal}; empty where the directory has no manifest."""
    path = directory / MANIFEST_FILE
    _refuse_link_out(path)
    if not path.exists():
        return {}
    content = read_json(path)
    digests = content.get("sha256")
    if not isinstance(digests, dict) or not all(_is_entry(name, digest) for name, digest in digests.items()):
        raise CheckpointError(path, "does not map file names to SHA-256 digests under the key sha256")
    if content.get("self") != _self_digest(digests):
        raise CheckpointError(
            path,
            "is damaged: it does not have the SHA-256 it was saved with; delete it to accept the files as they are",
        )
    return digests


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_entry(name: str, digest: Any) -> bool:
    plain = name == os.path.basename(name) and name not in ("", ".", "..") and "\0" not in name
    fits = len(name.encode()) <= MAX_NAME
    return plain and fits and isinstance(digest, str) and len(digest) == 64 and HEXADECIMAL.issuperset(digest)


def _manifest_text(digests: Mapping[str, str]) -> bytes:
    return (
        json.dumps({"self": _self_digest(digests), "sha256": dict(digests)}, indent=2, sort_keys=True) + "\n"
    ).encode()


def _self_digest(digests: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(digests), sort_keys=True).encode()).hexdigest()


def _pending_name(path: Path, digest: str) -> Path:
    return path.with_name(f".{path.name}{PENDING}{digest[:16]}")


def finish_renames(directory: Path) -> None:
    """Give the files of an interrupted save their names, for a library that opens files by name."""
    _finish_renames(directory, read_manifest(directory))


def _finish_renames(directory: Path, digests: Mapping[str, str]) -> None:
    for name, digest in digests.items():
        finished = _pending_name(directory / name, digest)
        if finished.is_file():
            os.replace(finished, directory / name)


def _recover(directory: Path) -> dict[str, str]:
    """Finish the renames of a save that was interrupted, sweep what an unfinished one left, and return the manifest."""
    try:
        digests = read_manifest(directory)
    except CheckpointError as error:
        if isinstance(error.__context__, OSError):  # it may well be a good one
            raise error.__context__ from None
        digests = {}  # a save replaces a damaged manifest
    _finish_renames(directory, digests)
    for path in directory.glob(".*"):
        if path.is_file() and (TEMPORARY in path.name or PENDING in path.name):
            path.unlink(missing_ok=True)
    return {name: digest for name, digest in digests.items() if (directory / name).exists()}


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, a crash or a full disk sees the old content or the new, never a part."""
    temporary = temporary_name(path)
    try:
        _write(temporary, data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _write(path: Path, content: Content) -> None:
    """Write a file and wait until the disk has it."""
    try:
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content(path)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        if error.errno and error.filename is None:  # a full disk says so without a name
            error.filename = str(path)
        raise


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path` for content that is not complete yet."""
    return path.with_name(f".{path.name}{TEMPORARY}{os.getpid()}")


def sync_folder(folder: Path) -> None:
    """Make the renames done in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

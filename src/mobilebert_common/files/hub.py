"""Names of models on the Hugging Face hub -> folders of its cache, by huggingface_hub; only the files asked for.

Nothing asks the hub for its list of a repository's files: what is fetched has a name that this package knows, or one that
an index of shards gives and that can only be a file beside it. Beyond that a server is trusted as far as the client trusts it,
which names the files of its cache after the server's ETag.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

from ..errors import CheckpointError
from ..optional import needs
from .folder import Folder, read_consistently, sha256
from .reading import is_inside
from .shard_index import INDEX, is_plain, read_index

T = TypeVar("T")

MAX_NAME = 96  # characters of an owner's or a repository's name

# How the client's errors read here: the name of its class, the more specific one first, and what to say of the repository.
REFUSALS = (
    ("GatedRepoError", "asks for its terms to be accepted on its page on the hub: do that, then give token= or run `hf auth login`"),
    ("RepositoryNotFoundError", "is not a folder here, nor public on the hub: check the spelling, or give token= if it is private"),
    ("RevisionNotFoundError", "has no revision {revision!r}: give a branch, a tag or the whole hash of a commit"),
    ("DisabledRepoError", "has been disabled by the hub"),
)  # fmt: skip
UNREACHABLE = {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "TransportError"}
OFFLINE = "local_files_only and HF_HUB_OFFLINE keep to the cache, leave them out to download"


class Options(TypedDict, total=False):
    """How a name is looked up on the hub; a local folder only has a subfolder.

    Attributes:
        revision: a branch, a tag or the hash of a commit; "main" by default.
        cache_dir: where downloads are kept, in place of the folder all users of huggingface_hub share.
        token: for what is private or gated; by default the one that `hf auth login` has kept.
        local_files_only: use what the cache has, and no network.
        force_download: download again what the cache has.
        subfolder: of the repository or of the local folder.
    """

    revision: str | None
    cache_dir: str | Path | None
    token: str | bool | None
    local_files_only: bool
    force_download: bool
    subfolder: str


def resolve(
    name_or_path: str | Path | Folder, files: Sequence[str], first_of: Sequence[str] = (), **options: Unpack[Options]
) -> Path | Folder:
    """The folder with the files of a model: a local one as it is, or one of the cache, filled from the hub.

    Args:
        name_or_path: a folder, or "owner/name" or "name" on the hub; what exists here is never looked up, nor is a Path.
        files: those of them that there are.
        first_of: of these the first that there is, such as the best of several weights files; an index brings its shards.
        options: see Options.
    Raises:
        CheckpointError: neither a folder nor a model on the hub, no access, or none of the files.
        ConnectionError: the hub does not answer, and the cache cannot stand in.
        OSError: the cache cannot be written, or a download failed.
        ImportError: huggingface_hub is not installed.
    """
    if isinstance(name_or_path, Folder):
        return name_or_path
    path, subfolder = Path(name_or_path), options.get("subfolder") or ""
    if not isinstance(name_or_path, str) or os.path.lexists(name_or_path):
        if subfolder and not is_inside(path / subfolder, path):
            raise CheckpointError(path / subfolder, "is a folder outside, or a link to one")
        return path / subfolder
    if not is_name(name_or_path):
        shown = name_or_path if name_or_path.isprintable() and len(name_or_path) < 200 else f"{name_or_path!r:.200}"
        raise CheckpointError(shown, "is neither a folder nor a name on the hub, which is name or owner/name")
    for name, value in (("revision", options.get("revision") or "main"), ("subfolder", subfolder or "none")):
        if "\\" in value or "\0" in value or not {"", ".", ".."}.isdisjoint(value.split("/")):
            raise CheckpointError(name_or_path, f"cannot have the {name} {value!r:.200}")
    snapshot = Snapshot(name_or_path, options.get("revision") or "main", subfolder, options)
    found = [place for file in files if (place := snapshot.fetch(file))]
    if files and not found:
        raise snapshot.has_none(files)
    if first_of:
        best = next((place for file in first_of if (place := snapshot.fetch(file))), None)
        if best is None:
            raise snapshot.has_none(first_of)
        if best.name.endswith(INDEX):
            suffix = Path(best.name.removesuffix(INDEX)).suffix
            for shard in sorted(set(read_index(best).values())):
                if shard.endswith(suffix):  # another is not there when the index is opened, which says so
                    snapshot.fetch(shard)
        found.append(best)
    return found[0].parent


def read_place(place: str | Path, read: Callable[[str | Path | Folder], T]) -> T:
    """What `read` makes of a folder, all of it from one save, however often it opens it; a name on the hub is given as it is."""
    return read_consistently(Path(place), read) if Path(place).is_dir() else read(place)


def is_name(text: str) -> bool:
    """Whether a text can be a model's name on the hub: "name" or "owner/name"."""
    parts = text.split("/")
    return len(parts) <= 2 and all(map(_is_part, parts)) and not text.endswith(".git")


def is_owned(text: str) -> bool:
    """Whether a text can be "owner/name"; a lone name, such as a folder's, is not."""
    return "/" in text and is_name(text)


def _is_part(text: str) -> bool:
    plain = is_plain(text) and len(text) <= MAX_NAME
    return plain and not {text[0], text[-1]} & {"-", "."} and "--" not in text and ".." not in text


@dataclass
class Snapshot:
    """One revision of a repository.

    Attributes:
        revision: as it was asked for, and from the first file on its commit, so that all files are of one.
    """

    repository: str
    revision: str
    subfolder: str
    options: Options

    def fetch(self, file: str) -> Path | None:
        """A file's place in the cache, downloaded if need be; None where the revision has no such file.

        Raises:
            See resolve.
        """
        with needs("hub", f"{self.repository} is not a folder here, and to look it up on the hub: "):
            from huggingface_hub import hf_hub_download, try_to_load_from_cache
            from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
        name = f"{self.subfolder}/{file}" if self.subfolder else file
        cache_dir, forced = self.options.get("cache_dir"), self.options.get("force_download", False)
        cached = try_to_load_from_cache(self.repository, name, cache_dir, self.revision)
        if self._is_pinned(cached) and not forced:
            return Path(cached) if isinstance(cached, str) else None
        try:
            path = Path(
                hf_hub_download(
                    self.repository,
                    name,
                    revision=self.revision,
                    cache_dir=cache_dir,
                    token=self.options.get("token"),
                    local_files_only=self.options.get("local_files_only", False),
                    force_download=forced,
                )
            )
        except Exception as error:  # the client raises its own, those of its HTTP library and those of its Rust part
            absent = isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)
            if absent or (isinstance(error, LocalEntryNotFoundError) and self._is_offline()):
                return None
            raise self._explained(error, file) from None
        if not isinstance(cached, str) or forced:
            self._check(path)
        self.revision = path.parents[name.count("/")].name
        return path

    def has_none(self, files: Sequence[str]) -> CheckpointError:
        """The error that no file of some is there."""
        where = f" in the cache ({OFFLINE})" if self._is_offline() else ""
        return CheckpointError(self.repository, f"has none of {', '.join(files)}{where}")

    def _is_pinned(self, cached: Any) -> bool:
        """Whether what the cache says is final: a commit does not change, a branch may."""
        return cached is not None and len(self.revision) == 40 and set(self.revision) <= set("0123456789abcdef")

    def _is_offline(self) -> bool:
        from huggingface_hub import constants

        return self.options.get("local_files_only", False) or bool(constants.HF_HUB_OFFLINE)

    def _check(self, path: Path) -> None:
        """Compare a fresh download with its SHA-256, which is the name of a large file's blob; the client does not."""
        blob = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
        if len(blob) == 64 and sha256(path) != blob:
            path.resolve().unlink()
            path.unlink()
            raise CheckpointError(self.repository, f"{path.name} was damaged on its way (its SHA-256 differs): try again")

    def _explained(self, error: Exception, file: str) -> Exception:
        """What went wrong, in one line with the way out."""
        chain = list(_causes(error))
        kinds = {kind.__name__ for cause in chain for kind in type(cause).__mro__}
        for kind, reason in REFUSALS:
            if kind in kinds:
                return CheckpointError(self.repository, reason.format(revision=self.revision))
        status = next((cause.response.status_code for cause in chain if hasattr(cause, "response")), None)
        if status in (401, 403):
            return CheckpointError(self.repository, f"is refused by the hub ({status}): check token=, or run `hf auth login`")
        text = f"HTTP status {status}" if status else str(chain[-1]).strip().split("\n")[0] or type(chain[-1]).__name__
        if status or kinds & UNREACHABLE:
            hint = "local_files_only=True or HF_HUB_OFFLINE=1 in the environment opens what the cache has"
            return ConnectionError(
                f"{self.repository}: is not a folder here, and its {file} cannot be had from the hub ({text}); {hint}"
            )
        system = next((cause for cause in chain if isinstance(cause, OSError) and cause.errno), None)
        if system is not None:
            return OSError(system.errno, f"{self.repository}: {file} cannot be kept in the cache: {system.strerror}")
        return OSError(f"{self.repository}: {file} cannot be downloaded: {text}")


def _causes(error: BaseException | None) -> Iterator[Any]:
    while error is not None:
        yield error
        error = error.__cause__

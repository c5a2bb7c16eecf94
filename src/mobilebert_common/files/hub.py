"""Resolve a model's name to a folder: one of this package's own models, or a model on the Hugging Face hub in the local cache.

huggingface_hub downloads only the files we ask for by name. The repository's own file list is never used: a file has a name this
package knows, or one from an index of shards, which must be a plain name in the same folder. Otherwise we trust the server as far
as huggingface_hub does, which names the files in its cache after the server's ETag.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack, overload

from ..errors import CheckpointError
from ..optional import needs
from .folder import Folder, read_consistently, sha256
from .reading import is_inside
from .shard_index import INDEX, is_plain, read_index

T = TypeVar("T")

MAX_NAME = 96  # characters of an owner's or a repository's name

# The models that come with this package: name -> checkpoint directory. They need no network.
DATA = Path(__file__).parents[1] / "data"
BUNDLED = {name: DATA / name for name in ("mobilebert-small-uncased",)}

# The client's exception class, most specific first, and what to say about the repository.
REFUSALS = (
    ("GatedRepoError", "is gated: accept its terms on its hub page, then pass token= or run `hf auth login`"),
    ("RepositoryNotFoundError", "is neither a local folder nor public on the hub: check the spelling, or pass token= if it is private"),
    ("RevisionNotFoundError", "has no revision {revision!r}: pass a branch, a tag or a full commit hash"),
    ("DisabledRepoError", "was disabled by the hub"),
)  # fmt: skip
UNREACHABLE = {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "TransportError"}
OFFLINE = "unset local_files_only and HF_HUB_OFFLINE to download"


class Options(TypedDict, total=False):
    """How to look a name up on the hub. For a local folder, only `subfolder` matters.

    Attributes:
        revision: a branch, a tag or a commit hash; default "main".
        cache_dir: the download folder; default: huggingface_hub's shared cache.
        token: access token for private and gated models; default: the one stored by `hf auth login`.
        local_files_only: use only the cache, no network.
        force_download: download even if the file is in the cache.
        subfolder: a folder inside the repository or the local folder.
    """

    revision: str | None
    cache_dir: str | Path | None
    token: str | bool | None
    local_files_only: bool
    force_download: bool
    subfolder: str


@overload
def resolve(
    name_or_path: str | Path, files: Sequence[str], first_of: Sequence[str] = (), **options: Unpack[Options]
) -> Path: ...


@overload
def resolve(
    name_or_path: str | Path | Folder, files: Sequence[str], first_of: Sequence[str] = (), **options: Unpack[Options]
) -> Path | Folder: ...


def resolve(
    name_or_path: str | Path | Folder, files: Sequence[str], first_of: Sequence[str] = (), **options: Unpack[Options]
) -> Path | Folder:
    """Return the folder with a model's files: the local folder itself, or one in the cache after downloading the files.

    Args:
        name_or_path: a local folder, a name in BUNDLED, or "owner/name" or "name" on the hub. A Path, or a str that exists
            locally, is never looked up; a Folder is returned as it is.
        files: fetch each of these that exists.
        first_of: fetch only the first of these that exists, e.g. the best weights file; an index also fetches its shards.
        options: see Options.
    Raises:
        CheckpointError: not a folder, not a model on the hub, no access, or none of the files exists.
        ConnectionError: the hub does not answer, and the cache does not have the files.
        OSError: the cache is not writable, or a download failed.
        ImportError: huggingface_hub is not installed.
    """
    if isinstance(name_or_path, Folder):
        return name_or_path
    path, subfolder = Path(name_or_path), options.get("subfolder") or ""
    if not isinstance(name_or_path, str) or os.path.lexists(name_or_path):
        if subfolder and not is_inside(path / subfolder, path):
            raise CheckpointError(path / subfolder, "is outside the checkpoint folder, or a link out of it")
        return path / subfolder
    if name_or_path in BUNDLED:
        if subfolder or options.get("revision") not in (None, "main"):
            raise CheckpointError(name_or_path, "comes with this package: it has no other revision and no subfolder")
        return BUNDLED[name_or_path]
    if not is_name(name_or_path):
        shown = name_or_path if name_or_path.isprintable() and len(name_or_path) < 200 else f"{name_or_path!r:.200}"
        raise CheckpointError(shown, "is neither a local folder nor a hub name (name or owner/name)")
    for name, value in (("revision", options.get("revision") or "main"), ("subfolder", subfolder or "none")):
        if "\\" in value or "\0" in value or not {"", ".", ".."}.isdisjoint(value.split("/")):
            raise CheckpointError(name_or_path, f"cannot have the {name} {value!r:.200}: no backslash, empty part, . or ..")
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
                if shard.endswith(suffix):  # opening the index reports any other name as missing
                    snapshot.fetch(shard)
        found.append(best)
    return found[0].parent


def upload(
    folder: Path,
    repository: str,
    *,
    commit_message: str,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> Any:
    """Upload a folder's files to a model repository, which is created if it does not exist; other files of it stay.

    Args:
        repository: "owner/name", or "name" of the token's owner.
        private: whether a new repository is private; default: the owner's setting.
        token: an access token that may write; default: the one stored by `hf auth login`.
        revision: a branch, created if it does not exist; default: "main".
        create_pr: open a pull request instead of writing to the branch.
    Returns:
        What huggingface_hub says of the commit, e.g. its `commit_url`.
    Raises:
        ImportError: huggingface_hub is not installed.
        Exception: those of huggingface_hub, if it cannot write.
    """
    with needs("hub", f"{repository} cannot be written to the hub: "):
        from huggingface_hub import HfApi
    client = HfApi(token=token)
    name = client.create_repo(repository, private=private, exist_ok=True).repo_id
    if revision is not None and not create_pr:
        client.create_branch(name, branch=revision, exist_ok=True)
    return client.upload_folder(
        repo_id=name, folder_path=folder, commit_message=commit_message, revision=revision, create_pr=create_pr
    )


def read_place(place: str | Path, read: Callable[[str | Path | Folder], T]) -> T:
    """What `read` makes of a folder, all of it from one save, however often it opens it; a name on the hub is given as it is."""
    return read_consistently(Path(place), read) if Path(place).is_dir() else read(place)


def is_name(text: str) -> bool:
    """Whether a text has the form of a hub name: "name" or "owner/name"."""
    parts = text.split("/")
    return len(parts) <= 2 and all(map(_is_part, parts)) and not text.endswith(".git")


def is_known(text: str) -> bool:
    """Whether a text is a name in BUNDLED or has the form "owner/name", which unlike "name" cannot be mistaken for a folder."""
    return text in BUNDLED or ("/" in text and is_name(text))


def _is_part(text: str) -> bool:
    plain = is_plain(text) and len(text) <= MAX_NAME
    return plain and not {text[0], text[-1]} & {"-", "."} and "--" not in text and ".." not in text


@dataclass
class Snapshot:
    """One revision of a repository.

    Attributes:
        revision: the revision asked for; after the first file, its commit, so that all files come from one commit.
    """

    repository: str
    revision: str
    subfolder: str
    options: Options

    def fetch(self, file: str) -> Path | None:
        """Return a file's path in the cache, downloading it if necessary; None if the revision does not have it.

        Raises:
            See `resolve`.
        """
        with needs("hub", f"{self.repository} is not a local folder and cannot be looked up on the hub: "):
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
        except Exception as error:  # from the client, its HTTP library or its Rust extension
            absent = isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)
            if absent or (isinstance(error, LocalEntryNotFoundError) and self._is_offline()):
                return None
            raise self._explained(error, file) from None
        if not isinstance(cached, str) or forced:
            self._check(path)
        self.revision = path.parents[name.count("/")].name
        return path

    def has_none(self, files: Sequence[str]) -> CheckpointError:
        """The error for a repository that has none of these files."""
        where = f" in the cache ({OFFLINE})" if self._is_offline() else ""
        return CheckpointError(self.repository, f"has none of {', '.join(files)}{where}")

    def _is_pinned(self, cached: Any) -> bool:
        """Whether the cache's answer is final: a commit never changes, a branch may."""
        return cached is not None and len(self.revision) == 40 and set(self.revision) <= set("0123456789abcdef")

    def _is_offline(self) -> bool:
        from huggingface_hub import constants

        return self.options.get("local_files_only", False) or bool(constants.HF_HUB_OFFLINE)

    def _check(self, path: Path) -> None:
        """Check the SHA-256 of a fresh download, which the client does not; a large file's blob is named after it."""
        blob = os.path.basename(os.readlink(path)) if path.is_symlink() else ""
        if len(blob) == 64 and sha256(path) != blob:
            path.resolve().unlink()
            path.unlink()
            raise CheckpointError(self.repository, f"{path.name} was damaged during the download (its SHA-256 differs): try again")

    def _explained(self, error: Exception, file: str) -> Exception:
        """Turn the client's exception into one line that says what to do."""
        chain = list(_causes(error))
        kinds = {kind.__name__ for cause in chain for kind in type(cause).__mro__}
        for kind, reason in REFUSALS:
            if kind in kinds:
                return CheckpointError(self.repository, reason.format(revision=self.revision))
        status = next((cause.response.status_code for cause in chain if hasattr(cause, "response")), None)
        if status in (401, 403):
            return CheckpointError(self.repository, f"is not accessible on the hub ({status}): check token=, or run `hf auth login`")
        text = f"HTTP status {status}" if status else str(chain[-1]).strip().split("\n")[0] or type(chain[-1]).__name__
        if status or kinds & UNREACHABLE:
            hint = "to use the cache only, pass local_files_only=True or set HF_HUB_OFFLINE=1"
            return ConnectionError(
                f"{self.repository}: is not a local folder, and {file} cannot be downloaded from the hub ({text}); {hint}"
            )
        system = next((cause for cause in chain if isinstance(cause, OSError) and cause.errno), None)
        if system is not None:
            return OSError(system.errno, f"{self.repository}: {file} cannot be written to the cache: {system.strerror}")
        return OSError(f"{self.repository}: {file} cannot be downloaded: {text}")


def _causes(error: BaseException | None) -> Iterator[Any]:
    while error is not None:
        yield error
        error = error.__cause__

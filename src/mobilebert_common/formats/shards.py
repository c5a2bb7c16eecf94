"""Weights in several files: model.safetensors.index.json, or that of another dialect, names the file of each tensor."""

import string
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ..errors import CheckpointError, shortened
from ..files import located, read_json, read_manifest
from .archive import VARIABLE, Archive, verified

MAX_INDEX = 4 << 20  # bytes
MAX_SHARDS = 1000
PLAIN = frozenset(string.ascii_letters + string.digits + "._-")  # what the name of a shard is made of


def open_shards(path: Path, open_shard: Callable[[Path], Archive]) -> Archive:
    """The tensors of all shards as one archive.

    Args:
        path: the index.
        open_shard: opens one file of the index.
    Raises:
        CheckpointError: an index that is malformed or names a file outside its folder; a shard that is missing, damaged
            or does not hold the tensors the index says.
    """
    index = read_index(path)
    folder, digests = path.parent, read_manifest(path.parent)
    archives = {
        shard: verified(open_shard(located(folder, shard, digests)), folder, shard, digests)
        for shard in sorted(set(index.values()))
    }
    wrong = [
        *(f"{name!r:.200} is not in {shard}" for name, shard in index.items() if name not in archives[shard].entries),
        *(
            f"{name!r:.200} is in {shard} against the index"
            for shard, archive in archives.items()
            for name in archive.entries
            if index.get(name) != shard
        ),
    ]
    if wrong:
        raise CheckpointError(path, f"does not fit its shards:\n  {shortened(wrong)}")

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        wanted = list(names)
        arrays: dict[str, np.ndarray] = {}
        for shard, archive in archives.items():
            arrays |= archive.read([name for name in wanted if index[name] == shard])
        return {name: arrays[name] for name in wanted}

    return Archive(path, {name: archives[shard].entries[name] for name, shard in index.items()}, read)


def read_index(path: Path) -> dict[str, str]:
    """{tensor name: the file it is in} of an index, whose files can only be ones beside it.

    Raises:
        CheckpointError: the index is malformed or names other files.
    """
    index = read_json(path, MAX_INDEX).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(shard, str) for shard in index.values()):
        raise CheckpointError(path, "does not map tensor names to file names under the key weight_map")
    shards = sorted(set(index.values()))
    if len(shards) > MAX_SHARDS:
        raise CheckpointError(path, f"names {len(shards):,} files; at most {MAX_SHARDS:,} are allowed")
    if strange := [shard for shard in shards if not is_plain(shard)]:
        names = shortened([f"{name!r:.80}" for name in strange], ", ")
        raise CheckpointError(path, f"names files that cannot be shards: {names}")
    return {_in_shard(name): shard for name, shard in index.items()}


def _in_shard(name: str) -> str:
    """A tensor's name in its shard: in an index of TF's, the model's class comes before it."""
    return name.partition("/")[2] if name.endswith(VARIABLE) else name


def is_plain(name: str) -> bool:
    """Whether a name can only be a file of the same folder."""
    return 1 <= len(name) <= 255 and set(name) <= PLAIN and name not in (".", "..")

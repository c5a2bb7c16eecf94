"""Weights in several files, read as one archive."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ..errors import CheckpointError, shortened
from ..files.folder import Folder
from ..files.shard_index import MAX_INDEX, parse_index
from .archive import Archive, open_stable


def open_shards(folder: Folder, name: str, open_shard: Callable[[Path], Archive]) -> Archive:
    """The tensors of all shards as one archive.

    Args:
        folder, name: where the index is, and its name.
        open_shard: opens one file of the index.
    Raises:
        CheckpointError: an index that is malformed or names a file outside its folder; a shard that is missing, damaged
            or does not hold the tensors the index says.
    """
    path = folder.path / name
    index = parse_index(path, folder.read(name, MAX_INDEX))
    archives = {shard: open_stable(open_shard, folder.file(shard)) for shard in sorted(set(index.values()))}
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

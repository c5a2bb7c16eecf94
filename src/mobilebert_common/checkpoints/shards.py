"""Weights in several files, read as one archive."""

from collections.abc import Iterable

import numpy as np

from ..errors import MAX_FINDINGS, CheckpointError, shortened
from ..files.folder import Folder
from ..files.shard_index import MAX_TENSORS, read_index
from .archive import Archive, Entry, Open

SPARE = 1  # tensors a shard may list beyond those of the index, so that the error can name one


def open_shards(folder: Folder, name: str, limit: int = MAX_TENSORS, *, open_shard: Open) -> Archive:
    """The tensors of all shards as one archive.

    Every shard is compared with the index as soon as its header is read, and only what the index lists is kept.

    Args:
        folder, name: where the index is, and its name.
        limit: how many tensors it may list.
        open_shard: opens one file of the index.
    Raises:
        CheckpointError: an index that is malformed or names a file outside its folder; a shard that is missing, damaged
            or does not hold the tensors the index says.
    """
    file = folder.file(name)
    index = read_index(file, limit)
    listed: dict[str, list[str]] = {shard: [] for shard in sorted(set(index.values()))}
    for tensor, shard in index.items():
        listed[shard].append(tensor)
    archives: dict[str, Archive] = {}
    entries: dict[str, Entry] = {}
    wrong: list[str] = []
    for shard, names in listed.items():
        archive = archives[shard] = open_shard(folder.file(shard), len(names) + SPARE)
        wrong += [f"{name[:200]!r} is not in {shard}" for name in names if name not in archive.entries]
        wrong += [f"{name[:200]!r} is in {shard} against the index" for name in archive.entries if index.get(name) != shard]
        if len(wrong) > MAX_FINDINGS:
            break
        entries.update((name, archive.entries[name]) for name in names if name in archive.entries)
    if wrong:
        raise CheckpointError(file.path, f"does not fit its shards:\n  {shortened(wrong)}")

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        wanted = list(names)
        arrays: dict[str, np.ndarray] = {}
        for shard, archive in archives.items():
            arrays |= archive.read([name for name in wanted if index[name] == shard])
        return {name: arrays[name] for name in wanted}

    return Archive(file.path, {name: entries[name] for name in index}, read)

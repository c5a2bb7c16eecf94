"""Weights in several files, read as one archive."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ..errors import MAX_FINDINGS, CheckpointError, shortened
from ..files.folder import located, read_manifest
from ..files.reading import StableFile, stable
from ..files.shard_index import MAX_TENSORS, read_index
from .archive import Archive, Entry, Open

SPARE = 1  # tensors a shard may list beyond those of the index, so that the error can name one

Find = Callable[[str], StableFile]  # a file beside the index, by its name


def open_shards(file: StableFile | Path, limit: int = MAX_TENSORS, *, open_shard: Open, find: Find | None = None) -> Archive:
    """The tensors of all shards as one archive.

    Every shard is compared with the index as soon as its header is read, and only what the index lists is kept.

    Args:
        file: the index.
        limit: how many tensors it may list.
        open_shard: opens one file of the index.
        find: by default, what the index's folder has under a name, held against the folder's manifest.
    Raises:
        CheckpointError: an index that is malformed or names a file outside its folder; a shard that is missing, damaged
            or does not hold the tensors the index says.
    """
    file = stable(file)
    find = find or _saved_in(file.path.parent)
    index = read_index(file, limit)
    listed: dict[str, list[str]] = {shard: [] for shard in sorted(set(index.values()))}
    for name, shard in index.items():
        listed[shard].append(name)
    archives: dict[str, Archive] = {}
    entries: dict[str, Entry] = {}
    wrong: list[str] = []
    for shard, names in listed.items():
        archive = archives[shard] = open_shard(find(shard), len(names) + SPARE)
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


def _saved_in(folder: Path) -> Find:
    digests = read_manifest(folder)
    return lambda name: StableFile(folder / name, (located(folder, name, digests), folder / name), digests.get(name))

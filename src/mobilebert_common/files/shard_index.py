"""The index of weights in several files, such as model.safetensors.index.json: which file holds each tensor."""

import string
from pathlib import Path

from ..errors import CheckpointError, shortened
from .reading import StableFile, stable
from .strict_json import parse_json

VARIABLE = ":0"  # ends the name of a TF variable
INDEX = ".index.json"  # ends the name of an index of shards
MAX_TENSORS = 15_500  # in a checkpoint; the largest configuration there can be has 15,139
MAX_INDEX = 4 << 20  # bytes
MAX_SHARDS = 500
PLAIN = frozenset(string.ascii_letters + string.digits + "._-")  # what the name of a shard is made of


def read_index(file: StableFile | Path, limit: int = MAX_TENSORS) -> dict[str, str]:
    """Read an index, whose files can only be ones beside it.

    Args:
        limit: how many tensors it may list.
    Returns:
        {tensor name: the file it is in}.
    Raises:
        CheckpointError: the index is malformed, lists too many tensors or names other files.
    """
    file = stable(file)
    data = file.read(min(MAX_INDEX, (16 << 10) + 1024 * limit))
    index = parse_json(file.path, data, max_values=1000 + 2 * limit).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(shard, str) for shard in index.values()):
        raise CheckpointError(file.path, "does not map tensor names to file names under the key weight_map")
    if len(index) > limit:
        raise CheckpointError(file.path, f"lists {len(index):,} tensors where at most {limit:,} are expected")
    shards = sorted(set(index.values()))
    if len(shards) > MAX_SHARDS:
        raise CheckpointError(file.path, f"names {len(shards):,} files; at most {MAX_SHARDS:,} are allowed")
    if strange := [shard for shard in shards if not is_plain(shard)]:
        names = shortened([f"{name[:80]!r}" for name in strange], ", ")
        raise CheckpointError(file.path, f"names files that cannot be shards: {names}")
    found = {_in_shard(name): shard for name, shard in index.items()}
    if len(found) < len(index):
        raise CheckpointError(file.path, "lists variables of two model classes under one name")
    return found


def _in_shard(name: str) -> str:
    """A tensor's name in its shard: in an index of TF's, the model's class comes before it."""
    return name.partition("/")[2] if name.endswith(VARIABLE) else name


def is_plain(name: str) -> bool:
    """Whether a name can only be a file of the same folder."""
    return 1 <= len(name) <= 255 and set(name) <= PLAIN and name not in (".", "..")

"""The index of weights in several files, such as model.safetensors.index.json: which file holds each tensor."""

import string
from pathlib import Path

from ..errors import CheckpointError, shortened
from .strict_json import parse_json, read_bytes

VARIABLE = ":0"  # ends the name of a TF variable
INDEX = ".index.json"  # ends the name of an index of shards
MAX_INDEX = 4 << 20  # bytes
MAX_SHARDS = 1000
PLAIN = frozenset(string.ascii_letters + string.digits + "._-")  # what the name of a shard is made of


def read_index(path: Path) -> dict[str, str]:
    """`parse_index` of a file."""
    return parse_index(path, read_bytes(path, MAX_INDEX))


def parse_index(path: Path, data: bytes) -> dict[str, str]:
    """{tensor name: the file it is in} of an index, whose files can only be ones beside it.

    Args:
        path: of the index, for errors.

    Raises:
        CheckpointError: the index is malformed or names other files.
    """
    index = parse_json(path, data).get("weight_map")
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

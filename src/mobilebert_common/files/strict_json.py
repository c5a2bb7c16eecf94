"""Read untrusted JSON: bounded in size and depth, without duplicate keys or non-finite numbers."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, shortened
from .reading import MAX_POINTER, POINTER, POINTS

MAX_JSON = 1 << 20  # bytes, by default
MAX_DEPTH = 32  # nested lists and objects: tokenizer.json has 5 levels, and saving indents each one
MAX_VALUES = 250_000  # in a file: the longest list is a vocabulary, and each value takes up to 200 bytes of memory

SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # the escape of one half of a surrogate pair


def read_json(path: Path, max_bytes: int = MAX_JSON) -> dict[str, Any]:
    """Read a JSON object from an untrusted file.

    Raises:
        CheckpointError: the file is missing, too large, not UTF-8, not JSON, not an object, nested too deeply, or holds
            a duplicate key or a non-finite number.
    """
    return parse_json(path, read_bytes(path, max_bytes))


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Read a whole file of bounded size."""
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(path, "is not a regular file")  # reading a pipe would block forever
        with open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror or error}") from None
    if len(data) > max_bytes:
        raise _too_large(path, max_bytes)
    if len(data) <= MAX_POINTER and data.startswith(POINTER):
        raise CheckpointError(path, POINTS)
    return data


def _too_large(path: Path, max_bytes: int) -> CheckpointError:
    return CheckpointError(path, f"is larger than the {max_bytes:,} bytes allowed here")


def parse_json(path: Path, data: bytes, max_values: int = MAX_VALUES) -> dict[str, Any]:
    """Parse a JSON object strictly; `path` only appears in errors.

    Raises:
        CheckpointError: see `read_json`.
    """
    if sum(map(data.count, (b",", b"[", b"{"))) > min(max_values, MAX_VALUES):
        raise CheckpointError(path, f"holds more than {min(max_values, MAX_VALUES):,} values")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = dict(pairs)
        if len(keys) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            twice = sorted(key for key, count in counts.items() if count > 1)
            raise CheckpointError(path, f"holds these keys more than once: {shortened([*map(repr, twice)], ', ')}")
        return keys

    def finite(text: str) -> float:
        raise CheckpointError(path, f"holds {text}, which is not a JSON number")

    def floating(text: str) -> float:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise CheckpointError(path, f"holds {text[:20]}, which is too large for a float")
        return value

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=finite, parse_float=floating)
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:  # bad UTF-8, bad JSON, an integer of thousands of digits
        raise CheckpointError(path, f"is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(path, f"must hold a JSON object, not a {type(value).__name__}")
    if _is_deep(value):
        raise CheckpointError(path, f"nests lists and objects more than {MAX_DEPTH} levels deep")
    if SURROGATE.search(data) and not _is_unicode(value):
        raise CheckpointError(path, "holds a lone surrogate, which is not a valid character")
    return value


def _is_deep(value: dict[str, Any]) -> bool:
    """Whether lists and objects are nested more than MAX_DEPTH levels deep."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        items = (item for inner in level for item in (inner.values() if isinstance(inner, dict) else inner))
        level = [item for item in items if isinstance(item, (dict, list))]
    return bool(level)


def _is_unicode(value: dict[str, Any]) -> bool:
    """Whether all strings can be encoded in UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True

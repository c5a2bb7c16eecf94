"""JSON files nobody vouches for: bounded in size and depth, no key twice, no number that is not finite."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, shortened

MAX_JSON = 1 << 20  # bytes, where nothing else is said
MAX_DEPTH = 32  # of lists and objects in a JSON file: tokenizer.json has 5, and each level is written as an indent
MAX_VALUES = 250_000  # in a JSON file: a vocabulary is the longest list there is, and each takes up to 200 bytes of memory

SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")  # an escape of half a character


def read_json(path: Path, max_bytes: int = MAX_JSON) -> dict[str, Any]:
    """Read a JSON object from a file nobody vouches for.

    Raises:
        CheckpointError: the file is missing, too large, not UTF-8, not JSON, not an object, nested too deeply, or holds
            a key twice or a number that is not finite.
    """
    return parse_json(path, read_bytes(path, max_bytes))


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """Read a whole file of bounded size."""
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(path, "is not a regular file")  # a pipe would wait for ever
        with open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror or error}") from None
    if len(data) > max_bytes:
        raise _too_large(path, max_bytes)
    return data


def _too_large(path: Path, max_bytes: int) -> CheckpointError:
    return CheckpointError(path, f"is larger than the {max_bytes:,} bytes allowed here")


def parse_json(path: Path, data: bytes, max_values: int = MAX_VALUES) -> dict[str, Any]:
    """Parse a JSON object strictly; `path` only names the culprit in the error."""
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
            raise CheckpointError(path, f"holds {text[:20]}, which is too large for a number")
        return value

    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=finite, parse_float=floating)
    except CheckpointError:
        raise
    except (ValueError, RecursionError) as error:  # bad UTF-8, bad JSON, an integer of thousands of digits
        raise CheckpointError(path, f"is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(path, f"holds a JSON {type(value).__name__} where an object belongs")
    if _is_deep(value):
        raise CheckpointError(path, f"has lists and objects in each other, more than {MAX_DEPTH} levels deep")
    if SURROGATE.search(data) and not _is_unicode(value):
        raise CheckpointError(path, "holds a lone surrogate, which is no character")
    return value


def _is_deep(value: dict[str, Any]) -> bool:
    """Whether lists and objects lie in each other beyond MAX_DEPTH."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        items = (item for inner in level for item in (inner.values() if isinstance(inner, dict) else inner))
        level = [item for item in items if isinstance(item, (dict, list))]
    return bool(level)


def _is_unicode(value: dict[str, Any]) -> bool:
    """Whether all strings can be written again."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True

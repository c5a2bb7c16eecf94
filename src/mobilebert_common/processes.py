"""Which of several processes this is, by the variables that torchrun and `accelerate launch` set."""

import os


def count() -> int:
    """The number of processes that do this work together."""
    return _number("WORLD_SIZE", 1) if "RANK" in os.environ else 1


def index() -> int:
    """The number of this process, from 0."""
    return _number("RANK", 0) if count() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes and prints."""
    return index() == 0


def is_first_here() -> bool:
    """Whether this is the first process on its machine, which reports what is wrong with the machine's files."""
    return count() == 1 or _number("LOCAL_RANK", 0) == 0


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdigit() else default

"""Which of several processes this is, by the variables that torchrun and `accelerate launch` set."""

import os
import signal
import time

PATIENCE = 10.0  # seconds


def count() -> int:
    """The number of processes that do this work together."""
    return _number("WORLD_SIZE", 1) if "RANK" in os.environ else 1


def index() -> int:
    """The number of this process, from 0."""
    return _number("RANK", 0) if count() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes and prints."""
    return index() == 0


def place_here() -> int:
    """The number of this process among those on its machine, from 0."""
    return _number("LOCAL_RANK", 0) if count() > 1 else 0


def is_fsdp() -> bool:
    """Whether accelerate is configured to shard models over the processes."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true", "yes", "on")


def wait_for_the_first() -> None:
    """Wait, but for the first process on a machine, before this one reports an error and exits.

    The first one usually has the same error. It reports it and exits, and the launcher ends all others. If one of those exited before,
    the launcher would end the first one, without a word. If the first one has no error, this returns after a while.
    """
    if place_here() > 0:
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.SIG_DFL)
        time.sleep(PATIENCE)


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdigit() else default

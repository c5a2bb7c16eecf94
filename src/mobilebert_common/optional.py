"""Libraries that only some installations have: each fails with the command that installs it."""

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def needs(extra: str, why: str = "") -> Iterator[None]:
    """Turn a missing library into the command that installs it.

    Args:
        extra: the extra of mobilebert-zoo that has the library.
        why: what the message begins with.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(f"{why}{error.name} is not installed: {install(extra)}") from error


def install(extra: str) -> str:
    """The command that installs an extra, and where to run it."""
    return f"pip install '.[{extra}]' in a clone of mobilebert-zoo"


def pandas() -> Any:
    """The pandas module."""
    with needs("cli"):
        import pandas

        return pandas

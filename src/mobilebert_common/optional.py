"""Optional libraries: if one is missing, the error gives the command that installs it."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def needs(extra: str, why: str = "") -> Iterator[None]:
    """If an import in this block fails, raise an ImportError with the command that installs the library.

    Args:
        extra: the extra of mobilebert-zoo that installs the library.
        why: prefix of the message.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(f"{why}{error.name} is not installed: {install(extra)}") from error


def install(extra: str) -> str:
    """The command that installs an extra, and where to run it, as text for an error."""
    return f"run pip install '.[{extra}]' in a clone of mobilebert-zoo"

"""pytorch_model.bin: read without torch."""

from pathlib import Path

from .archive import Archive

WEIGHTS_FILE = "pytorch_model.bin"


def open_file(path: Path) -> Archive:
    """Not yet."""
    raise NotImplementedError

"""tf_model.h5, in the layout of transformers: read and written without TensorFlow."""

from pathlib import Path

from .archive import Archive

WEIGHTS_FILE = "tf_model.h5"


def open_file(path: Path) -> Archive:
    """Not yet."""
    raise NotImplementedError

"""Read TensorFlow checkpoints (prefix.index and prefix.data-*) with TensorFlow's own reader."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_common.checkpoints.archive import Archive, Entry
from mobilebert_common.errors import CheckpointError, shortened
from mobilebert_common.files.folder import Folder
from mobilebert_common.model.dtypes import DTYPES
from mobilebert_common.optional import needs

STATE_FILE = "checkpoint"  # names the newest checkpoint of its folder
MAX_STATE = 1 << 20  # bytes
INDEX, DATA = ".index", ".data-"
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # present in object-based checkpoints only


def find_prefix(path: Path) -> Path | None:
    """Find a checkpoint's prefix from a folder, a prefix or one of its files; None if there is no checkpoint.

    Raises:
        CheckpointError: a folder has several checkpoints, and no state file names the newest.
    """
    if not path.is_dir():
        name = path.name.removesuffix(INDEX).split(DATA)[0]
        return path.with_name(name) if name and Folder.open(path.parent).has(name + INDEX) else None
    prefixes = sorted(found.with_suffix("") for found in path.glob(f"*{INDEX}") if not found.name.startswith("."))
    if len(prefixes) > 1:
        newest = _newest(path)
        if newest not in prefixes:
            names = shortened([repr(prefix.name) for prefix in prefixes], ", ")
            raise CheckpointError(path, f"has several checkpoints: choose one of {names}")
        return newest
    return prefixes[0] if prefixes else None


def open_bundle(folder: Folder, prefix: Path) -> tuple[Any, Archive]:
    """Open a checkpoint: returns TensorFlow's reader, and an archive of the variables by name. Reads no values yet.

    Raises:
        CheckpointError: a file is missing, damaged, a link out of the folder or not the one that was saved, or a variable has
            a dtype that weights cannot have.
        ImportError: TensorFlow is not installed.
    """
    with needs("tf"):
        import tensorflow as tf
    index = prefix.with_name(prefix.name + INDEX)
    for name in [index.name, *sorted(path.name for path in folder.path.glob("*") if path.name.startswith(prefix.name + DATA))]:
        with folder.file(name).open(verify=True):
            pass
    errors = (tf.errors.OpError, ValueError, RuntimeError)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    except errors as error:
        raise CheckpointError(index, f"cannot be read by TensorFlow: {_line(error)}") from None
    entries = {
        name: Entry(np.dtype(dtypes[name].as_numpy_dtype), tuple(shape))
        for name, shape in shapes.items()
        if name != OBJECT_GRAPH
    }
    allowed = {*DTYPES.values(), np.dtype(np.int64), np.dtype(np.int32)}  # counters are integers
    if strange := sorted(f"{name} ({entry.dtype})" for name, entry in entries.items() if entry.dtype not in allowed):
        raise CheckpointError(index, f"holds variables with a dtype that weights cannot have: {', '.join(strange[:20])}")

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        try:
            return {name: np.asarray(reader.get_tensor(name)) for name in names}
        except errors as error:
            raise CheckpointError(index, f"cannot be read by TensorFlow: {_line(error)}") from None

    return reader, Archive(index, entries, read)


def _newest(folder: Path) -> Path | None:
    """The prefix named by the state file. Only the file name counts, because the folder may have moved."""
    opened = Folder.open(folder)
    if not opened.has(STATE_FILE):
        return None
    lines = opened.read(STATE_FILE, MAX_STATE).decode("utf-8", "replace").splitlines()
    named = [line.split('"')[1] for line in lines if line.startswith("model_checkpoint_path:") and line.count('"') == 2]
    return folder / Path(named[0]).name if named else None


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__

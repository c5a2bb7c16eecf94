"""Read .keras and .weights.h5 files of the Keras twin without trusting them, and write .keras files.

Keras would build any object a .keras file describes. We take only our own configuration from it, build a fresh model, and
require the weights file to have the same structure as the fresh model's. Keras never opens the untrusted file: to learn which
dataset holds which variable, the fresh model saves its variables filled with their numbers.
"""

import io
import math
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from mobilebert_common.checkpoints import h5, zipped
from mobilebert_common.checkpoints.archive import Archive, Entry
from mobilebert_common.errors import CheckpointError, ConfigError, shortened
from mobilebert_common.files.folder import Content
from mobilebert_common.files.reading import StableFile
from mobilebert_common.files.strict_json import parse_json
from mobilebert_common.model.architectures import ARCHITECTURES, named_architecture
from mobilebert_common.model.config import MAX_CONFIG, MobileBertConfig
from mobilebert_common.model.layout import from_layout
from mobilebert_common.model.schema import Foreign, count_parameters, expand
from mobilebert_common.optional import needs

MODEL, WEIGHTS = ".keras", ".weights.h5"
ENDINGS = (MODEL, WEIGHTS)
WEIGHTS_FILE = f"model{MODEL}"
PACKAGE = "mobilebert"  # the twin registers its classes under this name
MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
TRAINING = ("optimizer/", "metrics/", "loss_tracker/")  # additional datasets of a compiled model
PACKING = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the methods Keras uses; zipfile decompresses others with unbounded memory
OVERHEAD, PER_TENSOR = 1 << 20, 1 << 13  # bytes of an HDF5 file besides its values
COPIES = 4  # a file saved during training holds two moments, and possibly more, besides the values
MAX_RATIO = 20  # maximum compression ratio; moments that are still zero compress well


def open_file(
    file: StableFile, config: MobileBertConfig | None, architecture: str | None
) -> tuple[MobileBertConfig, str, Archive]:
    """Open a model saved by Keras: returns its configuration, architecture, and tensors under canonical names.

    Args:
        config: required for a .weights.h5, which stores none; for a .keras, replaces its own.
        architecture: for a .weights.h5, a name in ARCHITECTURES; default: the one in `config`.
    Raises:
        CheckpointError: the file does not hold one of our models, or does not fit its configuration.
        ImportError: TensorFlow is not installed.
    """
    path = file.path
    if path.name.endswith(MODEL):
        own, architecture = _described(file)
        config = config or own
        folder = tempfile.TemporaryDirectory()  # lives as long as the archive's `read`, which refers to it
        weights = StableFile(_extracted(file, Path(folder.name), config, architecture))
    elif config is None:
        raise CheckpointError(path, "has no configuration: put its config.json beside it")
    else:
        architecture = architecture or named_architecture(config)
        if architecture is None:
            raise CheckpointError(path, "does not name its class, and neither does its configuration: choose it with --head (head=)")
        folder, weights = None, file
    try:
        datasets = h5.open_datasets(weights)
    except CheckpointError as error:
        raise CheckpointError(path, error.reason) from None
    tensors = expand(config, architecture)
    values, count = sum(math.prod(entry.shape) for entry in datasets.entries.values()), count_parameters(tensors)
    if 2 * values < count:  # checked before building a fresh model, which is costly
        raise CheckpointError(path, f"holds {values:,} values, far too few for the {count:,} parameters of its configuration")
    places, wanted = _fresh_tree(config, architecture)
    _compare(path, architecture, datasets.entries, wanted)
    entries = {name: Entry(datasets.entries[place.name].dtype, tensors[name].shape) for name, place in places.items()}

    def read(names: Iterable[str], folder: Any = folder) -> dict[str, np.ndarray]:
        chosen = {name: places[name] for name in names}
        arrays = datasets.read(place.name for place in chosen.values())
        return {name: from_layout(arrays[place.name], place.layout) for name, place in chosen.items()}

    return config, architecture, Archive(path, entries, read)


def contents(config: MobileBertConfig, architecture: str, tensors: Mapping[str, np.ndarray]) -> dict[str, Content]:
    """The .keras file of a model with these tensors, for files.save_files.

    Raises:
        ImportError: TensorFlow is not installed.
    """
    model = build(config, architecture, str(next(iter(tensors.values())).dtype))
    from mobilebert_tf import arrays

    for name, (variable, layout) in model.canonical_variables().items():
        arrays.assign(variable, tensors[name], layout)

    def write(path: Path) -> None:
        saved = path.with_name(path.name + MODEL)  # Keras requires this ending
        try:
            model.save(saved)
            saved.replace(path)
        finally:
            saved.unlink(missing_ok=True)

    return {WEIGHTS_FILE: write}


def _described(file: StableFile) -> tuple[MobileBertConfig, str]:
    """Read the configuration and the architecture from a .keras file; everything else in it is ignored."""
    text, path = io.BytesIO(), file.path
    _copy_member(file, "config.json", MAX_CONFIG, text)
    description = parse_json(path, text.getvalue())
    name = description.get("class_name")
    architecture = name.removeprefix("TF") if isinstance(name, str) else ""
    if architecture not in ARCHITECTURES or name != f"TF{architecture}" or description.get("registered_name") != f"{PACKAGE}>{name}":
        raise CheckpointError(
            path, f"holds a model of class {name!r:.80}, not one of {', '.join(f'TF{known}' for known in ARCHITECTURES)}"
        )
    keywords = description.get("config")
    values = keywords.get("config") if isinstance(keywords, dict) else None
    if not isinstance(values, dict):
        raise CheckpointError(path, "has no MobileBERT configuration in its config.json")
    try:
        return MobileBertConfig.from_dict(values), architecture
    except ConfigError as error:
        raise CheckpointError(path, str(error)) from None


def _extracted(file: StableFile, folder: Path, config: MobileBertConfig, architecture: str) -> Path:
    """Extract the weights from a .keras file, up to the largest size this model can need."""
    tensors = expand(config, architecture)
    expected = COPIES * (8 * count_parameters(tensors) + PER_TENSOR * len(tensors))
    limit = OVERHEAD + min(expected, MAX_RATIO * file.size())
    weights = folder / "model.weights.h5"
    with open(weights, "wb") as target:
        _copy_member(file, weights.name, limit, target, verify=True)
    return weights


def _copy_member(file: StableFile, name: str, limit: int, target: IO[bytes], verify: bool = False) -> None:
    """Copy one member of a .keras file in pieces, up to `limit` bytes whatever size it claims. All members must be MEMBERS."""
    path = file.path
    try:
        with file.open(verify) as opened:
            start, stop, count = zipped.directory(opened, file.size())
            if count != len(MEMBERS) or stop - start > 1 << 12:  # zipfile would read as many members as the file claims
                raise CheckpointError(path, f"must hold {', '.join(MEMBERS)} and nothing else")
            with zipfile.ZipFile(opened) as archive:
                members = [member.filename for member in archive.infolist()]
                if sorted(members) != sorted(MEMBERS):
                    raise CheckpointError(path, f"must hold {', '.join(MEMBERS)} and nothing else, not {members!r:.300}")
                if archive.getinfo(name).compress_type not in PACKING:
                    raise CheckpointError(path, f"has a {name} compressed with a method Keras does not use")
                with archive.open(name) as member:
                    _copy(path, member, name, limit, target)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(path, f"is not a readable zip file: {error}") from None


def _copy(path: Path, member: IO[bytes], name: str, limit: int, target: IO[bytes]) -> None:
    copied = 0
    while piece := member.read(1 << 20):
        target.write(piece)
        copied += len(piece)
        if copied > limit:
            reason = f"has a {name} of more than {limit:,} bytes, too large for this model or its compressed size"
            raise CheckpointError(path, reason)


def _fresh_tree(config: MobileBertConfig, architecture: str) -> tuple[dict[str, Foreign], dict[str, Entry]]:
    """Find the dataset of each tensor in the weights file of a fresh model; also returns all datasets of that file."""
    with needs("tf"):
        import keras

    model = build(config, architecture, "float32")
    variables = model.canonical_variables()
    names = list(variables)
    for number, (variable, _) in enumerate(variables.values()):
        variable.assign(keras.ops.full(variable.shape, number, dtype="float32"))  # exact up to 2 ** 24
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"fresh{WEIGHTS}"
        model.save_weights(path)
        datasets = h5.open_datasets(path)
        floats = [place for place, entry in datasets.entries.items() if entry.dtype.kind == "f" and 0 not in entry.shape]
        numbers = {place: int(array.flat[0]) for place, array in datasets.read(floats).items()}
    places = {names[number]: Foreign(place, variables[names[number]][1]) for place, number in numbers.items()}
    return places, datasets.entries


def _compare(path: Path, architecture: str, found: Mapping[str, Entry], wanted: Mapping[str, Entry]) -> None:
    """Require exactly the datasets of a fresh model, with the same shapes, and floats where it has floats.

    Raises:
        CheckpointError: the datasets differ; lists all differences.
    """
    named = {name: entry for name, entry in found.items() if not name.startswith(TRAINING)}
    dtypes = {str(entry.dtype) for name, entry in named.items() if name in wanted and wanted[name].dtype.kind == "f"}
    findings = [
        *(f"{name} is missing" for name in wanted if name not in named),
        *(f"{name} is unexpected" for name in named if name not in wanted),
        *(
            f"{name} has shape {list(named[name].shape)}, not {list(entry.shape)}"
            for name, entry in wanted.items()
            if name in named and named[name].shape != entry.shape
        ),
        *(f"it holds {dtype} instead of floats" for dtype in sorted(dtypes) if "int" in dtype),
    ]
    if findings:
        raise CheckpointError(path, f"does not fit TF{architecture}:\n  {shortened(findings)}")


def build(config: MobileBertConfig, architecture: str, dtype: str) -> Any:
    """Build a fresh model of the Keras twin.

    Raises:
        ImportError: Keras or TensorFlow is not installed.
    """
    with needs("tf"):
        from mobilebert_tf import heads
    return getattr(heads, f"TF{architecture}")(config, dtype=dtype)

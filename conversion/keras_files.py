"""model.keras and model.weights.h5 of the Keras twin, read without trusting them.

Keras would build whatever objects a .keras file describes. Here only our own configuration is taken out of it: the model
is built afresh, and the tree of the weights file must be that of the fresh model before Keras reads a value.
"""

import io
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from mobilebert_common.checkpoint import DTYPES
from mobilebert_common.config import MAX_CONFIG, MobileBertConfig
from mobilebert_common.errors import CheckpointError, ConfigError
from mobilebert_common.files import Content, parse_json
from mobilebert_common.formats import h5
from mobilebert_common.formats.archive import Archive, Entry
from mobilebert_common.formats.shards import shortened
from mobilebert_common.optional import needs
from mobilebert_common.schema import HEADS, count_parameters, expand

MODEL, WEIGHTS = ".keras", ".weights.h5"
ENDINGS = (MODEL, WEIGHTS)
WEIGHTS_FILE = f"model{MODEL}"
PACKAGE = "mobilebert"  # under which the twin registers its classes
MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
POLICIES = {**{name: name for name in DTYPES}, "mixed_bfloat16": "float32", "mixed_float16": "float32"}
TRAINING = ("optimizer/", "metrics/", "seed_generator/", "loss_tracker/")  # what belongs to training, not to the model
OVERHEAD, PER_TENSOR = 1 << 20, 1 << 13  # bytes an HDF5 file may have beyond its values
COPIES = 4  # a file saved in training has two moments and may have more beside the values


def open_file(path: Path, config: MobileBertConfig | None, head: str | None) -> tuple[MobileBertConfig, str, Archive]:
    """A model saved by Keras: its configuration, its class and its tensors under canonical names.

    Args:
        config: of a .weights.h5, which has none; for a .keras, in place of its own.
        head: class name of schema.HEADS, for a .weights.h5; by default the one that `config` names.
    Raises:
        CheckpointError: not a file of one of our models, or one that does not fit its configuration.
        ImportError: TensorFlow is not installed.
    """
    with needs("tf"):
        import mobilebert_tf  # noqa: F401
    if path.name.endswith(MODEL):
        own, head, policy = _described(path)
        config = config or own
    elif config is None:
        raise CheckpointError(path, "has no configuration: put its config.json beside it")
    else:
        named = [name.removeprefix("TF") for name in config.architectures or []]
        head = head or next((name for name in named if name in HEADS), None)
        if head is None:
            raise CheckpointError(path, "does not say its class, and neither does its configuration: give the head")
        policy = _dtype_of(path)
    dtype = DTYPES[POLICIES[policy]]
    entries = {name: Entry(dtype, tensor.shape) for name, tensor in expand(config, head).items()}

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        with tempfile.TemporaryDirectory() as folder:
            weights = path if path.name.endswith(WEIGHTS) else _extracted(path, Path(folder), config, head)
            tensors = _loaded(path, weights, config, head, policy, Path(folder))
        return {name: tensors[name] for name in names}

    return config, head, Archive(path, entries, read)


def contents(config: MobileBertConfig, head: str, tensors: Mapping[str, np.ndarray]) -> dict[str, Content]:
    """The .keras file of a model with these tensors, for files.save_files.

    Raises:
        ImportError: TensorFlow is not installed.
    """
    with needs("tf"):
        from mobilebert_tf import arrays
    model = _build(config, head, str(next(iter(tensors.values())).dtype))
    for name, (variable, layout) in model.canonical_variables().items():
        arrays.assign(variable, tensors[name], layout)

    def write(path: Path) -> None:
        saved = path.with_name(path.name + MODEL)  # Keras insists on the ending
        try:
            model.save(saved)
            saved.replace(path)
        finally:
            saved.unlink(missing_ok=True)

    return {WEIGHTS_FILE: write}


def _described(path: Path) -> tuple[MobileBertConfig, str, str]:
    """The configuration, the class and the dtype policy in a .keras file; of what else it describes, nothing is used."""
    description = parse_json(path, _member(path, "config.json", MAX_CONFIG))
    name = description.get("class_name")
    head = name.removeprefix("TF") if isinstance(name, str) else ""
    if head not in HEADS or name != f"TF{head}" or description.get("registered_name") != f"{PACKAGE}>{name}":
        raise CheckpointError(path, f"holds a model of class {name!r:.80}, not one of {', '.join(f'TF{name}' for name in HEADS)}")
    keywords = description.get("config")
    values = keywords.get("config") if isinstance(keywords, dict) else None
    if not isinstance(keywords, dict) or not isinstance(values, dict):
        raise CheckpointError(path, "has no configuration of a MobileBERT in its config.json")
    policy = keywords.get("dtype")
    policy = policy.get("config", {}).get("name") if isinstance(policy, dict) and isinstance(policy.get("config"), dict) else policy
    if not isinstance(policy, str) or policy not in POLICIES:
        raise CheckpointError(path, f"has the dtype policy {policy!r:.80}, not one of {', '.join(POLICIES)}")
    try:
        return MobileBertConfig.from_dict(values), head, policy
    except ConfigError as error:
        raise CheckpointError(path, str(error)) from None


def _extracted(path: Path, folder: Path, config: MobileBertConfig, head: str) -> Path:
    """The weights of a .keras file in a file of their own, no larger than the model can need."""
    tensors = expand(config, head)
    limit = OVERHEAD + COPIES * (8 * count_parameters(tensors) + PER_TENSOR * len(tensors))
    weights = folder / "model.weights.h5"
    weights.write_bytes(_member(path, weights.name, limit))
    return weights


def _member(path: Path, name: str, limit: int) -> bytes:
    """The content of one member of a .keras file, which has no others than MEMBERS."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member.filename for member in archive.infolist()]
            if sorted(members) != sorted(MEMBERS):
                raise CheckpointError(path, f"must hold {', '.join(MEMBERS)} and nothing else, not {members!r:.300}")
            with archive.open(name) as member:
                data = _bounded(member, limit)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(path, f"is not a zip file that can be read: {error}") from None
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror or error}") from None
    if data is None:
        raise CheckpointError(path, f"has a {name} of more than {limit:,} bytes, which this model cannot have")
    return data


def _bounded(member: IO[bytes], limit: int) -> bytes | None:
    """All of a member, piece by piece, or None where it is longer than allowed, whatever it claims."""
    found = io.BytesIO()
    while piece := member.read(1 << 20):
        found.write(piece)
        if found.tell() > limit:
            return None
    return found.getvalue()


def _loaded(
    path: Path, weights: Path, config: MobileBertConfig, head: str, policy: str, folder: Path
) -> dict[str, np.ndarray]:
    """The tensors of a weights file, after its tree was found to be that of a fresh model."""
    from mobilebert_tf import arrays

    model = _build(config, head, policy)
    pattern = folder / f"fresh{WEIGHTS}"
    model.save_weights(pattern)
    wanted, found = (_values(tree(file, path)) for file in (pattern, weights))
    findings = [
        *(f"{name} is missing" for name in wanted if name not in found),
        *(f"{name} is unexpected" for name in found if name not in wanted),
        *(
            f"{name} is {found[name].dtype} {list(found[name].shape)}, not {entry.dtype} {list(entry.shape)}"
            for name, entry in wanted.items()
            if name in found and found[name] != entry
        ),
    ]
    if findings:
        raise CheckpointError(path, f"does not fit TF{head}:\n  {shortened(findings)}")
    try:
        model.load_weights(weights)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(path, f"cannot be read by Keras: {str(error).strip()[:300]}") from None
    return {
        name: arrays.to_numpy(variable, layout) for name, (variable, layout) in model.canonical_variables().items()
    }


def tree(file: Path, path: Path) -> dict[str, Entry]:
    """{dataset: Entry} of an HDF5 file; `path` names the culprit in errors."""
    try:
        with h5py.File(file, "r") as opened:
            return h5.walk(opened, path)
    except (OSError, RuntimeError, KeyError) as error:
        raise CheckpointError(path, f"is not an HDF5 file that can be read: {error}") from None


def _values(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """What of a file belongs to the model itself."""
    named = {name.strip("/"): entry for name, entry in entries.items()}
    return {name: entry for name, entry in named.items() if not name.startswith(TRAINING)}


def _dtype_of(path: Path) -> str:
    """The dtype of most values of a weights file, as the policy of the model that wrote it."""
    names = [str(entry.dtype) for entry in _values(tree(path, path)).values()]
    dtype = max(set(names), key=names.count, default="")
    if dtype not in DTYPES:
        raise CheckpointError(path, f"has values of dtype {dtype or 'none'}; weights are {', '.join(DTYPES)}")
    return dtype


def _build(config: MobileBertConfig, head: str, policy: str) -> Any:
    from mobilebert_tf import heads

    return getattr(heads, f"TF{head}")(config, dtype=policy)

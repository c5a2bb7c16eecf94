"""TF1 checkpoints, as in Google's archive: a folder with bert_config.json, vocab.txt and variables by name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_common.checkpoints.archive import Archive
from mobilebert_common.checkpoints.matching import Naming, normal_names
from mobilebert_common.errors import CheckpointError, ConfigError
from mobilebert_common.files.folder import Content, Folder
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.layout import to_layout
from mobilebert_common.model.schema import expand
from mobilebert_common.optional import needs

from . import garden
from .bundle import DATA, INDEX, OBJECT_GRAPH, STATE_FILE, find_prefix, open_bundle

CONFIG_FILE = "bert_config.json"
PREFIX = "mobilebert_variables.ckpt"
WEIGHTS_FILE = f"{PREFIX}{INDEX}"
DATA_FILE = f"{PREFIX}{DATA}00000-of-00001"

# the keys of Google's BertConfig and their defaults; None means hidden_size
DEFAULTS: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 16,
    "initializer_range": 0.02,
    "embedding_size": None,
    "trigram_input": False,
    "use_bottleneck": False,
    "intra_bottleneck_size": None,
    "use_bottleneck_attention": False,
    "key_query_shared_bottleneck": False,
    "num_feedforward_networks": 1,
    "normalization_type": "layer_norm",
    "classifier_activation": True,
}
KEYS = ("vocab_size", *DEFAULTS)
# ours -> Google's, which has no others; its gelu is the tanh approximation
ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu"}
LAYER_NORM_EPS = 1e-12  # hard-coded in Google's code


def open_file(folder: Folder, name: str) -> tuple[Archive, Naming]:
    """Open a TF1 or Model Garden checkpoint: returns its variables and their naming.

    Args:
        folder, name: the folder, and the name of the checkpoint's prefix or of one of its files.
    Raises:
        CheckpointError: there is no checkpoint, or TensorFlow cannot read it.
    """
    prefix = find_prefix(folder.path / name)
    if prefix is None:
        raise CheckpointError(folder.path / name, f"has no TensorFlow checkpoint: there is no file ending in {INDEX}")
    reader, archive = open_bundle(folder, prefix)
    if reader.has_tensor(OBJECT_GRAPH):
        return garden.named(reader, archive), "garden"
    return archive, "tf1"


def read_config(folder: Folder, name: str = CONFIG_FILE) -> MobileBertConfig:
    """Read the configuration from a bert_config.json; unknown keys are kept, as with config.json.

    Raises:
        CheckpointError: the file is missing, unreadable or holds a value outside its range.
    """
    path = folder.path / name
    values = {**DEFAULTS, **folder.read_json(name)}
    values.pop("model_type", None)
    if "vocab_size" not in values:
        raise CheckpointError(path, "has no vocab_size")
    for key in ("embedding_size", "intra_bottleneck_size"):
        values[key] = values["hidden_size"] if values[key] is None else values[key]
    if values["hidden_act"] == "gelu":
        values["hidden_act"] = "gelu_new"
    try:
        return MobileBertConfig.from_dict(values)
    except ConfigError as error:
        raise CheckpointError(path, str(error)) from None


def completed(config: MobileBertConfig, archive: Archive, names: Naming) -> MobileBertConfig:
    """Complete a configuration from bert_config.json with what only the variables show.

    These are the number of a classifier's labels, and whether there is a pooler: Google's pre-training checkpoints have none.
    """
    found = {name: archive.entries[kept].shape for name, kept in normal_names(archive, names).items()}
    changes: dict[str, Any] = {}
    pooler = expand(config.replace(classifier_activation=True), "MobileBertModel")["pooler.dense.weight"]
    if config.classifier_activation and pooler.dialects[names].name not in found:
        changes["classifier_activation"] = False
    scores = found.get("output_weights", ())
    if names == "tf1" and len(scores) == 2 and scores[0] != config.num_labels:
        changes["num_labels"] = scores[0]
    return config.replace(**changes) if changes else config


def contents(config: MobileBertConfig, architecture: str, tensors: Mapping[str, np.ndarray]) -> dict[str, Content]:
    """The files of a TF1 checkpoint, for files.save_files: bert_config.json, the variables and the state file.

    Args:
        architecture: a name in ARCHITECTURES.
        tensors: {canonical name: array}.
    Raises:
        ConfigError: Google's code cannot express this model.
        ImportError: TensorFlow is not installed.
    """
    with needs("tf"):
        import tensorflow  # noqa: F401  # fail now, not with files half written
    refuse_untold(config, architecture)
    variables = {
        (place := tensor.dialects["tf1"]).name: to_layout(tensors[name], place.layout, config.num_attention_heads)
        for name, tensor in expand(config, architecture).items()
        if 0 not in tensor.shape
    }
    data: list[Path] = []

    def write_index(path: Path) -> None:
        """One call writes both files; the second keeps a temporary name, which a clean-up recognizes, until write_data."""
        data.append(_save(path, variables))
        path.with_name(path.name + INDEX).replace(path)

    def write_data(path: Path) -> None:
        data.pop().replace(path)

    state = "".join(f'{key}: "{PREFIX}"\n' for key in ("model_checkpoint_path", "all_model_checkpoint_paths"))
    return {
        CONFIG_FILE: config_text(config),
        WEIGHTS_FILE: write_index,
        DATA_FILE: write_data,
        STATE_FILE: state.encode(),
    }


def config_text(config: MobileBertConfig) -> bytes:
    """The text of bert_config.json."""
    values = config.to_dict()
    values["hidden_act"] = ACTIVATIONS[config.hidden_act]
    return (json.dumps({key: values[key] for key in KEYS}, indent=2, sort_keys=True) + "\n").encode()


def refuse_untold(config: MobileBertConfig, architecture: str) -> None:
    """Refuse a model that Google's code would compute differently, because a TF1 checkpoint cannot express it.

    Raises:
        ConfigError: lists everything TF1 cannot express.
    """
    findings = {
        "an untied decoder (tie_word_embeddings false)": not config.tie_word_embeddings
        and "predictions" in ARCHITECTURES[architecture].blocks,
        f"hidden_act {config.hidden_act!r} (only {', '.join(sorted(ACTIVATIONS))})": config.hidden_act not in ACTIVATIONS,
        f"layer_norm_eps {config.layer_norm_eps:g} (only {LAYER_NORM_EPS:g})": config.layer_norm_eps != LAYER_NORM_EPS,
    }
    if untold := [finding for finding, found in findings.items() if found]:
        raise ConfigError(f"Google's TF1 code does not support {'; '.join(untold)}: convert to safetensors, bin or h5")


def _save(path: Path, variables: Mapping[str, np.ndarray]) -> Path:
    """Write path.index and path.data-00000-of-00001 as a TF1 Saver does, and return the second path.

    Raises:
        OSError: writing failed; neither file is left behind.
    """
    import tensorflow as tf

    names = sorted(variables)
    try:
        with tf.device("CPU"):
            tf.raw_ops.SaveV2(
                prefix=str(path),
                tensor_names=names,
                shape_and_slices=[""] * len(names),
                tensors=[tf.constant(variables[name]) for name in names],
            )
    except BaseException as error:
        for part in path.parent.glob(f"{path.name}.*"):
            part.unlink(missing_ok=True)
        if isinstance(error, tf.errors.OpError):
            raise OSError(f"{path}: TensorFlow could not write it: {error.message}") from None
        raise
    return path.with_name(f"{path.name}{DATA}00000-of-00001")

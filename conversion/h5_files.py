"""Write tf_model.h5 as transformers' TF classes do. mobilebert_common reads it without h5py."""

import io
import re
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from mobilebert_common.checkpoints.h5 import WEIGHTS_FILE
from mobilebert_common.files.folder import Content
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.layout import to_layout
from mobilebert_common.model.schema import TIED, Tensor, expand

KERAS_VERSION = "2.21.0"  # recorded in the file; every release of Keras 2 reads this layout
MAX_ATTRIBUTE = 64_512  # bytes; Keras splits longer attributes
FLOATS = ("float32", "float64")


def contents(config: MobileBertConfig, architecture: str, tensors: Mapping[str, np.ndarray]) -> dict[str, Content]:
    """The weights file of a TF class, for files.save_files."""
    return {WEIGHTS_FILE: lambda path: write(path, config, architecture, tensors)}


def write(path: Path, config: MobileBertConfig, architecture: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Write the file that save_pretrained of transformers 4's TF class writes and its from_pretrained reads.

    Args:
        architecture: a name in ARCHITECTURES.
        tensors: {canonical name: array} of that architecture, float32 or float64.
    Raises:
        ValueError: the arrays have another dtype.
    """
    if wrong := {str(array.dtype) for array in tensors.values()} - {*FLOATS}:
        raise ValueError(f"{WEIGHTS_FILE} holds {' or '.join(FLOATS)}, not {', '.join(sorted(wrong))}: load with dtype='float32'")
    scope = _snake_case(f"TF{architecture}")
    groups: dict[str, dict[str, np.ndarray]] = {}
    for tensor in _in_order(expand(config.replace(tie_word_embeddings=False), architecture)):  # TF always stores a decoder
        foreign = tensor.dialects["h5"]
        array = tensors[tensor.name if tensor.name in tensors else TIED[tensor.name]]
        weights = groups.setdefault(foreign.name.partition("/")[0], {})
        weights[f"{scope}/{foreign.name}:0"] = to_layout(array, foreign.layout, config.num_attention_heads)
    if {"classifier", "choice"} & {*ARCHITECTURES[architecture].blocks}:
        groups = {"mobilebert": groups["mobilebert"], _dropout(config): {}, "classifier": groups["classifier"]}
    content = io.BytesIO()  # libhdf5 crashes when the disk is full
    with h5py.File(content, "w") as file:
        _write_names(file, "layer_names", list(groups))
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = KERAS_VERSION.encode()
        for name in [*sorted(groups), "top_level_model_weights"]:
            group = file.create_group(name)
            arrays = groups.get(name, {})
            _write_names(group, "weight_names", list(arrays))
            for place, array in arrays.items():
                group.create_dataset(place, data=array)
    path.write_bytes(content.getbuffer())


# modules the TF classes build first in their block
EARLY = {
    module: rank
    for rank, module in enumerate(
        (
            "embeddings.word_embeddings",
            "embeddings.token_type_embeddings",
            "embeddings.position_embeddings",
            "cls.predictions",
            "cls.predictions.dense",
            "cls.predictions.decoder",
        )
    )
}


def _in_order(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """Sort tensors as the TF classes do: layer by layer, FFNs last within a layer, and a NoNorm's bias before its weight."""
    blocks = list(dict.fromkeys("layer" if tensor.block == "ffn" else tensor.block for tensor in tensors.values()))
    modules = list(dict.fromkeys(tensor.module for tensor in tensors.values()))
    rank = {module: EARLY.get(module.removeprefix("mobilebert."), len(EARLY) + index) for index, module in enumerate(modules)}

    def key(tensor: Tensor) -> tuple[int, list[int], int, bool]:
        numbers = [int(part) for part in tensor.name.split(".") if part.isdecimal()]  # layer and FFN numbers
        block = blocks.index("layer" if tensor.block == "ffn" else tensor.block)
        return block, numbers, rank[tensor.module], not tensor.dialects["h5"].name.endswith("LayerNorm/bias")

    return sorted(tensors.values(), key=key)


def _dropout(config: MobileBertConfig) -> str:
    """The name of a classifier's dropout, an empty group. Keras numbers all dropouts of a model consecutively."""
    return f"dropout_{1 + config.num_hidden_layers * (2 if config.use_bottleneck else 3)}"


def _write_names(group: h5py.Group, attribute: str, names: list[str]) -> None:
    """Write a list of names as Keras does: split if it is too long for one attribute."""
    data = [name.encode() for name in names]
    array = np.asarray(data)
    count = 1
    while any(part.nbytes > MAX_ATTRIBUTE for part in np.array_split(array, count)):
        count += 1
    if count == 1:
        group.attrs[attribute] = data
    else:
        for number, part in enumerate(np.array_split(array, count)):
            group.attrs[f"{attribute}{number}"] = part


def _snake_case(name: str) -> str:
    """The name Keras derives for an instance from its class name."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", name)).lower()

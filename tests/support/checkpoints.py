"""Checkpoint directories of the smallest models there are. Imports no framework."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mobilebert_common.checkpoints import checkpoint, safetensors
from mobilebert_common.checkpoints.safetensors import WEIGHTS_FILE
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import CONFIG_FILE, MobileBertConfig
from mobilebert_common.model.schema import expand

BASE, CLASSIFIER = "MobileBertModel", "MobileBertForSequenceClassification"
SIZES: dict[str, Any] = {
    "vocab_size": 11,
    "hidden_size": 8,
    "embedding_size": 4,
    "intra_bottleneck_size": 4,
    "intermediate_size": 6,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "num_feedforward_networks": 2,
    "max_position_embeddings": 6,
    "num_labels": 3,
}
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "##f"]
Arrays = dict[str, np.ndarray]


def make_config(**overrides: Any) -> MobileBertConfig:
    return MobileBertConfig(**{**SIZES, **overrides})


def make_weights(head: str = BASE, dtype: Any = np.float32, **overrides: Any) -> Arrays:
    generator = np.random.default_rng(0)
    tensors = expand(make_config(**overrides), head)
    weights = {name: generator.normal(size=tensor.shape).astype(dtype) for name, tensor in tensors.items()}
    weights[f"{ARCHITECTURES[head].root}embeddings.word_embeddings.weight"][0] = 0  # the row of [PAD]
    return weights


def save(folder: Path, head: str = BASE, dtype: Any = np.float32, **overrides: Any) -> Arrays:
    weights = make_weights(head, dtype, **overrides)
    checkpoint.save(folder, make_config(**overrides), head, weights)
    return weights


def save_as_others_do(folder: Path, tensors: Arrays, head: str = BASE, **config: Any) -> None:
    """config.json and model.safetensors without a manifest."""
    values = {**SIZES, "architectures": [head], "torch_dtype": "float32", "true_hidden_size": 4, **config}
    (folder / CONFIG_FILE).write_text(json.dumps(values))
    safetensors.write(folder / WEIGHTS_FILE, tensors)


def equal(ours: Arrays, theirs: Arrays) -> bool:
    """The same names in the same order, the same bits."""
    return list(ours) == list(theirs) and all(
        ours[name].dtype == theirs[name].dtype and ours[name].tobytes() == theirs[name].tobytes() for name in ours
    )

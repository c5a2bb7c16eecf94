"""Checkpoints of TensorFlow's Model Garden (official.projects.mobilebert), which are object-based.

A variable's key, such as encoder/layer_with_weights-1/block_layers/ffn/0/1/kernel, depends on which object was saved; a table
shared with the masked-LM head may have a key under either. The checkpoint also stores the variable's own name, such as
transformer_layer_0/ffn_layer_0/output_dense/kernel. The schema uses these names.
"""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from mobilebert_common.checkpoints.archive import Archive
from mobilebert_common.errors import CheckpointError

from .bundle import OBJECT_GRAPH

log = logging.getLogger(__name__)

WRAPPERS = ("bert", "mobile_bert_encoder")  # models that wrap encoder and head, and whose names precede the layers'
ROOTS = ("mobile_bert_embedding", "pooler", "cls")  # first parts of names in the schema, besides LAYER and a number
LAYER = "transformer_layer_"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
SLOT = "/.OPTIMIZER_SLOT/"
TRAINING = ("optimizer", "save_counter", "global_step")  # prefixes of the trainer's keys


def named(reader: Any, archive: Archive) -> Archive:
    """Return an archive with the encoder and the masked-LM head under the schema's names.

    Other heads have no counterpart here and are ignored with a warning. Training state is ignored silently.

    Raises:
        CheckpointError: the checkpoint holds no MobileBERT, or two.
    """
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(OBJECT_GRAPH))
    keys: dict[str, str] = {}
    aside, twice = [], []
    for node in graph.nodes:
        for attribute in node.attributes:
            key, name = attribute.checkpoint_key, schema_name(attribute.full_name)
            if key not in archive.entries or SLOT in key or key.startswith(TRAINING):
                continue
            if name is None:
                aside.append(key.removesuffix(VALUE))
            elif keys.setdefault(name, key) != key:
                twice.append(f"{keys[name]} and {key}")
    if twice:
        raise CheckpointError(archive.path, f"holds two models: {twice[0].replace(VALUE, '')} have the same name")
    if not any(name.startswith(LAYER) for name in keys):
        raise CheckpointError(archive.path, "is an object-based checkpoint without a MobileBERT encoder")
    if aside:
        log.warning("%s: ignored %s", archive.path, ", ".join(aside))

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        wanted = {name: keys[name] for name in names}
        arrays = archive.read(wanted.values())
        return {name: arrays[key] for name, key in wanted.items()}

    return Archive(archive.path, {name: archive.entries[key] for name, key in keys.items()}, read)


def schema_name(full_name: str) -> str | None:
    """Convert a variable's name to the schema's; None if the schema has no such variable.

    >>> schema_name("bert/cls/predictions/output_bias/bias")
    'cls/predictions/output_bias/bias'
    >>> schema_name("mobile_bert_embedding_1/word_embedding/embeddings")
    'mobile_bert_embedding/word_embedding/embeddings'
    """
    parts = full_name.split("/")
    while parts and _unnumbered(parts[0]) in WRAPPERS:
        parts = parts[1:]
    if not parts:
        return None
    root, *rest = parts
    if root.startswith(LAYER):
        return "/".join(parts)
    return "/".join((_unnumbered(root), *rest)) if _unnumbered(root) in ROOTS else None


def _unnumbered(name: str) -> str:
    """Strip the number Keras appends to the name of the second layer of a class."""
    stem, _, number = name.rpartition("_")
    return stem if stem and number.isdecimal() else name

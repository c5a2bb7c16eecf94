"""Checkpoints of TensorFlow's Model Garden (official.projects.mobilebert): objects, whose variables keep their names beside their keys.

A key such as encoder/layer_with_weights-1/block_layers/ffn/0/1/kernel depends on what was saved and from where; a table
shared with the masked-LM head may lie under that one. The name, transformer_layer_0/ffn_layer_0/output_dense/kernel, is
the variable's own, and is what the schema has.
"""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from mobilebert_common.checkpoints.archive import Archive
from mobilebert_common.errors import CheckpointError

from .bundle import OBJECT_GRAPH

log = logging.getLogger(__name__)

WRAPPERS = ("bert", "mobile_bert_encoder")  # models around the encoder and the head, whose names precede the layer's
ROOTS = ("mobile_bert_embedding", "pooler", "cls")  # what the names in the schema begin with, beside LAYER and a number
LAYER = "transformer_layer_"
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
SLOT = "/.OPTIMIZER_SLOT/"
TRAINING = ("optimizer", "save_counter", "global_step")  # keys that begin so are the trainer's


def named(reader: Any, archive: Archive) -> Archive:
    """An archive with the variables of an encoder and its masked-LM head under the names of the schema.

    Other heads, of which a MobileBERT here has no counterpart, are left aside with a warning; what belongs to training
    without one.

    Raises:
        CheckpointError: there is no MobileBERT in it, or there are two.
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
        raise CheckpointError(archive.path, f"holds two models: {twice[0].replace(VALUE, '')} are both of that name")
    if not any(name.startswith(LAYER) for name in keys):
        raise CheckpointError(archive.path, "is an object-based checkpoint without the encoder of a MobileBERT")
    if aside:
        log.warning("%s: left aside %s", archive.path, ", ".join(aside))

    def read(names: Iterable[str]) -> dict[str, np.ndarray]:
        wanted = {name: keys[name] for name in names}
        arrays = archive.read(wanted.values())
        return {name: arrays[key] for name, key in wanted.items()}

    return Archive(archive.path, {name: archive.entries[key] for name, key in keys.items()}, read)


def schema_name(full_name: str) -> str | None:
    """A variable's name as the schema has it; None for a variable of another kind.

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
    """A layer's name without the number Keras gives to the second of its class."""
    stem, _, number = name.rpartition("_")
    return stem if stem and number.isdecimal() else name

"""Write LiteRT (.tflite) files."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mobilebert_common.model.exporting import exporting
from mobilebert_common.runtimes.signature import Signature

from ..pretrained import TFMobileBertPreTrainedModel
from .graph import Graph


def write(
    model: TFMobileBertPreTrainedModel,
    signature: Signature,
    folder: Path,
    calibration: Sequence[Mapping[str, np.ndarray]] = (),
) -> None:
    """Write a model to signature.file in a folder, with a signature for each of its lengths, which share the weights.

    Args:
        calibration: inputs of the model, [1 t] each, for int8.
    """
    graph = Graph(model, signature, compose=False)
    module = tf.Module()
    module.variables_of_model = [variable.value for variable in graph.model.variables]  # what is not tracked would be lost in silence
    functions = {signature.key(length): concrete(graph, signature, length) for length in signature.lengths}
    with tempfile.TemporaryDirectory() as scratch:
        tf.saved_model.save(module, scratch, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch, signature_keys=list(functions))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if signature.quantize == "dynamic-int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        (folder / signature.file).write_bytes(converter.convert())


def concrete(graph: Graph, signature: Signature, length: int) -> Any:
    """The graph for one row of a length."""
    specs = {name: tf.TensorSpec([1, length], signature.ids, name) for name in signature.inputs.values()}
    with exporting():
        return tf.function(graph, autograph=False).get_concrete_function(**specs)

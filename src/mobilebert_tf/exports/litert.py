"""Write LiteRT (.tflite) files."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mobilebert_common.model.exporting import exporting
from mobilebert_common.runtimes.artefact import resized
from mobilebert_common.runtimes.signature import Signature

from ..pretrained import TFMobileBertPreTrainedModel
from .graph import Graph
from .metadata import has_metadata, with_metadata

Rows = Sequence[Mapping[str, np.ndarray]]

# What stays in float under static int8: attention, whose mask adds the smallest number (no int8 range holds it beside scores, and in
# float hidden tokens get exactly 0), and sums and norms, where errors would add up over the layers. Products and tables are int8.
FLOAT_OPS = [
    *("ADD", "SUB", "MUL", "SOFTMAX", "BATCH_MATMUL"),
    *("MEAN", "SUM", "SQUARED_DIFFERENCE", "RSQRT", "TANH", "LOGISTIC", "GELU", "RELU", "RELU6"),
]


def write(
    model: TFMobileBertPreTrainedModel,
    signature: Signature,
    folder: Path,
    calibration: Rows = (),
    tokens: Sequence[str] = (),
) -> None:
    """Write a model to signature.file in a folder, with a signature for each of its lengths, which share the weights.

    Args:
        calibration: inputs of the model, [1 t] each, for int8.
        tokens: the vocabulary in the order of ids. With it a classifier for one length has metadata for MediaPipe's TextClassifier,
            which lower-cases: none for a cased tokenizer.
    """
    graph = Graph(model, signature, compose=False)  # composed products are 4% more multiplications, and XNNPACK gains nothing elsewhere
    module = tf.Module()
    module.variables_of_model = [variable.value for variable in graph.model.variables]  # what is not tracked would be lost in silence
    functions = {signature.key(length): concrete(graph, signature, length) for length in signature.lengths}
    with tempfile.TemporaryDirectory() as scratch:
        tf.saved_model.save(module, scratch, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch, signature_keys=list(functions))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        content = convert(converter, signature, calibration)
    if tokens and has_metadata(signature):
        content = with_metadata(content, signature, tokens)
    (folder / signature.file).write_bytes(content)


def concrete(graph: Graph, signature: Signature, length: int) -> Any:
    """The graph for one row of a length."""
    specs = {name: tf.TensorSpec([1, length], signature.ids, name) for name in signature.inputs.values()}
    with exporting():
        return tf.function(graph, autograph=False).get_concrete_function(**specs)


def convert(converter: Any, signature: Signature, calibration: Rows) -> bytes:
    """The content of the file, quantized as the signature says."""
    if signature.quantize == "none":
        return converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if signature.quantize == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if signature.quantize != "int8":
        return converter.convert()
    converter.representative_dataset = lambda: samples(signature, calibration)
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=FLOAT_OPS)
    debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
    return debugger.get_nondebug_quantized_model()


def samples(signature: Signature, calibration: Rows) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Each row at each length, as TensorFlow's calibration takes them."""
    for row in calibration:
        for length in signature.lengths:
            tensors = {name: resized(row[key], length).astype(signature.ids) for key, name in signature.inputs.items()}
            yield signature.key(length), tensors

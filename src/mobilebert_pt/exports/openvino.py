"""Write OpenVINO files, by way of ONNX."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as ops

from mobilebert_common.runtimes.signature import Signature

from ..pretrained import MobileBertPreTrainedModel
from . import onnx


def write(
    model: MobileBertPreTrainedModel,
    signature: Signature,
    folder: Path,
    calibration: Sequence[Mapping[str, np.ndarray]] = (),
) -> None:
    """Write a model to signature.file in a folder, and its weights beside it.

    Args:
        calibration: inputs of the model, [1 t] each, for int8.
    """
    as_onnx = {"file": "model.onnx", "quantize": "int8" if signature.quantize == "int8" else "none"}
    with tempfile.TemporaryDirectory() as scratch:
        source = signature.model_copy(update=as_onnx)
        onnx.write(model, source, Path(scratch), calibration)
        converted = openvino.convert_model(Path(scratch, source.file))
    if signature.quantize == "dynamic-int8":
        to_int8(converted)
    openvino.save_model(converted, folder / signature.file, compress_to_fp16=signature.quantize == "fp16")


def to_int8(model: openvino.Model) -> None:
    """Keep the matrices of a model in int8 with a scale for each output channel; what they multiply stays float."""
    for node in model.get_ordered_ops():
        if node.get_type_name() not in ("MatMul", "Gather"):
            continue
        at = 0 if node.get_type_name() == "Gather" else 1
        table = node.input_value(at)
        if table.get_node().get_type_name() != "Constant" or table.get_element_type() != openvino.Type.f32:
            continue
        weight = table.get_node().data  # [rows columns]
        if weight.ndim == 2:
            rows = at == 0 or node.get_attributes()["transpose_b"]
            node.input(at).replace_source_output(scaled(weight, axis=1 if rows else 0).output(0))


def scaled(weight: np.ndarray, axis: int) -> openvino.Node:
    """A matrix as int8 numbers times scales, which sums over an axis share."""
    scales = np.maximum(np.abs(weight).max(axis=axis, keepdims=True) / 127, np.finfo(np.float32).tiny)
    whole = ops.constant(np.rint(weight / scales).astype(np.int8))
    return ops.multiply(ops.convert(whole, "f32"), ops.constant(scales.astype(np.float32)))

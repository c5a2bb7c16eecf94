"""Write ONNX files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnxruntime import quantization

from mobilebert_common.errors import ConfigError, shortened
from mobilebert_common.runtimes.signature import Signature
from mobilebert_common.runtimes.targets import ONNX

from ..inference import is_known
from ..pretrained import MobileBertPreTrainedModel
from .graph import Graph
from .onnx_graph import ModelGraph

PRODUCTS = ["MatMul", "Gemm"]
WEIGHTS = quantization.QuantType.QInt8


def write(
    model: MobileBertPreTrainedModel,
    signature: Signature,
    folder: Path,
    calibration: Sequence[Mapping[str, np.ndarray]] = (),
) -> None:
    """Write a model to signature.file in a folder; beside one in dynamic int8, write the float model, as transformers.js expects.

    Args:
        calibration: inputs of the model, [1 t] each, for int8.
    Raises:
        ConfigError: the model's class or one of its layers is not of this package, so that its graph is not known.
    """
    if foreign := sorted({type(module).__name__ for module in model.modules() if not is_known(module)}):
        raise ConfigError(f"only layers of this package and torch.nn can be written to ONNX, not {shortened(foreign, ', ')}")
    path = folder / signature.file
    path.parent.mkdir(parents=True, exist_ok=True)
    folded = Graph(model, signature, "float16" if signature.quantize == "fp16" else "float32").model
    file = ModelGraph(folded, signature).to_proto()
    if signature.quantize == "dynamic-int8":
        onnx.save(file, folder / ONNX["none"])
        quantize_dynamic(file, path)
    elif signature.quantize == "int8":
        quantize_static(file, path, signature, calibration)
    else:
        onnx.save(file, path)


def quantize_dynamic(file: onnx.ModelProto, path: Path) -> None:
    """Write a model whose products with weights take eight bits, those of the inputs scaled in each call."""
    quantization.quantize_dynamic(file, path, per_channel=True, reduce_range=True, weight_type=WEIGHTS)


def quantize_static(
    file: onnx.ModelProto, path: Path, signature: Signature, calibration: Sequence[Mapping[str, np.ndarray]]
) -> None:
    """Write a model whose products with weights take eight bits, all scaled by what their inputs are in `calibration`."""
    weights = {tensor.name for tensor in file.graph.initializer}
    nodes = [node.name for node in file.graph.node if node.op_type in PRODUCTS and weights & {*node.input}]
    with TemporaryDirectory() as scratch:
        source = Path(scratch) / "model.onnx"
        onnx.save(file, source)
        quantization.quantize_static(
            source,
            path,
            Rows(signature, calibration),
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=WEIGHTS,
            nodes_to_quantize=nodes,
            extra_options={"OpTypesToExcludeOutputQuantization": PRODUCTS},
        )


class Rows(quantization.CalibrationDataReader):
    """Inputs of a file, one after the other."""

    def __init__(self, signature: Signature, calibration: Sequence[Mapping[str, np.ndarray]]) -> None:
        self.rows = (
            {tensor: row[name].astype(signature.ids) for name, tensor in signature.inputs.items()} for row in calibration
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next inputs; None after the last."""
        return next(self.rows, None)

"""Write ONNX files."""

import contextlib
import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime import quantization

from mobilebert_common.errors import ConfigError, shortened
from mobilebert_common.runtimes.signature import Signature
from mobilebert_common.runtimes.targets import ONNX

from ..inference import is_known
from ..pretrained import MobileBertPreTrainedModel
from .graph import Graph
from .onnx_graph import ModelGraph

PRODUCTS = ["MatMul", "Gemm"]
# Seven bits for weights: on CPUs without VNNI, sums of products with eight bits saturate in silence, and more is lost than a bit
WEIGHTS = {"weight_type": quantization.QuantType.QInt8, "per_channel": True, "reduce_range": True}


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
    beside = ONNX["none"] if (signature.target, signature.quantize) == ("onnx", "dynamic-int8") else None
    if name := signature.file if signature.quantize in ("none", "fp16") else beside:
        onnx.save(ModelGraph(folded, signature).to_proto(), folder / name)
    if signature.quantize in ("dynamic-int8", "int8"):
        file = with_int8_words(ModelGraph(folded, signature, fused=False).to_proto())
        with quiet():
            if signature.quantize == "int8":
                quantize_static(file, path, signature, calibration)
            else:
                quantization.quantize_dynamic(file, path, ["MatMul"], **WEIGHTS)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what the quantizers say to the root logger."""

    def refuse(record: logging.LogRecord) -> bool:
        return False

    logging.getLogger().addFilter(refuse)
    try:
        yield
    finally:
        logging.getLogger().removeFilter(refuse)


def quantize_static(
    file: onnx.ModelProto, path: Path, signature: Signature, calibration: Sequence[Mapping[str, np.ndarray]]
) -> None:
    """Write a model whose products with weights take eight bits, those of their inputs scaled by what they are in `calibration`."""
    weights = {tensor.name for tensor in file.graph.initializer}
    products = [node.name for node in file.graph.node if node.op_type in PRODUCTS and node.input[1] in weights]
    with TemporaryDirectory() as scratch:
        source = Path(scratch) / "model.onnx"
        onnx.save(file, source)
        quantization.quantize_static(
            source,
            path,
            Rows(signature, calibration),
            activation_type=quantization.QuantType.QUInt8,
            nodes_to_quantize=products,
            extra_options={"OpTypesToExcludeOutputQuantization": PRODUCTS},
            **WEIGHTS,
        )


class Rows(quantization.CalibrationDataReader):
    """Inputs of a file, one row after the other."""

    def __init__(self, signature: Signature, calibration: Sequence[Mapping[str, np.ndarray]]) -> None:
        self.rows = ({tensor: row[name].astype(signature.ids) for name, tensor in signature.inputs.items()} for row in calibration)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next inputs; None after the last."""
        return next(self.rows, None)


def with_int8_words(file: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with word embeddings of eight bits, scaled by word. The quantizers would have one scale for the whole table."""
    file = copy.deepcopy(file)
    nodes, tensors = file.graph.node, {tensor.name: tensor for tensor in file.graph.initializer}
    number, look_up = next((number, node) for number, node in enumerate(nodes) if node.input[0].endswith("word_embeddings.weight"))
    name, ids = look_up.input
    table = numpy_helper.to_array(tensors[name])
    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True) / 127, np.finfo(np.float32).tiny)
    parts = {f"{name}_int8": np.rint(table / scales).astype(np.int8), f"{name}_scales": scales}
    file.graph.initializer.extend(numpy_helper.from_array(array, part) for part, array in parts.items())
    whole, words, scale = (f"{look_up.name}_{part}" for part in ("int8", "words", "scales"))
    nodes.remove(look_up)
    for node in (  # from the last to the first
        helper.make_node("Mul", [words, scale], look_up.output, look_up.name),
        helper.make_node("Gather", [f"{name}_scales", ids], [scale], scale),
        helper.make_node("Cast", [whole], [words], words, to=onnx.TensorProto.FLOAT),
        helper.make_node("Gather", [f"{name}_int8", ids], [whole], whole),
    ):
        nodes.insert(number, node)
    if not any(name in node.input for node in nodes):  # the masked-LM head has it as a product
        file.graph.initializer.remove(tensors[name])
    return file

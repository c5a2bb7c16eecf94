"""Write ExecuTorch (.pte) files, with XNNPACK, for phones."""

import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
from executorch.exir import EdgeProgramManager, to_edge_transform_and_lower
from torch import Tensor, nn
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from mobilebert_common.model.exporting import exporting
from mobilebert_common.runtimes.artefact import resized
from mobilebert_common.runtimes.signature import Signature

from ..pretrained import MobileBertPreTrainedModel
from .graph import Graph


def write(
    model: MobileBertPreTrainedModel,
    signature: Signature,
    folder: Path,
    calibration: Sequence[Mapping[str, np.ndarray]] = (),
) -> None:
    """Write a model to signature.file in a folder. Its inputs and outputs have no names there: their order is the signature's.

    Args:
        calibration: inputs of the model, [1 t] each, for int8.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = lower(model, signature, calibration).to_executorch()
    (folder / signature.file).write_bytes(program.buffer)


def lower(
    model: MobileBertPreTrainedModel, signature: Signature, calibration: Sequence[Mapping[str, np.ndarray]] = ()
) -> EdgeProgramManager:
    """The program, in which XNNPACK runs almost everything but the tables."""
    [length] = signature.lengths
    dtype = getattr(torch, signature.ids)
    example = tuple(torch.ones(1, length, dtype=dtype) for _ in signature.inputs)
    with exporting(), torch.no_grad():
        program = torch.export.export(Graph(model, signature).eval(), example).run_decompositions(DECOMPOSITIONS)
        if signature.quantize != "none":
            rows = [tuple(fitted(row[name], length, dtype) for name in signature.inputs) for row in calibration]
            program = torch.export.export(quantized(program.module(), signature.quantize, rows or [example]), example)
        return to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])


def quantized(graph: nn.Module, quantize: str, rows: Iterable[tuple[Tensor, ...]]) -> nn.Module:
    """A graph whose products with weights take eight bits: a scale for each channel of a weight, and one for what it multiplies, that
    of each call for dynamic-int8, that of `rows` for int8. Sums stay in float32, since eight bits for the mask's hide all scores."""
    config = get_symmetric_quantization_config(is_per_channel=True, is_dynamic=quantize == "dynamic-int8")
    prepared = prepare_pt2e(graph, XNNPACKQuantizer().set_operator_type(torch.ops.aten.linear.default, config))
    for row in rows:  # at least one, which the scales of the weights are taken in
        prepared(*row)
    return convert_pt2e(prepared)


def fitted(array: np.ndarray, length: int, dtype: torch.dtype) -> Tensor:
    """[1 t] in the length of the file."""
    return torch.from_numpy(resized(array, length)).to(dtype)


def parts(x: Tensor, sizes: int | Sequence[int], dim: int = 0) -> list[Tensor]:
    """Split into slices."""
    if isinstance(sizes, int):
        sizes = [min(sizes, x.shape[dim] - start) for start in range(0, x.shape[dim], sizes)]
    return [x.narrow(dim, end - size, size) for size, end in zip(sizes, itertools.accumulate(sizes), strict=True)]


def part(x: Tensor, dim: int, index: int) -> Tensor:
    """Select by a slice."""
    return x.narrow(dim, index, 1).reshape(x.shape[:dim] + x.shape[dim + 1 :])


def products(x: Tensor, y: Tensor) -> Tensor:
    """Multiply matrices [b n ...] as [b*n ...], without a broadcast."""
    if y.dim() == 2:  # from a linear operation, whose shape torch asks for
        return torch.mm(x.flatten(0, -2), y).unflatten(0, x.shape[:-1])
    return torch.bmm(x.flatten(0, 1), y.flatten(0, 1)).unflatten(0, x.shape[:2])


def added_product(y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Add a product to a matrix, which is not the bias of a linear operation."""
    return torch.mm(a, b) + y


# Operations that XNNPACK does not take, in others that it does: what it leaves runs far slower, and splits the graph
DECOMPOSITIONS: dict[Any, Any] = {
    torch.ops.aten.split.Tensor: parts,
    torch.ops.aten.split_with_sizes.default: parts,
    torch.ops.aten.select.int: part,
    torch.ops.aten.matmul.default: products,
    torch.ops.aten.addmm.default: added_product,
}

"""Write ONNX files."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from mobilebert_common.model.exporting import exporting
from mobilebert_common.runtimes.signature import Signature

from ..pretrained import MobileBertPreTrainedModel
from .graph import Graph

OPSET = 20


def write(
    model: MobileBertPreTrainedModel,
    signature: Signature,
    folder: Path,
    calibration: Sequence[Mapping[str, np.ndarray]] = (),
) -> None:
    """Write a model to signature.file in a folder.

    Args:
        calibration: inputs of the model, [1 t] each, for int8.
    """
    path = folder / signature.file
    path.parent.mkdir(parents=True, exist_ok=True)
    graph = Graph(model, signature).eval()
    example = tuple(torch.ones(2, 3, dtype=torch.long) for _ in signature.inputs)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=signature.max_length)}
    with exporting(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            example,
            str(path),
            input_names=[*signature.inputs.values()],
            output_names=[*signature.outputs.values()],
            dynamic_shapes=((axes,) * len(example),),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )

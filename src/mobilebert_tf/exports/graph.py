"""A model as exporters take it: three tensors of ids in, tensors by name out. mobilebert_pt/exports/graph.py is its translation."""

from typing import Any

from keras import ops

from mobilebert_common.runtimes.signature import Signature

from ..inference import fold
from ..pretrained import TFMobileBertPreTrainedModel

ACTIVATIONS = {"softmax": lambda x: ops.softmax(x, axis=-1), "sigmoid": ops.sigmoid}


class Graph:
    """A folded model with the inputs and outputs of a signature.

    Args:
        model: is folded here.
        dtype: of the computations and the outputs.
        compose: see TFMobileBertPreTrainedModel.fold.
    """

    def __init__(
        self, model: TFMobileBertPreTrainedModel, signature: Signature, dtype: str = "float32", compose: bool = True
    ) -> None:
        self.model = fold(model, dtype, None, compose)
        self.signature = signature

    def __call__(self, **tensors: Any) -> dict[str, Any]:
        """[b t] integers each, by the names of signature.inputs; returns outputs by the names of signature.outputs."""
        named = {name: tensors[tensor] for name, tensor in self.signature.inputs.items()}
        if self.signature.has_choices:  # each row is the only choice of its example
            named = {name: ops.expand_dims(tensor, 1) for name, tensor in named.items()}
        output = self.model(**named, output_hidden_states=False, output_attentions=False, return_dict=True)
        found = {name: output[name] for name in self.signature.outputs}
        if self.signature.activation is not None:
            found["logits"] = ACTIVATIONS[self.signature.activation](found["logits"])
        return {self.signature.outputs[name]: value for name, value in found.items()}

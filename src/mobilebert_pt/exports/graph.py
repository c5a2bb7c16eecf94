"""A model as exporters take it: three tensors of ids in, a tuple of tensors out. mobilebert_tf/exports/graph.py is its translation."""

import torch
from torch import Tensor, nn

from mobilebert_common.runtimes.signature import Signature

from ..inference import INT8_BOUND, fold
from ..pretrained import MobileBertPreTrainedModel

ACTIVATIONS = {"softmax": lambda x: x.softmax(dim=-1), "sigmoid": torch.sigmoid}


class Graph(nn.Module):
    """A folded model with the inputs and outputs of a signature, in its order.

    Args:
        model: is folded here.
        dtype: of the computations; outputs are float32.
        compose: see MobileBertPreTrainedModel.fold.
    """

    def __init__(self, model: MobileBertPreTrainedModel, signature: Signature, dtype: str = "float32", compose: bool = True) -> None:
        super().__init__()
        bound = INT8_BOUND if signature.quantize.endswith("int8") else None
        self.model = fold(model, dtype, None, compose, packed=False, bound=bound)
        self.signature = signature
        self.eval()

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """[b t] integers each, the arguments of signature.inputs; returns float32 outputs."""
        named = dict(zip(self.signature.inputs, tensors, strict=True))
        if self.signature.has_choices:  # each row is the only choice of its example
            named = {name: tensor[:, None] for name, tensor in named.items()}
        output = self.model(**named, output_hidden_states=False, output_attentions=False, return_dict=True)
        found = {name: output[name].float() for name in self.signature.outputs}
        if self.signature.activation is not None:
            found["logits"] = ACTIVATIONS[self.signature.activation](found["logits"])
        return tuple(found.values())

"""A folded model as an ONNX graph, node by node.

torch.onnx.export could trace it too, but takes minutes for 24 layers and writes more nodes. Streams are [b*t h] here, so that each
dense product is one Gemm together with the bias or the sum that follows it. Letters are those of schema.py.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from mobilebert_common.runtimes.signature import Signature

from ..inference import Layer, Sum
from ..layers import Predictions
from ..pretrained import MobileBertPreTrainedModel, base_model

OPSET = 20
IR_VERSION = 10


class Nodes:
    """The nodes of a graph and its constant tensors; each is known by its name.

    Args:
        names: {id of a parameter: its name}.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = names
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, TensorProto] = {}

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; returns its output."""
        return self.add_many(kind, 1, *inputs, **attributes)[0]

    def add_many(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with several outputs; returns them."""
        name = f"{kind}_{len(self.nodes)}"
        outputs = [name] if count == 1 else [f"{name}_{number}" for number in range(count)]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name, **attributes))
        return outputs

    def tensor(self, parameter: Tensor) -> str:
        """A parameter of the model."""
        return self.constant(self.names[id(parameter)], array(parameter))

    def integers(self, *values: int) -> str:
        """A list of integers, [len(values)] int64."""
        return self.constant("_".join(["integers", *map(str, values)]), np.array(values, np.int64))

    def constant(self, name: str, values: np.ndarray) -> str:
        """A tensor under a name."""
        if name not in self.tensors:
            self.tensors[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def rename(self, old: str, new: str) -> None:
        """Give an output of a node another name."""
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]


class ModelGraph(Nodes):
    """The graph of a folded model.

    Args:
        model: folded, with Product as its kind of products.
        fused: let Gemm add to a stream, which is faster, but has no form in eight bits.
    """

    def __init__(self, model: MobileBertPreTrainedModel, signature: Signature, fused: bool = True) -> None:
        super().__init__({id(parameter): name for name, parameter in model.named_parameters()})
        self.signature, self.config, self.fused = signature, model.config, fused
        self.ids, self.mask, self.types = signature.inputs.values()
        self.base = base_model(model)
        self.dtype = array(self.base.embeddings.word_embeddings.weight).dtype
        self.sizes = self.add("Shape", self.ids)  # b, t
        state = self.encoder()
        found = HEADS[signature.architecture](self, model, state)
        self.shapes = {signature.outputs[name]: shape for name, (_, shape) in found.items()}
        for name, (value, _) in found.items():
            self.rename(self.rounded(value), signature.outputs[name])

    def rounded(self, x: str) -> str:
        """In float32."""
        return x if self.dtype == np.float32 else self.add("Cast", x, to=TensorProto.FLOAT)

    def scalar(self, value: float) -> str:
        """A number in the dtype of the graph."""
        return self.constant(f"number_{value}", np.array(value, self.dtype))

    def linear(self, x: str, weight: Tensor, bias: Tensor | None = None, added: str | None = None) -> str:
        """`weight @ x + bias + added`, [m in] -> [m out]."""
        if bias is not None:
            terms = [self.tensor(bias)]
        elif self.fused:
            terms = []
        else:  # or else ONNX Runtime would move the sum in here
            terms = [self.constant(f"{self.names[id(weight)]}_no_bias", np.zeros(len(weight), self.dtype))]
        terms += [] if added is None else [added]
        y = self.add("Gemm", x, self.tensor(weight), *terms[:1], transB=1)
        return self.add("Add", y, terms[1]) if len(terms) > 1 else y

    def norm(self, module: nn.LayerNorm | None, x: str) -> str:
        """A LayerNorm; without one, x itself."""
        if module is None:
            return x
        return self.add("LayerNormalization", x, self.tensor(module.weight), self.tensor(module.bias), epsilon=module.eps)

    def activation(self, x: str) -> str:
        """config.hidden_act."""
        return ACTIVATIONS[self.config.hidden_act](self, x)

    def in_rows(self, x: str, *sizes: int) -> str:
        """[b*t ...] -> [b t *sizes]."""
        return self.add("Reshape", x, self.add("Concat", self.sizes, self.integers(*sizes), axis=0))

    def first(self, x: str) -> str:
        """[b*t m] -> [b m], the first token."""
        rows = self.in_rows(x, -1)
        return self.add("Gather", rows, self.constant("zero", np.array(0, np.int64)), axis=1)

    def embeddings(self) -> str:
        """[b*t h]."""
        part = self.base.embeddings
        x = self.add("Gather", self.tensor(part.word_embeddings.weight), self.ids)
        if part.trigram_input:
            x = self.trigram(x)
        if part.transformation is not None:
            weight = part.transformation.weight
            x = self.in_rows(self.linear(self.flat(x, weight.shape[1]), weight), -1)
        if part.scale is not None:
            x = self.add("Mul", x, self.tensor(part.scale))
        length = self.add("Slice", self.sizes, self.integers(1), self.integers(2))
        table = self.tensor(part.position_embeddings.weight)
        x = self.add("Add", x, self.add("Slice", table, self.integers(0), length, self.integers(0)))
        x = self.add("Add", x, self.add("Gather", self.tensor(part.token_type_embeddings.weight), self.types))
        return self.flat(self.norm(part.norm, x), self.config.hidden_size)

    def flat(self, x: str, width: int) -> str:
        """[b t width] -> [b*t width]."""
        return self.add("Reshape", x, self.integers(-1, width))

    def trigram(self, x: str) -> str:
        """See layers.trigram."""
        padded = self.add("Pad", x, self.integers(0, 1, 0, 0, 1, 0))
        end, axis = self.integers(np.iinfo(np.int64).max), self.integers(1)
        after = self.add("Slice", padded, self.integers(2), end, axis)
        before = self.add("Slice", padded, self.integers(0), self.integers(-2), axis)
        return self.add("Concat", after, x, before, axis=2)

    def attention_bias(self) -> str:
        """[b 1 1 t]: what hides a token is the smallest number of the dtype, see mobilebert_common.model.exporting."""
        hidden = self.add("Equal", self.mask, self.constant("zero", np.array(0, np.int64)))
        smallest, nothing = self.scalar(float(np.finfo(self.dtype).min)), self.scalar(0.0)
        return self.add("Unsqueeze", self.add("Where", hidden, smallest, nothing), self.integers(1, 2))

    def encoder(self) -> str:
        """The last hidden state, [b*t h]; of the first token alone, [b h], if the head reads no other."""
        r, bias, encoder = self.embeddings(), self.attention_bias(), self.base.encoder
        for layer in encoder.layer:
            r = self.layer(layer, r, bias, encoder.only_first and layer is encoder.layer[-1])
        return r

    def layer(self, layer: Layer, r: str, bias: str, only_first: bool) -> str:
        """inference.Layer."""
        parts = self.parts(layer.products.input, self.linear(r, layer.input.weight, layer.input.bias))
        for name, norm in (("residual", layer.residual_norm), ("shared", layer.shared_norm)):
            if norm is not None:
                parts[name] = self.norm(norm, parts[name])
        if layer.attention is not None:
            x = self.linear(parts[layer.products.source], layer.attention.weight, layer.attention.bias)
            parts |= self.parts(layer.products.attention, x)
        query, y = parts["query"], parts.get("residual", r)
        if only_first:
            query, y, r = self.first(query), self.first(y), self.first(r)
        y = self.sum(layer.context, y, self.attend(layer, query, parts["key"], parts["value"], bias, only_first))
        for intermediate, ffn in zip(layer.intermediate, layer.ffn, strict=True):
            y = self.sum(ffn, y, self.activation(self.linear(y, intermediate.weight, intermediate.bias)))
        return y if layer.output is None else self.sum(layer.output, r, y)

    def parts(self, names: tuple[str, ...], x: str) -> dict[str, str]:
        """The parts of a product, [b*t k] each."""
        if len(names) == 1:
            return {names[0]: x}
        return dict(zip(names, self.add_many("Split", len(names), x, axis=1, num_outputs=len(names)), strict=True))

    def sum(self, part: Sum, y: str, z: str) -> str:
        """inference.Sum."""
        if part.scale is not None:
            y = self.add("Add", self.add("Mul", y, self.tensor(part.scale)), self.tensor(part.shift))
        return self.norm(part.norm, self.linear(z, part.product.weight, part.product.bias, added=y))

    def attend(self, layer: Layer, query: str, key: str, value: str, bias: str, only_first: bool) -> str:
        """layers.attend, [b*t k], or [b k] for the first token."""
        heads, size = layer.heads, layer.width // layer.heads
        if only_first:
            rows = self.add("Reshape", query, self.integers(0, 1, heads, size))
        else:
            rows = self.in_rows(query, heads, size)
        q = self.add("Transpose", rows, perm=[0, 2, 1, 3])  # [b n t d]
        k = self.add("Transpose", self.in_rows(key, heads, size), perm=[0, 2, 3, 1])  # [b n d t]
        v = self.add("Transpose", self.in_rows(value, heads, size), perm=[0, 2, 1, 3])
        scores = self.add("Add", self.add("MatMul", q, k), bias)  # [b n t t]
        context = self.add("MatMul", self.add("Softmax", scores, axis=-1), v)
        return self.flat(self.add("Transpose", context, perm=[0, 2, 1, 3]), layer.width)

    def pooled(self, state: str) -> str:
        """layers.Pooler, [b h]."""
        first = state if self.base.encoder.only_first else self.first(state)
        dense = self.base.pooler.dense
        return first if dense is None else self.add("Tanh", self.linear(first, dense.weight, dense.bias))

    def words(self, head: Predictions, state: str) -> str:
        """layers.Predictions, [b t v]."""
        transform = head.transform
        x = self.norm(transform.LayerNorm, self.activation(self.linear(state, transform.dense.weight, transform.dense.bias)))
        table, own, extra = head.decoder.weight, x, self.config.hidden_size - self.config.embedding_size
        if extra:
            own, rest = self.add_many("Split", 2, x, self.integers(self.config.embedding_size, extra), axis=1)
        scores = self.linear(own, table, head.bias)
        if extra:
            scores = self.add("Add", scores, self.add("MatMul", rest, self.tensor(head.dense.weight)))
        return self.in_rows(scores, -1)

    def to_proto(self) -> onnx.ModelProto:
        """The file, with [batch sequence] inputs of any size."""
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, TOKENS) for name in self.signature.inputs.values()]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in self.shapes.items()]
        graph = helper.make_graph(self.nodes, self.signature.architecture, inputs, outputs, [*self.tensors.values()])
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, producer_name="mobilebert-zoo", opset_imports=opsets, ir_version=IR_VERSION)


def array(parameter: Tensor) -> np.ndarray:
    """Its values."""
    return parameter.detach().cpu().numpy()


Outputs = dict[str, tuple[str, list[str | int]]]  # {output: its tensor, its shape}
ROWS, TOKENS = ["batch"], ["batch", "sequence"]


def base(graph: ModelGraph, model: Any, state: str) -> Outputs:
    """MobileBertModel."""
    size = model.config.hidden_size
    return {"last_hidden_state": (graph.in_rows(state, -1), [*TOKENS, size]), "pooler_output": (graph.pooled(state), [*ROWS, size])}


def pre_training(graph: ModelGraph, model: Any, state: str) -> Outputs:
    """MobileBertForPreTraining."""
    words, relation = masked_words(graph, model, state)["logits"], next_sentence(graph, model, state)["logits"]
    return {"prediction_logits": words, "seq_relationship_logits": relation}


def masked_words(graph: ModelGraph, model: Any, state: str) -> Outputs:
    """MobileBertForMaskedLM."""
    return {"logits": (graph.words(model.cls.predictions, state), [*TOKENS, model.config.vocab_size])}


def next_sentence(graph: ModelGraph, model: Any, state: str) -> Outputs:
    """MobileBertForNextSentencePrediction."""
    head = model.cls.seq_relationship
    return {"logits": (graph.linear(graph.pooled(state), head.weight, head.bias), [*ROWS, 2])}


def pooled_classes(graph: ModelGraph, model: Any, state: str) -> Outputs:
    """MobileBertForSequenceClassification and, each choice a row, MobileBertForMultipleChoice."""
    head = model.classifier
    return {"logits": (graph.linear(graph.pooled(state), head.weight, head.bias), [*ROWS, head.out_features])}


def token_classes(graph: ModelGraph, model: Any, state: str) -> Outputs:
    """MobileBertForTokenClassification."""
    head = model.classifier
    return {"logits": (graph.in_rows(graph.linear(state, head.weight, head.bias), -1), [*TOKENS, head.out_features])}


def span(graph: ModelGraph, model: Any, state: str) -> Outputs:
    """MobileBertForQuestionAnswering."""
    ends = graph.add_many("Split", 2, graph.linear(state, model.qa_outputs.weight, model.qa_outputs.bias), axis=1, num_outputs=2)
    start, end = (graph.add("Reshape", scores, graph.sizes) for scores in ends)
    return {"start_logits": (start, TOKENS), "end_logits": (end, TOKENS)}


HEADS: dict[str, Callable[[ModelGraph, Any, str], Outputs]] = {
    "MobileBertModel": base,
    "MobileBertForPreTraining": pre_training,
    "MobileBertForMaskedLM": masked_words,
    "MobileBertForNextSentencePrediction": next_sentence,
    "MobileBertForSequenceClassification": pooled_classes,
    "MobileBertForMultipleChoice": pooled_classes,
    "MobileBertForTokenClassification": token_classes,
    "MobileBertForQuestionAnswering": span,
}

ACTIVATIONS: dict[str, Callable[[ModelGraph, str], str]] = {
    "relu": lambda graph, x: graph.add("Relu", x),
    "relu6": lambda graph, x: graph.add("Clip", x, graph.scalar(0.0), graph.scalar(6.0)),
    "gelu": lambda graph, x: graph.add("Gelu", x),
    "gelu_new": lambda graph, x: graph.add("Gelu", x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda graph, x: graph.add("Gelu", x, approximate="tanh"),
    "silu": lambda graph, x: graph.add("Mul", x, graph.add("Sigmoid", x)),
    "tanh": lambda graph, x: graph.add("Tanh", x),
}

"""Folded models in PyTorch: they run the graph that mobilebert_common/model/folding.py describes."""

import copy
import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilebert_common.errors import ConfigError, InputError, brief, shortened
from mobilebert_common.model import folding
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import BaseModelOutputWithPooling

from . import arrays
from .checks import check_model_inputs
from .layers import ACTIVATIONS, AttentionBias, look_up
from .model import MobileBertModel
from .pretrained import MobileBertPreTrainedModel, base_model, distinct

INT8_BOUND = 2.0  # see folding.BOUND: eight bits for a whole tensor lose channels that are much smaller than others


class Product(nn.Module):
    """`weight @ x + bias` in torch's own operations, which every tracer and exporter knows."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = frozen(weight), frozen(bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def activated(self, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        """`activation(weight @ x + bias)`."""
        return activation(self.forward(x))

    def added(self, x: Tensor, y: Tensor) -> Tensor:
        """`y + weight @ x + bias`."""
        return y + self.forward(x)


class Packed(Product):
    """The same in oneDNN, with the weight in its own memory layout: float32 on the CPU, without gradients."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(torch.ops.mkldnn._reorder_linear_weight(weight, None), bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise.default(x, self.weight, self.bias, "none", [], "")

    def activated(self, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        if activation is not F.relu:
            return activation(self.forward(x))
        return torch.ops.mkldnn._linear_pointwise.default(x, self.weight, self.bias, "relu", [], "")

    def added(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise.binary(x, y, self.weight, self.bias, "add")

    def __reduce__(self) -> tuple[Any, ...]:
        return Packed, (self.weight.to_dense(), self.bias)  # torch cannot copy or pickle its layout


class Int8(Product):
    """The same with an int8 weight, scaled by output channel; each call scales its whole input to eight bits."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        nn.Module.__init__(self)
        self.packed = packed_int8(weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.linear_dynamic.default(x, self.packed, saturates())

    def activated(self, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        if activation is not F.relu:
            return activation(self.forward(x))
        return torch.ops.quantized.linear_relu_dynamic.default(x, self.packed, saturates())


def packed_int8(weight: Tensor, bias: Tensor | None) -> Any:
    """Weights as torch.ops.quantized takes them."""
    scales = (weight.abs().amax(dim=1).double() / 127).clamp_min(torch.finfo(torch.float32).tiny)
    whole = (weight / scales[:, None]).round().to(torch.int8)
    zeros = torch.zeros(len(weight), dtype=torch.long)
    with warnings.catch_warnings():  # that torch deprecates the dtype, to which it has no other way into these products
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
        quantized = torch._make_per_channel_quantized_tensor(whole, scales, zeros, 0)
    return torch.ops.quantized.linear_prepack(quantized, bias)


@functools.cache
def saturates() -> bool:
    """Whether products of 8-bit inputs exceed this CPU's 16-bit sums, so that inputs may have only 7 bits; not so with VNNI."""
    ones = torch.ones(1, 64)
    return float(torch.ops.quantized.linear_dynamic.default(ones, packed_int8(ones, None), False)) < 63


class Sum(nn.Module):
    """The next value of a stream y: `norm(y * scale + shift + product(z))`, of which most have only the product."""

    def __init__(self, tensors: Mapping[str, Tensor], eps: float, product: type[Product]) -> None:
        super().__init__()
        self.product = product(tensors["weight"], tensors.get("bias"))
        self.norm = layer_norm(tensors, "norm.", eps)
        self.scale = self.shift = None
        if "scale" in tensors:
            self.scale, self.shift = frozen(tensors["scale"]), frozen(tensors["shift"])

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        if self.scale is not None:
            y = torch.addcmul(self.shift, y, self.scale)
        y = self.product.added(z, y)
        return y if self.norm is None else self.norm(y)


class Embeddings(nn.Module):
    """Token ids or embeddings to the first value of the stream."""

    def __init__(self, config: MobileBertConfig, tensors: Mapping[str, Tensor], product: type[Product]) -> None:
        super().__init__()
        self.trigram_input = config.trigram_input
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
            self.add_module(name, nn.Embedding.from_pretrained(tensors[f"{name}.weight"]))
        transformation = tensors.get("embedding_transformation.weight")
        self.transformation = None if transformation is None else product(transformation, None)
        self.scale = frozen(tensors["scale"]) if "scale" in tensors else None
        self.norm = layer_norm(tensors, "norm.", config.layer_norm_eps)

    def forward(
        self,
        input_ids: Tensor | None,  # [b t]
        token_type_ids: Tensor | None,  # [b t]
        position_ids: Tensor | None,  # [1 t] or [b t]
        inputs_embeds: Tensor | None,  # [b t e]
    ) -> Tensor:
        x = look_up(self.word_embeddings, input_ids, "input_ids") if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            positions = self.position_embeddings.weight[: x.shape[1]]
        else:
            positions = look_up(self.position_embeddings, position_ids, "position_ids")
        if self.trigram_input:
            padded = F.pad(x, [0, 0, 1, 1])  # [b t+2 e]
            x = torch.cat([padded[:, 2:], x, padded[:, :-2]], dim=2)  # next, current, previous: [b t 3e]
        if self.transformation is not None:
            x = self.transformation(x)  # [b t h]
        if self.scale is not None:
            x = x * self.scale
        x = x + positions
        if token_type_ids is not None:
            x = x + look_up(self.token_type_embeddings, token_type_ids, "token_type_ids")
        return x if self.norm is None else self.norm(x)


class Layer(nn.Module):
    """One layer, from stream to stream."""

    def __init__(self, folded: folding.Folded, tensors: Mapping[str, Tensor], product: type[Product]) -> None:
        super().__init__()
        config, self.products = folded.config, folded.products
        self.width, self.heads = config.true_hidden_size, config.num_attention_heads
        self.activation = ACTIVATIONS[config.hidden_act]

        def make_product(name: str) -> Product:
            return product(tensors[f"{name}.weight"], tensors[f"{name}.bias"])

        def make_sum(name: str) -> Sum:
            return Sum(below(f"{name}.", tensors), config.layer_norm_eps, product)

        self.input = make_product("input")
        self.residual_norm = layer_norm(tensors, "residual.norm.", config.layer_norm_eps)
        self.shared_norm = layer_norm(tensors, "shared.norm.", config.layer_norm_eps)
        self.attention = make_product("attention") if self.products.attention else None
        self.context = make_sum("context")
        ffns = range(config.num_feedforward_networks)
        self.intermediate = nn.ModuleList(make_product(f"ffn.{number}.intermediate") for number in ffns)
        self.ffn = nn.ModuleList(make_sum(f"ffn.{number}.output") for number in ffns)
        self.output = make_sum("output") if config.use_bottleneck else None
        self.scale, self.shift = frozen(tensors.get("state.scale")), frozen(tensors.get("state.shift"))

    def forward(
        self,
        r: Tensor,  # [b t h]
        attention_bias: AttentionBias | None,
        head_mask: Tensor | None,  # [n 1 1]
        output_attentions: bool,
        only_first: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Returns the stream [b t h], or [b 1 h] for only the first token, and, if asked for, the probabilities [b n t t]."""
        parts = dict(zip(self.products.input, self.input(r).split(self.width, dim=-1), strict=True))
        if self.residual_norm is not None:
            parts["residual"] = self.residual_norm(parts["residual"])
        if self.shared_norm is not None:
            parts["shared"] = self.shared_norm(parts["shared"])
        if self.attention is not None:
            x = self.attention(parts[self.products.source])
            parts |= zip(self.products.attention, x.split(self.width, dim=-1), strict=True)
        query, y = parts["query"], parts.get("residual", r)
        if only_first:
            query, y, r = query[:, :1], y[:, :1], r[:, :1]
        context, probabilities = self.attend(query, parts["key"], parts["value"], attention_bias, head_mask, output_attentions)
        y = self.context(y, context)
        for intermediate, ffn in zip(self.intermediate, self.ffn, strict=True):
            y = ffn(y, intermediate.activated(y, self.activation))
        return y if self.output is None else self.output(r, y), probabilities

    def attend(
        self,
        query: Tensor,  # [b t k]
        key: Tensor,
        value: Tensor,
        attention_bias: AttentionBias | None,
        head_mask: Tensor | None,  # [n 1 1]
        output_attentions: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Attention over n heads; the query has the factor 1 / sqrt(d) already."""
        q, k, v = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))  # [b n t d]
        bias = None
        if attention_bias is not None:
            bias, q = attention_bias.bias[:, :, : q.shape[2]], q * attention_bias.seen[:, :, : q.shape[2]]
        probabilities = None
        if output_attentions:
            scores = q @ k.transpose(2, 3)  # [b n t t]
            probabilities = (scores if bias is None else scores + bias).softmax(dim=-1)
            if head_mask is not None:
                probabilities = probabilities * head_mask
            context = probabilities @ v  # [b n t d]
        else:
            context = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
            context = context if head_mask is None else context * head_mask
        return context.transpose(1, 2).flatten(2), probabilities

    def state(self, r: Tensor) -> Tensor:
        """The hidden state after this layer."""
        return r if self.scale is None else torch.addcmul(self.shift, r, self.scale)


def refuse(model: object, *args: Any, **kwargs: Any) -> NoReturn:
    """Refuse what a folded model cannot do."""
    raise ConfigError(
        "a folded model is for inference only: train, change or save the model that it was folded from, and fold that again"
    )


class Frozen:
    """What folded models refuse, in place of the methods of MobileBertPreTrainedModel."""

    is_gradient_checkpointing = False
    save_pretrained = fold = post_init = init_weights = refuse
    resize_token_embeddings = set_input_embeddings = enable_input_require_grads = refuse
    _load_from_state_dict = _checkpoint_layers = refuse
    from_pretrained, _from_config = classmethod(refuse), classmethod(refuse)

    def train(self, mode: bool = True) -> Self:
        """Evaluation mode, the only one."""
        return refuse(self) if mode else super().train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """No gradients, as always."""
        return refuse(self) if requires_grad else super().requires_grad_(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the tensors, but for packed ones."""
        moved = fn(torch.zeros(1))
        if base_model(self).product is not Product and (moved.dtype, moved.device.type) != (torch.float32, "cpu"):
            kind = base_model(self).product.__name__
            raise ConfigError(f"{kind} products stay on the CPU in float32: move the model before you fold it, and set dtype= there")
        return super()._apply(fn, recurse)


class FoldedModel(Frozen, MobileBertModel):
    """The folded base model, alone or in a model with a head.

    Args:
        tensors: those of `folded`, with a dtype and on a device.
        product: how products are computed.
        has_head: return the stream, which the folded heads read, in place of the last hidden state, and of that only [CLS] if the
            architecture reads no more.
    """

    def __init__(
        self, folded: folding.Folded, tensors: Mapping[str, Tensor], product: type[Product], has_head: bool
    ) -> None:
        MobileBertPreTrainedModel.__init__(self, folded.config)
        pools = "pooler" in folded.blocks
        self.product, self.has_head, self.pools = product, has_head, pools
        self.only_first = has_head and pools and "predictions" not in folded.blocks
        self.embeddings = Embeddings(self.config, below("embeddings.", tensors), product)
        self.layer = nn.ModuleList(
            Layer(folded, below(f"layer.{number}.", tensors), product) for number in range(self.config.num_hidden_layers)
        )
        self.pooler = None
        if pools and self.config.classifier_activation:
            self.pooler = Product(tensors["pooler.dense.weight"], tensors["pooler.dense.bias"])
        self.eval()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Any, ...]:
        """As MobileBertModel.

        Raises:
            InputError: see MobileBertModel and check_call.
        """
        config = self.config
        check_model_inputs(input_ids, inputs_embeds, attention_mask, head_mask, config)
        output_attentions = config.output_attentions if output_attentions is None else output_attentions
        output_hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        only_first = self.only_first and not (output_attentions or output_hidden_states)
        r = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)  # [b t h]
        self.check_call(r)
        bias, masks = self.attention_bias(attention_mask, r.dtype), self.layer_masks(head_mask, r.dtype)
        states, attentions = [r], []
        for number, layer in enumerate(self.layer):
            mask, last = None if masks is None else masks[number], number == len(self.layer) - 1
            r, probabilities = layer(r, bias, mask, output_attentions, only_first and last)
            attentions.append(probabilities)
            if output_hidden_states:
                states.append(layer.state(r))
        state = r if self.has_head else self.layer[-1].state(r)
        output = BaseModelOutputWithPooling(
            last_hidden_state=state,
            pooler_output=self.pool(r, state) if self.pools else None,
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )
        return self.finish(output, return_dict)

    def check_call(self, r: Tensor) -> None:
        """Refuse what packed products would do wrong.

        Raises:
            InputError: a gradient is needed, which they drop, or autocast is on, which they do not know.
        """
        if r.requires_grad:
            raise InputError("a folded model has no gradients: call the model that it was folded from, or detach inputs_embeds")
        if self.product is not Product and torch.is_autocast_enabled("cpu"):
            raise InputError(f"{self.product.__name__} products compute in float32, without torch.autocast: use fold(dtype=...)")

    def pool(self, r: Tensor, state: Tensor) -> Tensor:
        """[b h]."""
        return state[:, 0] if self.pooler is None else torch.tanh(self.pooler(r[:, 0]))


@torch.inference_mode(False)  # tensors made in inference mode could not be exported
def fold(
    model: MobileBertPreTrainedModel, dtype: Any, quantize: str | None, compose: bool, packed: bool
) -> MobileBertPreTrainedModel:
    """See MobileBertPreTrainedModel.fold."""
    base = base_model(model)
    dtype, product = choose_product(model, dtype, quantize, packed)
    if foreign := sorted({type(module).__name__ for module in base.modules() if not is_known(module)}):
        raise ConfigError(f"only layers of this package and torch.nn can be folded, not {shortened(foreign, ', ')}")
    has_head = model is not base and all(map(is_known, model.modules()))  # other heads read the last hidden state
    whole = model if has_head else base
    weights = {name: arrays.to_numpy(tensor) for name, tensor in distinct(whole).items()}
    without = () if base.pooler is not None else ("pooler",)
    bound = INT8_BOUND if quantize else folding.BOUND
    folded = folding.fold(base.config, whole.architecture, weights, compose=compose, bound=bound, without=without)
    tensors = {name: arrays.to_tensor(array).to(model.device, dtype) for name, array in folded.tensors.items()}
    new_base = FoldedModel(folded, tensors, product, has_head)
    return new_base if model is base else with_base(model, new_base, tensors if has_head else {})


def choose_product(
    model: MobileBertPreTrainedModel, dtype: Any, quantize: str | None, packed: bool
) -> tuple[torch.dtype, type[Product]]:
    """The dtype and the kind of product.

    Raises:
        ConfigError: see MobileBertPreTrainedModel.fold.
    """
    if quantize not in (None, "int8"):
        raise ConfigError(f'quantize must be None or "int8", not {brief(quantize)}')
    dtype = arrays.torch_dtype(dtype or (torch.float32 if quantize else model.dtype))
    on_cpu = (model.device.type, dtype) == ("cpu", torch.float32)
    if quantize and not on_cpu:
        raise ConfigError(f'quantize="int8" computes in float32 on the CPU, not in {arrays.dtype_name(dtype)} on {model.device}')
    if packed and (quantize or not on_cpu or not torch.backends.mkldnn.is_available()):
        raise ConfigError("packed=True is for float32 on the CPU, without quantize, in a torch that has oneDNN")
    return dtype, Int8 if quantize else Packed if packed else Product


def with_base(
    model: MobileBertPreTrainedModel, base: FoldedModel, tensors: Mapping[str, Tensor]
) -> MobileBertPreTrainedModel:
    """A copy of a model with a head, with another base model.

    Args:
        tensors: the head's, among others; what is not here is copied.
    """
    old = base_model(model)
    replaced = {id(old): base, id(old.embeddings): base.embeddings, id(old.config): base.config}
    new = empty(type(model))
    new.__dict__ |= copy.deepcopy(model.__dict__, replaced)
    inside = {id(tensor) for tensor in (*base.parameters(), *base.buffers())}
    for tensor in (*new.parameters(), *new.buffers()):
        if id(tensor) not in inside and tensor.is_floating_point():
            tensor.data = tensor.data.to(base.dtype)
    for name, parameter in new.named_parameters():
        if name in tensors:
            parameter.data = tensors[name]
    return new.requires_grad_(False).eval()


def empty(cls: type[MobileBertPreTrainedModel]) -> MobileBertPreTrainedModel:
    """A folded model of a class, without its attributes."""
    return object.__new__(frozen_class(cls))


@functools.cache
def frozen_class(cls: type[MobileBertPreTrainedModel]) -> type[MobileBertPreTrainedModel]:
    """The class of folded models with the head of `cls`; pickle finds it by `cls`."""

    def reduce(self: Any) -> tuple[Any, ...]:
        return empty, (cls,), self.__dict__

    return type(f"Folded{cls.__name__}", (Frozen, cls), {"__module__": __name__, "__doc__": cls.__doc__, "__reduce__": reduce})


def is_known(module: nn.Module) -> bool:
    """Whether a module's class is one of this package or of torch.nn."""
    return type(module).__module__.startswith((f"{__package__}.", "torch.nn."))


def layer_norm(tensors: Mapping[str, Tensor], name: str, eps: float) -> nn.LayerNorm | None:
    """The norm of a layer_norm model; None where there is none."""
    if f"{name}weight" not in tensors:
        return None
    norm = nn.LayerNorm(len(tensors[f"{name}weight"]), eps, device="meta")
    norm.weight, norm.bias = frozen(tensors[f"{name}weight"]), frozen(tensors[f"{name}bias"])
    return norm


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def frozen(tensor: Tensor | None) -> nn.Parameter | None:
    """A parameter without a gradient; None stays None."""
    return None if tensor is None else nn.Parameter(tensor, requires_grad=False)

"""Folded models in PyTorch: they run the graph that mobilebert_common/model/folding.py describes. mobilebert_tf/inference.py is its
translation."""

import copy
import functools
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilebert_common.errors import ConfigError, InputError, brief, shortened
from mobilebert_common.model import folding
from mobilebert_common.model.architectures import reads_only_first
from mobilebert_common.model.config import MobileBertConfig

from . import arrays
from .checks import can_read, is_exporting
from .layers import ACTIVATIONS, AttentionBias, attend, look_up, trigram
from .model import MobileBertModel
from .pretrained import MobileBertPreTrainedModel, base_model, distinct

INT8_BOUND = 2.0  # see folding.BOUND: eight bits for a whole tensor lose channels that are much smaller than others
BOUNDS = {torch.float16: 16.0}  # of dtypes with a small range


class Product(nn.Module):
    """`weight @ x + bias` in torch's own operations, which every tracer and exporter knows."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = frozen(weight), frozen(bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def activated(self, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        """`activation(weight @ x + bias)`."""
        product = self.forward(x)
        return F.relu(product, inplace=True) if activation is F.relu else activation(product)

    def added(self, x: Tensor, y: Tensor) -> Tensor:
        """`y + weight @ x + bias`."""
        product = self.forward(x)
        return product.add_(y) if product.dtype == y.dtype else y + product  # they differ under autocast


class Packed(Product):
    """The same in oneDNN, with the weight in its own memory layout: float32 on the CPU, without gradients."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(torch.ops.mkldnn._reorder_linear_weight(weight, None), bias)

    def forward(self, x: Tensor) -> Tensor:
        return linear_pointwise()(x, self.weight, self.bias, "none")

    def activated(self, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        if activation is not F.relu:
            return activation(self.forward(x))
        return linear_pointwise()(x, self.weight, self.bias, "relu")

    def added(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise.binary(x, y, self.weight, self.bias, "add")

    def __reduce__(self) -> tuple[Any, ...]:
        return Packed, (self.weight.to_dense(), self.bias)  # torch cannot copy or pickle its layout


@functools.cache
def linear_pointwise() -> Callable[..., Tensor]:
    """The product of oneDNN in TorchScript, since a trace cannot pass the empty list itself."""

    def product(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], "")
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted: Callable[..., Tensor] = torch.jit.script(product)
    return scripted


class Int8(Product):
    """The same with an int8 weight, scaled by output channel; each call scales its whole input to eight bits."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        nn.Module.__init__(self)
        self.packed, self.reduce_range = packed_int8(weight, bias), saturates()

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.quantized.linear_dynamic.default(x, self.packed, self.reduce_range)

    def activated(self, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        if activation is not F.relu:
            return activation(self.forward(x))
        return torch.ops.quantized.linear_relu_dynamic.default(x, self.packed, self.reduce_range)


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
        self.scale, self.shift = frozen(tensors.get("scale")), frozen(tensors.get("shift"))

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
        self.scale = frozen(tensors.get("scale"))
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
            x = trigram(x)
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
        head_mask: Tensor | None = None,  # [n 1 1]
        output_attentions: bool = False,
        only_first: bool = False,
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
            attention_bias = attention_bias and AttentionBias(*(x if x is None else x[:, :, :1] for x in attention_bias))
        context, probabilities, _ = attend(
            query, parts["key"], parts["value"], self.heads, attention_bias, head_mask, output_attentions, scale=1.0
        )
        y = self.context(y, context)
        for intermediate, ffn in zip(self.intermediate, self.ffn, strict=True):
            y = ffn(y, intermediate.activated(y, self.activation))
        return y if self.output is None else self.output(r, y), probabilities

    def state(self, r: Tensor) -> Tensor:
        """The hidden state after this layer."""
        return r if self.scale is None else torch.addcmul(self.shift, r, self.scale)


class Encoder(nn.Module):
    """The stack of layers.

    Args:
        only_first: work only for the first token in the last layer, where nothing but the last hidden state is asked for.
    """

    def __init__(
        self, folded: folding.Folded, tensors: Mapping[str, Tensor], product: type[Product], only_first: bool
    ) -> None:
        super().__init__()
        self.product = product
        self.only_first = only_first
        layers = range(folded.config.num_hidden_layers)
        self.layer = nn.ModuleList(Layer(folded, below(f"layer.{number}.", tensors), product) for number in layers)
        self.size = folded.config.hidden_size
        self.hooks = [hooks for module in self.modules() for hooks in (module._forward_hooks, module._forward_pre_hooks)]
        self.traces: dict[bool, Callable[..., Tensor]] = {}  # by whether there is a mask

    def forward(
        self,
        hidden_states: Tensor,  # [b t h]
        attention_bias: AttentionBias | None,
        head_mask: Tensor | None,  # [L n 1 1]
        output_attentions: bool,
        output_hidden_states: bool,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
        """As layers.Encoder.

        Raises:
            InputError: see check_call.
        """
        self.check_call(hidden_states)
        if head_mask is None and not (output_attentions or output_hidden_states):
            call = self.traced if self.can_trace(hidden_states) else self.last
            return (call(hidden_states, *(attention_bias or ())),), ()
        r, states, attentions = hidden_states, [hidden_states], []
        for number, layer in enumerate(self.layer):
            mask = None if head_mask is None else head_mask[number]
            r, probabilities = layer(r, attention_bias, mask, output_attentions=output_attentions)
            states.append(layer.state(r))
            attentions.append(probabilities)
        return tuple(states), tuple(attentions)

    def last(self, r: Tensor, *attention_bias: Tensor) -> Tensor:
        """The last hidden state alone, [b t h], or [b 1 h] if only_first is set."""
        bias = AttentionBias(*attention_bias) if attention_bias else None
        for layer in self.layer:
            r, _ = layer(r, bias, only_first=self.only_first and layer is self.layer[-1])
        return r

    def traced(self, r: Tensor, *attention_bias: Tensor) -> Tensor:
        """`last` from a trace, without Python between the operations, which takes a fifth of the time of short texts."""
        has_mask = bool(attention_bias)
        if has_mask not in self.traces:
            self.traces[has_mask] = self.trace(r.dtype, has_mask)
        return self.traces[has_mask](r, *attention_bias)

    @torch.inference_mode(False)
    @torch.no_grad()
    def trace(self, dtype: torch.dtype, has_mask: bool) -> Callable[..., Tensor]:
        """A trace of `last` for inputs of any size."""
        example = [torch.zeros(2, 3, self.size), *([torch.zeros(2, 1, 1, 3), torch.ones(2, 1, 1, 1)] if has_mask else [])]
        inputs = {"run": tuple(tensor.to(dtype) for tensor in example)}
        with warnings.catch_warnings():  # that torch deprecates TorchScript; torch.export has nothing that is as fast
            warnings.simplefilter("ignore")
            found: Callable[..., Tensor] = torch.jit.trace_module(Traced(self), inputs, check_trace=False).run
        return found

    def can_trace(self, r: Tensor) -> bool:
        """Whether a trace computes the same: on the CPU, unless someone else traces, compiles or looks at the modules."""
        return type(r) is Tensor and can_read(r) and not is_exporting() and not torch.is_autocast_enabled("cpu") and not any(self.hooks)

    def check_call(self, r: Tensor) -> None:
        """Refuse what packed products would do wrong.

        Raises:
            InputError: a gradient is needed, which they drop, or autocast is on, which they do not know.
        """
        if r.requires_grad:
            raise InputError("a folded model has no gradients: call the model that it was folded from, or detach inputs_embeds")
        if self.product is not Product and torch.is_autocast_enabled("cpu"):
            raise InputError(f"{self.product.__name__} products compute in float32, without torch.autocast: use fold(dtype=...)")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self.traces.clear()
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "traces": {}}  # which hold tensors, and cannot be pickled


class Traced(nn.Module):
    """What torch traces of an encoder. Plain tensors become constants of the trace, but weights in other layouts must be attributes.

    The encoder itself would do, but torch takes a second for its modules.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        for number, module in enumerate(encoder.modules()):
            if isinstance(module, Packed | Int8):
                setattr(self, f"weight_{number}", module.packed if isinstance(module, Int8) else module.weight)
        self.__dict__["run"] = encoder.last


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
        pooler: the model's own, if it has one.
        only_first: see Encoder.
    """

    def __init__(
        self,
        folded: folding.Folded,
        tensors: Mapping[str, Tensor],
        product: type[Product],
        pooler: nn.Module | None,
        only_first: bool,
    ) -> None:
        MobileBertPreTrainedModel.__init__(self, folded.config)
        self.product = product
        self.embeddings = Embeddings(self.config, below("embeddings.", tensors), product)
        self.encoder = Encoder(folded, tensors, product, only_first)
        self.pooler = pooler
        self.requires_grad_(False).eval()

    def attention_bias(self, attention_mask: Tensor | None, dtype: torch.dtype) -> AttentionBias | None:
        """As MobileBertModel, but none for a mask that hides nothing, where its values can be read: that saves work in every layer."""
        if attention_mask is not None and can_read(attention_mask) and bool((attention_mask != 0).all()):
            return None
        return super().attention_bias(attention_mask, dtype)


@torch.inference_mode(False)  # tensors made in inference mode could not be exported
def fold(
    model: MobileBertPreTrainedModel,
    dtype: Any,
    quantize: str | None,
    compose: bool,
    packed: bool | None,
    bound: float | None = None,
) -> MobileBertPreTrainedModel:
    """See MobileBertPreTrainedModel.fold.

    Args:
        bound: see folding.fold; default: what suits dtype and quantize.
    """
    base = base_model(model)
    dtype, product = choose_product(model, dtype, quantize, packed)
    bound = bound or (INT8_BOUND if quantize else BOUNDS.get(dtype, folding.BOUND))
    if foreign := sorted({type(module).__name__ for module in base.modules() if not is_known(module)}):
        raise ConfigError(f"only layers of this package and torch.nn can be folded, not {shortened(foreign, ', ')}")
    inside = {id(module) for module in base.modules()}
    heads = [module for module in model.modules() if id(module) not in inside]
    only_first = model is not base and reads_only_first(model.architecture) and all(map(is_known, heads))
    weights = {name: arrays.to_numpy(tensor) for name, tensor in distinct(base).items() if not name.startswith("pooler.")}
    folded = folding.fold(base.config, weights, compose=compose, bound=bound)
    table = folded.tensors  # emptied, so that few tensors are there in both dtypes
    tensors = {name: arrays.to_tensor(table.pop(name)).to(model.device, dtype) for name in list(table)}
    new = FoldedModel(folded, tensors, product, copy.deepcopy(base.pooler), only_first)
    return (new if model is base else with_base(model, new)).to(dtype)


def choose_product(
    model: MobileBertPreTrainedModel, dtype: Any, quantize: str | None, packed: bool | None
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
    can_pack = on_cpu and not quantize and torch.backends.mkldnn.is_available()
    if packed and not can_pack:
        raise ConfigError("packed=True is for float32 on the CPU, without quantize, in a torch that has oneDNN")
    packs = can_pack and packing_gains(torch.get_num_threads()) if packed is None else packed
    return dtype, Int8 if quantize else Packed if packs else Product


@functools.cache
def packing_gains(threads: int) -> bool:
    """Whether packed products take at least a tenth less time here: those of a layer of MobileBERT for 128 tokens, measured.

    Args:
        threads: of torch, on which the answer depends.
    """
    with torch.inference_mode():
        weights = [torch.ones(sizes) for sizes in ((512, 512), (512, 128), (128, 512))]
        pairs = [(torch.ones(128, weight.shape[1]), weight) for weight in weights]
        times: dict[type[Product], list[float]] = {Product: [], Packed: []}
        products = {kind: [(x, kind(weight, None)) for x, weight in pairs] for kind in times}
        for _ in range(10):
            for kind, calls in products.items():
                started = time.perf_counter()
                for x, product in calls:
                    product(x)
                times[kind].append(time.perf_counter() - started)
    return min(times[Packed]) < 0.9 * min(times[Product])


def with_base(model: MobileBertPreTrainedModel, base: FoldedModel) -> MobileBertPreTrainedModel:
    """A copy of a model with a head, with another base model."""
    old = base_model(model)
    replaced = {id(old): base, id(old.embeddings): base.embeddings, id(old.config): base.config}
    new = empty(type(model))
    new.__dict__ |= copy.deepcopy(model.__dict__, replaced)
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

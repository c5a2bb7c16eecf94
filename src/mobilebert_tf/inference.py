"""Folded models in Keras: they run the graph that mobilebert_common/model/folding.py describes. mobilebert_pt/inference.py is its
translation."""

import functools
from collections.abc import Mapping
from typing import Any, NoReturn

import keras
import numpy as np
from keras import ops

from mobilebert_common.errors import ConfigError, brief, shortened
from mobilebert_common.model import folding
from mobilebert_common.model.architectures import reads_only_first
from mobilebert_common.model.config import MobileBertConfig

from . import arrays
from .base import Layer as SizedLayer
from .base import Sized, parts
from .fit import as_tensor, readable_errors
from .layers import ACTIVATIONS, Embedding, LayerNorm, Pooler, attend, trigram
from .model import TFMobileBertModel
from .pretrained import TFMobileBertPreTrainedModel, base_model, is_ours

BOUNDS = {"float16": 16.0}  # of dtypes with a small range


class Product(SizedLayer):
    """`weight @ x + bias` for rows x."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.weight, self.bias = frozen(self, "kernel", weight.T), frozen(self, "bias", bias)

    def call(self, x: Any) -> Any:
        product = ops.matmul(x, self.weight)
        return product if self.bias is None else ops.add(product, self.bias)


class Sum(SizedLayer):
    """The next value of a stream y: `norm(y * scale + shift + product(z))`, of which most have only the product."""

    def __init__(self, tensors: Mapping[str, np.ndarray], config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.product = Product(tensors["weight"], tensors.get("bias"), dtype=self.dtype_policy)
        self.norm = layer_norm(tensors, "norm.", config, dtype=self.dtype_policy)
        self.scale, self.shift = frozen(self, "scale", tensors.get("scale")), frozen(self, "shift", tensors.get("shift"))

    def call(self, y: Any, z: Any) -> Any:
        if self.scale is not None:
            y = y * self.scale + self.shift
        y = y + self.product(z)
        return y if self.norm is None else self.norm(y)


class Embeddings(SizedLayer):
    """Token ids or embeddings to the first value of the stream."""

    def __init__(self, config: MobileBertConfig, tensors: Mapping[str, np.ndarray], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        dtype = self.dtype_policy
        self.trigram_input = config.trigram_input
        for name, ids in (("word", "input_ids"), ("position", "position_ids"), ("token_type", "token_type_ids")):
            setattr(self, f"{name}_embeddings", table(config, tensors[f"{name}_embeddings.weight"], ids, dtype=dtype))
        transformation = tensors.get("embedding_transformation.weight")
        self.transformation = None if transformation is None else Product(transformation, None, dtype=dtype)
        self.scale = frozen(self, "scale", tensors.get("scale"))
        self.norm = layer_norm(tensors, "norm.", config, dtype=dtype)

    def call(
        self,
        input_ids: Any,  # [b t]
        token_type_ids: Any,  # [b t]
        position_ids: Any,  # [1 t] or [b t]
        inputs_embeds: Any,  # [b t e]
        seed: Any = None,
    ) -> Any:
        x = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            rows = ops.arange(ops.shape(x)[1], dtype="int32")  # JAX cannot slice to a length that is not known yet
            positions = ops.cast(ops.take(self.position_embeddings.embeddings, rows, axis=0), x.dtype)
        else:
            positions = self.position_embeddings(position_ids)
        if self.trigram_input:
            x = trigram(x)
        if self.transformation is not None:
            x = in_shape(self.transformation(in_rows(x)), x)  # [b t h]
        if self.scale is not None:
            x = x * self.scale
        x = x + positions
        if token_type_ids is not None:
            x = x + self.token_type_embeddings(token_type_ids)
        return x if self.norm is None else self.norm(x)


class Layer(SizedLayer):
    """One layer, from stream to stream."""

    def __init__(self, folded: folding.Folded, tensors: Mapping[str, np.ndarray], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        dtype = self.dtype_policy
        config, self.products = folded.config, folded.products
        self.width, self.heads = config.true_hidden_size, config.num_attention_heads
        self.activation = ACTIVATIONS[config.hidden_act]

        def make_product(name: str) -> Product:
            return Product(tensors[f"{name}.weight"], tensors[f"{name}.bias"], dtype=dtype)

        def make_sum(name: str) -> Sum:
            return Sum(below(f"{name}.", tensors), config, dtype=dtype)

        self.input_ = make_product("input")
        self.residual_norm = layer_norm(tensors, "residual.norm.", config, dtype=dtype)
        self.shared_norm = layer_norm(tensors, "shared.norm.", config, dtype=dtype)
        self.attention = make_product("attention") if self.products.attention else None
        self.context = make_sum("context")
        ffns = range(config.num_feedforward_networks)
        self.intermediate = [make_product(f"ffn.{number}.intermediate") for number in ffns]
        self.ffn = [make_sum(f"ffn.{number}.output") for number in ffns]
        self.output_ = make_sum("output") if config.use_bottleneck else None
        scale, shift = tensors.get("state.scale"), tensors.get("state.shift")
        self.scale, self.shift = frozen(self, "scale", scale), frozen(self, "shift", shift)

    def call(
        self,
        r: Any,  # [b t h]
        attention_bias: Any,
        head_mask: Any = None,  # [n 1 1]
        output_attentions: bool = False,
        only_first: bool = False,
    ) -> tuple[Any, Any]:
        """Returns the stream [b t h], or [b 1 h] for only the first token, and, if asked for, the probabilities [b n t t].

        Between reading and writing the stream, tokens are rows [b*t, ...]: reshaping around each product took a fifth of the time of
        short texts.
        """
        parts = dict(zip(self.products.input, self.split(self.input_(in_rows(r))), strict=True))
        if self.residual_norm is not None:
            parts["residual"] = self.residual_norm(parts["residual"])
        if self.shared_norm is not None:
            parts["shared"] = self.shared_norm(parts["shared"])
        if self.attention is not None:
            parts |= zip(self.products.attention, self.split(self.attention(parts[self.products.source])), strict=True)
        parts = {name: in_shape(part, r) for name, part in parts.items() if name != "shared"}  # [b t k]
        query, y = parts["query"], parts.get("residual", r)
        if only_first:
            query, y, r = query[:, :1], y[:, :1], r[:, :1]
            attention_bias = None if attention_bias is None else attention_bias[:, :, :1]
        context, probabilities, _ = attend(
            query, parts["key"], parts["value"], self.heads, attention_bias, head_mask, output_attentions, scale=1.0
        )
        y = self.context(in_rows(y), in_rows(context))
        for intermediate, ffn in zip(self.intermediate, self.ffn, strict=True):
            y = ffn(y, self.activation(intermediate(y)))
        y = y if self.output_ is None else self.output_(in_rows(r), y)
        return in_shape(y, r), probabilities

    def split(self, x: Any) -> list[Any]:
        """The parts of a product's output."""
        return ops.split(x, x.shape[-1] // self.width, axis=-1)

    def state(self, r: Any) -> Any:
        """The hidden state after this layer."""
        return r if self.scale is None else r * self.scale + self.shift


class Encoder(SizedLayer):
    """The stack of layers.

    Args:
        only_first: work only for the first token in the last layer, where nothing but the last hidden state is asked for.
    """

    def __init__(
        self, folded: folding.Folded, tensors: Mapping[str, np.ndarray], only_first: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.only_first = only_first
        layers = range(folded.config.num_hidden_layers)
        self.layer = [Layer(folded, below(f"layer.{number}.", tensors), dtype=self.dtype_policy) for number in layers]

    def call(
        self,
        hidden_states: Any,  # [b t h]
        attention_bias: Any = None,
        head_mask: Any = None,  # [L n 1 1]
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        seed: Any = None,
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """As layers.Encoder."""
        if head_mask is None and not (output_attentions or output_hidden_states):
            return (self.last(hidden_states, attention_bias),), ()
        r, states, attentions = hidden_states, [hidden_states], []
        for number, layer in enumerate(self.layer):
            mask = None if head_mask is None else head_mask[number]
            r, probabilities = layer(r, attention_bias, mask, output_attentions=output_attentions)
            states.append(layer.state(r))
            attentions.append(probabilities)
        return tuple(states), tuple(attentions)

    def last(self, r: Any, attention_bias: Any) -> Any:
        """The last hidden state alone, [b t h], or [b 1 h] if only_first is set."""
        for layer in self.layer:
            r, _ = layer(r, attention_bias, only_first=self.only_first and layer is self.layer[-1])
        return r


def refuse(model: object, *args: Any, **kwargs: Any) -> NoReturn:
    """Refuse what a folded model cannot do."""
    raise ConfigError(
        "a folded model is for inference only: train, change or save the model that it was folded from, and fold that again"
    )


class Frozen:
    """What folded models refuse, in place of the methods of TFMobileBertPreTrainedModel, and how they are called."""

    is_gradient_checkpointing = False
    save_pretrained = fold = resize_token_embeddings = set_input_embeddings = set_bias = _checkpoint_layers = refuse
    fit = compile = train_on_batch = save = save_weights = load_weights = canonical_variables = __reduce__ = refuse
    from_pretrained, _from_config = classmethod(refuse), classmethod(refuse)

    @property
    def trainable(self) -> bool:
        """Never."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value:
            refuse(self)
        keras.Model.trainable.fset(self, False)

    def __call__(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """The output; in TensorFlow from a compiled function, which is traced for the first call of a kind."""
        if training:
            refuse(self)
        if keras.backend.backend() != "tensorflow" or "input_ids" not in self._names() or not is_eager([args, kwargs]):
            return super().__call__(*args, **kwargs)
        args, kwargs = self._arguments([as_tensor(value) for value in args], {n: as_tensor(v) for n, v in kwargs.items()})
        named = {**dict(zip(self._names(), args, strict=False)), **kwargs}
        switches = {name: value for name, value in named.items() if value is None or isinstance(value, bool)}
        with readable_errors():
            return self.inference_function(**switches)({n: value for n, value in named.items() if n not in switches})


class FoldedModel(Frozen, TFMobileBertModel):
    """The folded base model, alone or in a model with a head.

    Args:
        tensors: those of `folded`.
        pooler: the model's own, if it has one.
        only_first: see Encoder.
    """

    def __init__(self, folded: folding.Folded, pooler: Pooler | None, only_first: bool, **kwargs: Any) -> None:
        TFMobileBertPreTrainedModel.__init__(self, folded.config, **kwargs)
        dtype = self.dtype_policy
        self.embeddings = Embeddings(self.config, below("embeddings.", folded.tensors), name="embeddings", dtype=dtype)
        self.encoder = Encoder(folded, folded.tensors, only_first, name="encoder", dtype=dtype)
        self.pooler = None if pooler is None else copied("pooler", pooler, Pooler(self.config, name="pooler", dtype=dtype))
        self.trainable = False


def fold(model: TFMobileBertPreTrainedModel, dtype: Any, quantize: str | None, compose: bool) -> TFMobileBertPreTrainedModel:
    """See TFMobileBertPreTrainedModel.fold."""
    if quantize is not None:
        raise ConfigError(f"quantize must be None, not {brief(quantize)}: TensorFlow has no fast int8 products, but PyTorch has")
    base = base_model(model)
    policy = model.dtype_policy if dtype is None else arrays.dtype_policy(dtype)
    layers = base._flatten_layers()
    if foreign := sorted({type(layer).__name__ for layer in layers if not is_known(layer)}):
        raise ConfigError(f"only layers of this package and of Keras can be folded, not {shortened(foreign, ', ')}")
    heads = [layer for layer in parts(model).values() if layer is not base]
    only_first = model is not base and reads_only_first(model.architecture) and all(map(is_known, [model, *heads]))
    variables = base.canonical_variables().items()
    weights = {name: arrays.to_numpy(*place) for name, place in variables if not name.startswith("pooler.")}
    bound = BOUNDS.get(keras.dtype_policies.get(policy).compute_dtype, folding.BOUND)
    folded = folding.fold(base.config, weights, compose=compose, bound=bound)
    new = FoldedModel(folded, base.pooler, only_first, name=base.name, dtype=policy)
    return new if model is base else with_base(model, new)


def with_base(model: TFMobileBertPreTrainedModel, base: FoldedModel) -> TFMobileBertPreTrainedModel:
    """A copy of a model with a head, with another base model.

    Raises:
        ConfigError: the constructor of its class does not make the layers that it has.
    """
    model.require_built()
    cls, old = frozen_class(type(model)), base_model(model)
    if is_ours(type(model)):
        cls = type(cls.__name__, (cls,), {"base_class": staticmethod(lambda *args, **kwargs: base), "__doc__": cls.__doc__})
    new = cls.from_config({**model.get_config(), "dtype": keras.saving.serialize_keras_object(base.dtype_policy)})
    for name, layer in parts(model).items():
        if layer is old:
            replace(new, name, base)
        else:
            copied(name, layer, parts(new).get(name))
    for to, variable in zip(own_weights(new), own_weights(model), strict=True):
        to.assign(variable)
    new.trainable = False
    return new


def replace(model: TFMobileBertPreTrainedModel, name: str, base: FoldedModel) -> None:
    """Put a base model in the place of the one that the constructor has made, and let go of that."""
    if (found := getattr(model, name)) is not base:
        model._tracker.unlock()
        setattr(model, name, base)
        model._layers[:] = [layer for layer in model._layers if layer is not found]
        model._tracker.lock()


@functools.cache
def frozen_class(cls: type[TFMobileBertPreTrainedModel]) -> type[TFMobileBertPreTrainedModel]:
    """The class of folded models with the head of `cls`."""
    return type(f"Folded{cls.__name__}", (Frozen, cls), {"__module__": __name__, "__doc__": cls.__doc__})


def copied(name: str, layer: keras.layers.Layer, new: keras.layers.Layer | None) -> Any:
    """A new layer with the weights of another one of its kind.

    Raises:
        ConfigError: it is of another kind.
    """
    if new is not None and isinstance(new, Sized) and not new.built:
        new.build()
    if type(new) is not type(layer) or [each.shape for each in new.weights] != [each.shape for each in layer.weights]:
        raise ConfigError(f"{name} is not the layer that the constructor makes: give the model a class of its own, and fold that")
    for to, values in zip(new.weights, layer.weights, strict=True):
        to.assign(values)
    return new


def own_weights(model: keras.Model) -> list[keras.Variable]:
    """The variables of a model that are not those of a layer."""
    return [*model._trainable_variables, *model._non_trainable_variables]


def is_known(layer: keras.layers.Layer) -> bool:
    """Whether a layer's class is one of this package or of Keras."""
    return type(layer).__module__.startswith((f"{__package__}.", "keras."))


def is_eager(tensors: list[Any]) -> bool:
    """Whether a call computes values now, instead of describing a graph."""
    import tensorflow as tf

    return tf.executing_eagerly() and not any(isinstance(each, keras.KerasTensor) for each in keras.tree.flatten(tensors))


def in_rows(x: Any) -> Any:
    """[b t k] -> [b*t k]."""
    return ops.reshape(x, (-1, x.shape[-1]))


def in_shape(rows: Any, like: Any) -> Any:
    """[b*t k] -> [b t k]."""
    return ops.reshape(rows, (*ops.shape(like)[:2], rows.shape[-1]))


def layer_norm(tensors: Mapping[str, np.ndarray], name: str, config: MobileBertConfig, **kwargs: Any) -> LayerNorm | None:
    """The norm of a layer_norm model; None where there is none."""
    if f"{name}weight" not in tensors:
        return None
    norm = LayerNorm(config, len(tensors[f"{name}weight"]), trainable=False, **kwargs)
    norm.build()
    norm.gamma.assign(tensors[f"{name}weight"])
    norm.beta.assign(tensors[f"{name}bias"])
    return norm


def table(config: MobileBertConfig, rows: np.ndarray, ids_name: str, **kwargs: Any) -> Embedding:
    """A table of vectors."""
    found = Embedding(config, *rows.shape, ids_name, trainable=False, **kwargs)
    found.build()
    found._embeddings.assign(rows)
    return found


def below(prefix: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def frozen(layer: keras.layers.Layer, name: str, array: np.ndarray | None) -> Any:
    """A variable of a layer that is not trained; None stays None."""
    if array is None:
        return None
    variable = layer.add_weight(array.shape, initializer="zeros", trainable=False, name=name)
    variable.assign(array)
    return variable

"""Folding: a model's tensors become those of a smaller graph with the same outputs, for inference.

The algebra, all of it in float64 and exact but for rounding:

Embeddings
- The bias of the transformation and token type 0 move into the position embeddings; a NoNorm moves into all its terms.

Attention
- The factor 1 / sqrt(d) of the scores moves into the query.
- A NoNorm without a residual moves into its dense layer: g (W x + c) + b = (g W) x + (g c + b).
- The key loses its bias: it would add the same number to all scores of a query, which the softmax ignores. The value keeps its own.
- Dense layers that read the same input become one product.

Sums
- A residual stream x is kept as r with a scale and a shift per channel, x = s r + t. A NoNorm after a residual,
  g (W z + c + x) + b, then only changes r by a product and an addition without a bias, as s' = g s and t' = g (c + t) + b:

      g (W z + c + s r + t) + b  =  g s (r + (W / s) z) + g (c + t) + b  =  s' r' + t',    r' = r + (W / s) z

  What reads the stream takes s and t into its weights: W x + b = (W s) r + (W t + b).
- Over many layers s may leave the range of floats, and where g = 0 nothing could be divided by it. Channels whose |s'| leaves
  [1 / bound, bound] are therefore written out: for these r' = s' r + g W z + t', and s and t start again at 1 and 0. The last stream
  is written out whole, so that the heads stay as they are.

A LayerNorm stays as it is: in a layer_norm model s = 1 and t = 0, and every sum has its bias and its norm.

The folded graph, with the tensors of `Folded.tensors`. Weights are (out, in) as in torch; letters are those of schema.py, F is
num_feedforward_networks. "only" says which configurations have a tensor; a sum's .scale and .shift also depend on values, so a runner
looks whether they are there. In a layer_norm model each "norm" is a LayerNorm with weight and bias; in a no_norm model there is none.

    embeddings
        embeddings.word_embeddings.weight           [v e]  unchanged, also for the masked-LM head
        embeddings.embedding_transformation.weight  [h x]  only with trigram_input or where e differs from h
        embeddings.scale                            [h]    only no_norm without a transformation: multiplies the word embeddings
        embeddings.position_embeddings.weight       [p h]
        embeddings.token_type_embeddings.weight     [s h]  differences from type 0: nothing to add for the default, which is 0
        embeddings.norm.weight, .bias               [h]
            r = norm(transformation(words) + position_embeddings[position] + token_type_embeddings[type])
    layer n, which reads r; k is true_hidden_size, every part is k wide
        layer.n.input.weight, .bias                 [parts*k h]  the product of the parts in products.input
        layer.n.residual.norm.weight, .bias         [k]    of that part, with a bottleneck
        layer.n.shared.norm.weight, .bias           [k]    of that part
        layer.n.attention.weight, .bias             [parts*k k]  the product of products.attention; reads the part products.source
            context = softmax(query @ key.T, masked) @ value, for n heads, without another factor;
            a head mask multiplies the softmax
            y = sum(r or, with a bottleneck, the part "residual"; context), as below
        layer.n.context.…                           [k k]
        layer.n.ffn.f.intermediate.weight, .bias    [i k]  z = act(dense(y)), f = 0 … F - 1
        layer.n.ffn.f.output.…                      [k i]  y = sum(y; z)
        layer.n.output.…                            [h k]  only with a bottleneck: r = sum(r; y). Without one, r = y
        layer.n.state.scale, .shift                 [h]    only no_norm: hidden state n + 1 is scale * r + shift; hidden state 0 and
                                                           the last are r
    a sum, y = sum(y; z)
        ….weight                                    [out in]
        ….scale, .shift                             [out]  only no_norm, and only where channels are written out
            y = scale * y + shift + weight @ z, or y + weight @ z
        ….bias, ….norm.weight, ….norm.bias          [out]  only layer_norm: y = norm(y + weight @ z + bias)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from ..errors import ConfigError, shortened
from .config import MobileBertConfig
from .schema import ENCODER, expand

BASE = "MobileBertModel"
BOUND = 2.0**20  # of a stream's scales; for floats any does, as long as nothing overflows


class Products(NamedTuple):
    """The dense products before attention. Their outputs are the parts one after the other, true_hidden_size wide each.

    Attributes:
        input: the parts that read the stream.
        attention: the parts that read `source`; none where `input` has query, key and value.
        source: "shared" or "residual", one of `input`.
    """

    input: tuple[str, ...]
    attention: tuple[str, ...] = ()
    source: str | None = None


@dataclass(frozen=True)
class Folded:
    """A folded base model without its pooler. The configuration alone gives its graph, but for the channels that are written out.

    Attributes:
        config: of the model.
        products: the dense products before attention, the same in all layers.
        tensors: {name: float64 array}, see the module.
    """

    config: MobileBertConfig
    products: Products
    tensors: dict[str, np.ndarray]


def fold(
    config: MobileBertConfig, tensors: Mapping[str, np.ndarray], *, compose: bool = False, bound: float = BOUND
) -> Folded:
    """Fold the embeddings and the encoder of a model, whatever its architecture.

    Args:
        config: of the model.
        tensors: {canonical name in MobileBertModel: array}, without a pooler.
        compose: multiply query and key with the bottleneck they share. That saves a product, but its matrices are larger. It changes
            nothing where they share none, nor in a layer_norm model, which has a norm in between.
        bound: channels with a scale outside [1 / bound, bound] are written out. A small bound makes channels more alike, for low
            precision, and costs an operation on each stream it writes out.
    Raises:
        ConfigError: tensors are missing, unexpected, mis-shaped or not finite numbers: all in one error; or the bound is below 1.
    """
    if not 1 <= bound < math.inf:
        raise ConfigError(f"bound must be at least 1 and finite, not {bound!r:.80}")
    check_tensors(config, tensors)
    products = merge_products(config, compose)
    folding = Folding(config, tensors, products, bound, {})
    stream = folding.embeddings()
    for number in range(config.num_hidden_layers):
        stream = folding.layer(number, stream)
    return Folded(config.replace(), products, folding.table)


def merge_products(config: MobileBertConfig, compose: bool = False) -> Products:
    """Which dense layers before attention are one product. See `fold` for `compose`."""
    if not config.use_bottleneck:
        return Products(("query", "key", "value"))
    if config.use_bottleneck_attention:
        return Products(("residual",), ("query", "key", "value"), "residual")
    if not config.key_query_shared_bottleneck or (compose and config.normalization_type == "no_norm"):
        return Products(("residual", "query", "key", "value"))
    return Products(("residual", "shared", "value"), ("query", "key"), "shared")


def check_tensors(config: MobileBertConfig, tensors: Mapping[str, np.ndarray]) -> None:
    """Compare tensors with the schema.

    Raises:
        ConfigError: see `fold`.
    """
    shapes = {tensor.name: tensor.shape for tensor in expand(config, BASE).values() if tensor.block in ENCODER}
    findings = [f"{name} is missing" for name in shapes if name not in tensors]
    findings += [f"{name} is unexpected" for name in tensors if name not in shapes]
    for name in (name for name in shapes if name in tensors):
        array = np.asarray(tensors[name])
        if array.shape != shapes[name]:
            findings.append(f"{name} has shape {list(array.shape)} where the configuration expects {list(shapes[name])}")
        elif array.dtype.kind not in "fV":  # V is that of bfloat16
            findings.append(f"{name} holds {array.dtype}, not floating-point numbers")
        elif not np.isfinite(array).all():
            findings.append(f"{name} holds NaN or infinity")
    if findings:
        raise ConfigError("\n  ".join(["the tensors do not fit the configuration:", shortened(findings)]))


class Stream(NamedTuple):
    """A residual stream x, kept as r: x = scale * r + shift. Both [channels]."""

    scale: np.ndarray
    shift: np.ndarray

    @classmethod
    def plain(cls, channels: int) -> Self:
        """A stream that is kept as it is."""
        return cls(np.ones(channels), np.zeros(channels))


class Norm(NamedTuple):
    """weight * x + bias, after a LayerNorm's normalization or alone. Both [channels]."""

    weight: np.ndarray
    bias: np.ndarray


class Dense(NamedTuple):
    """weight @ x + bias; weight [out in], bias [out]."""

    weight: np.ndarray
    bias: np.ndarray

    def reading(self, stream: Stream) -> "Dense":
        """Take r in place of x = scale * r + shift."""
        return Dense(self.weight * stream.scale, self.weight @ stream.shift + self.bias)

    def after(self, first: "Dense") -> "Dense":
        """Both in one."""
        return Dense(self.weight @ first.weight, self.weight @ first.bias + self.bias)

    def times(self, factor: float | np.ndarray) -> "Dense":
        """Multiply the output by a number or by one per channel."""
        return Dense((self.weight.T * factor).T, self.bias * factor)

    def plus(self, constant: np.ndarray) -> "Dense":
        """Add a number per channel to the output."""
        return Dense(self.weight, self.bias + constant)

    def without_bias(self) -> "Dense":
        """Only the product."""
        return Dense(self.weight, np.zeros_like(self.bias))


@dataclass(frozen=True)
class Folding:
    """One model on its way from `tensors` into `table`, from the embeddings to the last layer."""

    config: MobileBertConfig
    tensors: Mapping[str, np.ndarray]
    products: Products
    bound: float
    table: dict[str, np.ndarray]

    @property
    def keeps_norms(self) -> bool:
        """Whether its norms are LayerNorms."""
        return self.config.normalization_type == "layer_norm"

    def read(self, name: str) -> np.ndarray:
        """A tensor of the model."""
        return np.array(self.tensors[name], np.float64)

    def dense(self, module: str) -> Dense:
        """A dense layer of the model."""
        return Dense(self.read(f"{module}.weight"), self.read(f"{module}.bias"))

    def norm(self, module: str) -> Norm:
        """A norm of the model."""
        return Norm(self.read(f"{module}.weight"), self.read(f"{module}.bias"))

    def put(self, name: str, module: Dense | Norm | Stream) -> None:
        """Enter a module's two tensors under their names."""
        self.table.update((f"{name}.{part}", array) for part, array in module._asdict().items())

    def embeddings(self) -> Stream:
        """Fold the embeddings; the stream starts plain."""
        words, transformation, positions, types = (
            f"embeddings.{name}.weight"
            for name in ("word_embeddings", "embedding_transformation", "position_embeddings", "token_type_embeddings")
        )
        transforms = self.config.trigram_input or self.config.embedding_size != self.config.hidden_size
        norm, table = self.norm("embeddings.LayerNorm"), self.table
        table[words] = self.read(words)
        first = self.read(types)[0]
        table[types] = self.read(types) - first
        table[positions] = self.read(positions) + first
        if transforms:
            table[transformation] = self.read(transformation)
            table[positions] += self.read("embeddings.embedding_transformation.bias")
        if self.keeps_norms:
            self.put("embeddings.norm", norm)
        else:
            table[types] *= norm.weight
            table[positions] = table[positions] * norm.weight + norm.bias
            if transforms:
                table[transformation] *= norm.weight[:, None]
            else:
                table["embeddings.scale"] = norm.weight
        return Stream.plain(self.config.hidden_size)

    def layer(self, number: int, stream: Stream) -> Stream:
        """Fold a layer, from the stream that it reads to the stream after it."""
        config, old, new = self.config, f"encoder.layer.{number}", f"layer.{number}"
        last, ffns = number == config.num_hidden_layers - 1, config.num_feedforward_networks
        self.attention(old, new, stream)
        inner = Stream.plain(config.true_hidden_size) if config.use_bottleneck else stream
        output = self.dense(f"{old}.attention.output.dense")
        inner = self.add(f"{new}.context", inner, output, f"{old}.attention.output.LayerNorm")
        for ffn in range(ffns):
            module = f"{old}.ffn.{ffn}" if ffn < ffns - 1 else old
            self.put(f"{new}.ffn.{ffn}.intermediate", self.dense(f"{module}.intermediate.dense").reading(inner))
            keep = None if ffn < ffns - 1 else True if config.use_bottleneck else False if last else None
            output = self.dense(f"{module}.output.dense")
            inner = self.add(f"{new}.ffn.{ffn}.output", inner, output, f"{module}.output.LayerNorm", keep)
        if config.use_bottleneck:
            output = self.dense(f"{old}.output.bottleneck.dense").reading(inner)
            stream = self.add(f"{new}.output", stream, output, f"{old}.output.bottleneck.LayerNorm", False if last else None)
        else:
            stream = inner
        if not (self.keeps_norms or last):
            self.put(f"{new}.state", stream)
        return stream

    def attention(self, old: str, new: str, stream: Stream) -> None:
        """Fold what a layer computes before the softmax."""
        config, products = self.config, self.products
        dense = {part: self.dense(f"{old}.attention.self.{part}") for part in ("query", "key", "value")}
        dense["query"] = dense["query"].times((config.true_hidden_size // config.num_attention_heads) ** -0.5)
        if config.use_bottleneck:
            dense["residual"] = self.bottleneck(f"{old}.bottleneck.input", f"{new}.residual")
        if config.use_bottleneck and config.key_query_shared_bottleneck and not config.use_bottleneck_attention:
            dense["shared"] = self.bottleneck(f"{old}.bottleneck.attention", f"{new}.shared")
            if "shared" not in products.input:
                dense |= {part: dense[part].after(dense["shared"]) for part in ("query", "key")}
        dense |= {part: dense[part].reading(stream) for part in products.input}
        dense["key"] = dense["key"].without_bias()
        self.put(f"{new}.input", merged([dense[part] for part in products.input]))
        if products.attention:
            self.put(f"{new}.attention", merged([dense[part] for part in products.attention]))

    def bottleneck(self, old: str, new: str) -> Dense:
        """Fold a dense layer whose norm has no residual."""
        dense, norm = self.dense(f"{old}.dense"), self.norm(f"{old}.LayerNorm")
        if self.keeps_norms:
            self.put(f"{new}.norm", norm)
            return dense
        return dense.times(norm.weight).plus(norm.bias)

    def add(self, name: str, stream: Stream, dense: Dense, norm_name: str, keep: bool | None = None) -> Stream:
        """Fold `norm(dense(z) + x)`, from the stream x to the stream after it.

        Args:
            keep: True if nothing more is added to the stream, so that its scales may have any value; False to write all channels
                out; None to follow the bound.
        """
        norm = self.norm(norm_name)
        if self.keeps_norms:
            self.put(name, dense)
            self.put(f"{name}.norm", norm)
            return stream
        scale, shift = norm.weight * stream.scale, norm.weight * (dense.bias + stream.shift) + norm.bias
        size = np.abs(scale)
        kept = (size >= 1 / self.bound) & (size <= self.bound) if keep is None else np.full(scale.shape, keep)
        self.table[f"{name}.weight"] = dense.weight * np.where(kept, 1 / stream.scale, norm.weight)[:, None]
        if not kept.all():
            self.put(name, Stream(np.where(kept, 1.0, scale), np.where(kept, 0.0, shift)))
        return Stream(np.where(kept, scale, 1.0), np.where(kept, shift, 0.0))


def merged(layers: list[Dense]) -> Dense:
    """Dense layers on the same input as one, their outputs one after the other."""
    return Dense(np.concatenate([layer.weight for layer in layers]), np.concatenate([layer.bias for layer in layers]))

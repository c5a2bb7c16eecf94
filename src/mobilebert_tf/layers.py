"""The layers of MobileBERT in Keras, from the smallest to the encoder. mobilebert_pt/layers.py is its translation.

Letters: b batch, t sequence, v vocabulary, e embedding, h hidden, k width inside a layer, i FFN, n heads, d = k / n.
Layer names make the canonical tensor names. Source: sections 3.1 to 3.3 of arXiv:2004.02984.

Where torch keeps a training flag and a global generator, a layer here takes `seed`: None means no dropout. Dropout is
then a pure function of its arguments, so that gradient checkpointing computes the same mask twice.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.exporting import is_exporting
from mobilebert_common.model.schema import letters

from .base import Layer, Sized, checkpoint
from .checks import check_ids
from .seeds import dropout, seed_for
from .strategies import scope, strategy_of

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu,
    "relu6": ops.relu6,
    "gelu": lambda x: 0.5 * x * (1.0 + ops.erf(x * math.sqrt(0.5))),  # keras.activations.gelu loses float64
    "gelu_new": lambda x: 0.5 * x * (1.0 + ops.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x))),
    "gelu_pytorch_tanh": lambda x: ACTIVATIONS["gelu_new"](x),
    "silu": lambda x: x * ops.sigmoid(x),
    "tanh": ops.tanh,
}


class Linear(Sized, keras.layers.Dense):
    """A dense layer with BERT's initial values: a truncated normal, cut at two standard deviations."""

    def __init__(self, config: MobileBertConfig, size_in: int, size_out: int, **kwargs: Any) -> None:
        super().__init__(size_out, kernel_initializer=truncated_normal(config.initializer_range), **kwargs)
        self.size_in = size_in

    def build(self, input_shape: Any = None) -> None:
        super().build((None, self.size_in))

    def call(self, x: Any) -> Any:
        shape = ops.shape(x)
        flat = ops.matmul(ops.reshape(x, (-1, self.size_in)), self.kernel)  # one matrix product for any rank
        return ops.reshape(ops.add(flat, self.bias), (*shape[:-1], self.units))


class Embedding(Sized, keras.layers.Embedding):
    """A table of vectors. Ids outside it are an error; the row of `padding_idx` starts at zero and gets no gradient."""

    def __init__(
        self,
        config: MobileBertConfig,
        rows: int,
        size: int,
        ids_name: str,
        padding_idx: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rows, size, embeddings_initializer=truncated_normal(config.initializer_range), **kwargs)
        self.ids_name = ids_name
        self.padding_idx = padding_idx

    def build(self, input_shape: Any = None) -> None:
        super().build((None,))
        if self.padding_idx is not None:
            table, rows = ops.convert_to_tensor(self._embeddings), ops.arange(self.input_dim)[:, None]
            self._embeddings.assign(ops.where(rows == self.padding_idx, 0, table))

    def call(self, ids: Any) -> Any:
        ids, valid = check_ids(ids, self.input_dim, self.ids_name)
        rows = ops.cast(ops.take(self.embeddings, ids, axis=0), self.compute_dtype)
        if self.padding_idx is not None:
            rows = ops.where(ops.expand_dims(ids == self.padding_idx, -1), ops.stop_gradient(rows), rows)
        return rows if valid is None else ops.where(ops.expand_dims(valid, -1), rows, math.nan)  # makes an invalid id visible

    def resize(self, rows: int) -> None:
        """Change the number of rows: old ones are kept, new ones are initialized."""
        self._embeddings = resized(self, self._embeddings, rows, 0, self.embeddings_initializer)
        self.input_dim = rows


class Matrix(Sized, keras.layers.Layer):
    """A matrix that a head multiplies by as it is stored; axis `words` is the vocabulary."""

    def __init__(self, config: MobileBertConfig, shape: tuple[int, int], words: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initializer = truncated_normal(config.initializer_range)
        self.words = words
        self.shape = shape

    def build(self, input_shape: Any = None) -> None:
        self.kernel = self.add_weight(self.shape, initializer=self.initializer, name="kernel")

    def resize(self, rows: int) -> None:
        """As Embedding.resize."""
        self.kernel = resized(self, self.kernel, rows, self.words, self.initializer)


class NoNorm(Sized, keras.layers.Layer):
    """`x * weight + bias`, which replaces layer normalisation in MobileBERT, for latency (section 3.3)."""

    def __init__(self, config: MobileBertConfig, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def build(self, input_shape: Any = None) -> None:
        self.weight = self.add_weight((self.size,), initializer="ones", name="weight")
        self.bias = self.add_weight((self.size,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        return x * self.weight + self.bias


class LayerNorm(Sized, keras.layers.LayerNormalization):
    """Layer normalisation over the last axis, with the configuration's epsilon everywhere."""

    def __init__(self, config: MobileBertConfig, size: int, **kwargs: Any) -> None:
        super().__init__(epsilon=config.layer_norm_eps, **kwargs)
        self.size = size

    def build(self, input_shape: Any = None) -> None:
        super().build((None, self.size))


NORMS: dict[str, type[NoNorm] | type[LayerNorm]] = {"no_norm": NoNorm, "layer_norm": LayerNorm}


def truncated_normal(deviation: float) -> keras.initializers.Initializer:
    """A normal distribution cut at two standard deviations, as Google's code draws it."""
    return keras.initializers.TruncatedNormal(stddev=deviation)


def resized(layer: Any, variable: Any, rows: int, axis: int, initializer: keras.initializers.Initializer) -> Any:
    """A variable with another length along an axis, in place of the old one: what fits is kept, new values are initialized."""
    values = ops.take(variable, ops.arange(min(rows, variable.shape[axis])), axis=axis)
    fresh = [rows - values.shape[axis] if at == axis else size for at, size in enumerate(values.shape)]
    values = ops.concatenate([values, ops.cast(initializer(fresh), values.dtype)], axis=axis)
    layer._tracker.unlock()
    layer._untrack_variable(variable)
    with scope(strategy_of([variable])):
        found = layer.add_weight(values.shape, initializer="zeros", name=variable.name, trainable=layer.trainable)
    layer._tracker.lock()
    found.assign(values)
    return found


class Projection(Layer):
    """`norm(dropout(dense(x)) + residual)`, the end of every block of the model; a bottleneck has no residual."""

    def __init__(
        self, config: MobileBertConfig, size_in: int, size_out: int, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.dense = Linear(config, size_in, size_out, name="dense", dtype=self.dtype_policy)
        self.LayerNorm = NORMS[config.normalization_type](config, size_out, name="LayerNorm", dtype=self.dtype_policy)
        self.dropout = dropout

    def call(self, x: Any, residual: Any = None, seed: Any = None) -> Any:
        x = dropout(self.dense(x), self.dropout, seed)
        return self.LayerNorm(x if residual is None else x + residual)


class Embeddings(Layer):
    """Token ids or embeddings to the first hidden states; the trigram shows each position its neighbours."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        size, dtype = letters(config), self.dtype_policy
        self.trigram_input = config.trigram_input
        self.transform = config.trigram_input or config.embedding_size != config.hidden_size
        self.word_embeddings = Embedding(
            config, size["v"], size["e"], "input_ids", config.pad_token_id, name="word_embeddings", dtype=dtype
        )
        self.position_embeddings = Embedding(
            config, size["p"], size["h"], "position_ids", name="position_embeddings", dtype=dtype
        )
        self.token_type_embeddings = Embedding(
            config, size["s"], size["h"], "token_type_ids", name="token_type_embeddings", dtype=dtype
        )
        self.embedding_transformation = Linear(
            config, size["x"], size["h"], name="embedding_transformation", dtype=dtype
        )
        self.LayerNorm = NORMS[config.normalization_type](config, size["h"], name="LayerNorm", dtype=dtype)
        self.dropout = config.hidden_dropout_prob

    def call(
        self,
        input_ids: Any,  # [b t]
        token_type_ids: Any,  # [b t]
        position_ids: Any,  # [1 t] or [b t]
        inputs_embeds: Any,  # [b t e]
        seed: Any = None,
    ) -> Any:
        if inputs_embeds is None:
            inputs_embeds = self.word_embeddings(input_ids)  # [b t e]
        length = ops.shape(inputs_embeds)[1]
        x = trigram(inputs_embeds) if self.trigram_input else inputs_embeds
        if self.transform:
            x = self.embedding_transformation(x)  # [b t h]
        if position_ids is None:
            rows = ops.arange(length, dtype="int32")  # JAX cannot slice to a length that is not known yet
            positions = ops.cast(ops.take(self.position_embeddings.embeddings, rows, axis=0), x.dtype)  # [t h]
        else:
            positions = self.position_embeddings(position_ids)
        if token_type_ids is None:
            types = ops.cast(self.token_type_embeddings.embeddings[0], x.dtype)  # [h]
        else:
            types = self.token_type_embeddings(token_type_ids)
        x = self.LayerNorm(x + (positions + types))
        return dropout(x, self.dropout, seed)


def trigram(x: Any) -> Any:
    """Each position beside its neighbours, the next one first: [b t e] -> [b t 3e]."""
    padded = ops.pad(x, [[0, 0], [1, 1], [0, 0]])  # [b t+2 e]
    return ops.concatenate([padded[:, 2:], x, padded[:, :-2]], axis=2)


class Attended(NamedTuple):
    """What self-attention, or what contains it, returns with its scores."""

    states: Any  # [b t k] the context, [b t h] after a whole layer
    probabilities: Any  # [b n t t] with dropout and head mask, if asked for
    scores: Any  # [b n t t] masked, before the softmax, if asked for


class SelfAttention(Layer):
    """Scaled dot-product attention over n heads; the inputs' widths follow from the bottleneck flags."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        size = letters(config)
        self.heads = config.num_attention_heads
        self.query = Linear(config, size["q"], size["k"], name="query", dtype=self.dtype_policy)
        self.key = Linear(config, size["q"], size["k"], name="key", dtype=self.dtype_policy)
        self.value = Linear(config, size["w"], size["k"], name="value", dtype=self.dtype_policy)
        self.dropout = config.attention_probs_dropout_prob

    def call(
        self,
        query: Any,  # [b t q]
        key: Any,  # [b t q]
        value: Any,  # [b t w]
        attention_bias: Any = None,  # [b 1 1 t] or [b 1 t t], 0 where visible and finfo.min elsewhere
        head_mask: Any = None,  # [n 1 1]
        output_attentions: bool = False,
        seed: Any = None,
        output_scores: bool = False,
    ) -> tuple[Any, Any] | Attended:
        """Returns the context [b t k] and, if asked for, the probabilities [b n t t] with dropout and head mask.

        With `output_scores` it is an Attended, which also has the scores.
        """
        q, k, v = self.query(query), self.key(key), self.value(value)
        found = attend(
            q, k, v, self.heads, attention_bias, head_mask, output_attentions, self.dropout, seed, output_scores=output_scores
        )
        return found if output_scores else found[:2]


def attend(
    query: Any,  # [b t k], or [b 1 k] for the first token alone
    key: Any,  # [b t k]
    value: Any,  # [b t k]
    heads: int,
    attention_bias: Any,
    head_mask: Any,  # [n 1 1]
    output_attentions: bool,
    rate: float = 0.0,
    seed: Any = None,
    scale: float | None = None,
    output_scores: bool = False,
) -> Attended:
    """Attention over n heads: the context [b t k] and, if asked for, the probabilities and the scores [b n t t].

    Args:
        rate: of dropout.
        scale: of the scores; 1 / sqrt(d) by default.
    """
    q, k, v = (split(x, heads) for x in (query, key, value))  # [b n t d]
    scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2)))  # [b n t t]
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = scores if scale == 1.0 else scores * scale
    if attention_bias is not None:
        if is_exporting():
            scores = scores + attention_bias
        else:
            scores = ops.where(attention_bias < 0, attention_bias, scores)  # replaced, not added: uniform if all is hidden
    probabilities = dropout(ops.softmax(scores, axis=-1), rate, seed)
    if head_mask is not None:
        probabilities = probabilities * head_mask
    context = merge(ops.matmul(probabilities, v))
    return Attended(context, probabilities if output_attentions else None, scores if output_scores else None)


def split(x: Any, heads: int) -> Any:
    """[b t k] -> [b n t d]."""
    batch, length = ops.shape(x)[:2]
    return ops.transpose(ops.reshape(x, (batch, length, heads, x.shape[-1] // heads)), (0, 2, 1, 3))


def merge(x: Any) -> Any:
    """[b n t d] -> [b t k]."""
    batch, heads, length, _ = ops.shape(x)
    return ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (batch, length, heads * x.shape[-1]))


def with_states(found: tuple[Any, ...], states: Any) -> Any:
    """What self-attention returned, with other states."""
    return found._replace(states=states) if isinstance(found, Attended) else (states, *found[1:])


class Attention(Layer):
    """Self-attention, then projection onto the layer's residual."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        width, rate = config.true_hidden_size, 0.0 if config.use_bottleneck else config.hidden_dropout_prob
        self.self = SelfAttention(config, name="self", dtype=self.dtype_policy)
        self.output_ = Projection(config, width, width, dropout=rate, name="output", dtype=self.dtype_policy)

    def call(
        self,
        query: Any,
        key: Any,
        value: Any,
        residual: Any,  # [b t k]
        attention_bias: Any = None,
        head_mask: Any = None,
        output_attentions: bool = False,
        seed: Any = None,
        **switches: bool,
    ) -> tuple[Any, Any] | Attended:
        found = self.self(
            query,
            key,
            value,
            attention_bias,
            head_mask,
            output_attentions=output_attentions,
            seed=seed_for(self.self, seed),
            **switches,
        )
        return with_states(found, self.output_(found[0], residual, seed=seed_for(self.output_, seed)))


class Intermediate(Layer):
    """The first half of an FFN: `act(dense(x))`, [b t k] -> [b t i]."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = Linear(
            config, config.true_hidden_size, config.intermediate_size, name="dense", dtype=self.dtype_policy
        )
        self.activation = ACTIVATIONS[config.hidden_act]

    def call(self, x: Any) -> Any:
        return self.activation(self.dense(x))


class FFN(Layer):
    """One of the stacked FFNs before the last (section 3.2)."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.intermediate = Intermediate(config, name="intermediate", dtype=self.dtype_policy)
        self.output_ = Projection(
            config, config.intermediate_size, config.true_hidden_size, name="output", dtype=self.dtype_policy
        )

    def call(self, x: Any) -> Any:
        return self.output_(self.intermediate(x), x)


class Output(Projection):
    """The second half of the last FFN, then the projection from the layer's width back to the hidden size."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        width, dropout = config.true_hidden_size, config.hidden_dropout_prob
        super().__init__(
            config, config.intermediate_size, width, dropout=0.0 if config.use_bottleneck else dropout, **kwargs
        )
        self.bottleneck = (
            Projection(config, width, config.hidden_size, dropout, name="bottleneck", dtype=self.dtype_policy)
            if config.use_bottleneck
            else None
        )

    def call(self, x: Any, residual: Any, hidden_states: Any, seed: Any = None) -> Any:
        x = super().call(x, residual, seed)  # [b t k]
        if self.bottleneck is None:
            return x
        return self.bottleneck(x, hidden_states, seed=seed_for(self.bottleneck, seed))  # [b t h]


class Bottleneck(Layer):
    """Project the wide stream to the narrow width the layer works in.

    Returns the query, key and value inputs and the residual: [b t k] each, but the value is [b t h] when keys and
    queries share their bottleneck, and all three are [b t h] in the teacher (figure 1 of arXiv:2004.02984).
    """

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        size = letters(config)
        self.use_bottleneck_attention = config.use_bottleneck_attention
        self.input_ = Projection(config, size["h"], size["k"], name="input", dtype=self.dtype_policy)
        self.attention = (
            Projection(config, size["h"], size["k"], name="attention", dtype=self.dtype_policy)
            if config.key_query_shared_bottleneck
            else None
        )

    def call(self, hidden_states: Any) -> tuple[Any, Any, Any, Any]:
        residual = self.input_(hidden_states)
        if self.use_bottleneck_attention:
            return residual, residual, residual, residual
        if self.attention is not None:
            shared = self.attention(hidden_states)
            return shared, shared, hidden_states, residual
        return hidden_states, hidden_states, hidden_states, residual


class TransformerLayer(Layer):
    """One MobileBERT layer, [b t h] -> [b t h]."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        dtype = self.dtype_policy
        self.bottleneck = Bottleneck(config, name="bottleneck", dtype=dtype) if config.use_bottleneck else None
        self.attention = Attention(config, name="attention", dtype=dtype)
        self.ffn = [
            FFN(config, name=f"ffn.{number}", dtype=dtype) for number in range(config.num_feedforward_networks - 1)
        ]
        self.intermediate = Intermediate(config, name="intermediate", dtype=dtype)
        self.output_ = Output(config, name="output", dtype=dtype)

    def call(
        self,
        hidden_states: Any,
        attention_bias: Any = None,
        head_mask: Any = None,
        output_attentions: bool = False,
        seed: Any = None,
        **switches: bool,
    ) -> tuple[Any, Any] | Attended:
        if self.bottleneck is None:
            query = key = value = residual = hidden_states
        else:
            query, key, value, residual = self.bottleneck(hidden_states)
        found = self.attention(
            query,
            key,
            value,
            residual,
            attention_bias,
            head_mask,
            output_attentions=output_attentions,
            seed=seed_for(self.attention, seed),
            **switches,
        )
        x = found[0]  # [b t k]
        for ffn in self.ffn:
            x = ffn(x)
        return with_states(found, self.output_(self.intermediate(x), x, hidden_states, seed=seed_for(self.output_, seed)))


class Encoder(Layer):
    """The stack of layers."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = [
            TransformerLayer(config, name=f"layer.{number}", dtype=self.dtype_policy)
            for number in range(config.num_hidden_layers)
        ]
        self.checkpointed: int | None = None  # recompute every n-th layer in the backward pass
        self.keeps_scores = False  # return what attention had before the softmax, for a student or its teacher
        self.depth: int | None = None  # run only so many layers, where nothing after them counts

    def call(
        self,
        hidden_states: Any,  # [b t h]
        attention_bias: Any = None,
        head_mask: Any = None,  # [L n 1 1]
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        seed: Any = None,
    ) -> tuple[tuple[Any, ...], ...]:
        """Returns L + 1 hidden states, the embeddings first, or only the last; L attention probabilities; L scores if it keeps them."""
        states, attentions, scores = [hidden_states], [], []
        switches = {"output_scores": True} if self.keeps_scores else {}  # a layer of the user's own may not know it
        for number, layer in enumerate(self.layer[: self.depth]):
            again = self.checkpointed and number % self.checkpointed == 0 and seed is not None
            call = checkpoint(layer) if again else layer
            hidden_states, probabilities, *kept = call(
                hidden_states,
                attention_bias,
                None if head_mask is None else head_mask[number],
                output_attentions=output_attentions,
                seed=seed_for(layer, seed),
                **switches,
            )
            states = [*states, hidden_states] if output_hidden_states else [hidden_states]
            attentions.append(probabilities)
            scores += kept
        return (tuple(states), tuple(attentions), *([tuple(scores)] if scores else []))


class Pooler(Layer):
    """The first token, [b t h] -> [b h], through a dense layer and tanh if classifier_activation is true."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = (
            Linear(config, config.hidden_size, config.hidden_size, name="dense", dtype=self.dtype_policy)
            if config.classifier_activation
            else None
        )

    def call(self, hidden_states: Any) -> Any:
        first = hidden_states[:, 0]
        return first if self.dense is None else ops.tanh(self.dense(first))


class Transform(Layer):
    """The first step of the masked-LM head, `norm(act(dense(x)))`; its norm is a LayerNorm in every configuration."""

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = Linear(config, config.hidden_size, config.hidden_size, name="dense", dtype=self.dtype_policy)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.LayerNorm = LayerNorm(config, config.hidden_size, name="LayerNorm", dtype=self.dtype_policy)

    def call(self, x: Any) -> Any:
        return self.LayerNorm(self.activation(self.dense(x)))


class Predictions(Layer):
    """Scores of every word, [b t h] -> [b t v].

    The first e features are multiplied by the word embeddings, which are an argument, or by the head's own decoder if
    tie_word_embeddings is false; the other h - e by `dense`. These are two products, while transformers copies both
    matrices into one of 62.5 MB in every call.
    """

    def __init__(self, config: MobileBertConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        size, dtype = letters(config), self.dtype_policy
        self.transform = Transform(config, name="transform", dtype=dtype)
        self.dense = Matrix(config, (size["r"], size["v"]), words=1, name="dense", dtype=dtype)
        self.decoder = (
            None
            if config.tie_word_embeddings
            else Matrix(config, (size["v"], size["e"]), words=0, name="decoder", dtype=dtype)
        )
        self.size = size["v"]

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        self.bias = self.add_weight((self.size,), initializer="zeros", name="bias")

    def call(self, x: Any, word_embeddings: Any) -> Any:
        x = self.transform(x)
        table = word_embeddings if self.decoder is None else self.decoder.kernel  # [v e]
        table, rest, bias = (ops.cast(values, self.compute_dtype) for values in (table, self.dense.kernel, self.bias))
        flat = ops.reshape(x, (-1, x.shape[-1]))  # [b*t h]
        own, extra = flat[:, : table.shape[1]], flat[:, table.shape[1] :]
        scores = ops.add(ops.matmul(own, ops.transpose(table)), bias) + ops.matmul(extra, rest)  # [b*t v]
        return ops.reshape(scores, (*ops.shape(x)[:-1], table.shape[0]))

    def resize(self, rows: int) -> None:
        """As Embedding.resize, for every weight with a row or a column per word; new biases are 0."""
        self.dense.resize(rows)
        if self.decoder is not None:
            self.decoder.resize(rows)
        self.bias = resized(self, self.bias, rows, 0, keras.initializers.Zeros())
        self.size = rows


class PreTrainingHeads(Layer):
    """The pre-training heads of a model class: masked words, the relation of two sentences, or both."""

    def __init__(self, config: MobileBertConfig, architecture: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        blocks, dtype = ARCHITECTURES[architecture].blocks, self.dtype_policy
        self.predictions = Predictions(config, name="predictions", dtype=dtype) if "predictions" in blocks else None
        self.seq_relationship = (
            Linear(config, config.hidden_size, 2, name="seq_relationship", dtype=dtype)
            if "relation" in blocks
            else None
        )

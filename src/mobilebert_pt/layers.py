"""The layers of MobileBERT in PyTorch, from the smallest to the encoder. mobilebert_tf/layers.py is its translation.

Letters: b batch, t sequence, v vocabulary, e embedding, h hidden, k width inside a layer, i FFN, n heads, d = k / n.
Attribute names make the canonical tensor names. Source: sections 3.1 to 3.3 of arXiv:2004.02984.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import letters

from .checks import check_ids, is_exporting
from .sharding import gathered

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "tanh": torch.tanh,
}


class Matrix(nn.Module):
    """A matrix that a head multiplies by as it is stored; axis `words` is the vocabulary."""

    def __init__(self, shape: tuple[int, int], words: int) -> None:
        super().__init__()
        self.words = words
        self.weight = nn.Parameter(torch.empty(shape))


class NoNorm(nn.Module):
    """`x * weight + bias`, which replaces layer normalisation in MobileBERT, for latency (section 3.3)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, x, self.weight)


NORMS: dict[str, Callable[[MobileBertConfig, int], nn.Module]] = {
    "no_norm": lambda config, size: NoNorm(size),
    "layer_norm": lambda config, size: nn.LayerNorm(size, eps=config.layer_norm_eps),
}


def truncated_normal_(weight: Tensor, deviation: float) -> None:
    """Fill with a normal distribution cut at two standard deviations, as Google's code does."""
    nn.init.trunc_normal_(weight, std=deviation, a=-2 * deviation, b=2 * deviation)


def initialize(module: nn.Module, deviation: float) -> None:
    """Give the parameters of one module, without those of its sub-modules, the initial values of BERT."""
    if isinstance(module, nn.Linear | nn.Embedding | Matrix):
        truncated_normal_(module.weight, deviation)
    if isinstance(module, NoNorm | nn.LayerNorm) and module.weight is not None:
        nn.init.ones_(module.weight)
    if isinstance(module, nn.Linear | NoNorm | nn.LayerNorm | Predictions) and module.bias is not None:
        nn.init.zeros_(module.bias)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        nn.init.zeros_(module.weight[module.padding_idx])


def resize(table: nn.Embedding | Matrix, rows: int, deviation: float) -> None:
    """Change the number of words of a table: old values are kept, new ones are random."""
    if isinstance(table, nn.Embedding):
        table.num_embeddings = rows
    table.weight = resized(table.weight, rows, getattr(table, "words", 0), deviation)


def resized(weight: nn.Parameter, rows: int, axis: int, deviation: float) -> nn.Parameter:
    """A parameter with another length along an axis: what fits is kept, new values are random, or 0 if the deviation is 0."""
    values = weight.detach().narrow(axis, 0, min(rows, weight.shape[axis]))
    fresh = values.new_zeros(
        [rows - values.shape[axis] if at == axis else size for at, size in enumerate(values.shape)]
    )
    if deviation:
        truncated_normal_(fresh, deviation)
    return nn.Parameter(torch.cat([values, fresh], dim=axis), requires_grad=weight.requires_grad)


class Projection(nn.Module):
    """`norm(dropout(dense(x)) + residual)`, the end of every block of the model; a bottleneck has no residual."""

    def __init__(self, config: MobileBertConfig, size_in: int, size_out: int, dropout: float | None = None) -> None:
        super().__init__()
        self.dense = nn.Linear(size_in, size_out)
        self.LayerNorm = NORMS[config.normalization_type](config, size_out)
        self.dropout = None if dropout is None else nn.Dropout(dropout)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        x = self.dense(x)
        if self.dropout is not None:
            x = self.dropout(x)
        return self.LayerNorm(x if residual is None else x + residual)


class Embeddings(nn.Module):
    """Token ids or embeddings to the first hidden states; the trigram shows each position its neighbours."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        size = letters(config)
        self.trigram_input = config.trigram_input
        self.transform = config.trigram_input or config.embedding_size != config.hidden_size
        self.word_embeddings = nn.Embedding(size["v"], size["e"], padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(size["p"], size["h"])
        self.token_type_embeddings = nn.Embedding(size["s"], size["h"])
        self.embedding_transformation = nn.Linear(size["x"], size["h"])
        self.LayerNorm = NORMS[config.normalization_type](config, size["h"])
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None,  # [b t]
        token_type_ids: Tensor | None,  # [b t]
        position_ids: Tensor | None,  # [1 t] or [b t]
        inputs_embeds: Tensor | None,  # [b t e]
    ) -> Tensor:
        if inputs_embeds is None:
            inputs_embeds = look_up(self.word_embeddings, input_ids, "input_ids")  # [b t e]
        length = inputs_embeds.shape[1]
        x = trigram(inputs_embeds) if self.trigram_input else inputs_embeds
        if self.transform:
            x = self.embedding_transformation(x)  # [b t h]
        if position_ids is None:
            positions = gathered(self.position_embeddings.weight)[:length]  # [t h]
        else:
            positions = look_up(self.position_embeddings, position_ids, "position_ids")
        if token_type_ids is None:
            types = gathered(self.token_type_embeddings.weight)[0]  # [h]
        else:
            types = look_up(self.token_type_embeddings, token_type_ids, "token_type_ids")
        return self.dropout(self.LayerNorm(x + (positions + types)))


def trigram(x: Tensor) -> Tensor:
    """Each position beside its neighbours, the next one first: [b t e] -> [b t 3e]."""
    padded = F.pad(x, [0, 0, 1, 1])  # [b t+2 e]
    return torch.cat([padded[:, 2:], x, padded[:, :-2]], dim=2)


def look_up(table: nn.Module, ids: Tensor, name: str) -> Tensor:
    """The rows of a table; ids outside it are an error."""
    rows = getattr(table, "num_embeddings", None)  # a module of the user's own may have none
    return table(ids if rows is None else check_ids(ids, rows, name))


class AttentionBias(NamedTuple):
    """The attention mask for fused kernels, which can only add it to the scores.

    A row that hides everything must give uniform attention and no gradient. There the bias is 0 and `seen` zeroes the
    query: if the whole row were finfo.min, rounding would make the kernels' backward pass lose the softmax's sum.
    """

    bias: Tensor  # [b 1 1 t] or [b 1 t t], 0 where visible and in rows that hide everything, elsewhere finfo.min
    seen: Tensor | None  # [b 1 1 1] or [b 1 t 1], 0 for rows that hide everything, elsewhere 1; None in an export


class Attended(NamedTuple):
    """What self-attention, or what contains it, returns with its scores."""

    states: Tensor  # [b t k] the context, [b t h] after a whole layer
    probabilities: Tensor | None  # [b n t t] with dropout and head mask, if asked for
    scores: Tensor | None  # [b n t t] masked, before the softmax, if asked for


class SelfAttention(nn.Module):
    """Scaled dot-product attention over n heads; the inputs' widths follow from the bottleneck flags."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        size = letters(config)
        self.heads = config.num_attention_heads
        self.query = nn.Linear(size["q"], size["k"])
        self.key = nn.Linear(size["q"], size["k"])
        self.value = nn.Linear(size["w"], size["k"])
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(
        self,
        query: Tensor,  # [b t q]
        key: Tensor,  # [b t q]
        value: Tensor,  # [b t w]
        attention_bias: AttentionBias | None,
        head_mask: Tensor | None,  # [n 1 1]
        output_attentions: bool,
        output_scores: bool = False,
    ) -> tuple[Tensor, Tensor | None] | Attended:
        """Returns the context [b t k] and, if asked for, the probabilities [b n t t] with dropout and head mask.

        With `output_scores` it is an Attended, which also has the scores.
        """
        q, k, v = self.query(query), self.key(key), self.value(value)
        rate = self.dropout.p if self.dropout.training else 0.0
        found = attend(q, k, v, self.heads, attention_bias, head_mask, output_attentions, rate, output_scores=output_scores)
        return found if output_scores else found[:2]


def attend(
    query: Tensor,  # [b t k], or [b 1 k] for the first token alone
    key: Tensor,  # [b t k]
    value: Tensor,  # [b t k]
    heads: int,
    attention_bias: AttentionBias | None,
    head_mask: Tensor | None,  # [n 1 1]
    output_attentions: bool,
    rate: float = 0.0,
    scale: float | None = None,
    output_scores: bool = False,
) -> Attended:
    """Attention over n heads: the context [b t k] and, if asked for, the probabilities and the scores [b n t t].

    Args:
        rate: of dropout.
        scale: of the scores; 1 / sqrt(d) by default.
    """
    q, k, v = (split(x, heads) for x in (query, key, value))  # [b n t d]
    bias = None
    if attention_bias is not None:
        bias, q = attention_bias.bias, q if attention_bias.seen is None else q * attention_bias.seen
    if output_attentions or output_scores or is_exporting():
        scores = q @ k.transpose(2, 3)  # [b n t t]
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        scores = scores if scale == 1.0 else scores * scale
        scores = scores if bias is None else scores + bias
        probabilities = scores.softmax(dim=-1)
        probabilities = F.dropout(probabilities, rate) if rate else probabilities
        if head_mask is not None:
            probabilities = probabilities * head_mask
        return Attended(merge(probabilities @ v), probabilities if output_attentions else None, scores if output_scores else None)
    context = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=rate, scale=scale)  # [b n t d]
    return Attended(merge(context if head_mask is None else context * head_mask), None, None)


def split(x: Tensor, heads: int) -> Tensor:
    """[b t k] -> [b n t d]."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def merge(x: Tensor) -> Tensor:
    """[b n t d] -> [b t k]."""
    return x.transpose(1, 2).flatten(2)


def with_states(found: tuple[Tensor, ...], states: Tensor) -> Any:
    """What self-attention returned, with other states."""
    return found._replace(states=states) if isinstance(found, Attended) else (states, *found[1:])


class Attention(nn.Module):
    """Self-attention, then projection onto the layer's residual."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        width = config.true_hidden_size
        self.self = SelfAttention(config)
        self.output = Projection(
            config, width, width, dropout=None if config.use_bottleneck else config.hidden_dropout_prob
        )

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        residual: Tensor,  # [b t k]
        attention_bias: AttentionBias | None,
        head_mask: Tensor | None,
        output_attentions: bool,
        **switches: bool,
    ) -> tuple[Tensor, Tensor | None] | Attended:
        found = self.self(query, key, value, attention_bias, head_mask, output_attentions, **switches)
        return with_states(found, self.output(found[0], residual))


class Intermediate(nn.Module):
    """The first half of an FFN: `act(dense(x))`, [b t k] -> [b t i]."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.true_hidden_size, config.intermediate_size)
        self.activation = ACTIVATIONS[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.dense(x))


class FFN(nn.Module):
    """One of the stacked FFNs before the last (section 3.2)."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.intermediate = Intermediate(config)
        self.output = Projection(config, config.intermediate_size, config.true_hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.intermediate(x), x)


class Output(Projection):
    """The second half of the last FFN, then the projection from the layer's width back to the hidden size."""

    def __init__(self, config: MobileBertConfig) -> None:
        width, dropout = config.true_hidden_size, config.hidden_dropout_prob
        super().__init__(config, config.intermediate_size, width, dropout=None if config.use_bottleneck else dropout)
        self.bottleneck = Projection(config, width, config.hidden_size, dropout) if config.use_bottleneck else None

    def forward(self, x: Tensor, residual: Tensor, hidden_states: Tensor) -> Tensor:
        x = super().forward(x, residual)  # [b t k]
        return x if self.bottleneck is None else self.bottleneck(x, hidden_states)  # [b t h]


class Bottleneck(nn.Module):
    """Project the wide stream to the narrow width the layer works in.

    Returns the query, key and value inputs and the residual: [b t k] each, but the value is [b t h] when keys and
    queries share their bottleneck, and all three are [b t h] in the teacher (figure 1 of arXiv:2004.02984).
    """

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        size = letters(config)
        self.use_bottleneck_attention = config.use_bottleneck_attention
        self.input = Projection(config, size["h"], size["k"])
        self.attention = Projection(config, size["h"], size["k"]) if config.key_query_shared_bottleneck else None

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        residual = self.input(hidden_states)
        if self.use_bottleneck_attention:
            return residual, residual, residual, residual
        if self.attention is not None:
            shared = self.attention(hidden_states)
            return shared, shared, hidden_states, residual
        return hidden_states, hidden_states, hidden_states, residual


class TransformerLayer(nn.Module):
    """One MobileBERT layer, [b t h] -> [b t h]."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.bottleneck = Bottleneck(config) if config.use_bottleneck else None
        self.attention = Attention(config)
        self.ffn = nn.ModuleList([FFN(config) for _ in range(config.num_feedforward_networks - 1)])
        self.intermediate = Intermediate(config)
        self.output = Output(config)

    def forward(
        self,
        hidden_states: Tensor,
        attention_bias: AttentionBias | None,
        head_mask: Tensor | None,
        output_attentions: bool,
        **switches: bool,
    ) -> tuple[Tensor, Tensor | None] | Attended:
        if self.bottleneck is None:
            query = key = value = residual = hidden_states
        else:
            query, key, value, residual = self.bottleneck(hidden_states)
        found = self.attention(query, key, value, residual, attention_bias, head_mask, output_attentions, **switches)
        x = found[0]  # [b t k]
        for ffn in self.ffn:
            x = ffn(x)
        return with_states(found, self.output(self.intermediate(x), x, hidden_states))


class Encoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList([TransformerLayer(config) for _ in range(config.num_hidden_layers)])
        self.checkpointed: int | None = None  # recompute every n-th layer in the backward pass
        self.keeps_scores = False  # return what attention had before the softmax, for a student or its teacher
        self.depth: int | None = None  # run only so many layers, where nothing after them counts

    def forward(
        self,
        hidden_states: Tensor,  # [b t h]
        attention_bias: AttentionBias | None,
        head_mask: Tensor | None,  # [L n 1 1]
        output_attentions: bool,
        output_hidden_states: bool,
    ) -> tuple[tuple[Tensor | None, ...], ...]:
        """Returns L + 1 hidden states, the embeddings first, or only the last; L attention probabilities; L scores if it keeps them."""
        states, attentions, scores = [hidden_states], [], []
        switches = {"output_scores": True} if self.keeps_scores else {}  # a layer of the user's own may not know it
        for number, layer in enumerate(self.layer if self.depth is None else [*self.layer][: self.depth]):
            again = self.checkpointed and number % self.checkpointed == 0 and self.training
            call = partial(checkpoint, layer, use_reentrant=False) if again else layer
            hidden_states, probabilities, *kept = call(
                hidden_states,
                attention_bias,
                None if head_mask is None else head_mask[number],
                output_attentions=output_attentions,
                **switches,
            )
            states = [*states, hidden_states] if output_hidden_states else [hidden_states]
            attentions.append(probabilities)
            scores += kept
        return (tuple(states), tuple(attentions), *([tuple(scores)] if scores else []))


class Pooler(nn.Module):
    """The first token, [b t h] -> [b h], through a dense layer and tanh if classifier_activation is true."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size) if config.classifier_activation else None

    def forward(self, hidden_states: Tensor) -> Tensor:
        first = hidden_states[:, 0]
        return first if self.dense is None else torch.tanh(self.dense(first))


class Transform(nn.Module):
    """The first step of the masked-LM head, `norm(act(dense(x)))`; its norm is a LayerNorm in every configuration."""

    def __init__(self, config: MobileBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.LayerNorm = NORMS["layer_norm"](config, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(self.activation(self.dense(x)))


class Predictions(nn.Module):
    """Scores of every word, [b t h] -> [b t v].

    The first e features are multiplied by the word embeddings, which are an argument, or by the head's own decoder if
    tie_word_embeddings is false; the other h - e by `dense`. These are two products, while transformers copies both
    matrices into one of 62.5 MB in every call.
    """

    def __init__(self, config: MobileBertConfig, embeddings: Embeddings) -> None:
        super().__init__()
        size = letters(config)
        self.transform = Transform(config)
        self.dense = Matrix((size["r"], size["v"]), words=1)
        self.decoder = None if config.tie_word_embeddings else Matrix((size["v"], size["e"]), words=0)
        self.bias = nn.Parameter(torch.zeros(size["v"]))
        if config.tie_word_embeddings:
            self.__dict__["decoder"] = TiedDecoder(embeddings, self)  # past __setattr__, which would make it a sub-module
        self.register_load_state_dict_pre_hook(_drop_copies)

    def forward(self, x: Tensor, word_embeddings: Tensor | None) -> Tensor:
        x = self.transform(x)
        table = gathered(self.decoder.weight if isinstance(self.decoder, Matrix) else word_embeddings)  # [v e]
        own, extra = x.flatten(0, -2).split([table.shape[1], x.shape[-1] - table.shape[1]], dim=-1)
        scores = F.linear(own, table.to(own.dtype), self.bias)  # [b*t v], the largest tensor of the model, so added in place
        scores = scores.addmm_(extra.to(scores.dtype), gathered(self.dense.weight).to(scores.dtype))
        return scores.unflatten(0, x.shape[:-1])

    def resize(self, rows: int, deviation: float) -> None:
        """Change the number of words, in every weight with a row or a column per word; new biases are 0."""
        resize(self.dense, rows, deviation)
        if isinstance(self.decoder, Matrix):
            resize(self.decoder, rows, deviation)
        self.bias = resized(self.bias, rows, 0, 0.0)


class TiedDecoder(nn.Module):
    """What transformers calls the decoder of a tied model: the word embeddings and the head's bias, to be read.

    It is a module because accelerate shards the decoder together with the word embeddings, but neither has sub-modules nor is one
    of the model's: in parameters() and in a state_dict each of the two is once.
    """

    def __init__(self, embeddings: Embeddings, predictions: Predictions) -> None:
        super().__init__()
        self.__dict__ |= {"_embeddings": embeddings, "_predictions": predictions}

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Refuse a weight of its own."""
        raise AttributeError(f"a tied decoder has no {name} of its own: set that of the word embeddings or of the head")

    @property
    def weight(self) -> Tensor:
        """[v e]."""
        return self._embeddings.word_embeddings.weight

    @property
    def bias(self) -> Tensor:
        """[v]."""
        return self._predictions.bias


def _drop_copies(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Drop duplicate entries of transformers' state_dicts: a tied decoder, and the second copy of the bias."""
    bias = state.pop(f"{prefix}decoder.bias", None)
    if not isinstance(module.decoder, Matrix):
        state.pop(f"{prefix}decoder.weight", None)
    elif bias is not None:
        state[f"{prefix}bias"] = bias  # the copy that transformers uses


class PreTrainingHeads(nn.Module):
    """The pre-training heads of a model class: masked words, the relation of two sentences, or both."""

    def __init__(self, config: MobileBertConfig, architecture: str, embeddings: Embeddings) -> None:
        super().__init__()
        blocks = ARCHITECTURES[architecture].blocks
        self.predictions = Predictions(config, embeddings) if "predictions" in blocks else None
        self.seq_relationship = nn.Linear(config.hidden_size, 2) if "relation" in blocks else None

    def forward(
        self, x: Tensor | None, pooled: Tensor | None, word_embeddings: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Scores of words [b t v] and of the relation [b 2]; None for the one that the model class does not have."""
        words = None if self.predictions is None else self.predictions(x, word_embeddings)
        return words, None if self.seq_relationship is None else self.seq_relationship(pooled)

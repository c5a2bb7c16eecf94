"""MobileBERT in numpy twice, both as plain as can be: from the tensors of a checkpoint, and from those of a folded model.

Both return the outputs of the twins without a loss, as `flat` names them, hidden states and attentions included. Letters are those of
schema.py.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.special import erf

from mobilebert_common.model.architectures import ARCHITECTURES, has_choices
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.folding import Folded, fold

from .configs import random_weights

Array = np.ndarray
Tensors = Mapping[str, Array]


def gelu_new(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "gelu": lambda x: 0.5 * x * (1 + erf((x / math.sqrt(2)).astype(np.float64))),
    "gelu_new": gelu_new,
    "gelu_pytorch_tanh": gelu_new,
    "silu": lambda x: x * 0.5 * (1 + np.tanh(x / 2)),
    "tanh": np.tanh,
}


def run(config: MobileBertConfig, architecture: str, tensors: Tensors, **inputs: Any) -> dict[str, Array]:
    """The model itself, from its definition.

    Args:
        tensors: {canonical name: array}.
        inputs: of the twins' models, without labels and switches.
    """
    model = ARCHITECTURES[architecture]
    table = {name.removeprefix(model.root): array for name, array in tensors.items()}
    head_masks = inputs.pop("head_mask", None)
    inputs = without_choices(architecture, inputs)
    mask = inputs.get("attention_mask")
    states, attentions = [embed(config, table, inputs)], []
    for number in range(config.num_hidden_layers):
        state, probabilities = layer(config, table, f"encoder.layer.{number}", states[-1], mask, of_layer(head_masks, number))
        states.append(state)
        attentions.append(probabilities)
    found = {} if model.root else {"last_hidden_state": states[-1]}
    return found | head(config, architecture, table, states[-1]) | numbered(states, attentions)


def run_folded(folded: Folded, architecture: str, tensors: Tensors, **inputs: Any) -> dict[str, Array]:
    """The folded model, as the module `folding` describes it: the model for both twins' inference modules.

    Args:
        tensors: {canonical name: array} of the model that was folded, for its heads.
    """
    config, table, model = folded.config, folded.tensors, ARCHITECTURES[architecture]
    head_masks = inputs.pop("head_mask", None)
    inputs = without_choices(architecture, inputs)
    mask = inputs.get("attention_mask")
    r = embed_folded(config, table, inputs)
    states, attentions = [r], []
    for number in range(config.num_hidden_layers):
        r, probabilities = layer_folded(folded, f"layer.{number}", r, mask, of_layer(head_masks, number))
        states.append(hidden_state(table, number, r))
        attentions.append(probabilities)
    found = {} if model.root else {"last_hidden_state": r}
    heads = {name.removeprefix(model.root): array for name, array in tensors.items()}
    return found | head(config, architecture, heads, r) | numbered(states, attentions)


def embed(config: MobileBertConfig, table: Tensors, inputs: Mapping[str, Any]) -> Array:
    words = looked_up(table, inputs)
    if transforms(config):
        words = dense(table, "embeddings.embedding_transformation", neighbours(config, words))
    positions, types = places(table, inputs, words.shape[1])
    types = table["embeddings.token_type_embeddings.weight"][0] if types is None else types
    return norm(config, table, "embeddings.LayerNorm", words + positions + types)


def embed_folded(config: MobileBertConfig, table: Tensors, inputs: Mapping[str, Any]) -> Array:
    words = looked_up(table, inputs)
    if transforms(config):
        words = neighbours(config, words) @ table["embeddings.embedding_transformation.weight"].T
    if "embeddings.scale" in table:
        words = words * table["embeddings.scale"]
    positions, types = places(table, inputs, words.shape[1])
    r = words + positions + (0 if types is None else types)
    return layer_norm(config, table, "embeddings.norm", r) if "embeddings.norm.weight" in table else r


def looked_up(table: Tensors, inputs: Mapping[str, Any]) -> Array:
    """[b t e]."""
    if inputs.get("inputs_embeds") is not None:
        return inputs["inputs_embeds"]
    return table["embeddings.word_embeddings.weight"][inputs["input_ids"]]


def transforms(config: MobileBertConfig) -> bool:
    return config.trigram_input or config.embedding_size != config.hidden_size


def neighbours(config: MobileBertConfig, words: Array) -> Array:
    """[b t e] -> [b t 3e]: next, current, previous."""
    if not config.trigram_input:
        return words
    padded = np.pad(words, [(0, 0), (1, 1), (0, 0)])
    return np.concatenate([padded[:, 2:], words, padded[:, :-2]], axis=2)


def places(table: Tensors, inputs: Mapping[str, Any], length: int) -> tuple[Array, Array | None]:
    """The embeddings of positions, and of token types if they are given."""
    ids = inputs.get("position_ids")
    positions = table["embeddings.position_embeddings.weight"][np.arange(length) if ids is None else ids]
    types = inputs.get("token_type_ids")
    return positions, None if types is None else table["embeddings.token_type_embeddings.weight"][types]


def of_layer(head_masks: Array | None, number: int) -> Array | None:
    """[n] or [L n] -> [n]."""
    return None if head_masks is None else head_masks[number] if head_masks.ndim == 2 else head_masks


def layer(
    config: MobileBertConfig, table: Tensors, at: str, x: Array, mask: Array | None, heads: Array | None
) -> tuple[Array, Array]:
    """[b t h] -> [b t h] and [b n t t]."""
    query = key = value = residual = x
    if config.use_bottleneck:
        residual = projection(config, table, f"{at}.bottleneck.input", x)
        if config.use_bottleneck_attention:
            query = key = value = residual
        elif config.key_query_shared_bottleneck:
            query = key = projection(config, table, f"{at}.bottleneck.attention", x)
    query, key, value = (
        dense(table, f"{at}.attention.self.{name}", part)
        for name, part in [("query", query), ("key", key), ("value", value)]
    )
    width = query.shape[2] // config.num_attention_heads
    context, probabilities = attend(config, query / math.sqrt(width), key, value, mask, heads)
    y = projection(config, table, f"{at}.attention.output", context, residual)
    for ffn in [*(f"{at}.ffn.{number}" for number in range(config.num_feedforward_networks - 1)), at]:
        z = ACTIVATIONS[config.hidden_act](dense(table, f"{ffn}.intermediate.dense", y))
        y = projection(config, table, f"{ffn}.output", z, y)
    if config.use_bottleneck:
        y = projection(config, table, f"{at}.output.bottleneck", y, x)
    return y, probabilities


def layer_folded(folded: Folded, at: str, r: Array, mask: Array | None, heads: Array | None) -> tuple[Array, Array]:
    config, table, products = folded.config, folded.tensors, folded.products

    def parts_of(names: tuple[str, ...], product: str, x: Array) -> dict[str, Array]:
        parts = np.split(dense(table, f"{at}.{product}", x), len(names), axis=2)
        return {name: normed(name, part) for name, part in zip(names, parts, strict=True)}

    def normed(name: str, x: Array) -> Array:
        return layer_norm(config, table, f"{at}.{name}.norm", x) if f"{at}.{name}.norm.weight" in table else x

    def add(name: str, y: Array, z: Array) -> Array:
        if f"{at}.{name}.scale" in table:
            y = y * table[f"{at}.{name}.scale"] + table[f"{at}.{name}.shift"]
        y = y + z @ table[f"{at}.{name}.weight"].T
        return normed(name, y + table[f"{at}.{name}.bias"]) if f"{at}.{name}.bias" in table else y

    parts = parts_of(products.input, "input", r)
    if products.source:
        parts |= parts_of(products.attention, "attention", parts[products.source])
    context, probabilities = attend(config, parts["query"], parts["key"], parts["value"], mask, heads)
    y = add("context", parts.get("residual", r), context)
    for ffn in range(config.num_feedforward_networks):
        z = ACTIVATIONS[config.hidden_act](dense(table, f"{at}.ffn.{ffn}.intermediate", y))
        y = add(f"ffn.{ffn}.output", y, z)
    return add("output", r, y) if config.use_bottleneck else y, probabilities


def hidden_state(table: Tensors, number: int, r: Array) -> Array:
    """The output of a layer from what the folded model keeps of it."""
    at = f"layer.{number}.state"
    return r * table[f"{at}.scale"] + table[f"{at}.shift"] if f"{at}.scale" in table else r


def attend(
    config: MobileBertConfig, query: Array, key: Array, value: Array, mask: Array | None, heads: Array | None
) -> tuple[Array, Array]:
    """Context [b t k] and probabilities [b n t t], multiplied by `heads` [n]; a row that hides everything is uniform."""
    query, key, value = (
        x.reshape(*x.shape[:2], config.num_attention_heads, -1).transpose(0, 2, 1, 3) for x in (query, key, value)
    )
    scores = query @ key.transpose(0, 1, 3, 2)
    if mask is not None:
        visible = (mask[:, None, None] if mask.ndim == 2 else mask[:, None]) != 0
        scores = np.where(visible, scores, -np.inf)
        scores = np.where(visible.any(axis=-1, keepdims=True), scores, 0.0)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probabilities = powers / powers.sum(axis=-1, keepdims=True)
    if heads is not None:
        probabilities = probabilities * heads[:, None, None]
    context = (probabilities @ value).transpose(0, 2, 1, 3)
    return context.reshape(*context.shape[:2], -1), probabilities


def head(config: MobileBertConfig, architecture: str, table: Tensors, x: Array) -> dict[str, Array]:
    """What an architecture makes of the last hidden state [b t h], in the order of its output."""
    blocks, found = ARCHITECTURES[architecture].blocks, {}
    has_dense = "pooler.dense.weight" in table
    pooled = np.tanh(dense(table, "pooler.dense", x[:, 0])) if has_dense else x[:, 0]
    if blocks == ("pooler",):
        return {"pooler_output": pooled}
    if "predictions" in blocks:
        found["logits" if blocks == ("predictions",) else "prediction_logits"] = predict(config, table, x)
    if "relation" in blocks:
        name = "seq_relationship_logits" if "predictions" in blocks else "logits"
        found[name] = dense(table, "cls.seq_relationship", pooled)
    if "classifier" in blocks:
        found["logits"] = dense(table, "classifier", pooled if "pooler" in blocks else x)
    if "choice" in blocks:
        found["logits"] = dense(table, "classifier", pooled).reshape(-1, CHOICES)
    if "span" in blocks:
        found["start_logits"], found["end_logits"] = np.moveaxis(dense(table, "qa_outputs", x), 2, 0)
    return found


CHOICES = 2


def predict(config: MobileBertConfig, table: Tensors, x: Array) -> Array:
    """Scores of words, [b t h] -> [b t v]."""
    x = ACTIVATIONS[config.hidden_act](dense(table, "cls.predictions.transform.dense", x))
    x = layer_norm(config, table, "cls.predictions.transform.LayerNorm", x)
    words = table["embeddings.word_embeddings.weight" if config.tie_word_embeddings else "cls.predictions.decoder.weight"]
    own, extra = np.split(x, [config.embedding_size], axis=2)
    return own @ words.T + extra @ table["cls.predictions.dense.weight"] + table["cls.predictions.bias"]


def without_choices(architecture: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """[b c t ...] -> [b*c t ...], for a model of choices."""
    given = {name: value for name, value in inputs.items() if value is not None}
    if not has_choices(architecture):
        return given
    return {name: value.reshape(-1, *value.shape[2:]) for name, value in given.items()}


def numbered(states: list[Array], attentions: list[Array]) -> dict[str, Array]:
    return {f"hidden_states.{number}": state for number, state in enumerate(states)} | {
        f"attentions.{number}": probabilities for number, probabilities in enumerate(attentions)
    }


def dense(table: Tensors, module: str, x: Array) -> Array:
    return x @ table[f"{module}.weight"].T + table[f"{module}.bias"]


def projection(config: MobileBertConfig, table: Tensors, module: str, x: Array, residual: Array | float = 0.0) -> Array:
    return norm(config, table, f"{module}.LayerNorm", dense(table, f"{module}.dense", x) + residual)


def norm(config: MobileBertConfig, table: Tensors, module: str, x: Array) -> Array:
    if config.normalization_type == "layer_norm":
        return layer_norm(config, table, module, x)
    return x * table[f"{module}.weight"] + table[f"{module}.bias"]


def layer_norm(config: MobileBertConfig, table: Tensors, module: str, x: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + config.layer_norm_eps)
    return scaled * table[f"{module}.weight"] + table[f"{module}.bias"]


def scaled_weights(config: MobileBertConfig, architecture: str, seed: int) -> dict[str, Array]:
    """Random weights whose norms go from 0.04 to 4, or are negative or zero."""
    generator = np.random.default_rng(seed)
    weights = random_weights(config, architecture, seed)
    for name, array in weights.items():
        if name.endswith("LayerNorm.weight"):
            size = np.exp(generator.uniform(np.log(0.04), np.log(4), array.shape))
            weights[name] = size * generator.choice([0, -1, 1, 1, 1], array.shape)
    return weights


def random_inputs(
    config: MobileBertConfig,
    architecture: str,
    seed: int,
    *,
    mask: str | None = "rows",
    types: bool = True,
    positions: bool = False,
    embeds: bool = False,
    heads: str | None = None,
) -> dict[str, Array]:
    """Three sequences of seven tokens, pairs of them for a model of choices.

    Args:
        mask: "rows" hides whole sequences, "queries" is [b t t] and hides everything from some tokens.
        heads: "model" masks heads [n], "layers" [L n]; some of them are zero.
    """
    generator = np.random.default_rng(seed)
    shape = (3, CHOICES, 7) if has_choices(architecture) else (3, 7)
    inputs: dict[str, Array] = {"input_ids": generator.integers(0, config.vocab_size, shape)}
    if embeds:
        inputs = {"inputs_embeds": generator.normal(size=(*shape, config.embedding_size))}
    if mask is not None:
        hidden = generator.integers(0, 2, (*shape, 7) if mask == "queries" else shape)
        hidden[0] = 0
        hidden[-1, ..., :2] = 1
        inputs["attention_mask"] = hidden
    if types:
        inputs["token_type_ids"] = generator.integers(0, config.type_vocab_size, shape)
    if positions:
        inputs["position_ids"] = generator.integers(0, config.max_position_embeddings, shape)
    if heads is not None:
        rows = (config.num_hidden_layers,) if heads == "layers" else ()
        inputs["head_mask"] = generator.choice([0.0, 0.5, 1.0], (*rows, config.num_attention_heads))
    return inputs


def distance(expected: Mapping[str, Array], found: Mapping[str, Array]) -> float:
    """The largest relative L2 over the outputs of two models; NaN where one of them is NaN."""
    assert {name: array.shape for name, array in expected.items()} == {name: array.shape for name, array in found.items()}
    norms = {name: np.linalg.norm(array) for name, array in expected.items()}
    return float(np.max([np.linalg.norm(expected[name] - found[name]) / (norm or 1.0) for name, norm in norms.items()]))


def fold_model(config: MobileBertConfig, architecture: str, tensors: Tensors, **options: Any) -> Folded:
    """Fold what a model of an architecture is built on."""
    root = ARCHITECTURES[architecture].root
    base = {name.removeprefix(root): array for name, array in tensors.items() if name.startswith(root)}
    return fold(config, {name: array for name, array in base.items() if name.startswith(("embeddings.", "encoder."))}, **options)

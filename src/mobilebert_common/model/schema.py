"""The schema: every tensor of a MobileBERT with its shape, and its name and layout in every dialect.

`expand(config, architecture)` generates the exact names for one configuration. Names in a file are never parsed, so reading and
writing use the same lookup, and the order of tensors in a file does not matter.

Letters in shapes: v vocabulary, e embedding, x input of embedding_transformation, h hidden, r = h - e, k width inside a layer,
q width of the query and key inputs, w width of the value input, i FFN, p positions, s segments, n labels.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..errors import ConfigError
from ..files.shard_index import MAX_TENSORS
from .architectures import ARCHITECTURES
from .config import MobileBertConfig
from .layout import Layout

Condition = Callable[[MobileBertConfig], bool]

MAX_PARAMETERS = 4_000_000_000  # a larger model means a hostile config.json, not a MobileBERT

# The prefix of each block in each dialect. {root} is "mobilebert." in a model with a head and "" in the base model; {n} counts
# layers, {f} the FFNs before the last one, {last} is the last one's number. The writer of an h5 decides what precedes these names.
BLOCKS: dict[str, dict[str, str]] = {
    #               canonical                           h5                                    tf1                               garden
    "embeddings":  {"canonical": "{root}embeddings",    "h5": "mobilebert/embeddings",         "tf1": "bert/embeddings",         "garden": "mobile_bert_embedding"},
    "layer":       {"canonical": "{root}encoder.layer.{n}", "h5": "mobilebert/encoder/layer_._{n}", "tf1": "bert/encoder/layer_{n}", "garden": "transformer_layer_{n}"},
    "ffn":         {"canonical": "{root}encoder.layer.{n}.ffn.{f}", "h5": "mobilebert/encoder/layer_._{n}/ffn.{f}", "tf1": "bert/encoder/layer_{n}/ffn_layer_{f}", "garden": "transformer_layer_{n}/ffn_layer_{f}"},
    "pooler":      {"canonical": "{root}pooler",        "h5": "mobilebert/pooler",             "tf1": "bert/pooler",             "garden": "pooler"},
    "predictions": {"canonical": "cls.predictions",     "h5": "predictions___cls/predictions", "tf1": "cls/predictions",         "garden": "cls/predictions"},
    "relation":    {"canonical": "cls",                 "h5": "seq_relationship___cls",        "tf1": "cls",                     "garden": ""},
    "classifier":  {"canonical": "",                    "h5": "",                              "tf1": "",                        "garden": ""},
    "choice":      {"canonical": "",                    "h5": "",                              "tf1": "",                        "garden": ""},
    "span":        {"canonical": "",                    "h5": "",                              "tf1": "cls",                     "garden": ""},
}  # fmt: skip
ENCODER = ("embeddings", "layer", "ffn")  # the blocks every model has; a file may lack any other block as a whole


class Part(NamedTuple):
    """One tensor of a module: the last part of its name, and its layout, in each dialect."""

    canonical: str
    rank: int  # the canonical shape is the first `rank` letters of the row
    keras: tuple[str, Layout]
    h5: tuple[str, Layout]
    tf1: tuple[str, Layout]
    garden: tuple[str, Layout]


def _linear(garden: Layout = "transpose") -> tuple[Part, ...]:
    kernel: tuple[str, Layout] = ("kernel", "transpose")
    bias: tuple[str, Layout] = ("bias", "same")
    return (
        Part("weight", 2, kernel, kernel, kernel, ("kernel", garden)),
        Part("bias", 1, bias, bias, bias, ("bias", "split_in" if garden == "split_out" else "same")),
    )


def _norm(weight: str, bias: str, keras: tuple[str, str]) -> tuple[Part, ...]:
    return (
        Part("weight", 1, (keras[0], "same"), (weight, "same"), ("gamma", "same"), ("gamma", "same")),
        Part("bias", 1, (keras[1], "same"), (bias, "same"), ("beta", "same"), ("beta", "same")),
    )


def _embedding(h5: str) -> tuple[Part, ...]:
    return (Part("weight", 2, ("embeddings", "same"), (h5, "same"), ("", "same"), ("embeddings", "same")),)


# kind of module -> its tensors. torch stores a linear weight as (out, in); Keras, HF's h5 and TF1 store a kernel as (in, out).
KINDS: dict[str, tuple[Part, ...]] = {
    "words": _embedding("weight"),
    "embedding": _embedding("embeddings"),
    "linear": _linear(),
    "qkv": _linear("split_out"),  # garden: [in, heads, d]
    "context": _linear("split_in"),  # garden: [heads, d, out]
    "no_norm": _norm("weight", "bias", keras=("weight", "bias")),
    "layer_norm": _norm("gamma", "beta", keras=("gamma", "beta")),
    "scores": (  # a head's last layer; Google calls it output_weights and stores it as (out, in)
        Part("weight", 2, ("kernel", "transpose"), ("kernel", "transpose"), ("output_weights", "same"), ("kernel", "transpose")),
        Part("bias", 1, ("bias", "same"), ("bias", "same"), ("output_bias", "same"), ("bias", "same")),
    ),
    # of the masked-LM head: the part of its matrix beyond the word embeddings, a bias, and an untied decoder
    "extra": (Part("weight", 2, ("kernel", "same"), ("weight", "same"), ("extra_output_weights", "transpose"), ("extra_output_weights", "transpose")),),
    "bias": (Part("bias", 1, ("bias", "same"), ("bias", "same"), ("output_bias", "same"), ("output_bias/bias", "same")),),
    "decoder": (Part("weight", 2, ("kernel", "same"), ("weight", "same"), ("", "same"), ("", "same")),),
}  # fmt: skip


def _always(config: MobileBertConfig) -> bool:
    return True


def _bottleneck(config: MobileBertConfig) -> bool:
    return config.use_bottleneck


def _shared(config: MobileBertConfig) -> bool:
    return config.use_bottleneck and config.key_query_shared_bottleneck


def _untied(config: MobileBertConfig) -> bool:
    return not config.tie_word_embeddings


def _pooler_dense(config: MobileBertConfig) -> bool:
    return config.classifier_activation


class Row(NamedTuple):
    """One module. `kind` "norm" means config.normalization_type; None as a name means the dialect has no such module."""

    block: str
    module: str
    kind: str
    shape: str
    tf1: str | None
    garden: str | None
    when: Condition = _always


# FakeLayerNorm is TF1's name for NoNorm; in a layer_norm checkpoint it is LayerNorm (see `_tf1_norm`).
ROWS: tuple[Row, ...] = (
    #   block         module                        kind         shape   tf1                                 garden
    Row("embeddings", "word_embeddings",            "words",     "v e",  "word_embeddings",                  "word_embedding"),
    Row("embeddings", "position_embeddings",        "embedding", "p h",  "position_embeddings",              "position_embedding"),
    Row("embeddings", "token_type_embeddings",      "embedding", "s h",  "token_type_embeddings",            "type_embedding"),
    Row("embeddings", "embedding_transformation",   "linear",    "h x",  "embedding_transformation",         "embedding_projection"),
    Row("embeddings", "LayerNorm",                  "norm",      "h",    "FakeLayerNorm",                    "embedding_norm"),
    Row("layer", "attention.self.query",            "qkv",       "k q",  "attention/self/query",             "attention/query"),
    Row("layer", "attention.self.key",              "qkv",       "k q",  "attention/self/key",               "attention/key"),
    Row("layer", "attention.self.value",            "qkv",       "k w",  "attention/self/value",             "attention/value"),
    Row("layer", "attention.output.dense",          "context",   "k k",  "attention/output/dense",           "attention/attention_output"),
    Row("layer", "attention.output.LayerNorm",      "norm",      "k",    "attention/output/FakeLayerNorm",   "attention/norm"),
    Row("layer", "intermediate.dense",              "linear",    "i k",  "intermediate/dense",               "ffn_layer_{last}/intermediate_dense"),
    Row("layer", "output.dense",                    "linear",    "k i",  "output/dense",                     "ffn_layer_{last}/output_dense"),
    Row("layer", "output.LayerNorm",                "norm",      "k",    "output/FakeLayerNorm",             "ffn_layer_{last}/norm"),
    Row("layer", "output.bottleneck.dense",         "linear",    "h k",  "output/bottleneck/dense",          "bottleneck_output/dense",     _bottleneck),
    Row("layer", "output.bottleneck.LayerNorm",     "norm",      "h",    "output/bottleneck/FakeLayerNorm",  "bottleneck_output/norm",      _bottleneck),
    Row("layer", "bottleneck.input.dense",          "linear",    "k h",  "bottleneck/input/dense",           "bottleneck_input/dense",      _bottleneck),
    Row("layer", "bottleneck.input.LayerNorm",      "norm",      "k",    "bottleneck/input/FakeLayerNorm",   "bottleneck_input/norm",       _bottleneck),
    Row("layer", "bottleneck.attention.dense",      "linear",    "k h",  "bottleneck/attention/dense",       "kq_shared_bottleneck/dense",  _shared),
    Row("layer", "bottleneck.attention.LayerNorm",  "norm",      "k",    "bottleneck/attention/FakeLayerNorm", "kq_shared_bottleneck/norm", _shared),
    Row("ffn", "intermediate.dense",                "linear",    "i k",  "intermediate/dense",               "intermediate_dense"),
    Row("ffn", "output.dense",                      "linear",    "k i",  "output/dense",                     "output_dense"),
    Row("ffn", "output.LayerNorm",                  "norm",      "k",    "output/FakeLayerNorm",             "norm"),
    Row("pooler", "dense",                          "linear",    "h h",  "dense",                            "",                            _pooler_dense),
    Row("predictions", "transform.dense",           "linear",    "h h",  "transform/dense",                  "transform/dense"),
    Row("predictions", "transform.LayerNorm",       "layer_norm", "h",   "transform/LayerNorm",              "transform/LayerNorm"),
    Row("predictions", "dense",                     "extra",     "r v",  "",                                 ""),
    Row("predictions", "decoder",                   "decoder",   "v e",  None,                               None,                          _untied),
    Row("predictions", "",                          "bias",      "v",    "",                                 ""),
    Row("relation", "seq_relationship",             "scores",    "2 h",  "seq_relationship",                 None),
    Row("classifier", "classifier",                 "scores",    "n h",  "",                                 None),
    Row("choice", "classifier",                     "scores",    "1 h",  "",                                 None),
    Row("span", "qa_outputs",                       "scores",    "2 h",  "squad",                            None),
)  # fmt: skip

# Copies that other writers store beside the original: {copy: original}, canonical names.
ROOT = "mobilebert."
WORDS, BIAS = f"{ROOT}embeddings.word_embeddings.weight", "cls.predictions.bias"
DECODER, DECODER_BIAS = "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"
TIED = {DECODER: WORDS, DECODER_BIAS: BIAS}


class Foreign(NamedTuple):
    """A tensor's name and layout in a dialect."""

    name: str
    layout: Layout


class Tensor(NamedTuple):
    """One tensor of one model.

    Attributes:
        name: canonical name, as in model.safetensors.
        shape: canonical shape.
        module: the part of the name before the last dot.
        block: its block, a key of BLOCKS.
        keras: the variable's name in its Keras layer, and its layout there.
        patterns: {dialect: name and layout} for each dialect that has the tensor, with the braces of BLOCKS in the name; all layers
            share them, because the largest model has 15,000 tensors and a file is in one dialect.
        place: what stands for the braces.
    """

    name: str
    shape: tuple[int, ...]
    module: str
    block: str
    keras: Foreign
    patterns: Mapping[str, Foreign]
    place: Mapping[str, int | str] = {}

    def foreign(self, dialect: str) -> Foreign | None:
        """The name and layout in a dialect; None if the dialect does not have the tensor."""
        if (pattern := self.patterns.get(dialect)) is None:
            return None
        return Foreign(pattern.name.format(**self.place), pattern.layout)

    @property
    def dialects(self) -> dict[str, Foreign]:
        """{dialect: name and layout}, for each dialect that has the tensor."""
        return {dialect: found for dialect in self.patterns if (found := self.foreign(dialect))}


def expand(config: MobileBertConfig, architecture: str) -> dict[str, Tensor]:
    """Generate every tensor of an architecture for one configuration.

    Args:
        config: determines the modules and their sizes.
        architecture: a name in ARCHITECTURES, for example "MobileBertForSequenceClassification".
    Returns:
        {canonical name: Tensor}, embeddings first.
    Raises:
        ConfigError: the model would have more than MAX_PARAMETERS parameters.
    """
    model = ARCHITECTURES[architecture]
    tensors = _expand(config, (*ENCODER, *model.blocks), model.root)
    if (count := count_parameters(tensors)) > MAX_PARAMETERS:
        raise ConfigError(f"this configuration has {count:,} parameters, more than the {MAX_PARAMETERS:,} allowed")
    return tensors


def expand_optional(config: MobileBertConfig) -> dict[str, Tensor]:
    """Generate the tensors a file may hold beyond the encoder: the pooler and every head, with an untied decoder."""
    untied = config.replace(tie_word_embeddings=False)
    return _expand(untied, tuple(block for block in BLOCKS if block not in ENCODER), "mobilebert.")


def most_tensors(config: MobileBertConfig) -> int:
    """How many tensors a file of this configuration may list: more than any writer's, and few enough for a hostile one.

    Twice those of the encoder and every head, which leaves room for copies, buffers and a second model beside it.
    """
    layers = config.num_hidden_layers
    repeats = {"layer": layers, "ffn": layers * (config.num_feedforward_networks - 1)}
    kinds = [(row.block, config.normalization_type if row.kind == "norm" else row.kind) for row in ROWS]
    count = sum(repeats.get(block, 1) * len(KINDS[kind]) for block, kind in kinds)
    return min(MAX_TENSORS, 2 * count + 64)


def count_parameters(tensors: Mapping[str, Tensor]) -> int:
    """The number of parameters in the tensors from `expand`."""
    return sum(math.prod(tensor.shape) for tensor in tensors.values())


def _expand(config: MobileBertConfig, blocks: tuple[str, ...], root: str) -> dict[str, Tensor]:
    rows = [row for row in ROWS if row.block in blocks and row.when(config)]
    return {tensor.name: tensor for row in rows for tensor in _row_tensors(row, config, root)}


def _row_tensors(row: Row, config: MobileBertConfig, root: str) -> list[Tensor]:
    sizes = letters(config)
    shape = tuple(sizes[letter] for letter in row.shape.split())
    kind = config.normalization_type if row.kind == "norm" else row.kind
    layers = range(config.num_hidden_layers) if row.block in ("layer", "ffn") else range(1)
    ffns = range(config.num_feedforward_networks - 1) if row.block == "ffn" else range(1)
    last = config.num_feedforward_networks - 1
    module = _join(".", BLOCKS[row.block]["canonical"], row.module)
    parts = [(part, Foreign(*part.keras), _patterns(row, kind, part)) for part in KINDS[kind]]
    tensors = []
    for n in layers:
        for f in ffns:
            place: dict[str, int | str] = {"root": root, "n": n, "f": f, "last": last}
            name = module.format(**place)
            tensors += [
                Tensor(f"{name}.{part.canonical}", shape[: part.rank], name, row.block, keras, patterns, place)
                for part, keras, patterns in parts
            ]
    return tensors


def _patterns(row: Row, kind: str, part: Part) -> dict[str, Foreign]:
    """The names of a part of a module in each dialect that has the module, with the braces of BLOCKS."""
    tf1 = None if row.tf1 is None else _tf1_norm(row.tf1, kind)
    modules = {"h5": row.module.replace(".", "/"), "tf1": tf1, "garden": row.garden}
    found = {}
    for dialect, module in modules.items():
        if module is not None:
            name, layout = getattr(part, dialect)
            found[dialect] = Foreign(_join("/", BLOCKS[row.block][dialect], module, name), layout)
    return found


def letters(config: MobileBertConfig) -> dict[str, int]:
    """The size each letter of the table stands for."""
    width = config.true_hidden_size
    narrow = config.use_bottleneck and config.use_bottleneck_attention
    return {
        "v": config.vocab_size,
        "e": config.embedding_size,
        "x": config.embedding_size * (3 if config.trigram_input else 1),
        "h": config.hidden_size,
        "r": config.hidden_size - config.embedding_size,
        "k": width,
        "q": width if narrow or _shared(config) else config.hidden_size,
        "w": width if narrow else config.hidden_size,
        "i": config.intermediate_size,
        "p": config.max_position_embeddings,
        "s": config.type_vocab_size,
        "n": config.num_labels,
        "1": 1,
        "2": 2,
    }


def _tf1_norm(path: str, kind: str) -> str:
    return path.replace("FakeLayerNorm", "LayerNorm") if kind == "layer_norm" else path


def _join(separator: str, *parts: str) -> str:
    return separator.join(part for part in parts if part)

"""The small configurations that models are tested in, and random weights and labels for them. Imports no framework."""

from typing import Any

import numpy as np

from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import expand, letters

CLASSIFIER = "MobileBertForSequenceClassification"
CHOICES = "MobileBertForMultipleChoice"
BASE = "MobileBertModel"
SCALE = 0.2  # of matrices: at 0.02 attention is uniform and proves nothing, at 0.3 gradients this deep lose digits

SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "intra_bottleneck_size": 16,
    "embedding_size": 8,
    "max_position_embeddings": 12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "num_labels": 3,
}
TEACHER = {
    "key_query_shared_bottleneck": False,
    "num_feedforward_networks": 1,
    "hidden_act": "gelu_new",
    "normalization_type": "layer_norm",
}

# name -> what differs from SIZES
CONFIGS: dict[str, dict[str, Any]] = {
    "mobilebert": {"classifier_activation": False},
    "tiny": {"use_bottleneck_attention": True, "key_query_shared_bottleneck": False, "num_feedforward_networks": 2},
    "teacher": TEACHER,
    "mini": {"normalization_type": "layer_norm", "hidden_act": "gelu", "num_feedforward_networks": 2},
    "layer_norm": {"normalization_type": "layer_norm"},
    "both bottleneck flags": {"use_bottleneck_attention": True},
    "neither bottleneck flag": {"key_query_shared_bottleneck": False},
    "no bottleneck": {"use_bottleneck": False},
    "no bottleneck, layer_norm": {
        "use_bottleneck": False,
        "normalization_type": "layer_norm",
        "use_bottleneck_attention": True,
    },
    "no trigram": {"trigram_input": False},
    "no trigram, e = h": {"trigram_input": False, "embedding_size": 32},
    "trigram, e = h": {"embedding_size": 32},
    "1 FFN": {"num_feedforward_networks": 1},
    "2 FFNs": {"num_feedforward_networks": 2},
    "1 layer, 1 head": {"num_hidden_layers": 1, "num_attention_heads": 1},
    "3 layers, 2 heads": {"num_hidden_layers": 3, "num_attention_heads": 2},
    "no pooler": {"classifier_activation": False, "normalization_type": "layer_norm"},
    "3 segments, pad 5": {"type_vocab_size": 3, "pad_token_id": 5},
    "1 segment": {"type_vocab_size": 1},
    "relu6": {"hidden_act": "relu6"},
    "gelu": {"hidden_act": "gelu"},
    "gelu_new": {"hidden_act": "gelu_new"},
    "gelu_pytorch_tanh": {"hidden_act": "gelu_pytorch_tanh"},
    "silu": {"hidden_act": "silu"},
    "tanh": {"hidden_act": "tanh"},
    "eps": {"normalization_type": "layer_norm", "layer_norm_eps": 1e-3},
    "regression": {"num_labels": 1},
    "multi-label": {"problem_type": "multi_label_classification"},
    "multi-output regression": {"problem_type": "regression"},
}
CONFIGS |= {
    f"{norm}, {flags}, {ffns} FFNs": {
        "normalization_type": norm,
        "num_feedforward_networks": ffns,
        "use_bottleneck_attention": flags == "narrow",
        "key_query_shared_bottleneck": flags == "shared",
    }
    for norm in ("no_norm", "layer_norm")
    for flags in ("narrow", "shared", "wide")
    for ffns in (1, 2, 4)
}


def make_config(**overrides: Any) -> MobileBertConfig:
    return MobileBertConfig(**{**SIZES, **overrides})


def random_weights(config: MobileBertConfig, head: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Matrices of scale SCALE, biases of 0.15, and norms around 1."""
    generator = np.random.default_rng(seed)

    def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) > 1:
            return generator.normal(0.0, SCALE, shape)
        return generator.normal(float(name.endswith("LayerNorm.weight")), 0.15, shape)

    return {name: draw(name, tensor.shape) for name, tensor in expand(config, head).items()}


def make_labels(
    config: MobileBertConfig, head: str, generator: np.random.Generator, length: int
) -> dict[str, np.ndarray]:
    """Labels of every kind the head has, some of them to be ignored."""
    if head == CLASSIFIER and config.num_labels == 1:
        return {"labels": generator.normal(size=3)}
    if head == CLASSIFIER and config.problem_type == "multi_label_classification":
        return {"labels": generator.integers(0, 2, (3, config.num_labels)).astype(np.float64)}
    if head == CLASSIFIER and config.problem_type == "regression":
        return {"labels": generator.normal(size=(3, config.num_labels))}
    sizes = {**letters(config), "c": 2, "": length}
    found = {}
    for name, label in ARCHITECTURES[head].labels.items():
        shape = {"b": 3, "b t": (3, length)}[label.shape]
        found[name] = generator.integers(0, sizes[label.classes], shape)
        found[name][2] = -100  # to be ignored; also outside the sequence
    return found

"""The zoo: named configurations."""

from typing import Any

_PUBLISHED: dict[str, Any] = {"classifier_activation": False}  # google/mobilebert-uncased has no pooler weights

# The EdgeTPU variants of TensorFlow's Model Garden: wider and fewer layers.
_EDGETPU: dict[str, Any] = {**_PUBLISHED, "intra_bottleneck_size": 256, "intermediate_size": 1024}

# our own, which train on a CPU; initializer_range is about 1 / sqrt(width inside): at 0.02 they barely learn
_MINI: dict[str, Any] = {
    "num_hidden_layers": 4,
    "hidden_size": 128,
    "embedding_size": 64,
    "hidden_act": "gelu",
    "normalization_type": "layer_norm",
    "hidden_dropout_prob": 0.1,
}
_SMALL: dict[str, Any] = {
    "num_hidden_layers": 6,
    "hidden_size": 256,
    "embedding_size": 128,
    "intra_bottleneck_size": 128,
    "intermediate_size": 256,
    "num_feedforward_networks": 2,
    "hidden_act": "gelu",
    "normalization_type": "layer_norm",
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.07,
}
_TEACHER: dict[str, Any] = {"num_feedforward_networks": 1, "key_query_shared_bottleneck": False}

# name -> differences from the defaults of MobileBertConfig; sizes from arXiv:2004.02984 and Google's releases
ZOO: dict[str, dict[str, Any]] = {
    "mobilebert": _PUBLISHED,
    "mobilebert-tiny": {
        **_PUBLISHED,
        "num_feedforward_networks": 2,
        "use_bottleneck_attention": True,
        "key_query_shared_bottleneck": False,
    },
    # the paper's ablation without its operational optimizations
    "mobilebert-without-opt": {**_PUBLISHED, "hidden_act": "gelu_new", "normalization_type": "layer_norm"},
    "mobilebert-edgetpu-xs": {**_EDGETPU, "num_hidden_layers": 8},
    "mobilebert-edgetpu-s": {**_EDGETPU, "num_hidden_layers": 12},
    "mobilebert-edgetpu-m": {**_EDGETPU, "num_hidden_layers": 12, "num_feedforward_networks": 6},
    "ib-bert-large": {
        "intra_bottleneck_size": 1024,
        "intermediate_size": 4096,
        "num_feedforward_networks": 1,
        "key_query_shared_bottleneck": False,
        "hidden_act": "gelu_new",
        "normalization_type": "layer_norm",
        "hidden_dropout_prob": 0.1,
    },
    # our own: trains on a few thousand sentences in minutes on two CPU cores
    "mobilebert-mini": {
        **_MINI,
        "intra_bottleneck_size": 64,
        "intermediate_size": 128,
        "num_feedforward_networks": 2,
        "initializer_range": 0.1,
    },
    # our own: the configuration of mobilebert-small-uncased, which comes with this package, trained
    "mobilebert-small": _SMALL,
    # our own: half as deep as mobilebert-small, for students of models with that one's hidden size
    "mobilebert-small-shallow": {**_SMALL, "num_hidden_layers": 3},
    # our own: teachers of mobilebert-mini and mobilebert-small, as ib-bert-large is the full model's, twice as wide inside
    "ib-bert-mini": {**_MINI, **_TEACHER, "intra_bottleneck_size": 256, "intermediate_size": 1024, "initializer_range": 0.08},
    "ib-bert-small": {**_SMALL, **_TEACHER, "intra_bottleneck_size": 512, "intermediate_size": 2048, "initializer_range": 0.05},
}

import math
from typing import Any

import numpy as np
import pytest

from mobilebert_common.errors import ConfigError
from mobilebert_common.model.architectures import ARCHITECTURES, named_architecture
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.layout import from_layout, layout_shape, to_layout
from mobilebert_common.model.schema import Foreign, Tensor, count_parameters, expand, expand_optional
from mobilebert_common.model.zoo import ZOO

BASE, CLASSIFIER = "MobileBertModel", "MobileBertForSequenceClassification"
DIALECTS = ("h5", "tf1", "garden")

# the last part of a tensor's name: canonical, h5, tf1, garden
MATRIX = [("weight", "kernel", "kernel", "kernel"), ("bias", "bias", "bias", "bias")]
NO_NORM = [("weight", "weight", "gamma", "gamma"), ("bias", "bias", "beta", "beta")]
LAYER_NORM = [("weight", "gamma", "gamma", "gamma"), ("bias", "beta", "beta", "beta")]
POSITIONS = [("weight", "embeddings", "", "embeddings")]
WORDS = [("weight", "weight", "", "embeddings")]

# layer 1 of mobilebert, and what surrounds the layers: canonical, h5, tf1, garden
L, H, T, G = "encoder.layer.1", "mobilebert/encoder/layer_._1", "bert/encoder/layer_1", "transformer_layer_1"
LINEAR_MODULES = [
    (
        "embeddings.embedding_transformation",
        "mobilebert/embeddings/embedding_transformation",
        "bert/embeddings/embedding_transformation",
        "mobile_bert_embedding/embedding_projection",
    ),
    (f"{L}.attention.self.query", f"{H}/attention/self/query", f"{T}/attention/self/query", f"{G}/attention/query"),
    (f"{L}.attention.self.key", f"{H}/attention/self/key", f"{T}/attention/self/key", f"{G}/attention/key"),
    (f"{L}.attention.self.value", f"{H}/attention/self/value", f"{T}/attention/self/value", f"{G}/attention/value"),
    (
        f"{L}.attention.output.dense",
        f"{H}/attention/output/dense",
        f"{T}/attention/output/dense",
        f"{G}/attention/attention_output",
    ),
    (
        f"{L}.intermediate.dense",
        f"{H}/intermediate/dense",
        f"{T}/intermediate/dense",
        f"{G}/ffn_layer_3/intermediate_dense",
    ),
    (f"{L}.output.dense", f"{H}/output/dense", f"{T}/output/dense", f"{G}/ffn_layer_3/output_dense"),
    (
        f"{L}.output.bottleneck.dense",
        f"{H}/output/bottleneck/dense",
        f"{T}/output/bottleneck/dense",
        f"{G}/bottleneck_output/dense",
    ),
    (
        f"{L}.bottleneck.input.dense",
        f"{H}/bottleneck/input/dense",
        f"{T}/bottleneck/input/dense",
        f"{G}/bottleneck_input/dense",
    ),
    (
        f"{L}.bottleneck.attention.dense",
        f"{H}/bottleneck/attention/dense",
        f"{T}/bottleneck/attention/dense",
        f"{G}/kq_shared_bottleneck/dense",
    ),
    (
        f"{L}.ffn.2.intermediate.dense",
        f"{H}/ffn.2/intermediate/dense",
        f"{T}/ffn_layer_2/intermediate/dense",
        f"{G}/ffn_layer_2/intermediate_dense",
    ),
    (
        f"{L}.ffn.2.output.dense",
        f"{H}/ffn.2/output/dense",
        f"{T}/ffn_layer_2/output/dense",
        f"{G}/ffn_layer_2/output_dense",
    ),
    ("pooler.dense", "mobilebert/pooler/dense", "bert/pooler/dense", "pooler"),
]
NORM_MODULES = [
    (
        "embeddings.LayerNorm",
        "mobilebert/embeddings/LayerNorm",
        "bert/embeddings/FakeLayerNorm",
        "mobile_bert_embedding/embedding_norm",
    ),
    (
        f"{L}.attention.output.LayerNorm",
        f"{H}/attention/output/LayerNorm",
        f"{T}/attention/output/FakeLayerNorm",
        f"{G}/attention/norm",
    ),
    (f"{L}.output.LayerNorm", f"{H}/output/LayerNorm", f"{T}/output/FakeLayerNorm", f"{G}/ffn_layer_3/norm"),
    (
        f"{L}.output.bottleneck.LayerNorm",
        f"{H}/output/bottleneck/LayerNorm",
        f"{T}/output/bottleneck/FakeLayerNorm",
        f"{G}/bottleneck_output/norm",
    ),
    (
        f"{L}.bottleneck.input.LayerNorm",
        f"{H}/bottleneck/input/LayerNorm",
        f"{T}/bottleneck/input/FakeLayerNorm",
        f"{G}/bottleneck_input/norm",
    ),
    (
        f"{L}.bottleneck.attention.LayerNorm",
        f"{H}/bottleneck/attention/LayerNorm",
        f"{T}/bottleneck/attention/FakeLayerNorm",
        f"{G}/kq_shared_bottleneck/norm",
    ),
    (
        f"{L}.ffn.2.output.LayerNorm",
        f"{H}/ffn.2/output/LayerNorm",
        f"{T}/ffn_layer_2/output/FakeLayerNorm",
        f"{G}/ffn_layer_2/norm",
    ),
]
TABLE_MODULES = [
    (
        WORDS,
        "embeddings.word_embeddings",
        "mobilebert/embeddings/word_embeddings",
        "bert/embeddings/word_embeddings",
        "mobile_bert_embedding/word_embedding",
    ),
    (
        POSITIONS,
        "embeddings.position_embeddings",
        "mobilebert/embeddings/position_embeddings",
        "bert/embeddings/position_embeddings",
        "mobile_bert_embedding/position_embedding",
    ),
    (
        POSITIONS,
        "embeddings.token_type_embeddings",
        "mobilebert/embeddings/token_type_embeddings",
        "bert/embeddings/token_type_embeddings",
        "mobile_bert_embedding/type_embedding",
    ),
]
Module = tuple[list[tuple[str, str, str, str]], str, str, str, str]
MODULES: list[Module] = [
    *TABLE_MODULES,
    *((MATRIX, *names) for names in LINEAR_MODULES),
    *((NO_NORM, *names) for names in NORM_MODULES),
]

# (canonical shape, layout in the Keras twin, h5, tf1 and garden) of one layer and what surrounds it
SHAPES: dict[str, tuple[tuple[int, ...], str, str, str, str]] = {
    "embeddings.word_embeddings.weight": ((30522, 128), "same", "same", "same", "same"),
    "embeddings.position_embeddings.weight": ((512, 512), "same", "same", "same", "same"),
    "embeddings.token_type_embeddings.weight": ((2, 512), "same", "same", "same", "same"),
    "embeddings.embedding_transformation.weight": ((512, 384), "transpose", "transpose", "transpose", "transpose"),
    "embeddings.LayerNorm.bias": ((512,), "same", "same", "same", "same"),
    f"{L}.attention.self.query.weight": ((128, 128), "transpose", "transpose", "transpose", "split_out"),
    f"{L}.attention.self.key.bias": ((128,), "same", "same", "same", "split_in"),
    f"{L}.attention.self.value.weight": ((128, 512), "transpose", "transpose", "transpose", "split_out"),
    f"{L}.attention.output.dense.weight": ((128, 128), "transpose", "transpose", "transpose", "split_in"),
    f"{L}.attention.output.dense.bias": ((128,), "same", "same", "same", "same"),
    f"{L}.intermediate.dense.weight": ((512, 128), "transpose", "transpose", "transpose", "transpose"),
    f"{L}.output.dense.weight": ((128, 512), "transpose", "transpose", "transpose", "transpose"),
    f"{L}.output.bottleneck.dense.weight": ((512, 128), "transpose", "transpose", "transpose", "transpose"),
    f"{L}.output.bottleneck.LayerNorm.weight": ((512,), "same", "same", "same", "same"),
    f"{L}.bottleneck.input.dense.weight": ((128, 512), "transpose", "transpose", "transpose", "transpose"),
    f"{L}.bottleneck.attention.LayerNorm.weight": ((128,), "same", "same", "same", "same"),
    f"{L}.ffn.2.intermediate.dense.bias": ((512,), "same", "same", "same", "same"),
    "pooler.dense.weight": ((512, 512), "transpose", "transpose", "transpose", "transpose"),
}


def zoo(name: str, head: str = BASE, **overrides: Any) -> dict[str, Tensor]:
    return expand(MobileBertConfig.from_zoo(name, **overrides), head)


@pytest.mark.parametrize(
    ("name", "head", "overrides", "tensors", "parameters"),
    [
        ("mobilebert", BASE, {}, 1111, 24_581_888),
        ("mobilebert", BASE, {"classifier_activation": True}, 1113, 24_844_544),
        ("mobilebert", CLASSIFIER, {"num_labels": 3}, 1113, 24_581_888 + 3 * 513),
        ("mobilebert-tiny", BASE, {}, 7 + 24 * (46 - 4 - 12), 15_485_696),
        ("ib-bert-large", BASE, {}, 2 + 7 + 24 * (46 - 4 - 18), 294_205_184 + 512 * 513),
        ("ib-bert-large", BASE, {"classifier_activation": False}, 7 + 24 * 24, 294_205_184),
    ],
)
def test_counts(name: str, head: str, overrides: dict[str, Any], tensors: int, parameters: int) -> None:
    found = zoo(name, head, **overrides)
    assert (len(found), count_parameters(found)) == (tensors, parameters)
    assert parameters == sum(math.prod(tensor.shape) for tensor in found.values())


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module[1])
def test_names(module: Module) -> None:
    parts, *stems = module
    tensors = zoo("mobilebert", classifier_activation=True)
    for part in parts:
        canonical, *foreign = (
            f"{stem}{separator}{last}" if last else stem
            for stem, last, separator in zip(stems, part, ".///", strict=True)
        )
        assert [tensors[canonical].dialects[dialect].name for dialect in DIALECTS] == foreign
        assert tensors[canonical].module == stems[0]


def test_the_names_above_are_all_names_of_a_layer() -> None:
    spelt = {f"{module[1]}.{part[0]}" for module in MODULES for part in module[0]}
    tensors = zoo("mobilebert", classifier_activation=True)
    others = ("encoder.layer.0.", *(f"encoder.layer.{n}." for n in range(2, 24)), f"{L}.ffn.0.", f"{L}.ffn.1.")
    assert spelt == {name for name in tensors if not name.startswith(others)}


@pytest.mark.parametrize("module", NORM_MODULES, ids=lambda module: module[0])
def test_layer_norm_is_gamma_and_beta_and_no_fake(module: tuple[str, str, str, str]) -> None:
    tensors = zoo("mobilebert", normalization_type="layer_norm")
    stems = (module[0], module[1], module[2].replace("Fake", ""), module[3])
    for part in LAYER_NORM:
        canonical, *foreign = (f"{stem}{dot}{last}" for stem, last, dot in zip(stems, part, ".///", strict=True))
        assert [tensors[canonical].dialects[dialect].name for dialect in DIALECTS] == foreign
        assert tensors[canonical].keras.name == part[1]


def test_the_teacher_says_layer_norm() -> None:
    names = [tensor.dialects["tf1"].name for tensor in zoo("ib-bert-large").values()]
    assert "bert/encoder/layer_23/output/LayerNorm/gamma" in names
    assert not any("Fake" in name for name in names)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_layouts(name: str) -> None:
    tensor = zoo("mobilebert", classifier_activation=True)[name]
    layouts = (tensor.keras.layout, *(tensor.dialects[dialect].layout for dialect in DIALECTS))
    assert (tensor.shape, *layouts) == SHAPES[name]


@pytest.mark.parametrize(
    ("name", "query", "value"),
    [
        ("mobilebert", (128, 128), (128, 512)),
        ("mobilebert-tiny", (128, 128), (128, 128)),
        ("ib-bert-large", (1024, 512), (1024, 512)),
    ],
)
def test_attention_widths(name: str, query: tuple[int, int], value: tuple[int, int]) -> None:
    tensors = zoo(name)
    attention = "encoder.layer.0.attention.self"
    assert tensors[f"{attention}.query.weight"].shape == tensors[f"{attention}.key.weight"].shape == query
    assert tensors[f"{attention}.value.weight"].shape == value


@pytest.mark.parametrize(
    ("overrides", "absent", "present"),
    [
        ({}, "pooler", "bottleneck.attention"),
        ({"classifier_activation": True}, "nothing", "pooler.dense"),
        ({"use_bottleneck": False}, "bottleneck", "attention.self"),
        ({"key_query_shared_bottleneck": False}, "bottleneck.attention", "bottleneck.input"),
        ({"num_feedforward_networks": 1}, "ffn.0", "intermediate"),
        ({"num_feedforward_networks": 2}, "ffn.1", "ffn.0"),
        ({"num_hidden_layers": 1}, "layer.1.", "layer.0."),
    ],
)
def test_what_a_configuration_has(overrides: dict[str, Any], absent: str, present: str) -> None:
    names = zoo("mobilebert", **overrides)
    assert not any(absent in name for name in names)
    assert any(present in name for name in names)


def test_trigram_decides_the_width_of_the_embedding_transformation() -> None:
    name = "embeddings.embedding_transformation.weight"
    assert zoo("mobilebert", trigram_input=False)[name].shape == (512, 128)


def test_a_head_has_the_base_model_under_its_root() -> None:
    base, head = zoo("mobilebert"), zoo("mobilebert", CLASSIFIER, num_labels=3)
    assert {f"mobilebert.{name}" for name in base} == set(head) - {"classifier.weight", "classifier.bias"}
    assert all(head[f"mobilebert.{name}"].dialects == tensor.dialects for name, tensor in base.items())
    assert head["classifier.weight"].shape == (3, 512) and head["classifier.bias"].shape == (3,)
    assert head["classifier.weight"].dialects["h5"].name == "classifier/kernel"
    tf1 = [head[f"classifier.{part}"].dialects["tf1"] for part in ("weight", "bias")]
    assert tf1 == [Foreign("output_weights", "same"), Foreign("output_bias", "same")]


@pytest.mark.parametrize("head", ARCHITECTURES)
@pytest.mark.parametrize("name", ZOO)
def test_names_are_unique_in_each_dialect(name: str, head: str) -> None:
    tensors = zoo(name, head)
    for dialect in DIALECTS:
        names = [tensor.dialects[dialect].name for tensor in tensors.values() if dialect in tensor.dialects]
        assert len(set(names)) == len(names)


# canonical name -> shape, and name and layout in the Keras twin, h5 and TF1 (facts of Google's and transformers' files)
P, S = "cls.predictions", "seq_relationship___cls/seq_relationship"
PREDICTIONS = "predictions___cls/predictions"
HEAD_TENSORS: dict[str, tuple[Any, ...]] = {
    f"{P}.bias": ((30522,), ("bias", "same"), (f"{PREDICTIONS}/bias", "same"), ("cls/predictions/output_bias", "same")),
    f"{P}.transform.dense.weight": (
        (512, 512),
        ("kernel", "transpose"),
        (f"{PREDICTIONS}/transform/dense/kernel", "transpose"),
        ("cls/predictions/transform/dense/kernel", "transpose"),
    ),
    f"{P}.transform.LayerNorm.weight": (
        (512,),
        ("gamma", "same"),
        (f"{PREDICTIONS}/transform/LayerNorm/gamma", "same"),
        ("cls/predictions/transform/LayerNorm/gamma", "same"),
    ),
    f"{P}.dense.weight": (
        (384, 30522),
        ("kernel", "same"),
        (f"{PREDICTIONS}/dense/weight", "same"),
        ("cls/predictions/extra_output_weights", "transpose"),
    ),
    f"{P}.decoder.weight": ((30522, 128), ("kernel", "same"), (f"{PREDICTIONS}/decoder/weight", "same"), None),
    "cls.seq_relationship.weight": (
        (2, 512),
        ("kernel", "transpose"),
        (f"{S}/kernel", "transpose"),
        ("cls/seq_relationship/output_weights", "same"),
    ),
    "cls.seq_relationship.bias": (
        (2,),
        ("bias", "same"),
        (f"{S}/bias", "same"),
        ("cls/seq_relationship/output_bias", "same"),
    ),
    "qa_outputs.weight": (
        (2, 512),
        ("kernel", "transpose"),
        ("qa_outputs/kernel", "transpose"),
        ("cls/squad/output_weights", "same"),
    ),
}


@pytest.mark.parametrize("name", HEAD_TENSORS)
def test_heads(name: str) -> None:
    head = "MobileBertForQuestionAnswering" if name.startswith("qa") else "MobileBertForPreTraining"
    tensor = zoo("mobilebert", head, tie_word_embeddings=False)[name]
    shape, *places = HEAD_TENSORS[name]
    found = [tensor.keras, tensor.dialects["h5"], tensor.dialects.get("tf1")]
    assert (tensor.shape, found) == (shape, [place and Foreign(*place) for place in places])


@pytest.mark.parametrize(
    ("head", "overrides", "tensors", "parameters"),
    [
        ("ForPreTraining", {}, 1119, 36_597_564),  # as many variables as Google's checkpoint
        ("ForPreTraining", {"classifier_activation": True}, 1121, 36_860_220),
        ("ForPreTraining", {"classifier_activation": True, "tie_word_embeddings": False}, 1122, 36_860_220 + 30522 * 128),
        ("ForMaskedLM", {}, 1117, 36_597_564 - 2 * 513),
        ("ForMultipleChoice", {"num_labels": 5}, 1113, 24_581_888 + 513),
        ("ForQuestionAnswering", {"num_labels": 5}, 1113, 24_581_888 + 2 * 513),
        ("ForTokenClassification", {"num_labels": 9, "classifier_activation": True}, 1113, 24_581_888 + 9 * 513),
    ],
)
def test_counts_of_heads(head: str, overrides: dict[str, Any], tensors: int, parameters: int) -> None:
    found = zoo("mobilebert", f"MobileBert{head}", **overrides)
    assert (len(found), count_parameters(found)) == (tensors, parameters)


@pytest.mark.parametrize(
    ("layout", "shape", "there"),
    [
        ("same", (12,), (12,)),
        ("same", (12, 5), (12, 5)),
        ("transpose", (12, 5), (5, 12)),
        ("transpose", (0, 5), (5, 0)),
        ("split_out", (12, 5), (5, 4, 3)),
        ("split_in", (5, 12), (4, 3, 5)),
        ("split_in", (12,), (4, 3)),
    ],
)
def test_layouts_have_inverses(layout: Any, shape: tuple[int, ...], there: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    moved = to_layout(array, layout, heads=4)
    assert moved.shape == there == layout_shape(shape, layout, heads=4) and moved.flags.c_contiguous
    back = from_layout(moved, layout)
    assert back.flags.c_contiguous and back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_heads_are_split_as_the_garden_does() -> None:
    """query[i, n, d] multiplies input i for head n; context[n, d, o] multiplies what head n made."""
    weight = np.arange(60).reshape(12, 5)
    assert to_layout(weight, "split_out", heads=4)[2, 3, 1] == weight[3 * 3 + 1, 2]
    assert to_layout(weight.T, "split_in", heads=4)[3, 1, 2] == weight.T[2, 3 * 3 + 1]


def test_the_dialects_of_a_model_invert() -> None:
    config = MobileBertConfig(
        num_hidden_layers=1,
        vocab_size=11,
        hidden_size=8,
        embedding_size=4,
        intra_bottleneck_size=4,
        num_attention_heads=2,
    )
    for tensor in expand(config, CLASSIFIER).values():
        array = np.random.default_rng(0).normal(size=tensor.shape)
        for foreign in (tensor.keras, *tensor.dialects.values()):
            np.testing.assert_array_equal(from_layout(to_layout(array, foreign.layout, 2), foreign.layout), array)


@pytest.mark.parametrize(
    "overrides",
    [
        {"num_hidden_layers": 128, "hidden_size": 16_384, "intra_bottleneck_size": 16_384},
        {"vocab_size": 1 << 22, "embedding_size": 1024, "hidden_size": 1024},
    ],
)
def test_too_many_parameters_are_refused(overrides: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="4,000,000,000"):
        zoo("mobilebert", CLASSIFIER, **overrides)


@pytest.mark.parametrize(
    ("architectures", "head"),
    [
        (None, None),
        ([], None),
        ([BASE], BASE),
        ([CLASSIFIER], CLASSIFIER),
        ([f"TF{CLASSIFIER}"], CLASSIFIER),
        (["SomethingElse", CLASSIFIER], CLASSIFIER),
        (["SomethingElse"], None),
    ],
)
def test_the_class_that_a_configuration_names(architectures: list[str] | None, head: str | None) -> None:
    assert named_architecture(MobileBertConfig(architectures=architectures)) == head


def test_what_a_file_may_hold_beyond_the_encoder() -> None:
    """The pooler and all heads, with a decoder of its own; nothing that every model has."""
    encoder = {name for name in expand(MobileBertConfig(), "MobileBertForMaskedLM") if not name.startswith("cls.")}
    heads = {name for head in ARCHITECTURES for name in expand(MobileBertConfig(tie_word_embeddings=False), head) if head != BASE}
    assert set(expand_optional(MobileBertConfig())) == heads - encoder

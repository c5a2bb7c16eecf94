"""Folded models against the models they were folded from, both in numpy: relative L2 1e-12 in float64.

Some random models enlarge rounding so much that even the unfolded model in float64 is not within 1e-12 of the exact one. The exact one
is therefore the unfolded model in long double, and folding may be as far from it as 1e-12 and AMPLIFIED times the distance of the
unfolded model in float64 together. Where long double is float64, as with MSVC, nothing is added to the 1e-12.
"""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mobilebert_common.errors import ConfigError
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.folding import BOUND, Folded, fold
from support.configs import BASE, SIZES, make_config, random_weights
from support.reference import ACTIVATIONS, distance, fold_model, random_inputs, run, run_folded, scaled_weights

TOLERANCE = 1e-12
AMPLIFIED = 4

FLAGS = ("trigram_input", "use_bottleneck", "use_bottleneck_attention", "key_query_shared_bottleneck")
CHANGES = st.fixed_dictionaries(
    {
        **dict.fromkeys((*FLAGS, "classifier_activation", "tie_word_embeddings"), st.booleans()),
        "normalization_type": st.sampled_from(["no_norm", "no_norm", "no_norm", "layer_norm"]),
        "hidden_act": st.sampled_from(sorted(ACTIVATIONS)),
        "num_hidden_layers": st.integers(1, 3),
        "num_feedforward_networks": st.integers(1, 4),
        "num_attention_heads": st.sampled_from([1, 2, 4]),
        "embedding_size": st.sampled_from([8, SIZES["hidden_size"]]),
        "intra_bottleneck_size": st.sampled_from([16, SIZES["hidden_size"]]),
        "type_vocab_size": st.integers(1, 3),
        "layer_norm_eps": st.sampled_from([1e-12, 1e-3]),
    }
)
INPUTS = st.fixed_dictionaries(
    {
        "mask": st.sampled_from([None, "rows", "queries"]),
        "heads": st.sampled_from([None, "model", "layers"]),
        **dict.fromkeys(("types", "positions", "embeds"), st.booleans()),
    }
)
BOUNDS = st.sampled_from([1.0, 2.0, BOUND])
SEEDS = st.integers(0, 2**32 - 1)
# without shrinking, which takes minutes: the configuration of a failure says enough
thoroughly = settings(max_examples=250, deadline=None, derandomize=True, phases=[Phase.generate])


@thoroughly
@given(CHANGES, st.sampled_from(list(ARCHITECTURES)), st.booleans(), BOUNDS, INPUTS, SEEDS)
def test_folding_changes_no_output(
    changes: dict[str, Any], architecture: str, compose: bool, bound: float, kinds: dict[str, Any], seed: int
) -> None:
    config = make_config(**changes)
    weights = scaled_weights(config, architecture, seed)
    inputs = random_inputs(config, architecture, seed, **kinds)
    exact = run(config, architecture, {name: array.astype(np.longdouble) for name, array in weights.items()}, **inputs)
    unfolded = run(config, architecture, weights, **inputs)
    folded = fold_model(config, architecture, weights, compose=compose, bound=bound)
    found = run_folded(folded, architecture, weights, **inputs)
    assert list(found) == list(unfolded)
    assert distance(exact, found) <= AMPLIFIED * distance(exact, unfolded) + TOLERANCE


@settings(thoroughly, max_examples=60)
@given(CHANGES, st.booleans(), BOUNDS, SEEDS)
def test_only_channels_written_out_depend_on_values(changes: dict[str, Any], compose: bool, bound: float, seed: int) -> None:
    config = make_config(**changes)
    scaled = fold(config, encoder(scaled_weights(config, BASE, seed)), compose=compose, bound=bound)
    plain = fold(config, with_norms(weights_of(config), 1.0), compose=compose, bound=bound)
    assert written_out(plain) == last_sums(plain)
    optional = {f"{name}.{part}" for name in {*written_out(scaled)} - {*last_sums(scaled)} for part in ("scale", "shift")}
    assert {name: array.shape for name, array in scaled.tensors.items() if name not in optional} == {
        name: array.shape for name, array in plain.tensors.items()
    }
    assert all(array.dtype == np.float64 for array in scaled.tensors.values())
    assert scaled.products == plain.products


def encoder(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without the pooler."""
    return {name: array for name, array in weights.items() if not name.startswith("pooler.")}


def weights_of(config: MobileBertConfig) -> dict[str, np.ndarray]:
    return encoder(random_weights(config, BASE))


def with_norms(weights: dict[str, np.ndarray], scale: float | np.ndarray) -> dict[str, np.ndarray]:
    return {
        name: np.full(array.shape, scale) if name.endswith("LayerNorm.weight") else array for name, array in weights.items()
    }


def written_out(folded: Folded) -> list[str]:
    """The sums that write channels out."""
    return [
        name.removesuffix(".scale")
        for name in folded.tensors
        if name.endswith(".scale") and not name.endswith("state.scale") and name != "embeddings.scale"
    ]


def last_sums(folded: Folded) -> list[str]:
    """The sum that ends the last stream, which has no channel left to write out in a layer_norm model."""
    config = folded.config
    last = "output" if config.use_bottleneck else f"ffn.{config.num_feedforward_networks - 1}.output"
    return [] if config.normalization_type == "layer_norm" else [f"layer.{config.num_hidden_layers - 1}.{last}"]


def test_streams_of_24_layers_stay_within_the_bound() -> None:
    config = make_config(num_hidden_layers=24, intra_bottleneck_size=32)
    channels = np.geomspace(0.04, 4, 32)
    weights = with_norms(random_weights(config, BASE), channels)
    folded = fold(config, encoder(weights), bound=1000)
    inputs = random_inputs(config, BASE, 0)
    assert distance(run(config, BASE, weights, **inputs), run_folded(folded, BASE, weights, **inputs)) <= TOLERANCE
    scales = np.stack([folded.tensors[f"layer.{number}.state.scale"] for number in range(23)])
    assert scales.min() >= 1 / 1000 and scales.max() <= 1000
    written = np.stack([folded.tensors.get(f"layer.{number}.output.scale", np.ones(32)) for number in range(23)]) != 1
    # 0.04 leaves the bound in every third layer, 4 in every fifth, and 1 never does
    assert np.flatnonzero(written[:, 0]).tolist() == [2, 5, 8, 11, 14, 17, 20]
    assert np.flatnonzero(written[:, -1]).tolist() == [4, 9, 14, 19]
    assert not written[:, np.abs(np.log(channels)).argmin()].any()


@pytest.mark.parametrize("use_bottleneck", [True, False])
def test_no_scale_leaves_the_bound_at_any_point(use_bottleneck: bool) -> None:
    """Follows the scales of both streams through the sums of the folded model, with and without a bottleneck."""
    config = make_config(num_hidden_layers=4, use_bottleneck=use_bottleneck)
    weights = encoder(scaled_weights(config, BASE, 0))
    bound = 4.0
    folded, base = fold(config, weights, bound=bound), "encoder.layer"
    stream = np.ones(config.hidden_size)
    ffns = config.num_feedforward_networks
    for number in range(config.num_hidden_layers):
        last = number == config.num_hidden_layers - 1
        at, old = f"layer.{number}", f"{base}.{number}"
        inner = np.ones(config.true_hidden_size) if use_bottleneck else stream
        sums = [("context", "attention.output"), *((f"ffn.{n}.output", f"ffn.{n}.output") for n in range(ffns - 1))]
        for place, (new, module) in enumerate([*sums, (f"ffn.{ffns - 1}.output", "output")]):
            keep = None if place < ffns else True if use_bottleneck else False if last else None
            inner = follow(folded.tensors, f"{at}.{new}", inner, weights[f"{old}.{module}.LayerNorm.weight"], bound, keep)
        stream = inner
        if use_bottleneck:
            norm = weights[f"{old}.output.bottleneck.LayerNorm.weight"]
            before = np.ones(config.hidden_size) if number == 0 else folded.tensors[f"layer.{number - 1}.state.scale"]
            stream = follow(folded.tensors, f"{at}.output", before, norm, bound, False if last else None)
        np.testing.assert_array_equal(folded.tensors.get(f"{at}.state.scale", 1.0), stream)


def follow(table: dict[str, np.ndarray], name: str, scale: np.ndarray, norm: np.ndarray, bound: float, keep: bool | None) -> np.ndarray:
    """A stream's scales after a sum, from those before it: checks which channels the sum writes out."""
    scale = scale * norm
    outside = (np.abs(scale) < 1 / bound) | (np.abs(scale) > bound) | (keep is False)
    if keep:
        assert f"{name}.scale" not in table
        return scale
    assert outside.any(), "nothing to see here: choose other weights"
    np.testing.assert_array_equal(table[f"{name}.scale"], np.where(outside, scale, 1.0))
    return np.where(outside, 1.0, scale)


def test_a_channel_that_is_zeroed_is_written_out_alone() -> None:
    config = make_config()
    weights = with_norms(weights_of(config), 2.0)
    module = "encoder.layer.0.output.bottleneck"
    weights[f"{module}.LayerNorm.weight"][3] = 0.0
    table = fold(config, weights).tensors
    others = np.arange(config.hidden_size) != 3
    assert table["layer.0.output.scale"].tolist() == np.where(others, 1.0, 0.0).tolist()
    assert table["layer.0.output.shift"].tolist() == np.where(others, 0.0, weights[f"{module}.LayerNorm.bias"]).tolist()
    assert not table["layer.0.output.weight"][3].any()
    assert table["layer.0.state.scale"].tolist() == np.where(others, 2.0, 1.0).tolist()


def test_only_the_last_stream_is_written_out_where_it_ends() -> None:
    config = make_config(num_hidden_layers=1)
    folded = fold(config, with_norms(weights_of(config), 0.0))
    assert written_out(folded) == ["layer.0.context", *(f"layer.0.ffn.{n}.output" for n in range(3)), "layer.0.output"]
    assert written_out(fold(config, with_norms(weights_of(config), 1.0))) == ["layer.0.output"]


# v 40, e 8, h 32, k 16, i 24, p 12, 4 heads; {folded name: shape}, as the module lists them
EMBEDDINGS = {
    "embeddings.word_embeddings.weight": (40, 8),
    "embeddings.embedding_transformation.weight": (32, 24),
    "embeddings.position_embeddings.weight": (12, 32),
    "embeddings.token_type_embeddings.weight": (2, 32),
}
FFN = {
    "layer.0.ffn.0.intermediate.weight": (24, 16),
    "layer.0.ffn.0.intermediate.bias": (24,),
    "layer.0.ffn.0.output.weight": (16, 24),
}
LAST = {"layer.0.output.scale": (32,), "layer.0.output.shift": (32,)}
SHARED = {
    "layer.0.input.weight": (48, 32),
    "layer.0.input.bias": (48,),
    "layer.0.attention.weight": (32, 16),
    "layer.0.attention.bias": (32,),
}
WIDE = {"layer.0.input.weight": (64, 32), "layer.0.input.bias": (64,)}
NARROW = {
    "layer.0.input.weight": (16, 32),
    "layer.0.input.bias": (16,),
    "layer.0.attention.weight": (48, 16),
    "layer.0.attention.bias": (48,),
}
OUTPUTS = {"layer.0.context.weight": (16, 16), **FFN, "layer.0.output.weight": (32, 16), **LAST}
NORMS = {f"layer.0.{name}.norm.{part}": (16,) for name in ("context", "ffn.0.output") for part in ("weight", "bias")}
NORMS |= {f"{name}.norm.{part}": (32,) for name in ("embeddings", "layer.0.output") for part in ("weight", "bias")}
NORMS |= {"layer.0.context.bias": (16,), "layer.0.ffn.0.output.bias": (16,), "layer.0.output.bias": (32,)}
PART_NORMS = {f"layer.0.{name}.norm.{part}": (16,) for name in ("residual", "shared") for part in ("weight", "bias")}
LAYER_NORM = {"normalization_type": "layer_norm"}
UNSHARED = {"key_query_shared_bottleneck": False}
TABLES: list[tuple[dict[str, Any], bool, dict[str, tuple[int, ...]]]] = [
    ({}, False, EMBEDDINGS | SHARED | OUTPUTS),
    ({}, True, EMBEDDINGS | WIDE | OUTPUTS),
    ({"use_bottleneck_attention": True}, True, EMBEDDINGS | NARROW | OUTPUTS),
    (UNSHARED, False, EMBEDDINGS | WIDE | OUTPUTS),
    (
        LAYER_NORM,
        True,
        {name: shape for name, shape in (EMBEDDINGS | SHARED | OUTPUTS | NORMS | PART_NORMS).items() if name not in LAST},
    ),
    (
        {"use_bottleneck": False, "intermediate_size": 32, "trigram_input": False, "embedding_size": 32},
        False,
        {
            "embeddings.word_embeddings.weight": (40, 32),
            "embeddings.scale": (32,),
            "embeddings.position_embeddings.weight": (12, 32),
            "embeddings.token_type_embeddings.weight": (2, 32),
            "layer.0.input.weight": (96, 32),
            "layer.0.input.bias": (96,),
            "layer.0.context.weight": (32, 32),
            **{name: (32,) * len(shape) for name, shape in FFN.items()},
            "layer.0.ffn.0.output.scale": (32,),
            "layer.0.ffn.0.output.shift": (32,),
        },
    ),
]


@pytest.mark.parametrize(("changes", "compose", "expected"), TABLES)
def test_tensors_of_a_folded_model(changes: dict[str, Any], compose: bool, expected: dict[str, tuple[int, ...]]) -> None:
    config = make_config(num_hidden_layers=1, num_feedforward_networks=1, **changes)
    folded = fold(config, weights_of(config), compose=compose)
    assert {name: array.shape for name, array in folded.tensors.items()} == expected


def test_what_drops_out_and_what_moves() -> None:
    config = make_config()
    weights = weights_of(config)
    changed = {name: array + 1 if name.endswith("key.bias") else array for name, array in weights.items()}
    first, second = fold(config, weights).tensors, fold(config, changed).tensors
    assert all(np.array_equal(first[name], second[name]) for name in first)
    for number in range(config.num_hidden_layers):
        assert first[f"layer.{number}.input.bias"].all()
        assert not first[f"layer.{number}.attention.bias"][16:].any()  # the key's
        assert first[f"layer.{number}.attention.bias"][:16].all()
    assert not first["embeddings.token_type_embeddings.weight"][0].any()
    words = "embeddings.word_embeddings.weight"  # which the masked-LM head multiplies by
    assert np.array_equal(first[words], weights[words])


def test_a_folded_model_shares_nothing_with_the_model() -> None:
    config = make_config(normalization_type="layer_norm")
    weights = weights_of(config)
    kept = {name: array.copy() for name, array in weights.items()}
    folded = fold(config, weights)
    assert folded.config == config and folded.config is not config
    for array in folded.tensors.values():
        array += 1
    assert all(np.array_equal(weights[name], kept[name]) for name in kept)


def test_low_precision_is_folded_in_float64() -> None:
    config = make_config()
    weights = {name: array.astype(ml_dtypes.bfloat16) for name, array in weights_of(config).items()}
    exact = {name: array.astype(np.float64) for name, array in weights.items()}
    first, second = fold(config, weights).tensors, fold(config, exact).tensors
    assert all(np.array_equal(first[name], second[name]) and first[name].dtype == np.float64 for name in first)


def test_all_that_is_wrong_with_the_tensors_is_one_error() -> None:
    config = make_config()
    weights = weights_of(config)
    norm, words = "encoder.layer.1.output.LayerNorm", "embeddings.word_embeddings.weight"
    del weights[f"{norm}.weight"]
    weights["adapter.weight"] = np.zeros(3)
    weights[words] = weights[words].T
    weights["embeddings.LayerNorm.bias"] = np.zeros(32, np.int64)
    weights[f"{norm}.bias"][2] = np.nan
    with pytest.raises(ConfigError) as caught:
        fold(config, weights)
    assert str(caught.value).split("\n  ") == [
        "the tensors do not fit the configuration:",
        f"{norm}.weight is missing",
        "adapter.weight is unexpected",
        f"{words} has shape [8, 40] where the configuration expects [40, 8]",
        "embeddings.LayerNorm.bias holds int64, not floating-point numbers",
        f"{norm}.bias holds NaN or infinity",
    ]


@pytest.mark.parametrize("bound", [0.5, -1.0, 0, float("nan"), float("inf")])
def test_a_bound_that_leaves_no_scale_or_all_is_refused(bound: float) -> None:
    config = make_config()
    with pytest.raises(ConfigError, match="bound must be at least 1 and finite"):
        fold(config, weights_of(config), bound=bound)

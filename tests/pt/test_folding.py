"""Models of PyTorch, in float64, against their folded form and against the reference that folding is tested with, both in numpy."""

import pytest

import mobilebert_pt.twin
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_pt import heads
from support.configs import CONFIGS, make_config
from support.reference import distance, fold_model, random_inputs, run, run_folded, scaled_weights

TOLERANCE = 1e-12


@pytest.mark.parametrize(("number", "architecture"), list(enumerate(ARCHITECTURES)))
def test_folding_a_model(number: int, architecture: str) -> None:
    """Each architecture in the default configuration and in an eighth of the others; tests/common has every combination."""
    names = ["mobilebert", *list(CONFIGS)[number :: len(ARCHITECTURES)]]
    for seed, (name, changes) in enumerate((name, CONFIGS[name]) for name in names):
        config = make_config(**changes)
        model = getattr(heads, architecture)(config).double()
        mobilebert_pt.twin.set_tensors(model, scaled_weights(config, architecture, seed))
        weights = mobilebert_pt.twin.tensors(model)
        mask, masked_heads = ("queries", "layers") if seed % 2 else ("rows", "model")
        inputs = random_inputs(config, architecture, seed, mask=mask, heads=masked_heads)
        expected = mobilebert_pt.twin.outputs(model, inputs, output_hidden_states=True, output_attentions=True)
        apart = distance(expected, run(config, architecture, weights, **inputs))
        assert apart <= TOLERANCE, name
        folded = fold_model(config, architecture, weights, compose=bool(seed % 2))
        apart = distance(expected, run_folded(folded, architecture, weights, **inputs))
        assert apart <= TOLERANCE, name

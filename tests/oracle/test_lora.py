"""Training with LoRA adapters, which PEFT makes: only they and the head are trained, and they end up in the weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mobilebert_common.tasks.examples import Examples
from mobilebert_common.training.recipe import Recipe
from mobilebert_common.training.twin import State
from mobilebert_pt import MobileBertConfig, MobileBertForSequenceClassification, twin

from .models import SIZES

RECIPE = Recipe(learning_rate=1e-2, batch_size=4, max_steps=10, lora=2, seed=3)
HEAD = {"classifier.weight", "classifier.bias"}


@pytest.fixture
def model() -> MobileBertForSequenceClassification:
    torch.manual_seed(0)
    sizes = {**SIZES, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return MobileBertForSequenceClassification(MobileBertConfig(**sizes, initializer_range=0.1)).double().eval()


@pytest.fixture
def examples() -> Examples:
    generator = np.random.default_rng(0)
    ids = [generator.integers(1, 20, length).tolist() for length in (3, 7, 4, 6, 5, 7, 3, 6, 5)]
    columns = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids], "labels": generator.integers(0, 2, 9)}
    return Examples(columns, {}, range(9))


def logits(model: MobileBertForSequenceClassification, examples: Examples) -> np.ndarray:
    return next(iter(twin.infer(model, examples.without(["labels"]).ordered(9))))["logits"]


def copied(model: MobileBertForSequenceClassification) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in twin.tensors(model).items()}


def test_adapters_and_head_are_trained_and_merged(
    model: MobileBertForSequenceClassification, examples: Examples, tmp_path: Path
) -> None:
    before, seen, losses = copied(model), [], []

    def watch(done: int, loss: float, capture: Any) -> bool:
        losses.append(loss)
        seen.append((logits(model, examples), copied(model)))
        return False

    twin.train(model, examples, RECIPE, watch)
    assert losses[-1] < losses[0]
    after = copied(model)
    assert list(after) == list(seen[-1][1]) and all(np.array_equal(after[name], seen[-1][1][name]) for name in after)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    adapted = changed - HEAD
    assert changed > HEAD and all(name.endswith(("self.query.weight", "self.value.weight")) for name in adapted)
    assert len(adapted) == 2 * model.config.num_hidden_layers
    assert all(np.linalg.matrix_rank(np.asarray(after[name] - before[name])) == 2 for name in adapted)
    np.testing.assert_allclose(logits(model, examples), seen[-1][0], rtol=1e-12)
    assert all(parameter.requires_grad for parameter in model.parameters())
    model.save_pretrained(tmp_path)
    again = twin.load(tmp_path, "MobileBertForSequenceClassification", "float64")
    np.testing.assert_array_equal(logits(again, examples), logits(model, examples))


def test_earlier_weights_are_restored(model: MobileBertForSequenceClassification, examples: Examples) -> None:
    seen = []

    def watch(done: int, loss: float, capture: Any) -> bool:
        seen.append((copied(model), logits(model, examples)))
        return done == 4

    twin.train(model, examples, RECIPE, watch)
    twin.set_tensors(model, seen[1][0])
    np.testing.assert_allclose(logits(model, examples), seen[1][1], rtol=1e-12)
    assert not np.allclose(seen[1][1], seen[3][1])


def test_adapters_go_on_bit_by_bit(model: MobileBertForSequenceClassification, examples: Examples, tmp_path: Path) -> None:
    """Interrupted twice, with dropout: the same losses, adapters, moments and merged weights."""
    model.config.hidden_dropout_prob = 0.3
    model.save_pretrained(tmp_path)
    recipe = replace(RECIPE, max_steps=6)

    def begin() -> Any:
        return twin.load(tmp_path, "MobileBertForSequenceClassification", "float32")

    def go_on(model: Any, state: State | None, last: int) -> tuple[State, list[float]]:
        losses: list[float] = []
        found: list[State] = []

        def watch(done: int, loss: float, capture: Any) -> bool:
            losses.append(loss)
            if done == last:
                state = capture()
                found.append(State(done, *({name: array.copy() for name, array in each.items()} for each in state[1:5]), {}))
            return done == last

        twin.train(model, examples, recipe, watch, state)
        return found[0], losses

    whole, state, losses = begin(), None, []
    expected, expected_losses = go_on(whole, None, 6)
    for last in (1, 3, 6):
        continued = begin()
        if state is not None:
            twin.set_tensors(continued, state.weights)  # as it is done before adapters are added
        state, more = go_on(continued, state, last)
        losses += more
    assert losses == expected_losses and state is not None and state.adapters
    for title in ("weights", "exp_avg", "exp_avg_sq", "adapters"):
        ours, theirs = getattr(state, title), getattr(expected, title)
        assert set(ours) == set(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in theirs), title
    assert all(np.array_equal(copied(whole)[name], array) for name, array in copied(continued).items())

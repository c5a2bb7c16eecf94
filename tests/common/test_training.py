import math
import re
from typing import Any

import numpy as np
import pytest

from mobilebert_common.errors import ConfigError, DataError, InputError
from mobilebert_common.training.plan import BUCKET, Plan
from mobilebert_common.training.recipe import Recipe
from mobilebert_common.training.steps import make_step, weigh
from support.configs import CLASSIFIER, make_config


def make_plan(examples: int, batch_size: int = 4, **options: Any) -> Plan:
    lengths = np.random.default_rng(0).integers(3, 100, examples).tolist()
    return Plan(lengths, Recipe(**{"learning_rate": 1.0, "epochs": 3, "batch_size": batch_size, **options}))


@pytest.mark.parametrize("examples", [1, 3, 4, 5, 130, 4 * BUCKET * 2 + 7])
def test_an_epoch_sees_each_example_once(examples: int) -> None:
    plan = make_plan(examples)
    batches = plan.epoch(1)
    assert len(batches) == plan.steps_per_epoch == -(-examples // 4) and plan.steps == 3 * len(batches)
    assert sorted(np.concatenate(batches).tolist()) == list(range(examples))
    sizes = sorted(map(len, batches))
    assert sizes[1:] == [4] * (len(sizes) - 1) and sizes[0] == (examples % 4 or 4)


def test_the_plan_written_out() -> None:
    """Buckets are sorted by length, stably; how numpy sorts otherwise depends on the processor."""
    size, seed, epoch, examples = 3, 7, 2, 3 * BUCKET * 2 + 40
    lengths = np.random.default_rng(1).integers(5, 8, examples).tolist()
    generator = np.random.default_rng([seed, epoch])
    order, expected = generator.permutation(examples).tolist(), []
    for start in range(0, examples, 96):
        bucket = sorted(order[start : start + 96], key=lambda row: lengths[row])
        expected += [bucket[first : first + size] for first in range(0, len(bucket), size)]
    expected = [expected[place] for place in generator.permutation(len(expected))]
    plan = Plan(lengths, Recipe(learning_rate=1.0, epochs=3, batch_size=size, seed=seed))
    assert [batch.tolist() for batch in plan.epoch(epoch)] == expected


def test_each_step_has_random_numbers_of_its_own() -> None:
    places = [(seed, epoch, step) for seed in range(2) for epoch in range(2) for step in range(2)]
    drawn = [make_plan(8, seed=seed).generator(epoch, step).random() for seed, epoch, step in places]
    assert drawn == [np.random.default_rng(place).random() for place in places]


def test_the_recipe_of_bert() -> None:
    recipe = Recipe(learning_rate=5e-5, epochs=3, batch_size=32)
    assert recipe == Recipe(5e-5) and (recipe.weight_decay, recipe.warmup, recipe.clip, recipe.seed) == (0.01, 0.1, 1.0, 0)
    assert recipe.epsilon == 1e-6


def test_epochs_or_steps() -> None:
    """The schedule and the batches end at max_steps, after another epoch if need be."""
    for steps in (1, 3, 13, 14):
        plan = make_plan(50, max_steps=steps)  # 13 steps in an epoch
        found = [rows.tolist() for rows, _ in plan.batches()]
        assert plan.steps == len(found) == steps
        assert found == [rows.tolist() for epoch in range(2) for rows in plan.epoch(epoch)][:steps]
    plan = make_plan(50)
    drawn = [generator.random() for _, generator in plan.batches()]
    assert drawn == [plan.generator(epoch, step).random() for epoch in range(3) for step in range(13)]


def test_no_examples() -> None:
    with pytest.raises(DataError, match="there are no examples to train on"):
        make_plan(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be more than 0, and finite, not 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be more than 0, and finite, not nan"),
        ({"epsilon": 0.0}, "epsilon must be more than 0"),
        ({"clip": math.inf}, "clip must be more than 0, and finite, not inf"),
        ({"epochs": 0}, "epochs must be a whole number from 1, not 0"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1"),
        ({"max_steps": 0}, "max_steps must be a whole number from 1"),
        ({"accumulation": 1.5}, "accumulation must be a whole number from 1, not 1.5"),
        ({"lora": 0}, "lora must be a whole number from 1"),
        ({"weight_decay": -0.1}, "weight_decay must be from 0, and finite"),
        ({"warmup": 1.1}, "warmup must be from 0 to 1"),
        ({"class_weights": (1.0, -1.0)}, "the weight of class 1 must be from 0"),
    ],
)
def test_recipes_that_cannot_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        Recipe(**{"learning_rate": 1e-3, **change})


LABELS = {"labels": np.array([[0, 2, -100], [1, -100, -100]])}


def test_each_label_weighs_the_same_whatever_the_part() -> None:
    step = make_step({"input_ids": np.ones((2, 3), int), **LABELS}, make_config(), "MobileBertForTokenClassification")
    assert list(step.inputs) == ["input_ids"] and list(step.labels) == ["labels"]
    np.testing.assert_allclose(step.weights["labels"], np.array([[1, 1, 0], [1, 0, 0]]) / 3)
    parts = list(step.parts(3))
    assert [part.weights["labels"].tolist() for part in parts] == [[[1 / 3, 1 / 3, 0.0]], [[1 / 3, 0.0, 0.0]]]


def test_several_processes_have_as_many_examples_and_each_example_counts_once() -> None:
    labels = np.array([2, 0, 1, 2, 1])
    step = make_step({"input_ids": np.arange(10).reshape(5, 2), "labels": labels}, make_config(), CLASSIFIER)
    shares = [step.share(index, 3) for index in range(3)]
    assert [share.labels["labels"].tolist() for share in shares] == [[2, 2], [0, 1], [1, 2]]
    assert [share.weights["labels"].tolist() for share in shares] == [[0.2, 0.2], [0.2, 0.2], [0.2, 0]]
    assert [share.inputs["input_ids"].tolist() for share in shares] == [[[0, 1], [6, 7]], [[2, 3], [8, 9]], [[4, 5], [0, 1]]]
    assert step.weights["labels"].tolist() == [0.2] * 5  # as it was
    np.testing.assert_array_equal(step.share(0, 1).labels["labels"], labels)


@pytest.mark.parametrize(
    ("architecture", "label", "values", "shares"),
    [
        ("MobileBertForTokenClassification", "labels", LABELS["labels"], [[2, 5, 0], [3, 0, 0]]),
        (CLASSIFIER, "labels", np.array([[1], [2]]), [3, 5]),
        (CLASSIFIER, "labels", np.array([1.0, -100.0]), [3, 0]),
    ],
)
def test_class_weights(architecture: str, label: str, values: np.ndarray, shares: Any) -> None:
    found = weigh(label, values, 3, make_config(), architecture, (2.0, 3.0, 5.0))
    np.testing.assert_allclose(found, np.array(shares) / np.sum(shares))


def test_labels_that_do_not_count() -> None:
    answers = "MobileBertForQuestionAnswering"
    np.testing.assert_allclose(weigh("start_positions", np.array([0, 2, 3, -1]), 3, make_config(), answers), [0.5, 0.5, 0, 0])
    assert not weigh("labels", np.array([-100, -100]), 3, make_config(), CLASSIFIER).any()
    regression = make_config(num_labels=1)
    np.testing.assert_allclose(weigh("labels", np.array([-100.0, 0.5]), 3, regression, CLASSIFIER), [0.5, 0.5])
    with pytest.raises(InputError, match=r"labels must be from 0 to 2 .*found 3"):
        weigh("labels", np.array([3, 0]), 3, make_config(), CLASSIFIER, (1.0, 1.0, 1.0))


def test_a_plan_is_a_function_of_seed_and_epoch() -> None:
    def order(epoch: int, **options: Any) -> list[list[int]]:
        return [batch.tolist() for batch in make_plan(50, **options).epoch(epoch)]

    assert order(0) == order(0) and order(1, seed=5) == order(1, seed=5)
    different = [order(0), order(1), order(2), order(0, seed=1), order(1, seed=1)]
    assert len({str(batches) for batches in different}) == len(different)


def test_batches_hold_examples_of_like_length_in_random_order() -> None:
    plan = make_plan(4 * BUCKET)
    lengths = np.asarray(plan.lengths)
    batches = [lengths[batch] for batch in plan.epoch(0)]
    spread = np.mean([batch.max() - batch.min() for batch in batches])
    assert spread < 0.1 * (lengths.max() - lengths.min())
    ends = [int(batch.max()) for batch in batches]
    assert ends != sorted(ends)


@pytest.mark.parametrize(
    ("steps", "warmup", "rates"),
    [
        (10, 0.2, [0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        (4, 0.0, [1.0, 1.0, 2 / 3, 1 / 3]),
        (4, 1.0, [0.25, 0.5, 0.75, 1.0]),
        (1, 0.1, [1.0]),
    ],
)
def test_rate(steps: int, warmup: float, rates: list[float]) -> None:
    recipe = Recipe(learning_rate=3e-4, epochs=1, batch_size=1, warmup=warmup)
    assert [recipe.rate(step, steps) for step in range(steps)] == pytest.approx([3e-4 * rate for rate in rates])


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    recipe = Recipe(learning_rate=2.0, epochs=1, batch_size=1)
    rates = [recipe.rate(step, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.02) and rates[99] == rates[100] == 2.0 and rates[1000] == 0.0
    assert rates[:100] == sorted(rates[:100]) and rates[100:] == sorted(rates[100:], reverse=True)
    assert min(rates[:1000]) > 0


def test_a_recipe_cannot_be_changed() -> None:
    """Plans and models that share it would not agree any more."""
    recipe = Recipe(learning_rate=1.0, epochs=1, batch_size=1)
    with pytest.raises(AttributeError):
        recipe.seed = 1  # type: ignore[misc]

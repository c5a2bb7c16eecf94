"""Both twins' `train` against the recipe written out in numpy: AdamW with decoupled decay, a clipped norm and a rate for each step."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

import mobilebert_pt.twin
import mobilebert_tf.train
import mobilebert_tf.twin
from mobilebert_common.model.layout import from_layout
from mobilebert_common.training.plan import Plan
from mobilebert_common.training.recipe import Recipe
from support.configs import make_config
from support.twins import Pair, distance, torch_gradients

# the last batch of an epoch has one example; some gradients are longer than `clip`, others are not
RECIPE = Recipe(learning_rate=2.0**-7, epochs=2, batch_size=4, weight_decay=0.5, warmup=0.3, clip=3.0, seed=3)
TWINS = ["pt", "tf"]


class Twin(NamedTuple):
    """Where two AdamWs differ."""

    corrects_first: bool  # adds epsilon after the bias correction
    added_to_norm: float  # that it clips by
    betas: type[np.floating]  # what the bias correction takes powers of
    losses: float  # how exact the reported means are


DIFFERENCES = {"pt": Twin(True, 1e-6, np.float64, 1e-9), "tf": Twin(False, 0.0, np.float32, 1e-6)}
SMALL = {"vocab_size": 55, "num_hidden_layers": 1, "num_feedforward_networks": 1}


class Rows:
    """Nine examples of six tokens, of which none is there twice, with random labels, as `train` takes them."""

    lengths = (6,) * 9

    def __init__(self, vocabulary: int = 54) -> None:
        generator = np.random.default_rng(5)
        self.ids = 1 + generator.permutation(54).reshape(9, 6) % vocabulary
        self.labels = generator.integers(0, 3, 9)

    def batch(self, rows: Any, *_: Any) -> dict[str, np.ndarray]:
        return {"input_ids": self.ids[rows], "attention_mask": np.ones_like(self.ids[rows]), "labels": self.labels[rows]}


ROWS = Rows()


def train(pair: Pair, twin: str, recipe: Recipe = RECIPE, rows: Rows = ROWS) -> tuple[list[tuple[int, float]], dict[str, np.ndarray]]:
    """What a twin reports of its steps, and the weights it ends with, by canonical names."""
    reported: list[tuple[int, float]] = []
    if twin == "pt":
        mobilebert_pt.twin.train(pair.torch_model, rows, recipe, lambda done, loss: reported.append((done, loss)))
        return reported, {name: value.detach().numpy().copy() for name, value in pair.torch_model.named_parameters()}
    mobilebert_tf.twin.train(pair.keras_model, rows, recipe, lambda done, loss: reported.append((done, loss)))
    variables = pair.keras_model.canonical_variables().items()
    return reported, {name: from_layout(keras.ops.convert_to_numpy(value), layout) for name, (value, layout) in variables}


def expected(
    pair: Pair, twin: Twin, recipe: Recipe = RECIPE, rows: Rows = ROWS
) -> tuple[list[tuple[int, float]], dict[str, np.ndarray], list[float]]:
    """The same by the book, and the norms of the gradients; it leaves the pair as it was."""
    model, plan = copy.deepcopy(pair.torch_model), Plan(rows.lengths, recipe)
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}  # shares the model's memory
    first, second = ({name: np.zeros_like(value) for name, value in weights.items()} for _ in range(2))
    reported, norms, step = [], [], 0
    for epoch in range(recipe.epochs):
        losses: list[float] = []
        for batch in plan.epoch(epoch):
            inputs = rows.batch(batch)
            losses += [mobilebert_pt.twin.outputs(model, inputs)["loss"].item()] * len(batch)
            gradients = torch_gradients(model, inputs)
            norms.append(float(np.sqrt(sum((value**2).sum() for value in gradients.values()))))
            scale, rate, step = min(1.0, recipe.clip / (norms[-1] + twin.added_to_norm)), recipe.rate(step, plan.steps), step + 1
            for name, gradient in gradients.items():
                is_matrix = not name.endswith("bias") and "LayerNorm" not in name
                weights[name] -= rate * recipe.weight_decay * is_matrix * weights[name]
                first[name] += 0.1 * (gradient * scale - first[name])
                second[name] += 0.001 * ((gradient * scale) ** 2 - second[name])
                root, correction = np.sqrt(second[name]), np.sqrt(1 - float(twin.betas(0.999)) ** step)
                root = root / correction + 1e-8 if twin.corrects_first else (root + 1e-8) / correction
                weights[name] -= rate / (1 - float(twin.betas(0.9)) ** step) * first[name] / root
            reported.append((step, float(np.mean(losses))))
    return reported, weights, norms


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair.open(tmp_path, make_config(**SMALL))


@pytest.mark.parametrize("vocabulary", [54, 5])  # 5: tokens occur several times in a batch
@pytest.mark.parametrize("twin", TWINS)
def test_weights_and_reports_are_those_of_the_recipe(pair: Pair, twin: str, vocabulary: int) -> None:
    rows = Rows(vocabulary)
    before = {name: value.detach().numpy().copy() for name, value in pair.torch_model.named_parameters()}
    losses, weights, norms = expected(pair, DIFFERENCES[twin], rows=rows)
    assert min(norms) < RECIPE.clip < max(norms) / 2  # so that another clip would change the weights
    reported, trained = train(pair, twin, rows=rows)
    assert [step for step, _ in reported] == list(range(1, 7))
    assert [loss for _, loss in reported] == pytest.approx([loss for _, loss in losses], rel=DIFFERENCES[twin].losses)
    apart = {name: distance(weights[name] - before[name], trained[name] - before[name]) for name in weights}
    exact = {name for name in weights if not name.endswith("self.key.bias")}  # whose gradient is nothing but rounding
    assert not {name: apart[name] for name in exact if not apart[name] <= 1e-8}


@pytest.mark.parametrize("twin", TWINS)
def test_the_seed_decides_dropout(tmp_path: Path, twin: str) -> None:
    pair = Pair.open(tmp_path, make_config(**SMALL, hidden_dropout_prob=0.3))
    without = mobilebert_pt.twin.outputs(pair.torch_model, ROWS.batch(np.arange(9)))["loss"].item()

    def first_loss(seed: int) -> float:
        return train(pair, twin, Recipe(learning_rate=0.0, epochs=1, batch_size=9, seed=seed))[0][0][1]

    one, again, other = first_loss(1), first_loss(1), first_loss(2)
    assert one == again
    assert len({round(loss, 6) for loss in (one, other, without)}) == 3


def test_pytorch_ends_in_evaluation(pair: Pair) -> None:
    train(pair, "pt")
    assert not any(module.training for module in pair.torch_model.modules())


@pytest.mark.parametrize(("warmup", "steps"), [(0.3, 10), (0.0, 4), (1.0, 4), (0.1, 1), (0.25, 6)])
def test_the_rates_of_keras_are_those_of_the_recipe(warmup: float, steps: int) -> None:
    recipe = Recipe(learning_rate=3e-4, epochs=1, batch_size=1, warmup=warmup)
    rate = mobilebert_tf.train.Rate(recipe.learning_rate, warmup, steps)
    for schedule in (rate, keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))):
        rates = [float(schedule(step)) for step in range(steps)]
        assert rates == pytest.approx([recipe.rate(step, steps) for step in range(steps)], rel=1e-6)

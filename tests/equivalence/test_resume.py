"""Trainings that are interrupted several times, in both twins: the same bits as without, and in the other framework the same numbers."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

import mobilebert_pt
import mobilebert_tf
from mobilebert_common.errors import CheckpointError
from mobilebert_common.tasks.base import Lengths
from mobilebert_common.tasks.documents import Documents
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.tasks.tables import Columns
from mobilebert_common.tasks.task import new_setup
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_common.training.recipe import Recipe
from mobilebert_common.training.twin import State
from support.configs import make_config

from .test_training import DOORS, MASKED, RECIPE, TABLE, TEXT_WORDS, TINY, TOKENS, TWINS, model_of, opened

DROPOUT = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2}
STEPS = replace(RECIPE, max_steps=8)  # two epochs of three steps, and two more
STOPS = (1, 2)  # both in the first epoch


def states(door: Any, model: Any, examples: Examples, recipe: Recipe, state: State | None, last: int) -> tuple[State, list[float]]:
    """The state after a step, and the losses until then."""
    losses: list[float] = []
    found: list[State] = []

    def watch(done: int, loss: float, capture: Any) -> bool:
        losses.append(loss)
        if done == last:
            found.append(copied(capture()))
        return done == last

    door.train(model, examples, recipe, watch, state)
    return found[0], losses


def copied(state: State) -> State:
    """A state that shares no memory with the model."""
    tensors = [{name: np.array(array) for name, array in found.items()} for found in state[1:5]]
    return State(state.done, *tensors, dict(state.scaler))


def different(one: State, other: State) -> list[str]:
    """What is not the same in two states, bit by bit."""
    found = [] if one.done == other.done and one.scaler == other.scaler else ["done"]
    for title, ours, theirs in zip(State._fields[1:5], one[1:5], other[1:5], strict=True):
        found += [f"{title} {name}" for name in {**ours, **theirs} if not same(ours.get(name), theirs.get(name))]
    return found


def same(one: Any, other: Any) -> bool:
    return one is not None and other is not None and one.dtype == other.dtype and one.tobytes() == other.tobytes()


def interrupted(doors: Any, make: Any, examples: Examples, recipe: Recipe) -> tuple[State, list[float]]:
    """A training that ends after each of STOPS, and goes on from its state in a new model, in the framework that comes next."""
    state, losses = None, []
    for number, stop in enumerate((*STOPS, 8)):
        twin = doors[number % len(doors)]
        state, more = states(DOORS[twin], make(twin), examples, recipe, state, stop)
        losses += more
    return state, losses


def pretraining_examples(config: Any) -> Examples:
    """Documents, whose steps draw the words to mask."""
    task = new_setup("pretraining").task
    sentences = [[f"{' '.join(TEXT_WORDS[(place * number) % 20] for place in range(2 + number % 9))}ab" for number in range(5)]] * 6
    tokenizer = MobileBertTokenizerFast(vocab=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TEXT_WORDS, "##a", "##b"])
    data = Documents(Path("x.txt"), sentences, ["here"] * 6, Columns())
    return task.make_examples(data, tokenizer, config, Lengths(max_length=12, whole_words=True, dupes=2))


# name -> case of test_training, and what differs in the recipe
RESUMED: dict[str, tuple[str, dict[str, Any]]] = {
    "classes": ("classes", {}),
    "regression": ("regression", {}),
    "several labels": ("several labels", {}),
    "answers": ("MobileBertForQuestionAnswering", {}),
    "choices": ("MobileBertForMultipleChoice", {}),
    "tokens": (TOKENS, {"class_weights": (0.5, 0.0, 3.0), "accumulation": 2}),
    "masked words": (MASKED, {"bf16": True}),
    "sentences": ("MobileBertForNextSentencePrediction", {"gradient_checkpointing": True}),
    "pretraining": ("MobileBertForPreTraining", {}),
}


KERAS = ("tokens",)  # it takes seconds to begin, and all labels are alike to it


@pytest.mark.parametrize(("name", "twin"), [*((name, "pt") for name in RESUMED), *((name, "tf") for name in KERAS)])
def test_interruptions_change_no_bit(name: str, twin: str, tmp_path: Path) -> None:
    case, changes = RESUMED[name]
    pair, examples = opened(tmp_path, case, **DROPOUT)
    if name == "pretraining":
        examples = pretraining_examples(pair.config)
    recipe = replace(STEPS, **changes)

    def make(twin: str) -> Any:
        return DOORS[twin].load(tmp_path, pair.head, "float32")

    expected, losses = states(DOORS[twin], make(twin), examples, recipe, None, 8)
    found, others = interrupted([twin], make, examples, recipe)
    assert others == losses and not different(found, expected)
    assert any(array.any() for array in found.exp_avg.values()) and set(found.exp_avg) == set(found.exp_avg_sq)


@pytest.mark.parametrize("order", ["pt tf", "tf pt"])
def test_a_run_goes_on_in_the_other_framework(order: str, tmp_path: Path) -> None:
    pair, examples = opened(tmp_path, TOKENS)
    expected, _ = states(DOORS["pt"], model_of(pair, "pt"), examples, STEPS, None, 8)

    def make(twin: str) -> Any:
        return DOORS[twin].load(tmp_path, pair.head, "float64")

    found, _ = interrupted(order.split(), make, examples, STEPS)
    apart = distances(found, expected)
    assert set(found.weights) == set(expected.weights) and max(apart.values()) < 1e-9, apart


def distances(one: State, other: State) -> dict[str, float]:
    """How far weights and moments are apart, over the largest number of their kind."""
    found = {}
    for title in ("weights", "exp_avg", "exp_avg_sq"):
        ours, theirs = getattr(one, title), getattr(other, title)
        scale = max(float(abs(array).max()) for array in theirs.values())
        for name in ours.keys() | theirs.keys():
            zero = np.zeros(1)
            found[f"{title} {name}"] = float(abs(ours.get(name, zero) - theirs.get(name, zero)).max()) / scale
    return found


@pytest.mark.parametrize("twin", TWINS)
def test_a_state_that_does_not_fit(twin: str, tmp_path: Path) -> None:
    pair, examples = opened(tmp_path)
    door, model = DOORS[twin], model_of(pair, twin)
    good, _ = states(door, model, examples, STEPS, None, 2)
    table, bias = good.weights[TABLE], "classifier.bias"
    wrong: dict[str, tuple[Mapping[str, Any], str]] = {
        "missing": ({"weights": {name: array for name, array in good.weights.items() if name != bias}}, f"{bias} is missing"),
        "shape": ({"weights": {**good.weights, TABLE: table[1:]}}, rf"{TABLE} is \[29, \d+\], not \[30, \d+\]"),
        "unknown": ({"weights": {**good.weights, "x.y": table}}, "x.y is not in the model"),
        "moment's shape": ({"exp_avg": {**good.exp_avg, bias: table}}, rf"exp_avg: .*{bias} is \[30, \d+\], not \[3\]"),
        "unknown moment": ({"exp_avg_sq": {**good.exp_avg_sq, "x.y": table}}, "exp_avg_sq: .*x.y is not in the model"),
    }
    for changes, message in wrong.values():
        with pytest.raises(CheckpointError, match=message):
            door.train(model, examples, STEPS, lambda *arguments: True, good._replace(**changes))


class TorchModel(mobilebert_pt.MobileBertForSequenceClassification):
    """A head of a user's own."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.own = torch.nn.Sequential(torch.nn.Dropout(0.3), torch.nn.Linear(config.num_labels, config.num_labels))
        self.norm = torch.nn.BatchNorm1d(config.num_labels)
        for name, parameter in self.named_parameters():
            parameter.requires_grad = "embeddings" not in name

    def forward(self, *arguments: Any, **inputs: Any) -> Any:
        found = super().forward(*arguments, **inputs)
        found.logits = self.norm(self.own(found.logits)) if found.logits.shape[0] > 1 else self.own(found.logits)
        return found


class KerasModel(mobilebert_tf.TFMobileBertForSequenceClassification):
    """The same in Keras."""

    def __init__(self, config: Any, **options: Any) -> None:
        super().__init__(config, **options)
        self.own, self.drop = keras.layers.Dense(config.num_labels, name="own"), keras.layers.Dropout(0.3, name="drop")
        self.norm = keras.layers.BatchNormalization(name="norm")
        self.own.build((None, config.num_labels))
        self.norm.build((None, config.num_labels))

    def call(self, *arguments: Any, training: bool = False, **inputs: Any) -> Any:
        found = super().call(*arguments, training=training, **inputs)
        found["logits"] = self.norm(self.own(self.drop(found["logits"], training=training)), training=training)
        return found


@pytest.mark.parametrize("twin", TWINS)
def test_a_model_of_the_users_own(twin: str, tmp_path: Path) -> None:
    """Layers that ours does not have, with dropout and averages of their own, and weights that are frozen."""
    _, examples = opened(tmp_path, **DROPOUT)
    recipe = replace(STEPS, batch_size=3)  # no batch of one

    def make(twin: str) -> Any:
        torch.manual_seed(1)
        keras.utils.set_random_seed(1)
        config = make_config(**{**TINY, **DROPOUT})
        model = TorchModel(config) if twin == "pt" else KerasModel(config)
        if twin == "tf":
            model.mobilebert.embeddings.trainable = False
        return model

    expected, losses = states(DOORS[twin], make(twin), examples, recipe, None, 8)
    found, others = interrupted([twin], make, examples, recipe)
    assert others == losses and not different(found, expected)
    assert not any("embeddings" in name for name in found.exp_avg) and any("own" in name for name in found.exp_avg)
    assert any("norm" in name.lower() and name not in found.exp_avg for name in found.weights)

"""`train` of both twins: one recipe, step for step, against each other and against the recipe written out in numpy."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import mobilebert_pt.twin
import mobilebert_tf.training
import mobilebert_tf.twin
from mobilebert_common.errors import ConfigError, DivergedError, InputError
from mobilebert_common.tasks.base import Lengths
from mobilebert_common.tasks.documents import Documents
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.tasks.tables import Columns
from mobilebert_common.tasks.task import Setup, new_setup
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_common.training import jobs
from mobilebert_common.training.plan import Plan
from mobilebert_common.training.recipe import Recipe
from mobilebert_common.training.transfer import Phase
from mobilebert_common.training.twin import Capture
from support.configs import make_config
from support.training import CASES, MASKED, RECIPE, TINY, TOKENS, make_examples
from support.twins import Pair, gradients_apart, torch_gradients

DOORS = {"pt": mobilebert_pt.twin, "tf": mobilebert_tf.twin}
TWINS = list(DOORS)
TABLE = "mobilebert.embeddings.word_embeddings.weight"
TEXT_WORDS = [chr(ord("a") + number) for number in range(20)]


def opened(folder: Path, case: str = "classes", **changes: Any) -> tuple[Pair, Examples]:
    architecture, overrides = CASES[case]
    pair = Pair.open(folder, make_config(**{**TINY, **overrides, **changes}), architecture)
    return pair, make_examples(pair.config, architecture)


def weights_of(pair: Pair, twin: str) -> dict[str, np.ndarray]:
    return copied(DOORS[twin], model_of(pair, twin))


def copied(door: Any, model: Any) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in door.tensors(model).items()}


def model_of(pair: Pair, twin: str) -> Any:
    return pair.torch_model if twin == "pt" else pair.keras_model


def train(pair: Pair, twin: str, examples: Any, recipe: Recipe = RECIPE, watch: Callable[[int, float], bool] | None = None) -> list[float]:
    """The losses of the steps."""
    losses: list[float] = []

    def note(done: int, loss: float, capture: Capture) -> bool:
        losses.append(loss)
        assert done == len(losses)
        return watch is not None and watch(done, loss)

    DOORS[twin].train(model_of(pair, twin), examples, recipe, note)
    return losses


def moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, np.ndarray]:
    assert set(before) == set(after)
    return {name: np.asarray(after[name]) - np.asarray(before[name]) for name in before}


def same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    return set(ours) == set(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("case", CASES)
def test_both_twins_take_the_same_twenty_steps(tmp_path: Path, case: str) -> None:
    pair, examples = opened(tmp_path, case)
    before = weights_of(pair, "pt")
    losses = {twin: train(pair, twin, examples) for twin in TWINS}
    assert len(losses["pt"]) == 20
    assert losses["tf"] == pytest.approx(losses["pt"], rel=1e-9)
    assert not gradients_apart(moved(before, weights_of(pair, "pt")), moved(before, weights_of(pair, "tf")), 1e-9)


class Rows:
    """Nine examples of six tokens, of which none is there twice, with random labels, as `train` takes them."""

    lengths = (6,) * 9

    def __init__(self, vocabulary: int = 54) -> None:
        generator = np.random.default_rng(5)
        self.ids = 1 + generator.permutation(54).reshape(9, 6) % vocabulary
        self.labels = generator.integers(0, 3, 9)

    def batch(self, rows: Any, *_: Any) -> dict[str, np.ndarray]:
        return {"input_ids": self.ids[rows], "attention_mask": np.ones_like(self.ids[rows]), "labels": self.labels[rows]}


# some gradients are longer than `clip`, others are not
BY_HAND = Recipe(learning_rate=2.0**-7, epochs=2, batch_size=4, weight_decay=0.5, warmup=0.3, clip=3.0, seed=3, epsilon=1e-4)


def expected(pair: Pair, rows: Rows, recipe: Recipe) -> tuple[list[float], dict[str, np.ndarray], list[float]]:
    """The losses, the weights and the norms of the gradients by the book; it leaves the pair as it was."""
    model, plan = copy.deepcopy(pair.torch_model), Plan(rows.lengths, recipe)
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}  # shares the model's memory
    first, second = ({name: np.zeros_like(value) for name, value in weights.items()} for _ in range(2))
    losses: list[float] = []
    norms: list[float] = []
    for batch in [batch for epoch in range(recipe.epochs) for batch in plan.epoch(epoch)]:
        inputs = rows.batch(batch)
        losses.append(mobilebert_pt.twin.outputs(model, inputs)["loss"].item())
        gradients = torch_gradients(model, inputs)
        norms.append(float(np.sqrt(sum((value**2).sum() for value in gradients.values()))))
        scale, rate, step = min(1.0, recipe.clip / (norms[-1] + 1e-6)), recipe.rate(len(losses) - 1, plan.steps), len(losses)
        for name, gradient in gradients.items():
            is_matrix = not name.endswith("bias") and "LayerNorm" not in name
            weights[name] -= rate * recipe.weight_decay * is_matrix * weights[name]
            first[name] += 0.1 * (gradient * scale - first[name])
            second[name] += 0.001 * ((gradient * scale) ** 2 - second[name])
            root = np.sqrt(second[name] / (1 - 0.999**step)) + recipe.epsilon
            weights[name] -= rate / (1 - 0.9**step) * first[name] / root
    return losses, weights, norms


@pytest.mark.parametrize("twin", TWINS)
def test_weights_and_losses_are_those_of_the_recipe(tmp_path: Path, twin: str) -> None:
    rows = Rows(5)  # tokens occur several times in a batch
    pair, _ = opened(tmp_path, vocab_size=55, hidden_size=32, intra_bottleneck_size=16, num_attention_heads=4)
    losses, weights, norms = expected(pair, rows, BY_HAND)
    assert min(norms) < BY_HAND.clip < max(norms) / 2  # so that another clip would change the weights
    before = weights_of(pair, twin)
    assert train(pair, twin, rows, BY_HAND) == pytest.approx(losses, rel=1e-9)
    assert not gradients_apart(moved(before, weights), moved(before, weights_of(pair, twin)), 1e-9)


def test_accumulation_changes_nothing_and_the_row_of_pad_stays_zero(tmp_path: Path) -> None:
    recipe, name = replace(RECIPE, weight_decay=0.5, max_steps=6), "mobilebert.embeddings.word_embeddings.weight"
    found = []
    for twin, parts in (("pt", 1), ("pt", 3), ("tf", 3)):
        pair, examples = opened(tmp_path, MASKED, pad_token_id=2)
        table = np.array(weights_of(pair, twin)[name])
        table[2] = 0
        DOORS[twin].set_tensors(model_of(pair, twin), {name: table.copy()})
        before = weights_of(pair, twin)
        found.append((train(pair, twin, examples, replace(recipe, accumulation=parts)), moved(before, weights_of(pair, twin))))
        assert not found[-1][1][name][2].any() and np.delete(found[-1][1][name], 2, axis=0).any(axis=1).all()
    for losses, weights in found[1:]:
        assert losses == pytest.approx(found[0][0], rel=1e-11)
        assert not gradients_apart(found[0][1], weights, 1e-9)


@pytest.mark.parametrize("twin", TWINS)
def test_class_weights(tmp_path: Path, twin: str) -> None:
    pair, examples = opened(tmp_path, TOKENS)
    weights = np.array([0.5, 0.0, 3.0])
    recipe = replace(RECIPE, class_weights=tuple(weights), batch_size=9, max_steps=1, accumulation=2)
    batch = examples.batch(Plan(examples.lengths, recipe).epoch(0)[0])
    labels = batch.pop("labels")
    logits = mobilebert_pt.twin.outputs(pair.torch_model, batch)["logits"]  # [b t n]
    losses = np.log(np.exp(logits).sum(axis=-1)) - np.take_along_axis(logits, np.maximum(labels, 0)[..., None], axis=-1)[..., 0]
    shares = np.where(labels >= 0, weights[np.maximum(labels, 0)], 0.0)
    assert train(pair, twin, examples, recipe) == pytest.approx([(losses * shares).sum() / shares.sum()], rel=1e-12)


@pytest.mark.parametrize("twin", TWINS)
def test_class_weights_that_do_not_fit(tmp_path: Path, twin: str) -> None:
    pair, examples = opened(tmp_path)
    with pytest.raises(ConfigError, match="there are 2 class weights for a model with 3 labels"):
        train(pair, twin, examples, replace(RECIPE, class_weights=(1.0, 2.0)))
    pair, examples = opened(tmp_path, "regression")
    with pytest.raises(ConfigError, match="class weights are for labels that are one class of several"):
        train(pair, twin, examples, replace(RECIPE, class_weights=(1.0,)))
    with pytest.raises(InputError, match="the examples have no labels"):
        train(pair, twin, examples.without(["labels"]))


@pytest.mark.parametrize("twin", TWINS)
def test_watch_may_evaluate_and_end_the_training(tmp_path: Path, twin: str) -> None:
    """Neither inference nor a snapshot between steps changes the steps; dropout goes on where it was."""
    pair, examples = opened(tmp_path, hidden_dropout_prob=0.3)
    door, model, inputs = DOORS[twin], model_of(pair, twin), examples.without(["labels"])
    before = copied(door, model)
    plain = train(pair, twin, examples, replace(RECIPE, max_steps=6))
    door.set_tensors(model, before)
    seen: list[Any] = []

    def watch(done: int, loss: float) -> bool:
        seen.append((next(iter(door.infer(model, inputs.ordered(9))))["logits"], copied(door, model)))
        return done == 5

    assert train(pair, twin, examples, replace(RECIPE, max_steps=6), watch) == plain[:5]
    assert not np.allclose(seen[3][0], seen[4][0], rtol=1e-6)  # it had the weights of that step
    np.testing.assert_array_equal(next(iter(door.infer(model, inputs.ordered(9))))["logits"], seen[4][0])
    assert same(copied(door, model), seen[4][1]) and not same(seen[4][1], seen[3][1])
    door.set_tensors(model, seen[3][1])
    np.testing.assert_array_equal(next(iter(door.infer(model, inputs.ordered(9))))["logits"], seen[3][0])


@pytest.mark.parametrize("twin", TWINS)
def test_a_step_that_is_not_finite_is_not_taken(tmp_path: Path, twin: str) -> None:
    pair, examples = opened(tmp_path, "regression")
    recipe = replace(RECIPE, weight_decay=0.5)
    victim = Plan(examples.lengths, recipe).epoch(0)[2][0]  # of the third step
    labels = [*examples.columns["labels"]]
    labels[victim] = np.nan
    good: list[Any] = []

    def watch(done: int, loss: float) -> bool:
        good.append(weights_of(pair, twin))
        return False

    with pytest.raises(DivergedError, match="the loss is nan in step 3: train with a smaller learning rate") as found:
        train(pair, twin, make_examples(pair.config, pair.head, labels=labels), recipe, watch)
    assert found.value.step == 3 and np.isnan(found.value.loss) and len(good) == 2
    assert same(weights_of(pair, twin), good[1]) and not same(good[0], good[1])


@pytest.mark.parametrize("twin", TWINS)
def test_bf16_and_gradient_checkpointing_leave_the_model_as_it_was(tmp_path: Path, twin: str) -> None:
    pair, examples = opened(tmp_path)
    exact = train(pair, "pt", examples, replace(RECIPE, max_steps=3))
    door, batch = DOORS[twin], examples.batch(range(9))
    model = pair.torch_model = pair.keras_model = door.load(tmp_path, pair.head)
    before = copied(door, model)
    checkpointed: list[bool] = []

    def watch(done: int, loss: float) -> bool:
        checkpointed.append(model.is_gradient_checkpointing)
        return False

    losses = train(pair, twin, examples, replace(RECIPE, bf16=True, gradient_checkpointing=True, max_steps=3), watch)
    assert losses == pytest.approx(exact, rel=0.02) and losses != pytest.approx(exact, rel=1e-5)
    assert checkpointed == [True] * 3 and not model.is_gradient_checkpointing
    logits = door.outputs(model, batch)["logits"]
    model.save_pretrained(tmp_path / "trained")
    np.testing.assert_array_equal(door.outputs(door.load(tmp_path / "trained", pair.head), batch)["logits"], logits)
    door.set_tensors(model, before)
    np.testing.assert_array_equal(door.outputs(model, batch)["logits"], door.outputs(door.load(tmp_path, pair.head), batch)["logits"])


def test_lora_is_for_pytorch(tmp_path: Path) -> None:
    """tests/oracle/test_lora.py trains with it, where PEFT is installed."""
    pair, examples = opened(tmp_path)
    with pytest.raises(ConfigError, match="LoRA adapters are for PyTorch only"):
        train(pair, "tf", examples, replace(RECIPE, lora=2))


@pytest.mark.parametrize("twin", TWINS)
def test_the_seed_decides_dropout(tmp_path: Path, twin: str) -> None:
    pair, _ = opened(tmp_path, vocab_size=55, hidden_dropout_prob=0.3)
    without = mobilebert_pt.twin.outputs(pair.torch_model, Rows().batch(np.arange(9)))["loss"].item()
    one, other = (train(pair, twin, Rows(), Recipe(1e-30, epochs=1, batch_size=9, seed=seed))[0] for seed in (1, 2))
    assert len({round(loss, 6) for loss in (one, other, without)}) == 3


def test_pytorch_ends_in_evaluation(tmp_path: Path) -> None:
    pair, examples = opened(tmp_path)
    train(pair, "pt", examples, replace(RECIPE, max_steps=1))
    assert not any(module.training for module in pair.torch_model.modules())
    assert all(parameter.grad is None for parameter in pair.torch_model.parameters())


@pytest.mark.parametrize(("warmup", "steps"), [(0.3, 10), (0.0, 4), (1.0, 4), (0.1, 1), (0.25, 6)])
def test_the_rates_of_keras_are_those_of_the_recipe(warmup: float, steps: int) -> None:
    recipe = Recipe(learning_rate=3e-4, epochs=1, batch_size=1, warmup=warmup)
    rate = mobilebert_tf.training.Rate(recipe.learning_rate, warmup, steps)
    for schedule in (rate, keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))):
        assert [float(schedule(step)) for step in range(steps)] == [recipe.rate(step, steps) for step in range(steps)]
    for labels in (True, False):
        phase = Phase("", 7, 7 + steps, {}, labels, (), 1.0, False, boost=3.0)
        rate = mobilebert_tf.training.Rate(recipe.learning_rate, warmup, steps, phase.boost, by_layer=not labels)
        for schedule in (rate, keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))):
            assert [float(schedule(step)) for step in range(steps)] == [phase.rate(7 + step, recipe) for step in range(steps)]


def test_pretraining_on_text(tmp_path: Path) -> None:
    """Scoring only masked words, both twins take the same steps, and [PAD] stays zero."""
    task = new_setup("pretraining").task
    sentences = [[f"{' '.join(TEXT_WORDS[(place * number) % 20] for place in range(2 + number % 9))}ab" for number in range(5)]] * 6
    tokenizer = MobileBertTokenizerFast(vocab=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TEXT_WORDS, "##a", "##b"])
    pair = Pair.open(tmp_path, make_config(**TINY), task.architecture)
    data = Documents(Path("x.txt"), sentences, ["here"] * 6, Columns())
    examples = task.make_examples(data, tokenizer, pair.config, Lengths(max_length=12, whole_words=True, dupes=2))
    table = np.array(weights_of(pair, "pt")[TABLE])
    table[0] = 0
    for twin in TWINS:
        DOORS[twin].set_tensors(model_of(pair, twin), {TABLE: table.copy()})
    before = weights_of(pair, "pt")
    losses = {twin: train(pair, twin, examples, replace(RECIPE, max_steps=10)) for twin in TWINS}
    assert losses["tf"] == pytest.approx(losses["pt"], rel=1e-9)
    after = {twin: weights_of(pair, twin) for twin in TWINS}
    assert not gradients_apart(moved(before, after["pt"]), moved(before, after["tf"]), 1e-9)
    for twin in TWINS:
        assert not after[twin][TABLE][0].any() and (np.asarray(after[twin][TABLE]) != table)[4].all()  # the rows of [PAD] and [MASK]
    scores = []
    for twin in TWINS:
        opened = jobs.Opened(Setup(task, lengths=Lengths(max_length=12), remembered=True), DOORS[twin], model_of(pair, twin), tokenizer)
        scores.append(opened.evaluate(data)[0])
    assert scores[0].metrics == pytest.approx(scores[1].metrics, rel=1e-9)

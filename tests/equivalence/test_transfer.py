"""Learning from a teacher in both twins: the losses against formulas in numpy, the steps against each other and by the book."""

import contextlib
import copy
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from keras import ops

import mobilebert_pt.training
import mobilebert_pt.transfer
import mobilebert_pt.twin
import mobilebert_tf.training
import mobilebert_tf.transfer
import mobilebert_tf.twin
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.model.layout import from_layout
from mobilebert_common.training.recipe import Recipe
from mobilebert_common.training.steps import Step, make_step, steps
from mobilebert_common.training.transfer import Phase, Transfer, phases
from mobilebert_common.training.twin import State
from mobilebert_pt.layers import Attended as TorchAttended
from mobilebert_tf.layers import Attended as KerasAttended
from support.configs import CHOICES, CLASSIFIER, make_config, random_weights
from support.teaching import PAIRS, copied, load_school, write_school
from support.training import MASKED, TINY, TOKENS, make_examples
from support.twins import gradients_apart

from .test_resume import DROPOUT, different, distances
from .test_resume import copied as copied_state
from .test_training import DOORS, TWINS, moved, same

SPANS, PRETRAINING = "MobileBertForQuestionAnswering", "MobileBertForPreTraining"
RECIPE = Recipe(learning_rate=2.0**-8, batch_size=4, max_steps=8, seed=3, epsilon=1e-5)
FACTORS = {"hidden": 2.0, "mean": 3.0, "variance": 5.0, "attention": 7.0}  # every term, in either form
TERMS = list(FACTORS)


def only(term: str) -> dict[str, float]:
    return {name: float(name == term) for name in TERMS}


def whole(student: Any, teacher: Any, transfer: Transfer, labels: bool = True) -> Phase:
    """A phase that compares all layers, and learns labels or not."""
    found = phases(replace(RECIPE, transfer=replace(transfer, strategy="auxiliary")), 8, student.config, teacher.config)[-1]
    return found._replace(labels=labels)


def step_of(config: Any, architecture: str) -> Step:
    """One step of all nine examples, some shorter than others; in pre-training only three words of each are scored."""
    examples = make_examples(config, architecture)
    batch = examples.batch(range(9))
    if architecture == PRETRAINING:
        batch["masked_lm_positions"] = np.argsort(batch["labels"] == -100, axis=1, kind="stable")[:, :3]
        batch["labels"] = np.take_along_axis(batch["labels"], batch["masked_lm_positions"], axis=1)
    return make_step(batch, config, architecture).with_positions()


@contextlib.contextmanager
def keeping_scores(package: Any, student: Any, teacher: Any) -> Iterator[None]:
    with package.transfer.comparing(student, {0}), package.transfer.comparing(teacher, {0}):
        yield


Found = tuple[float, dict[str, np.ndarray]]


def torch_losses(student: Any, teacher: Any, step: Step, wanted: list[tuple[Transfer, Phase]]) -> tuple[list[Found], list[Any]]:
    """The loss and its gradients for each of several ways to learn, and what student and teacher return."""
    inputs, labels, weights = ({name: torch.tensor(array) for name, array in arrays.items()} for arrays in step)
    with keeping_scores(mobilebert_pt, student, teacher):
        with torch.no_grad():
            taught = teacher(**inputs, output_hidden_states=True)
        found = student(**inputs, output_hidden_states=True)
    losses = []
    for transfer, phase in wanted:
        loss = mobilebert_pt.transfer.transfer_loss(student, found, taught, labels, weights, transfer, phase)
        student.zero_grad()
        loss.backward(retain_graph=True)
        gradients = {name: each.grad.numpy().copy() for name, each in student.named_parameters() if each.grad is not None}
        losses.append((loss.item(), gradients))
    return losses, [as_arrays(each, lambda tensor: tensor.detach().numpy()) for each in (found, taught)]


def keras_losses(student: Any, teacher: Any, step: Step, wanted: list[tuple[Transfer, Phase]]) -> tuple[list[Found], list[Any]]:
    """The same in Keras."""
    inputs, labels, weights = ({name: ops.convert_to_tensor(array) for name, array in arrays.items()} for arrays in step)
    places = student.canonical_variables()
    with keeping_scores(mobilebert_tf, student, teacher), tf.GradientTape(persistent=True) as tape:
        with tape.stop_recording():
            taught = teacher(inputs, output_hidden_states=True)
        found = student(inputs, output_hidden_states=True)
        arguments = (student, found, taught, labels, weights)
        totals = [mobilebert_tf.transfer.transfer_loss(*arguments, transfer, phase) for transfer, phase in wanted]
    losses = []
    for total in totals:
        gradients = tape.gradient(total, [variable.value for variable, _ in places.values()])
        pairs = zip(places.items(), gradients, strict=True)
        arrays = {name: from_layout(tf.convert_to_tensor(each).numpy(), layout) for (name, (_, layout)), each in pairs if each is not None}
        losses.append((float(total), arrays))
    return losses, [as_arrays(each, ops.convert_to_numpy) for each in (found, taught)]


LOSSES: dict[str, Callable[..., Any]] = {"pt": torch_losses, "tf": keras_losses}


def as_arrays(output: Mapping[str, Any], convert: Callable[[Any], np.ndarray]) -> dict[str, Any]:
    return {name: tuple(map(convert, each)) if isinstance(each, tuple) else convert(each) for name, each in output.items()}


# The formulas, by hand


def log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def kl(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Of the softmax of `theirs` from that of `ours`."""
    return (np.exp(log_softmax(theirs)) * (log_softmax(theirs) - log_softmax(ours))).sum(axis=-1)


def entropy(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """The cross-entropy of `ours` under the softmax of `theirs`."""
    return -(np.exp(log_softmax(theirs)) * log_softmax(ours)).sum(axis=-1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def binary_kl(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return binary_entropy(ours, theirs) - binary_entropy(theirs, theirs)


def binary_entropy(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    p, q = sigmoid(theirs), sigmoid(ours)
    return -p * np.log(q) - (1 - p) * np.log(1 - q)


def missed(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Minus the logarithms of the probabilities of labels."""
    return -np.take_along_axis(log_softmax(scores), np.maximum(labels, 0)[..., None], axis=-1)[..., 0]


def mean_of(losses: np.ndarray, counted: np.ndarray) -> float:
    return float(losses[counted].mean())


def labels_by_hand(case: str, ours: Any, theirs: Any, labels: Mapping[str, np.ndarray], transfer: Transfer) -> float:
    alpha, t, google = transfer.alpha, transfer.temperature, transfer.form == "google"
    compare, compare_two = (entropy, binary_entropy) if google else (kl, binary_kl)

    def mixed(scores: str, label: np.ndarray, counted: np.ndarray) -> float:
        soft = t**2 * compare(ours[scores] / t, theirs[scores] / t)
        return mean_of(alpha * missed(ours[scores], label) + (1 - alpha) * soft, counted)

    if case == "regression":
        logits, taught = ours["logits"][:, 0], theirs["logits"][:, 0]
        return float((alpha * (logits - labels["labels"]) ** 2 + (1 - alpha) * (logits - taught) ** 2).mean())
    if case == "several labels":
        logits, taught, label = ours["logits"], theirs["logits"], labels["labels"]
        hard = -label * np.log(sigmoid(logits)) - (1 - label) * np.log(1 - sigmoid(logits))
        return float((alpha * hard + (1 - alpha) * t**2 * compare_two(logits / t, taught / t)).mean())
    if case == SPANS:
        length = ours["start_logits"].shape[1]
        places = {name: (label, (label >= 0) & (label < length)) for name, label in labels.items()}
        ends = [(f"{name.partition('_')[0]}_logits", np.where(inside, label, 0), inside) for name, (label, inside) in places.items()]
        return sum(0.5 * mixed(*end) for end in ends)
    if case == PRETRAINING:
        following = labels["next_sentence_label"]
        relation = mean_of(missed(ours["seq_relationship_logits"], following), following != -100)  # which no teacher teaches
        return mixed("prediction_logits", labels["labels"], labels["labels"] != -100) + relation
    return mixed("logits", labels["labels"], labels["labels"] != -100)


def layers_by_hand(ours: Any, theirs: Any, mask: np.ndarray, transfer: Transfer, factors: Mapping[str, float]) -> float:
    """Means over the positions that are visible, for the pairs of layers; attention also over the heads."""
    google, total = transfer.form == "google", 0.0
    visible = mask.reshape(-1, mask.shape[-1]) == 1  # [b t], or [b*c t]
    for student, teacher in PAIRS.items():
        h, taught = ours["hidden_states"][student + 1], theirs["hidden_states"][teacher + 1]
        scores, taught_scores = ours["attention_scores"][student], theirs["attention_scores"][teacher]
        normal = [(x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12) for x in (h, taught)]
        values = {
            "hidden": (((normal[0] - normal[1]) if google else (h - taught)) ** 2).mean(-1),
            "mean": (h.mean(-1) - taught.mean(-1)) ** 2,
            "variance": abs(h.var(-1) - taught.var(-1)),
            "attention": (entropy if google else kl)(scores, taught_scores).mean(axis=1),
        }
        total += sum(factors[term] * mean_of(each, visible) for term, each in values.items()) * (1 / len(PAIRS) if google else 1)
    return total


FORMULAS = ["classes", "regression", "several labels", TOKENS, SPANS, CHOICES, MASKED, PRETRAINING]


@pytest.mark.parametrize("case", FORMULAS)
def test_losses_are_those_of_the_formulas_and_gradients_are_equal(case: str, tmp_path: Path) -> None:
    """Losses within 1e-12 of their size in float64, gradients of the twins within 1e-12 of each tensor's, or of 1e-3 of all."""
    config, architecture = write_school(tmp_path, case)
    step = step_of(config, architecture)
    transfers = [Transfer("auxiliary", form, alpha=0.3, temperature=2.0, factors=FACTORS) for form in ("paper", "google")]
    found = {}
    for twin in TWINS:
        student, teacher = load_school(DOORS[twin], tmp_path, architecture)
        assert student.config.intra_bottleneck_size != teacher.config.intra_bottleneck_size
        found[twin], (ours, theirs) = LOSSES[twin](student, teacher, step, [(each, whole(student, teacher, each)) for each in transfers])
        assert (step.inputs["attention_mask"] == 0).any()
        for (loss, _), transfer in zip(found[twin], transfers, strict=True):
            expected = labels_by_hand(case, ours, theirs, step.labels, transfer)
            expected += layers_by_hand(ours, theirs, step.inputs["attention_mask"], transfer, FACTORS)
            assert loss == pytest.approx(expected, rel=1e-12)
    for (loss, gradients), (other, others) in zip(found["pt"], found["tf"], strict=True):
        assert other == pytest.approx(loss, rel=1e-12)
        assert not gradients_apart(gradients, others, 1e-12)


def googles(ours: Any, theirs: Any, listed: Callable[[int], list[np.ndarray]]) -> float:
    """As Google's run_pretraining.py computes it, if all layers are in their phase.

    Args:
        listed: the teacher's hidden states of which a layer's mean and variance are computed. Google's are those of all layers.
    """
    pairs = list(zip(ours["hidden_states"][1:], (theirs["hidden_states"][teacher + 1] for teacher in PAIRS.values()), strict=True))
    hidden = mean = variance = attention = 0.0
    for number, (student_hidden, teacher_hidden) in enumerate(pairs):
        normalized = [(x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12) for x in (teacher_hidden, student_hidden)]
        hidden += np.mean((normalized[0] - normalized[1]) ** 2)
        teacher_hiddens = np.stack(listed(number))
        teacher_mean, student_mean = (x.mean(-1, keepdims=True) for x in (teacher_hiddens, student_hidden))
        teacher_variance = ((teacher_hiddens - teacher_mean) ** 2).mean(-1, keepdims=True)
        student_variance = ((student_hidden - student_mean) ** 2).mean(-1, keepdims=True)
        mean += np.mean((teacher_mean - student_mean) ** 2)
        variance += np.mean(abs(teacher_variance - student_variance))
        student_scores, teacher_scores = ours["attention_scores"][number], theirs["attention_scores"][PAIRS[number]]
        attention += np.mean(-(np.exp(log_softmax(teacher_scores)) * log_softmax(student_scores)).sum(-1))
    return float(100 * hidden + 5000 * mean + 5 * variance + 1 * attention) / len(pairs)


@pytest.mark.parametrize("twin", TWINS)
def test_googles_form_is_googles_code_but_for_its_defect(twin: str, tmp_path: Path) -> None:
    config, architecture = write_school(tmp_path)
    step = step_of(config, architecture)
    step = replace_inputs(step, attention_mask=np.ones_like(step.inputs["attention_mask"]))  # Google's losses count hidden positions too
    student, teacher = load_school(DOORS[twin], tmp_path, architecture)
    transfer = Transfer("auxiliary")
    ((loss, _),), (ours, theirs) = LOSSES[twin](student, teacher, step, [(transfer, whole(student, teacher, transfer, labels=False))])
    states = theirs["hidden_states"]
    assert loss == pytest.approx(googles(ours, theirs, lambda number: [states[PAIRS[number] + 1]]), rel=1e-12)
    assert loss != pytest.approx(googles(ours, theirs, lambda number: list(states)), rel=0.01)


def replace_inputs(step: Step, **changes: np.ndarray) -> Step:
    return step._replace(inputs={**step.inputs, **changes}).with_positions()


@pytest.mark.parametrize("twin", TWINS)
def test_a_student_that_equals_its_teacher_has_nothing_to_learn(twin: str, tmp_path: Path) -> None:
    """Losses are exactly 0, gradients below 1e-12 of those of another student; cross-entropy is the teacher's entropy."""
    config, architecture = write_school(tmp_path)
    step = step_of(config, architecture)
    equal, _ = load_school(DOORS[twin], tmp_path, architecture)
    other, _ = load_school(DOORS[twin], tmp_path, architecture)
    generator = np.random.default_rng(2)
    changed = {name: array + 0.1 * generator.normal(size=array.shape) for name, array in copied(DOORS[twin], other).items()}
    DOORS[twin].set_tensors(other, changed)
    transfers = [Transfer("auxiliary", form, alpha=0.0, factors=only(term)) for form in ("paper", "google") for term in TERMS]
    wanted = [(each, whole(equal, equal, each, labels=False)) for each in transfers]
    wanted.append((transfers[0], whole(equal, equal, transfers[0])._replace(pairs={})))  # soft labels
    found, (ours, _) = LOSSES[twin](equal, equal, step, wanted)
    apart, _ = LOSSES[twin](other, equal, step, wanted)
    visible = step.inputs["attention_mask"] == 1
    own = sum(mean_of(entropy(scores, scores).mean(axis=1), visible) for scores in ours["attention_scores"]) / 2
    for (transfer, phase), (loss, gradients), (far, others) in zip(wanted, found, apart, strict=True):
        least = own if transfer.form == "google" and transfer.factors["attention"] and phase.pairs else 0.0
        assert abs(loss - least) <= 1e-15 * max(least, 1.0) and far > least + 1e-5
        assert size_of(gradients) <= 1e-12 * size_of(others)


def size_of(arrays: Mapping[str, np.ndarray]) -> float:
    return float(np.sqrt(sum((array**2).sum() for array in arrays.values())))


FALL = 500  # steps of LAMB, whose rate falls linearly from 2**-8 to 0


@pytest.mark.parametrize(("twin", "terms"), [("pt", TERMS), ("tf", ["hidden"])])  # whose steps are equal, see below
def test_each_term_alone_falls_a_thousandfold(twin: str, terms: list[str], tmp_path: Path) -> None:
    """In 500 steps, from the teacher's weights with noise of 0.1 in the encoder, in float64; the paper's form."""
    config, architecture = make_config(**TINY), CLASSIFIER
    weights, generator = random_weights(config, architecture, 0), np.random.default_rng(1)
    weights["mobilebert.embeddings.word_embeddings.weight"][0] = 0
    noisy = {name: array + 0.1 * generator.normal(size=array.shape) * (".layer." in name) for name, array in weights.items()}
    checkpoint.save(tmp_path, config, architecture, weights)
    student, teacher = (DOORS[twin].load(tmp_path, architecture, "float64") for _ in range(2))
    step = step_of(config, architecture)
    for term in terms:
        DOORS[twin].set_tensors(student, noisy)
        transfer = Transfer("joint", "paper", factors=only(term))
        recipe = Recipe(2.0**-8, batch_size=9, max_steps=FALL, optimizer="lamb", transfer=transfer)
        phase = phases(recipe, FALL, config, config)[0]._replace(stop=FALL)
        losses = FALLS[twin](student, teacher, step, recipe, phase)
        assert losses[-1] < losses[0] / 1000, term


def torch_falls(student: Any, teacher: Any, step: Step, recipe: Recipe, phase: Phase) -> list[float]:
    inputs, _, weights = ({name: torch.tensor(array) for name, array in arrays.items()} for arrays in step)
    losses = []
    with keeping_scores(mobilebert_pt, student, teacher), mobilebert_pt.transfer.learning(student, phase):
        with torch.no_grad():
            taught = teacher(**inputs, output_hidden_states=True)
        optimizer = mobilebert_pt.training.make_optimizer(student, recipe, phase)
        for number in range(FALL):
            found = student(**inputs, output_hidden_states=True)
            loss = mobilebert_pt.transfer.transfer_loss(student, found, taught, {}, weights, recipe.transfer, phase)
            optimizer.zero_grad()
            loss.backward()
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate(number, FALL)
            optimizer.step()
            losses.append(loss.item())
    return losses


def keras_falls(student: Any, teacher: Any, step: Step, recipe: Recipe, phase: Phase) -> list[float]:
    inputs, _, weights = ({name: ops.convert_to_tensor(array) for name, array in arrays.items()} for arrays in step)
    with keeping_scores(mobilebert_tf, student, teacher), mobilebert_tf.transfer.learning(student, phase):
        taught = teacher(inputs, output_hidden_states=True)
        rate = mobilebert_tf.training.Rate(recipe.learning_rate, recipe.warmup, FALL)
        optimizer = mobilebert_tf.training.Lamb(rate, weight_decay=recipe.weight_decay, epsilon=recipe.epsilon)
        optimizer.exclude_from_weight_decay([each for each in student.trainable_variables if len(each.shape) <= 1])
        optimizer.build(student.trainable_variables)

        @tf.function(autograph=False)
        def learn() -> Any:
            with tf.GradientTape() as tape:
                found = student(inputs, output_hidden_states=True)
                loss = mobilebert_tf.transfer.transfer_loss(student, found, taught, {}, weights, recipe.transfer, phase)
            gradients = zip(tape.gradient(loss, student.trainable_variables), student.trainable_variables, strict=True)
            optimizer.apply(*zip(*[pair for pair in gradients if pair[0] is not None], strict=True))
            return loss

        return [float(learn()) for _ in range(FALL)]


FALLS: dict[str, Callable[..., list[float]]] = {"pt": torch_falls, "tf": keras_falls}


# Steps


Look = Callable[[], None]


def trained(
    twin: str, models: list[Any], examples: Any, recipe: Recipe, state: State | None = None, last: int = 8, look: Look | None = None
) -> Any:
    """The losses of the steps, and the state after each.

    Args:
        look: called after the first step.
    """
    losses: list[float] = []
    states: dict[int, State] = {}

    def watch(done: int, loss: float, capture: Any) -> bool:
        losses.append(loss)
        states[done] = copied_state(capture())
        if look is not None and len(losses) == 1:
            look()
        return done == last

    start = None if state is None else copied_state(state)  # torch goes on in the arrays of a state
    DOORS[twin].train(models[0], examples, recipe, watch, start, models[1])
    return losses, states


def by_hand(models: list[Any], examples: Any, recipe: Recipe) -> tuple[list[float], dict[str, np.ndarray]]:
    """The losses and the weights of progressive transfer in three phases, by the book."""
    student, teacher = copy.deepcopy(models[0]), models[1]
    weights = {name: value.detach().numpy() for name, value in student.named_parameters()}  # shares the model's memory
    transfer, lamb, losses = recipe.transfer, recipe.optimizer == "lamb", []
    borders = [0, 2, 5, 8]  # 5 of 8 steps for two layers
    all_steps = list(steps(examples, recipe, student.config, student.architecture))
    for number, (start, stop) in enumerate(itertools.pairwise(borders)):
        labels = number == 2
        pairs = {} if labels else {number: PAIRS[number]}
        phase = whole(student, teacher, transfer, labels)._replace(pairs=pairs)
        first, second = ({name: np.zeros_like(value) for name, value in weights.items()} for _ in range(2))
        for place, step in enumerate(all_steps[start:stop]):
            ((loss, gradients),), _ = torch_losses(student, teacher, step, [(transfer, phase)])
            losses.append(loss)
            factors = {name: 1.0 if labels else factor_by_hand(name, number) for name in gradients}
            trained = {name: gradient for name, gradient in gradients.items() if factors[name]}
            scale = min(1.0, recipe.clip / (size_of(trained) + 1e-6))
            t, length = (place + 1) / (stop - start), stop - start
            if labels:  # one step of warm-up, as a tenth is less
                rate = recipe.learning_rate * (1.0 if place == 0 else (length - place) / (length - 1))
            else:
                rate = recipe.learning_rate * (3.0 if lamb else 1.0) * min(0.9 + 0.1 * np.sqrt(1 - t), 10 * t)
            for name, gradient in trained.items():
                is_matrix, step_rate = weights[name].ndim > 1, rate * factors[name]
                first[name] = 0.9 * first[name] + 0.1 * scale * gradient
                second[name] = 0.999 * second[name] + 0.001 * (scale * gradient) ** 2
                if lamb:
                    update = first[name] / (np.sqrt(second[name]) + recipe.epsilon)
                    if is_matrix:
                        update += recipe.weight_decay * weights[name]
                        update *= np.linalg.norm(weights[name]) / np.linalg.norm(update)
                    weights[name] -= step_rate * update
                else:
                    weights[name] *= 1 - step_rate * recipe.weight_decay * is_matrix
                    corrected = first[name] / (1 - 0.9 ** (place + 1)), second[name] / (1 - 0.999 ** (place + 1))
                    weights[name] -= step_rate * corrected[0] / (np.sqrt(corrected[1]) + recipe.epsilon)
    return losses, weights


def factor_by_hand(name: str, number: int) -> float:
    """The layer of the phase learns, the layers before it learn a little, all else is frozen."""
    if "encoder.layer." not in name:
        return 0.0
    layer = int(name.split("encoder.layer.")[1].split(".")[0])
    return 1.0 if layer == number else 0.1 if layer < number else 0.0


PROGRESSIVE = replace(RECIPE, transfer=Transfer("progressive", share=0.6, temperature=2.0), weight_decay=0.1)


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
def test_steps_are_those_of_the_recipe(optimizer: str, tmp_path: Path) -> None:
    """In PyTorch, whose steps those of Keras are compared with."""
    config, architecture = write_school(tmp_path)
    models, examples = load_school(DOORS["pt"], tmp_path, architecture), make_examples(config, architecture)
    recipe, before = replace(PROGRESSIVE, optimizer=optimizer), copied(DOORS["pt"], models[0])
    expected, weights = by_hand(models, examples, recipe)
    losses, _ = trained("pt", models, examples, recipe)
    assert losses == pytest.approx(expected, rel=1e-9)
    assert not gradients_apart(moved(before, weights), moved(before, copied(DOORS["pt"], models[0])), 1e-9)


def test_twenty_steps_of_lamb_without_a_teacher(tmp_path: Path) -> None:
    """Both twins take equal ones; test_training.py has those of AdamW."""
    config, architecture = write_school(tmp_path, TOKENS, num_hidden_layers=1)
    examples, found = make_examples(config, architecture), {}
    recipe = replace(RECIPE, optimizer="lamb", max_steps=20, weight_decay=0.1)
    for twin in TWINS:
        model, _ = load_school(DOORS[twin], tmp_path, architecture)
        before = copied(DOORS[twin], model)
        losses, _ = trained(twin, [model, None], examples, recipe, last=20)
        found[twin] = losses, moved(before, copied(DOORS[twin], model))
    assert found["tf"][0] == pytest.approx(found["pt"][0], rel=1e-9) and len(found["pt"][0]) == 20
    assert not gradients_apart(found["pt"][1], found["tf"][1], 1e-9)


# strategy -> case, what differs in the recipe, and in the student's configuration
STRATEGIES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "soft-labels": (PRETRAINING, {}, {}),
    "auxiliary": (CHOICES, {"accumulation": 2, "gradient_checkpointing": True}, DROPOUT),
    "joint": (TOKENS, {"optimizer": "lamb"}, {}),
    "progressive": ("classes", {}, {}),
}


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """What a training in a strategy comes to: once for all tests of this module, because Keras takes seconds for each phase."""
    found: dict[str, Any] = {}

    def run(strategy: str) -> Any:
        if strategy not in found:
            case, changes, sizes = STRATEGIES[strategy]
            folder = tmp_path_factory.mktemp(strategy)
            config, architecture = write_school(folder, case, **sizes)
            recipe = replace(PROGRESSIVE, **changes, transfer=replace(PROGRESSIVE.transfer, strategy=strategy))
            examples, runs = make_examples(config, architecture), {}
            for twin in TWINS:
                models = load_school(DOORS[twin], folder, architecture)
                before = [copied(DOORS[twin], model) for model in models]
                seen: set[str] = set()
                look = functools.partial(note_outputs, twin, models[0], step_of(config, architecture).inputs, seen)
                losses, states = trained(twin, models, examples, recipe, look=look if strategy == "joint" else None)
                runs[twin] = losses, states, before, models, seen
            found[strategy] = recipe, folder, examples, runs
        return found[strategy]

    return run


def note_outputs(twin: str, model: Any, inputs: dict[str, np.ndarray], seen: set[str]) -> None:
    """Note what a model returns in an evaluation."""
    seen |= {*DOORS[twin].outputs(model, inputs), *next(iter(DOORS[twin].infer(model, [inputs])))}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_both_twins_take_the_same_steps(strategy: str, school: Callable[[str], Any]) -> None:
    _, _, _, runs = school(strategy)
    (losses, states, before, *_), (others, other_states, *_) = runs["pt"], runs["tf"]
    assert len(losses) == 8 and others == pytest.approx(losses, rel=1e-9)
    for done in states:
        ours, theirs = states[done].weights, other_states[done].weights
        assert not gradients_apart(moved(before[0], ours), moved(before[0], theirs), 1e-9)
        assert states[done].exp_avg.keys() == other_states[done].exp_avg.keys()
    for twin in TWINS:
        _, _, (_, teacher), models, _ = runs[twin]
        assert same(teacher, copied(DOORS[twin], models[1]))


# strategy -> {step: the layers that learn after it}; all else is frozen
FROZEN = {"joint": dict.fromkeys(range(1, 6), (0, 1)), "progressive": {1: (0,), 2: (0,), 3: (0, 1), 4: (0, 1), 5: (0, 1)}}


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("strategy", FROZEN)
def test_what_is_frozen_keeps_its_bits_and_has_no_moments(strategy: str, twin: str, school: Callable[[str], Any]) -> None:
    _, states, (before, _), models, _ = school(strategy)[3][twin]
    for done, layers in FROZEN[strategy].items():
        learning = {name for name in before if any(f"encoder.layer.{layer}." in name for layer in layers)}
        frozen = set(before) - learning
        assert same({name: before[name] for name in frozen}, {name: states[done].weights[name] for name in frozen})
        assert set(states[done].exp_avg) == set(states[done].exp_avg_sq) == learning
        assert all(states[done].exp_avg[name].any() for name in learning)
    assert set(states[8].exp_avg) == set(before) and not any(np.array_equal(before[name], states[8].weights[name]) for name in before)
    assert all(trainable_of(models[0]))


def trainable_of(model: Any) -> list[bool]:
    if isinstance(model, torch.nn.Module):
        return [each.requires_grad for each in model.parameters()]
    return [variable.trainable for variable, _ in model.canonical_variables().values()]


@pytest.mark.parametrize("twin", TWINS)
def test_dropout_is_off_and_comes_back(twin: str, school: Callable[[str], Any]) -> None:
    """Gradient checkpointing, which needs training mode, is on; the steps of both twins are equal, so neither drew a mask."""
    recipe, _, _, runs = school("auxiliary")
    assert recipe.gradient_checkpointing and not recipe.transfer.dropout
    model = runs[twin][3][0]
    attention = model.mobilebert.encoder.layer[0].attention
    inner = attention.self if twin == "tf" else attention.get_submodule("self")
    assert (inner.dropout if twin == "tf" else inner.dropout.p) == 0.2
    assert (model.dropout.rate if twin == "tf" else model.dropout.p) == 0.3


# The phases are steps 1 and 2, 3 to 5, 6 to 8.


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize(("done", "last"), [(4, 5), (5, 8)])  # in the middle of a phase to its end, and on from there
def test_a_run_goes_on_with_the_same_bits(done: int, last: int, twin: str, school: Callable[[str], Any]) -> None:
    recipe, folder, examples, runs = school("progressive")
    losses, states, *_ = runs[twin]
    models = load_school(DOORS[twin], folder, CLASSIFIER)
    others, found = trained(twin, models, examples, recipe, states[done], last)
    assert others == losses[done:last] and not different(found[last], states[last])


def test_a_run_goes_on_in_the_other_framework_and_back(school: Callable[[str], Any]) -> None:
    recipe, folder, examples, runs = school("progressive")
    losses, states, *_ = runs["pt"]
    state = states[3]
    for twin, last in (("tf", 4), ("pt", 8)):  # all within the second phase but for the last steps
        others, found = trained(twin, load_school(DOORS[twin], folder, CLASSIFIER), examples, recipe, state, last)
        assert others == pytest.approx(losses[state.done : last], rel=1e-9)
        state = found[last]
    assert max(distances(state, states[8]).values()) < 1e-9


# Scores


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_scores_are_those_before_the_softmax(name: str, tmp_path: Path) -> None:
    config, architecture = write_school(tmp_path)
    inputs = step_of(config, architecture).inputs
    found = {}
    for twin in TWINS:
        model = DOORS[twin].load(tmp_path / name, architecture, "float64")
        switches = {"output_attentions": True}
        plain = DOORS[twin].outputs(model, inputs, **switches)
        assert not any("scores" in each for each in plain)
        with TRANSFER[twin].comparing(model, {0}):
            kept = DOORS[twin].outputs(model, inputs, **switches)
            alone = DOORS[twin].outputs(model, inputs)
        assert same(plain, {each: kept[each] for each in plain}) and not any("attentions" in each for each in alone)
        assert list(plain) == list(DOORS[twin].outputs(model, inputs, **switches))
        layers = range(model.config.num_hidden_layers)
        found[twin] = [kept[f"attention_scores.{layer}"] for layer in layers]
        for layer in layers:
            np.testing.assert_allclose(np.exp(log_softmax(found[twin][layer])), kept[f"attentions.{layer}"], rtol=1e-12, atol=1e-15)
    visible = np.broadcast_to(inputs["attention_mask"][:, None, None, :] == 1, found["pt"][0].shape)
    for ours, theirs in zip(found["pt"], found["tf"], strict=True):
        np.testing.assert_allclose(theirs[visible], ours[visible], rtol=1e-12, atol=1e-12)
        assert (ours[~visible] < -1e300).all() and (theirs[~visible] < -1e300).all()


TRANSFER = {"pt": mobilebert_pt.transfer, "tf": mobilebert_tf.transfer}


def test_self_attention_returns_a_named_tuple_with_scores(tmp_path: Path) -> None:
    config, architecture = write_school(tmp_path)
    x = np.random.default_rng(0).normal(size=(2, 5, config.true_hidden_size))
    wide = np.random.default_rng(1).normal(size=(2, 5, config.hidden_size))
    kinds = {"pt": (TorchAttended, torch.tensor), "tf": (KerasAttended, ops.convert_to_tensor)}
    for twin, (kind, tensor) in kinds.items():
        model, _ = load_school(DOORS[twin], tmp_path, architecture)
        layer = model.mobilebert.encoder.layer[0].attention.self
        arguments = (*map(tensor, (x, x, wide)), None, None)
        plain, found = layer(*arguments, output_attentions=True), layer(*arguments, output_attentions=True, output_scores=True)
        assert type(plain) is tuple and len(plain) == 2
        assert isinstance(found, kind) and found.scores.shape == found.probabilities.shape == (2, 2, 5, 5)
        found = layer(*arguments, output_attentions=False, output_scores=True)
        assert found.probabilities is None and found.states.shape == plain[0].shape


class TorchLayer(torch.nn.Module):
    """A layer of a user's own, which knows nothing of scores."""

    def forward(self, hidden_states: Any, attention_bias: Any, head_mask: Any, output_attentions: bool) -> Any:
        return hidden_states, None


class KerasLayer(keras.layers.Layer):
    """The same in Keras."""

    def call(
        self, hidden_states: Any, attention_bias: Any = None, head_mask: Any = None, output_attentions: bool = False, seed: Any = None
    ) -> Any:
        return hidden_states, None


@pytest.mark.parametrize("twin", TWINS)
def test_a_layer_that_knows_no_scores_is_asked_for_none(twin: str, tmp_path: Path) -> None:
    config, architecture = write_school(tmp_path)
    model, _ = load_school(DOORS[twin], tmp_path, architecture)
    model.mobilebert.encoder.layer[1] = TorchLayer() if twin == "pt" else KerasLayer(dtype="float64")
    inputs = step_of(config, architecture).inputs
    states = DOORS[twin].outputs(model, inputs, output_hidden_states=True)
    np.testing.assert_array_equal(states["hidden_states.2"], states["hidden_states.1"])
    with TRANSFER[twin].comparing(model, {0}), pytest.raises(TypeError, match="output_scores"):
        DOORS[twin].outputs(model, inputs)


def test_bf16_holds_for_the_teacher_too(tmp_path: Path) -> None:
    """In Keras, where a dtype policy is each layer's own; torch's autocast holds for all in its block."""
    config, architecture = write_school(tmp_path)
    student, teacher = load_school(DOORS["tf"], tmp_path, architecture, "float32")
    recipe = replace(PROGRESSIVE, bf16=True)
    phase = whole(student, teacher, recipe.transfer)
    training = mobilebert_tf.training.Training(student, recipe, phase, teacher)
    assert {id(variable) for variable in training.variables} == {id(variable) for variable in student.variables}
    step = step_of(config, architecture)
    inputs, labels, weights = ({name: ops.convert_to_tensor(array) for name, array in arrays.items()} for arrays in step)
    taught = training.taught(inputs, keras.DTypePolicy("mixed_bfloat16"))
    assert taught["hidden_states"][1].dtype == taught["logits"].dtype == "bfloat16"
    loss, _ = training.gradients((inputs, labels, weights))
    assert loss.dtype == "float32" and teacher(inputs)["logits"].dtype == "float32"
    exact, _ = mobilebert_tf.training.Training(student, PROGRESSIVE, phase, teacher).gradients((inputs, labels, weights))
    assert float(loss) == pytest.approx(float(exact), rel=0.05) and float(loss) != pytest.approx(float(exact), rel=1e-6)


@pytest.mark.parametrize("twin", TWINS)
def test_an_evaluation_between_steps_returns_no_scores(twin: str, school: Callable[[str], Any]) -> None:
    assert school("joint")[3][twin][-1] == {"logits"}

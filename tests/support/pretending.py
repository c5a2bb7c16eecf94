"""A framework that only pretends, so that what a training does around its steps is tested without one, and fast."""

import contextlib
import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import DivergedError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.training.plan import Plan
from mobilebert_common.training.preparation import Options
from mobilebert_common.training.recipe import Recipe
from mobilebert_common.training.transfer import phases
from mobilebert_common.training.twin import State

from .configs import CLASSIFIER, random_weights

ROWS = [
    {"text": f"the film was {word} {number}", "label": label, "id": number}
    for number in range(20)
    for word, label in (("fine", "good"), ("odd", "bad"))
]
HELD_OUT = [{"text": "a fine film", "label": "good"}, {"text": "an odd film", "label": "bad"}, {"text": "fine", "label": "good"}]
SMALL = {"hidden_size": 16, "embedding_size": 8, "intra_bottleneck_size": 8, "num_hidden_layers": 1}


class Model:
    """A model whose first weight is how many of HELD_OUT it gets right."""

    architecture = CLASSIFIER

    def __init__(self, config: MobileBertConfig) -> None:
        self.config = config
        self.right = 0
        self.weights = random_weights(config, CLASSIFIER)


class Twin:
    """A twin whose steps have the losses it is told, and leave a model that gets so many of HELD_OUT right."""

    def __init__(self, losses: Sequence[float] = (), right: Sequence[int] = ()) -> None:
        self.losses, self.right = losses, right
        self.recipes: list[Recipe] = []

    def create(self, config: MobileBertConfig, architecture: str, seed: int) -> Model:
        return Model(config)

    def load(self, directory: Any, architecture: str, dtype: str = "float32", **overrides: Any) -> Model:
        model = Model(MobileBertConfig.from_pretrained(directory, **overrides))
        model.weights = dict(checkpoint.load(directory, architecture).tensors)
        return model

    def train(self, model: Model, examples: Any, recipe: Recipe, watch: Any, state: State | None = None, teacher: Any = None) -> None:
        self.recipes.append(recipe)
        first = 0 if state is None else state.done
        for step in range(first + 1, Plan(examples.lengths, recipe).steps + 1):
            loss = self.losses[(step - 1) % len(self.losses)] if self.losses else 0.5
            if not np.isfinite(loss) or recipe.learning_rate > 1:
                raise DivergedError(step, loss)
            if self.right:
                model.right = self.right[min(step, len(self.right)) - 1]
            if watch(step, loss, functools.partial(self.capture, model, step)):
                return

    def capture(self, model: Model, step: int) -> State:
        moments = {name: np.full_like(array, step) for name, array in model.weights.items()}
        return State(step, self.tensors(model), moments, moments, {}, {})

    def infer(self, model: Model, batches: Any) -> Any:
        for batch in batches:
            truth = np.array([1, 0, 1])
            found = np.where(np.arange(3) < model.right, truth, 1 - truth)[: len(batch["input_ids"])]
            yield {"logits": np.eye(2)[found]}

    def set_tensors(self, model: Model, tensors: Any) -> None:
        model.right = int(tensors["classifier.bias"][0])

    def tensors(self, model: Model) -> dict[str, np.ndarray]:
        model.weights["classifier.bias"][0] = model.right
        return model.weights

    def devices(self, count: int | None) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def largest(self, values: Sequence[float]) -> list[float]:
        return list(values)


class Learner(Twin):
    """A twin whose steps follow from all that a training has to remember: weights, moments, order of examples, seed of dropout."""

    def create(self, config: MobileBertConfig, architecture: str, seed: int) -> Model:
        model = Model(config)
        model.weights = {name: array.astype(np.float32) for name, array in random_weights(config, CLASSIFIER, seed).items()}
        return model

    def train(self, model: Model, examples: Any, recipe: Recipe, watch: Any, state: State | None = None, teacher: Any = None) -> None:
        plan, done = Plan(examples.lengths, recipe), 0
        taught = np.float32(0 if teacher is None else teacher.weights["classifier.weight"].mean())
        if state is not None:
            self.set_tensors(model, state.weights)
            done = state.done
        for phase in phases(recipe, plan.steps, model.config, None if teacher is None else teacher.config):
            names = [name for name in sorted(model.weights) if phase.factor(name)]
            moments = [{name: np.zeros_like(model.weights[name]) for name in names} for _ in range(2)]
            if state is not None and phase.start < state.done < phase.stop:
                moments = [{name: array.copy() for name, array in found.items()} for found in (state.exp_avg, state.exp_avg_sq)]
            for rows, _ in itertools.islice(plan.batches(done), max(0, phase.stop - done)):
                generator = np.random.default_rng([*rows.tolist(), plan.dropout_seed(done)])
                loss = float(sum(abs(array).mean() for _, array in sorted(model.weights.items())) + generator.random())
                if recipe.learning_rate > 1 and done > 2:
                    raise DivergedError(done + 1, np.inf)
                for name in names:
                    gradient = model.weights[name] + generator.normal(size=model.weights[name].shape).astype(np.float32)
                    gradient += taught
                    moments[0][name] = 0.9 * moments[0][name] + 0.1 * gradient
                    moments[1][name] = 0.99 * moments[1][name] + 0.01 * gradient**2
                    rate = phase.rate(done, recipe) * phase.factor(name)
                    model.weights[name] = model.weights[name] - rate * moments[0][name] / (np.sqrt(moments[1][name]) + 1e-3)
                done += 1
                if watch(done, loss, functools.partial(copied, State(done, self.tensors(model), *moments, {}, {}))):
                    return

    def infer(self, model: Model, batches: Any) -> Any:
        bias = model.weights["classifier.bias"]
        for batch in batches:
            seen = np.cos(np.asarray(batch["input_ids"]).sum(axis=-1) * (1 + abs(bias).sum()))
            yield {"logits": np.stack([seen, bias[0] * seen], axis=-1)}

    def set_tensors(self, model: Model, tensors: Any) -> None:
        model.weights = {**model.weights, **{name: np.array(array) for name, array in tensors.items()}}

    def tensors(self, model: Model) -> dict[str, np.ndarray]:
        return model.weights


def copied(state: State) -> State:
    """A state that later steps do not change."""
    tensors = ({name: array.copy() for name, array in found.items()} for found in state[1:4])
    return State(state.done, *tensors, {}, {})


class Heard(NamedTuple):
    """A progress that notes what it is told."""

    told: list[Any]

    def begin(self, steps: int, title: str, done: int = 0) -> None:
        self.told.append((title, steps))

    def phase(self, found: Any) -> None:
        self.told.append(found)

    def step(self, done: int, loss: float) -> None: ...

    def evaluated(self, step: int, metrics: Any) -> None:
        self.told.append(step)

    def say(self, line: str) -> None:
        self.told.append(line)


def options(**changes: Any) -> Options:
    """A training of a model of SMALL sizes, which must be in the zoo as "tiny"."""
    given = {"model": "tiny", "data": ROWS, "validation": HELD_OUT, "batch_size": 10, "vocabulary_size": 60, "max_length": 16}
    return Options(**{**given, **changes})

"""The steps of a training as arrays: the inputs of the model, the labels, and what each label weighs in the loss."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import ConfigError, InputError
from ..model import inputs
from ..model.architectures import ARCHITECTURES
from ..model.config import MobileBertConfig
from ..tasks.examples import TOKENS, Examples
from .plan import Plan
from .recipe import Recipe

SINGLE_LABEL = "single_label_classification"


POSITIONS = "attention_mask"  # names the weights of positions


class Step(NamedTuple):
    """The examples of a step. Its loss is the sum over all labels of loss * weight.

    With a teacher, `weights` also has those of the positions whose layers are compared, under POSITIONS.
    """

    inputs: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]

    @property
    def rows(self) -> int:
        """The number of examples."""
        return len(next(iter(self.labels.values())))

    def with_positions(self) -> "Step":
        """The step with equal weights for all positions that are not hidden, which add up to 1."""
        mask = self.inputs.get(POSITIONS, np.ones_like(self.inputs[TOKENS])).astype(np.float64)
        return self._replace(weights={**self.weights, POSITIONS: mask / (mask.sum() or 1.0)})

    def share(self, index: int, count: int) -> "Step":
        """The part of one of several processes. All have the same number of examples: one of weight 0 fills up."""
        rows = np.arange(index, index + -(-self.rows // count) * count, count)
        filler = rows >= self.rows
        inputs, labels, weights = ({name: array[np.where(filler, 0, rows)] for name, array in arrays.items()} for arrays in self)
        for weight in weights.values():
            weight[filler] = 0
        return Step(inputs, labels, weights)

    def parts(self, count: int) -> Iterator["Step"]:
        """Split the examples into at most `count` parts of one size; the last may be smaller."""
        size = -(-self.rows // count)
        for start in range(0, self.rows, size):
            yield Step(*({name: array[start : start + size] for name, array in arrays.items()} for arrays in self))


def steps(examples: Examples, recipe: Recipe, config: MobileBertConfig, architecture: str, done: int = 0) -> Iterator[Step]:
    """The steps of the plan for some examples.

    Args:
        done: the number of steps to leave out, because they are done.
    Raises:
        ConfigError: the class weights do not fit the model.
        DataError: there are no examples.
        InputError: the examples lack a label.
    """
    for rows, generator in Plan(examples.lengths, recipe).batches(done):
        step = make_step(examples.batch(rows, generator), config, architecture, recipe.class_weights)
        yield step if recipe.transfer is None else step.with_positions()


def make_step(
    batch: Mapping[str, np.ndarray], config: MobileBertConfig, architecture: str, class_weights: Sequence[float] | None = None
) -> Step:
    """Split a batch into inputs and labels, and weigh the labels."""
    names = ARCHITECTURES[architecture].labels
    if missing := [name for name in names if name not in batch]:
        raise InputError(f"the examples have no {', '.join(missing)}, so a {architecture} cannot be trained on them")
    labels = {name: batch[name] for name in names}
    others = {name: array for name, array in batch.items() if name not in names}
    length = others[TOKENS].shape[-1]
    weights = {name: weigh(name, label, length, config, architecture, class_weights) for name, label in labels.items()}
    return Step(others, labels, weights)


def weigh(
    name: str,
    label: np.ndarray,
    length: int,
    config: MobileBertConfig,
    architecture: str,
    class_weights: Sequence[float] | None = None,
) -> np.ndarray:
    """The share of each loss in the loss of a step: its weight over the sum of all; 0 for labels to ignore.

    Args:
        label: [b] or [b t], with -100 for labels to ignore; positions outside the sequence are ignored as well.
        length: of the sequence.
    Returns:
        [b], or [b t] for labels of tokens.
    """
    kind = ARCHITECTURES[architecture].labels[name]
    integers = np.issubdtype(label.dtype, np.integer)
    is_class = not kind.by_problem_type or inputs.problem_type(config, integers, label.shape) == SINGLE_LABEL
    if class_weights is not None and not (is_class and kind.classes == "n"):
        raise ConfigError(f"class weights are for labels that are one class of several; a {architecture} has none here")
    if not is_class:
        return np.full(len(label), 1 / len(label))
    classes = label.reshape(-1) if kind.shape == "b" else label
    counted = (classes >= 0) & (classes < length) if kind.classes == "" else classes != inputs.IGNORE_INDEX
    weights = counted.astype(np.float64)
    if class_weights is not None:
        if len(class_weights) != config.num_labels:
            raise ConfigError(f"there are {len(class_weights)} class weights for a model with {config.num_labels} labels")
        found = np.where(counted, classes, 0).astype(np.int64)
        inputs.check_classes(name, int(found.min()), int(found.max()), config.num_labels)
        weights *= np.asarray(class_weights)[found]
    return weights / (weights.sum() or 1.0)

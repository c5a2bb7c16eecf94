"""Learning from a teacher: what is compared, in which phases of the training, and what must fit. All of it is tables.

Source: sections 3.4 and 3.5 of arXiv:2004.02984, and Google's run_pretraining.py, whose factors and schedule these are.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from ..errors import ConfigError, brief, counted, shortened
from ..model.architectures import has_labels
from ..model.config import MobileBertConfig
from ..model.schema import expand
from .recipe import LAMB, Recipe, require_number

T = TypeVar("T")

LAYER = "encoder.layer."  # begins the names of a layer's tensors, after the architecture's root
TERMS = ("hidden", "mean", "variance", "attention")
SHOWN = 3  # tensors in an error message
HARD_ONLY = ("next_sentence_label",)  # labels that are learned without the teacher


class Form(NamedTuple):
    """How the layers of student and teacher are compared; both forms have their gradients to the student's values only.

    Attributes:
        normalized: normalise hidden states over their features before their squared difference.
        entropy: attention and soft labels as cross-entropy, rather than its distance from the least possible, the KL divergence.
        averaged: divide by the number of the student's layers.
        factors: of each term.
    """

    normalized: bool
    entropy: bool
    averaged: bool
    factors: Mapping[str, float]


FORMS = {
    "paper": Form(False, False, False, MappingProxyType({"hidden": 1.0, "mean": 0.0, "variance": 0.0, "attention": 1.0})),
    "google": Form(True, True, True, MappingProxyType({"hidden": 100.0, "mean": 5000.0, "variance": 5.0, "attention": 1.0})),
}


class Strategy(NamedTuple):
    """When layers are compared, and when labels are learned.

    Attributes:
        first: "layers" for a phase per layer, "together" for one of all layers; "" for none.
        beside: compare all layers while labels are learned, too.
        copied: take all that is outside the encoder from the teacher, and freeze it in the phases of `first`.
    """

    first: str
    beside: bool
    copied: bool


STRATEGIES = {
    "soft-labels": Strategy("", False, False),
    "auxiliary": Strategy("", True, False),
    "joint": Strategy("together", False, True),
    "progressive": Strategy("layers", False, True),
}

# The learning rate of a layer before, in and after its own phase, as a share of the phase's.
BEFORE, DURING, AFTER = 0.0, 1.0, 0.1

# What the learning rate is multiplied by while layers are compared; Google's is for LAMB.
BOOST = {LAMB: 3.0}


@dataclass(frozen=True)
class Transfer:
    """What a student learns from a teacher.

    Attributes:
        strategy: a name in STRATEGIES.
        form: a name in FORMS.
        share: of the steps that compare layers before labels are learned, where the strategy has such steps. The paper's is
            240,000 of 740,000.
        alpha: the weight of the labels; that of the teacher's scores is 1 - alpha.
        temperature: both models' scores are divided by it before their softmax, and the loss is multiplied by its square.
        factors: {term: factor} in place of those of the form; terms are hidden, mean, variance and attention.
        dropout: whether the student's dropout is on while it learns from labels; it is off while only layers are compared.
    Raises:
        ConfigError: a name is unknown, or a value out of range.
    """

    strategy: str = "progressive"
    form: str = "google"
    share: float = 240 / 740
    alpha: float = 0.5
    temperature: float = 1.0
    factors: Mapping[str, float] = field(default_factory=dict)
    dropout: bool = False

    def __post_init__(self) -> None:
        for name, table in (("strategy", STRATEGIES), ("form", FORMS)):
            if not isinstance(value := getattr(self, name), str) or value not in table:
                raise ConfigError(f"{name} must be one of {', '.join(table)}, not {brief(value)}")
        require_number("share", self.share, lambda value: 0 < value < 1, "between 0 and 1")
        require_number("alpha", self.alpha, lambda value: 0 <= value <= 1, "from 0 to 1")
        require_number("temperature", self.temperature, lambda value: 0 < value < math.inf, "more than 0, and finite")
        if not isinstance(self.factors, Mapping):
            raise ConfigError(f"factors must be {{term: factor}}, not {brief(self.factors)}")
        object.__setattr__(self, "factors", dict(self.factors))
        if unknown := [term for term in self.factors if term not in TERMS]:
            raise ConfigError(f"factors are for {', '.join(TERMS)}, not for {', '.join(map(brief, unknown))}")
        for term, value in self.factors.items():
            require_number(f"the factor of {term}", value, lambda value: 0 <= value < math.inf, "from 0, and finite")
        if self.compares_layers and not any(self.weights().values()):
            raise ConfigError(f"all factors are 0, so {self.strategy} has nothing to compare: use the strategy soft-labels")

    @property
    def compares_layers(self) -> bool:
        """Whether layers are compared in any phase."""
        found = STRATEGIES[self.strategy]
        return bool(found.first) or found.beside

    @property
    def compares_attention_alone(self) -> bool:
        """Whether a phase learns from attention alone, so that parts of a layer have no gradients."""
        return bool(STRATEGIES[self.strategy].first) and not any(value for term, value in self.weights().items() if term != "attention")

    def weights(self) -> dict[str, float]:
        """The factor of each term."""
        return {**FORMS[self.form].factors, **self.factors}


class Phase(NamedTuple):
    """Some steps of a training, which share one optimizer state. A training without a teacher is one phase.

    Attributes:
        title: for the user.
        start, stop: the steps are those from `start`, counted from 0, up to and without `stop`.
        pairs: the layers that are compared, {student's: teacher's}, counted from 0.
        labels: whether labels count.
        layers: the share of the learning rate for each of the student's layers; 0 freezes one.
        others: the same for everything outside the encoder.
        dropout: whether dropout is on.
        boost: of the learning rate.
    """

    title: str
    start: int
    stop: int
    pairs: Mapping[int, int]
    labels: bool
    layers: tuple[float, ...]
    others: float
    dropout: bool
    boost: float = 1.0

    @property
    def steps(self) -> int:
        """The number of steps."""
        return self.stop - self.start

    def rate(self, step: int, recipe: Recipe) -> float:
        """The learning rate of a step, counted from 0 in the whole training."""
        return self.boost * recipe.rate(step - self.start, self.steps, by_layer=not self.labels)

    def factor(self, name: str) -> float:
        """The share of the learning rate for a tensor, by its canonical name with or without the architecture's root."""
        _, found, rest = name.partition(LAYER)
        return self.layers[int(rest.partition(".")[0])] if found else self.others


def layer_pairs(student: int, teacher: int) -> dict[int, int]:
    """The teacher's layer for each of the student's, counted from 0: those at the same share of the depth, as EdgeTPU's.

    >>> layer_pairs(4, 12)
    {0: 2, 1: 5, 2: 8, 3: 11}
    """
    return {layer: (layer + 1) * teacher // student - 1 for layer in range(student)}


def phases(recipe: Recipe, steps: int, student: MobileBertConfig, teacher: MobileBertConfig | None = None) -> tuple[Phase, ...]:
    """The phases of a training.

    Args:
        steps: of the whole training.
        teacher: its configuration; None without one.
    Raises:
        ConfigError: there are fewer steps than phases, or a teacher without recipe.transfer, or the other way round.
    """
    count, transfer = student.num_hidden_layers, recipe.transfer
    if (transfer is None) != (teacher is None):
        raise ConfigError("to learn from a teacher takes both the teacher and recipe.transfer")
    whole = (DURING,) * count
    if transfer is None or teacher is None:
        return (Phase("training", 0, steps, {}, True, whole, DURING, True),)
    strategy, boost = STRATEGIES[transfer.strategy], BOOST.get(recipe.optimizer, 1.0)
    pairs = layer_pairs(count, teacher.num_hidden_layers) if transfer.compares_layers else {}
    first = {"": 0, "together": 1, "layers": count}[strategy.first]
    if steps < first + 1:
        raise ConfigError(f"{transfer.strategy} transfer has {first + 1} phases, but the training has {counted(steps, 'step')}")
    before = min(max(first, round(transfer.share * steps)), steps - 1) if first else 0
    borders = [round(before * number / first) for number in range(first + 1)] if first else [0]
    found = []
    for number in range(first):
        if strategy.first == "layers":
            title = f"layer {number + 1} of {count}"
            rates = tuple(AFTER if layer < number else DURING if layer == number else BEFORE for layer in range(count))
            compared = {number: pairs[number]}
        else:
            title, rates, compared = "all layers", whole, pairs
        found.append(Phase(title, borders[number], borders[number + 1], compared, False, rates, 0.0, False, boost))
    beside = pairs if strategy.beside else {}
    return (*found, Phase("distillation", before, steps, beside, True, whole, DURING, transfer.dropout))


def phase_of(found: Iterable[Phase], step: int) -> Phase:
    """The phase of a step, counted from 0; the last one for the end of the training."""
    *before, last = found
    return next((phase for phase in before if step < phase.stop), last)


def misfits(student: MobileBertConfig, teacher: MobileBertConfig, architecture: str, transfer: Transfer) -> list[str]:
    """Why a student cannot learn from a teacher, one line for each reason; none if it can."""
    strategy, weights = STRATEGIES[transfer.strategy], transfer.weights()
    found = []
    if student.vocab_size != teacher.vocab_size:
        found.append(f"the student has {counted(student.vocab_size, 'token')}, the teacher {teacher.vocab_size:,}")
    if has_labels(architecture) and _labels(student) != _labels(teacher):
        ours, theirs = (shortened([*config.id2label.values()], ", ") for config in (student, teacher))
        found.append(f"the labels of student and data are {ours}, the teacher's {theirs}")
    if not transfer.compares_layers:
        return found
    if student.hidden_size != teacher.hidden_size and any(weights[term] for term in TERMS if term != "attention"):
        found.append(f"hidden states are {student.hidden_size} wide in the student, {teacher.hidden_size} in the teacher")
    if student.num_attention_heads != teacher.num_attention_heads and weights["attention"]:
        heads = counted(student.num_attention_heads, "attention head")
        found.append(f"the student has {heads}, the teacher {teacher.num_attention_heads}")
    if student.num_hidden_layers > teacher.num_hidden_layers:
        found.append(f"the student has {counted(student.num_hidden_layers, 'layer')}, the teacher only {teacher.num_hidden_layers}")
    if strategy.copied and (others := different_shapes(student, teacher, architecture)):
        more = f", and {counted(len(others) - SHOWN, 'tensor')} more" if len(others) > SHOWN else ""
        found.append(f"the strategy {transfer.strategy} copies what is outside the encoder, but {', '.join(others[:SHOWN])}{more}")
    return found


def _labels(config: MobileBertConfig) -> Mapping[int, str]:
    """The names of labels, which only tell several apart."""
    return config.id2label if config.num_labels > 1 else {}


def different_shapes(student: MobileBertConfig, teacher: MobileBertConfig, architecture: str) -> list[str]:
    """The tensors outside the encoder that the teacher has in another shape, or not at all."""
    ours, theirs = (outside(expand(config, architecture)) for config in (student, teacher))
    shapes = {name: theirs[name].shape if name in theirs else None for name in ours}
    return [
        f"{name} is {list(ours[name].shape)}, not {'there' if shape is None else list(shape)}"
        for name, shape in shapes.items()
        if shape is None or tuple(shape) != tuple(ours[name].shape)
    ]


def outside(tensors: Mapping[str, T]) -> dict[str, T]:
    """Those that are not in the encoder: embeddings, pooler and heads."""
    return {name: tensor for name, tensor in tensors.items() if LAYER not in name}

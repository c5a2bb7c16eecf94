"""The losses of a student that learns from a teacher, in Keras. mobilebert_pt/transfer.py is its translation.

What is compared when, and its factors, are tables in mobilebert_common/training/transfer.py. Only the student gets gradients.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import keras
from keras import ops

from mobilebert_common.model import inputs
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.outputs import SCORES
from mobilebert_common.training.steps import POSITIONS
from mobilebert_common.training.transfer import FORMS, HARD_ONLY, Phase, Transfer

from .checks import is_integer, sizes
from .losses import raised
from .pretrained import base_model

EPSILON = 1e-12  # of the normalisation of hidden states


def transfer_loss(
    model: Any,
    found: Mapping[str, Any],
    taught: Mapping[str, Any],
    labels: Mapping[str, Any],
    weights: Mapping[str, Any],
    transfer: Transfer,
    phase: Phase,
) -> Any:
    """What a student is to learn in a phase.

    Args:
        found, taught: the outputs of student and teacher, with hidden states and scores if layers are compared.
        weights: {label: the weights of its losses}, and under POSITIONS those of the positions.
    """
    loss = label_loss(model, found, taught, labels, weights, transfer) if phase.labels else 0.0
    return loss + sum(factor * term for factor, term in layer_losses(found, taught, weights[POSITIONS], transfer, phase))


def label_loss(
    model: Any,
    found: Mapping[str, Any],
    taught: Mapping[str, Any],
    labels: Mapping[str, Any],
    weights: Mapping[str, Any],
    transfer: Transfer,
) -> Any:
    """Pre-training distillation: `alpha` of the losses of labels, the rest of those of the teacher's scores, []."""
    total = 0.0
    for (name, label), (hard, _) in zip(labels.items(), model.label_losses(found, labels), strict=True):
        if name in HARD_ONLY:
            losses = hard
        else:
            row = ARCHITECTURES[model.architecture].labels[name]
            kind = inputs.problem_type(model.config, is_integer(label), sizes(label)) if row.by_problem_type else ""
            soft = model.label_share * soft_losses(found[row.scores], taught[row.scores], kind, transfer)
            losses = transfer.alpha * hard + (1 - transfer.alpha) * soft
        total = total + ops.sum(losses * ops.cast(weights[name], losses.dtype))
    return total


def soft_losses(scores: Any, taught: Any, kind: str, transfer: Transfer) -> Any:
    """How far scores are from the teacher's: [... n] -> [...], the mean over n for problem types whose labels are no classes.

    Args:
        kind: the problem type of a sentence classifier; "" for other heads.
    """
    scores, taught = raised(scores), raised(taught)
    if kind == "regression":
        return ops.mean(ops.square(scores - taught), axis=-1)
    scores, taught = scores / transfer.temperature, taught / transfer.temperature
    entropy = FORMS[transfer.form].entropy
    if kind == "multi_label_classification":  # two classes each, of scores 0 and the logit
        scores, taught = (ops.stack([ops.zeros_like(x), x], axis=-1) for x in (scores, taught))
        losses = ops.mean(divergence(scores, taught, entropy), axis=-1)
    else:
        losses = divergence(scores, taught, entropy)
    return transfer.temperature**2 * losses


def divergence(scores: Any, taught: Any, entropy: bool) -> Any:
    """The KL divergence from the teacher's distribution to the student's, [... n] -> [...], or their cross-entropy."""
    logs, expected = ops.log_softmax(scores, axis=-1), ops.log_softmax(taught, axis=-1)
    return -ops.sum(ops.exp(expected) * (logs if entropy else logs - expected), axis=-1)


def layer_losses(
    found: Mapping[str, Any], taught: Mapping[str, Any], weights: Any, transfer: Transfer, phase: Phase
) -> Iterator[tuple[float, Any]]:
    """The terms of each pair of layers with their factors.

    Args:
        weights: [b t] of the positions, or of those of each choice, [b c t].
    """
    form, factors = FORMS[transfer.form], transfer.weights()
    share = 1 / len(phase.layers) if form.averaged else 1.0
    for student, teacher in phase.pairs.items():
        hidden, scores = found["hidden_states"][student + 1], found[SCORES][student]
        taught_hidden, taught_scores = taught["hidden_states"][teacher + 1], taught[SCORES][teacher]
        shares = ops.cast(ops.reshape(weights, ops.shape(hidden)[:2]), raised(hidden).dtype)
        for term, factor in factors.items():
            if factor:
                values = (scores, taught_scores) if term == "attention" else (hidden, taught_hidden)
                yield factor * share, ops.sum(TERMS[term](*map(raised, values), form) * shares)


def hidden_losses(hidden: Any, taught: Any, form: Any) -> Any:
    """Feature map transfer, [b t h] -> [b t]: the mean squared difference over the features."""
    if form.normalized:
        hidden, taught = (normalized(x) for x in (hidden, taught))
    return ops.mean(ops.square(hidden - taught), axis=-1)


def normalized(x: Any) -> Any:
    """[... h] with mean 0 and variance 1 over the features."""
    centred = x - ops.mean(x, axis=-1, keepdims=True)
    return centred * ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + EPSILON)


def mean_losses(hidden: Any, taught: Any, form: Any) -> Any:
    """The squared difference of the means over the features, [b t h] -> [b t]."""
    return ops.square(ops.mean(hidden, axis=-1) - ops.mean(taught, axis=-1))


def variance_losses(hidden: Any, taught: Any, form: Any) -> Any:
    """The absolute difference of the variances over the features, [b t h] -> [b t]."""
    return ops.abs(ops.var(hidden, axis=-1) - ops.var(taught, axis=-1))


def attention_losses(scores: Any, taught: Any, form: Any) -> Any:
    """Attention transfer, [b n t t] -> [b t]: the mean over the heads of the divergence for each query."""
    return ops.mean(divergence(scores, taught, form.entropy), axis=1)


TERMS = {"hidden": hidden_losses, "mean": mean_losses, "variance": variance_losses, "attention": attention_losses}


@contextlib.contextmanager
def comparing(model: Any, layers: Collection[int], whole: bool = True) -> Iterator[None]:
    """Let a model return what its attention has before the softmax, as output["attention_scores"], if any layers are compared.

    Args:
        layers: that are compared, counted from 0.
        whole: whether the layers after them run, too.
    """
    encoder = base_model(model).encoder
    before = encoder.keeps_scores, encoder.depth
    encoder.keeps_scores, encoder.depth = bool(layers), None if whole else max(layers) + 1
    try:
        yield
    finally:
        encoder.keeps_scores, encoder.depth = before


@contextlib.contextmanager
def learning(model: Any, phase: Phase) -> Iterator[None]:
    """Freeze what a phase does not train, and turn off dropout where it has none; training mode stays, for gradient checkpointing."""
    variables = [(phase.factor(name) > 0, each, each.trainable) for name, (each, _) in model.canonical_variables().items()]
    dropouts = [] if phase.dropout else list(dropout_rates(model))
    try:
        for trained, variable, trainable in variables:
            variable.trainable = trainable and trained
        for layer, name, _ in dropouts:
            setattr(layer, name, 0.0)
        yield
    finally:
        for _, variable, trainable in variables:
            variable.trainable = trainable
        for layer, name, rate in dropouts:
            setattr(layer, name, rate)


def dropout_rates(model: Any) -> Iterator[tuple[Any, str, float]]:
    """The layers of a model that have dropout, the attribute that holds its rate, and the rate."""
    for layer in model._flatten_layers():
        name = "rate" if isinstance(layer, keras.layers.Dropout) else "dropout"
        if isinstance(rate := getattr(layer, name, None), float | int):
            yield layer, name, rate

"""The losses of a student that learns from a teacher, in PyTorch. mobilebert_tf/transfer.py is its translation.

What is compared when, and its factors, are tables in mobilebert_common/training/transfer.py. Only the student gets gradients.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mobilebert_common.model import inputs
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.model.outputs import SCORES
from mobilebert_common.training.steps import POSITIONS
from mobilebert_common.training.transfer import FORMS, HARD_ONLY, Phase, Transfer

from .checks import is_integer, sizes
from .losses import raised

EPSILON = 1e-12  # of the normalisation of hidden states


def transfer_loss(
    model: Any,
    found: Mapping[str, Any],
    taught: Mapping[str, Any],
    labels: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    transfer: Transfer,
    phase: Phase,
) -> Tensor:
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
    labels: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    transfer: Transfer,
) -> Tensor:
    """Pre-training distillation: `alpha` of the losses of labels, the rest of those of the teacher's scores, []."""
    total = torch.zeros((), device=model.device)
    for (name, label), (hard, _) in zip(labels.items(), model.label_losses(found, labels), strict=True):
        if name in HARD_ONLY:
            losses = hard
        else:
            row = ARCHITECTURES[model.architecture].labels[name]
            kind = inputs.problem_type(model.config, is_integer(label), sizes(label)) if row.by_problem_type else ""
            soft = model.label_share * soft_losses(found[row.scores], taught[row.scores], kind, transfer)
            losses = transfer.alpha * hard + (1 - transfer.alpha) * soft
        total = total + (losses * weights[name].to(losses.dtype)).sum()
    return total


def soft_losses(scores: Tensor, taught: Tensor, kind: str, transfer: Transfer) -> Tensor:
    """How far scores are from the teacher's: [... n] -> [...], the mean over n for problem types whose labels are no classes.

    Args:
        kind: the problem type of a sentence classifier; "" for other heads.
    """
    scores, taught = raised(scores), raised(taught)
    if kind == "regression":
        return (scores - taught).square().mean(dim=-1)
    scores, taught = scores / transfer.temperature, taught / transfer.temperature
    entropy = FORMS[transfer.form].entropy
    if kind == "multi_label_classification":  # two classes each, of scores 0 and the logit
        scores, taught = (torch.stack([torch.zeros_like(x), x], dim=-1) for x in (scores, taught))
        losses = divergence(scores, taught, entropy).mean(dim=-1)
    else:
        losses = divergence(scores, taught, entropy)
    return transfer.temperature**2 * losses


def divergence(scores: Tensor, taught: Tensor, entropy: bool) -> Tensor:
    """The KL divergence from the teacher's distribution to the student's, [... n] -> [...], or their cross-entropy."""
    logs, expected = scores.log_softmax(dim=-1), taught.log_softmax(dim=-1)
    return -(expected.exp() * (logs if entropy else logs - expected)).sum(dim=-1)


def layer_losses(
    found: Mapping[str, Any], taught: Mapping[str, Any], weights: Tensor, transfer: Transfer, phase: Phase
) -> Iterator[tuple[float, Tensor]]:
    """The terms of each pair of layers with their factors.

    Args:
        weights: [b t] of the positions, or of those of each choice, [b c t].
    """
    form, factors = FORMS[transfer.form], transfer.weights()
    share = 1 / len(phase.layers) if form.averaged else 1.0
    for student, teacher in phase.pairs.items():
        hidden, scores = found["hidden_states"][student + 1], found[SCORES][student]
        taught_hidden, taught_scores = taught["hidden_states"][teacher + 1], taught[SCORES][teacher]
        shares = weights.reshape(hidden.shape[:2]).to(raised(hidden).dtype)
        for term, factor in factors.items():
            if factor:
                values = (scores, taught_scores) if term == "attention" else (hidden, taught_hidden)
                yield factor * share, (TERMS[term](*map(raised, values), form) * shares).sum()


def hidden_losses(hidden: Tensor, taught: Tensor, form: Any) -> Tensor:
    """Feature map transfer, [b t h] -> [b t]: the mean squared difference over the features."""
    if form.normalized:
        hidden, taught = (F.layer_norm(x, x.shape[-1:], eps=EPSILON) for x in (hidden, taught))
    return (hidden - taught).square().mean(dim=-1)


def mean_losses(hidden: Tensor, taught: Tensor, form: Any) -> Tensor:
    """The squared difference of the means over the features, [b t h] -> [b t]."""
    return (hidden.mean(dim=-1) - taught.mean(dim=-1)).square()


def variance_losses(hidden: Tensor, taught: Tensor, form: Any) -> Tensor:
    """The absolute difference of the variances over the features, [b t h] -> [b t]."""
    return (hidden.var(dim=-1, correction=0) - taught.var(dim=-1, correction=0)).abs()


def attention_losses(scores: Tensor, taught: Tensor, form: Any) -> Tensor:
    """Attention transfer, [b n t t] -> [b t]: the mean over the heads of the divergence for each query."""
    return divergence(scores, taught, form.entropy).mean(dim=1)


TERMS = {"hidden": hidden_losses, "mean": mean_losses, "variance": variance_losses, "attention": attention_losses}


@contextlib.contextmanager
def comparing(model: Any, layers: Collection[int], whole: bool = True) -> Iterator[None]:
    """Let a model return what its attention has before the softmax, as output["attention_scores"], if any layers are compared.

    Args:
        layers: that are compared, counted from 0.
        whole: whether the layers after them run, too.
    """
    encoder = model.base_model.encoder
    before = encoder.keeps_scores, encoder.depth
    encoder.keeps_scores, encoder.depth = bool(layers), None if whole else max(layers) + 1
    try:
        yield
    finally:
        encoder.keeps_scores, encoder.depth = before


@contextlib.contextmanager
def learning(model: Any, phase: Phase) -> Iterator[None]:
    """Freeze what a phase does not train, and turn off dropout where it has none; training mode stays, for gradient checkpointing."""
    parameters = [(phase.factor(name) > 0, parameter, parameter.requires_grad) for name, parameter in model.named_parameters()]
    dropouts = [] if phase.dropout else [(module, module.p) for module in model.modules() if isinstance(module, nn.Dropout)]
    try:
        for trained, parameter, trainable in parameters:
            parameter.requires_grad = trainable and trained
        for module, _ in dropouts:
            module.p = 0.0
        yield
    finally:
        for _, parameter, trainable in parameters:
            parameter.requires_grad = trainable
        for module, rate in dropouts:
            module.p = rate

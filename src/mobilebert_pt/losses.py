"""The losses of the heads in PyTorch. mobilebert_tf/losses.py is its translation.

Each returns one loss per example or token and its weight, 0 for labels to ignore and 1 for others; `total` reduces them
to a number. Half-precision logits are raised to float32 first.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mobilebert_common.model import inputs
from mobilebert_common.model.config import MobileBertConfig

from .arrays import dtype_name
from .checks import check_classes, is_integer, sizes, whole_classes

Losses = tuple[Tensor, Tensor]  # losses and weights of one shape


def classification_losses(logits: Tensor, labels: Tensor, config: MobileBertConfig) -> Losses:
    """The sentence classifier's losses, [b].

    Args:
        logits: [b n].
        labels: [b] classes of any dtype, [b n] zeros and ones, or [b] (or [b n]) numbers to regress on; see inputs.problem_type.
    """
    kind = inputs.problem_type(config, is_integer(labels), sizes(labels))
    if kind == "single_label_classification":
        return class_losses(logits, labels)
    inputs.check_label_shape(sizes(labels), sizes(logits), kind)
    logits = raised(logits)
    labels = labels.reshape(logits.shape).to(logits.dtype)
    if kind == "regression":
        losses = (logits - labels).square()
    else:
        losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    losses = losses.mean(dim=-1)
    return losses, torch.ones_like(losses)


def class_losses(logits: Tensor, labels: Tensor, name: str = "labels") -> Losses:
    """Cross entropy of classes [...] under logits [... n]; with one class per example, they may be whole floats or booleans."""
    shape = logits.shape[:-1]
    inputs.check_class_shape(name, sizes(labels), sizes(logits)[:-1])
    labels = whole_classes(labels, name) if len(shape) == 1 else labels
    check_classes(labels, logits.shape[-1], name)
    flat, labels = raised(logits).flatten(0, -2), labels.reshape(-1).long()
    losses = F.cross_entropy(flat, labels, reduction="none", ignore_index=inputs.IGNORE_INDEX).reshape(shape)
    return losses, (labels != inputs.IGNORE_INDEX).to(losses.dtype).reshape(shape)


def span_losses(logits: Tensor, positions: Tensor, name: str) -> Losses:
    """Cross entropy of places [b] under logits [b t]; a place outside the sequence is ignored."""
    inputs.check_integer(name, dtype_name(positions.dtype))
    inside = (positions >= 0) & (positions < logits.shape[-1])
    return class_losses(logits, torch.where(inside, positions, inputs.IGNORE_INDEX), name)


def raised(logits: Tensor) -> Tensor:
    """Half-precision logits as float32, others as they are."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def mean(losses: Tensor, weights: Tensor, count: Tensor | int | None = None) -> Tensor:
    """The weighted mean, 0 if all weights are 0; or the weighted sum divided by a count that is known."""
    return (losses * weights).sum() / (weights.sum().clamp(min=1) if count is None else count)


def total(terms: list[Losses], count: Tensor | int | None = None) -> Tensor:
    """The sum of the means."""
    return sum((mean(*term, count) for term in terms[1:]), start=mean(*terms[0], count))

"""The losses of the heads in PyTorch. mobilebert_tf/losses.py is its translation.

Each returns one number per example, [b]; `mean` turns them into the loss. Half-precision logits are raised to float32
first.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mobilebert_common import inputs
from mobilebert_common.config import MobileBertConfig

from .checks import check_classes


def classification_losses(logits: Tensor, labels: Tensor, config: MobileBertConfig) -> tuple[Tensor, Tensor]:
    """The sentence classifier's losses.

    Args:
        logits: [b n].
        labels: [b] classes, [b n] zeros and ones, or [b] (or [b n]) numbers to regress on; see inputs.problem_type.
    Returns:
        the loss of each example, [b], and its weight, [b]: 0 where the label is to be ignored, else 1.
    """
    kind = inputs.problem_type(config, integer_labels=not labels.is_floating_point())
    inputs.check_label_shape(labels.shape, logits.shape, kind)
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    if kind == "single_label_classification":
        return class_losses(logits, labels.reshape(-1))
    labels = labels.reshape(logits.shape).to(logits.dtype)
    if kind == "regression":
        losses = (logits - labels).square()
    else:
        losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    losses = losses.mean(dim=-1)
    return losses, torch.ones_like(losses)


def class_losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Cross entropy of classes [...] under logits [... n], and the weight of each: 0 at IGNORE_INDEX."""
    check_classes(labels, logits.shape[-1])
    losses = F.cross_entropy(logits, labels.long(), reduction="none", ignore_index=inputs.IGNORE_INDEX)
    return losses, (labels != inputs.IGNORE_INDEX).to(losses.dtype)


def mean(losses: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean, and 0 where every weight is 0."""
    return (losses * weights).sum() / weights.sum().clamp(min=1)

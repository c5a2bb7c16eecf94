"""The rules of mobilebert_common.inputs on PyTorch tensors. mobilebert_tf/checks.py is its translation."""

import torch
from torch import Tensor

from mobilebert_common import inputs
from mobilebert_common.config import MobileBertConfig

from .arrays import dtype_name


def check_ids(ids: Tensor, limit: int, name: str) -> Tensor:
    """Refuse ids outside 0 to limit - 1; returns the ids.

    On the CPU this is a ValueError. On an accelerator, where looking would stall the stream, and in traced code it is
    an assertion on the device with the same text; exported programs keep it until their runtime drops it.
    """
    inputs.check_integer(name, dtype_name(ids.dtype))
    if torch.compiler.is_compiling() or ids.device.type != "cpu":
        if ids.device.type != "meta":
            torch._assert_async(((ids >= 0) & (ids < limit)).all(), inputs.range_error(name, limit))
        return ids
    low, high = torch.aminmax(ids)
    inputs.check_ids(name, int(low), int(high), limit)
    return ids


def check_model_inputs(
    input_ids: Tensor | None,
    inputs_embeds: Tensor | None,
    attention_mask: Tensor | None,
    head_mask: Tensor | None,
    config: MobileBertConfig,
) -> None:
    """Refuse shapes and dtypes the model has no meaning for."""
    inputs.check_one_source(input_ids, inputs_embeds)
    source = inputs_embeds if input_ids is None else input_ids
    inputs.check_shape(source.shape, config)
    if input_ids is None:
        inputs.check_floating("inputs_embeds", dtype_name(inputs_embeds.dtype))
    if attention_mask is not None:
        inputs.check_mask(attention_mask.shape, source.shape)
    if head_mask is not None:
        inputs.check_head_mask(head_mask.shape, config)


def check_classes(labels: Tensor, classes: int, name: str) -> None:
    """Refuse class labels that no score stands for."""
    inputs.check_integer(name, dtype_name(labels.dtype))
    if torch.compiler.is_compiling() or labels.device.type != "cpu":
        return  # cross_entropy asserts it on the device
    low, high = torch.aminmax(labels)
    inputs.check_classes(name, int(low), int(high), classes)

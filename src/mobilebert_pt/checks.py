"""The rules of mobilebert_common.model.inputs on PyTorch tensors. mobilebert_tf/checks.py is its translation."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mobilebert_common.errors import InputError
from mobilebert_common.model import inputs
from mobilebert_common.model.config import MobileBertConfig

from .arrays import dtype_name


def check_tensors(**given: Any) -> None:
    """Refuse inputs that are not tensors; None stands for one that is not given."""
    for name, value in given.items():
        if value is not None and not isinstance(value, Tensor):
            kind = type(value)
            shown = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            hint = (
                "call the model as model(**inputs)"
                if isinstance(value, Mapping)
                else 'a tokenizer makes them with return_tensors="pt", torch.as_tensor from other arrays'
            )
            raise InputError(f"{name} must be a torch.Tensor, not {shown}: {hint}")


def check_ids(ids: Tensor, limit: int, name: str) -> Tensor:
    """Refuse ids outside 0 to limit - 1; returns the ids.

    On the CPU this is a ValueError. On an accelerator, where reading the ids would stall the stream, and in traced code
    it is an assertion on the device with the same text; exported programs keep it, unless their runtime drops it.
    """
    check_tensors(**{name: ids})
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
    """Refuse what is not a tensor, and shapes and dtypes that the model cannot take."""
    check_tensors(
        input_ids=input_ids, inputs_embeds=inputs_embeds, attention_mask=attention_mask, head_mask=head_mask
    )
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
    """Refuse class labels outside the classes that are scored."""
    inputs.check_integer(name, dtype_name(labels.dtype))
    if torch.compiler.is_compiling() or labels.device.type != "cpu":
        return  # cross_entropy asserts it on the device
    low, high = torch.aminmax(labels)
    inputs.check_classes(name, int(low), int(high), classes)

"""The rules of mobilebert_common.model.inputs on PyTorch tensors. mobilebert_tf/checks.py is its translation."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from mobilebert_common.errors import InputError
from mobilebert_common.model import exporting, inputs
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

    On the CPU this is a ValueError. On an accelerator, where reading the ids would stall the stream, and in compiled code
    it is an assertion on the device with the same text; exported programs keep it, unless their runtime drops it. In a
    trace or a function transform the table itself refuses them, on the CPU.
    """
    check_tensors(**{name: ids})
    inputs.check_integer(name, dtype_name(ids.dtype))
    if is_exporting():
        return ids
    if can_read(ids):
        low, high = torch.aminmax(ids)
        inputs.check_ids(name, int(low), int(high), limit)
    elif ids.device.type != "meta" and not is_traced(ids):
        torch._assert_async(((ids >= 0) & (ids < limit)).all(), inputs.range_error(name, limit))
    return ids


def is_exporting() -> bool:
    """See mobilebert_common/model/exporting.py, into which torch.compile cannot look."""
    return not torch.compiler.is_dynamo_compiling() and exporting.is_exporting()


def can_read(tensor: Tensor) -> bool:
    """Whether looking at a tensor's values is free and leaves no mark: on the CPU, and in nothing that records or maps a function."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling() and not is_traced(tensor)


def is_traced(tensor: Tensor) -> bool:
    """Whether a tensor stands for others: in torch.jit.trace, make_fx, torch.func's transforms, or as a tensor without data."""
    if torch.compiler.is_compiling():  # which has its own way, and cannot look into the rest
        return False
    return (
        torch.jit.is_tracing()
        or get_proxy_mode() is not None
        or is_functorch_wrapped_tensor(tensor)
        or isinstance(tensor, FakeTensor)
    )


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
    inputs.check_shape(sizes(source), config)
    if input_ids is None:
        inputs.check_floating("inputs_embeds", dtype_name(inputs_embeds.dtype))
    if attention_mask is not None:
        inputs.check_mask(sizes(attention_mask), sizes(source))
    if head_mask is not None:
        inputs.check_head_mask(sizes(head_mask), config)


def is_integer(labels: Tensor) -> bool:
    """Whether labels are integers; booleans are not."""
    return not labels.is_floating_point() and labels.dtype != torch.bool


def whole_classes(labels: Tensor, name: str) -> Tensor:
    """Classes that may be booleans or whole floats, as integers; refuses fractions as check_ids does ids."""
    if labels.is_floating_point():
        whole = labels - labels.trunc() == 0  # false for infinity too
        if can_read(labels):
            inputs.check_whole(name, bool(whole.all()))
        elif is_traced(labels):
            labels = labels.where(whole, -1)  # which cross_entropy refuses
        elif labels.device.type != "meta":
            torch._assert_async(whole.all(), inputs.whole_error(name))
    return labels if is_integer(labels) else labels.long()


def check_classes(labels: Tensor, classes: int, name: str) -> None:
    """Refuse class labels outside the classes that are scored."""
    inputs.check_integer(name, dtype_name(labels.dtype))
    if not can_read(labels):
        return  # cross_entropy asserts it
    low, high = torch.aminmax(labels)
    inputs.check_classes(name, int(low), int(high), classes)


def sizes(tensor: Tensor) -> tuple[int, ...]:
    """A shape in whole numbers; torch.jit.trace has tensors there."""
    if not torch.jit.is_tracing():
        return tensor.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        return tuple(map(int, tensor.shape))

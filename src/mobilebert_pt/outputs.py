"""Register the output classes as trees, which torch.export, DDP and functional transforms flatten."""

from typing import Any

import torch
from torch.utils import _pytree as pytree

from mobilebert_common.model.outputs import OUTPUTS, ModelOutput


def register(cls: type[ModelOutput]) -> None:
    """Register one output class with torch's pytree."""

    def flatten(output: ModelOutput) -> tuple[list[Any], list[str]]:
        return list(output.values()), list(output)

    def unflatten(values: Any, names: Any) -> ModelOutput:
        return cls(zip(names, values, strict=True))

    def flatten_with_keys(output: ModelOutput) -> tuple[list[Any], list[str]]:
        return [(pytree.MappingKey(name), value) for name, value in output.items()], list(output)

    pytree.register_pytree_node(
        cls,
        flatten,
        unflatten,
        serialized_type_name=f"mobilebert.{cls.__name__}",
        flatten_with_keys_fn=flatten_with_keys,  # type: ignore[arg-type]
    )
    torch.jit.ignore(cls)  # type: ignore[arg-type]  # a trace returns it as a dict, and does not try to compile the class


for _cls in OUTPUTS:
    register(_cls)

"""Let Keras look into the outputs: call, fit and predict flatten them as trees."""

from typing import Any

import optree

from mobilebert_common.outputs import OUTPUTS, ModelOutput


def register(cls: type[ModelOutput]) -> None:
    """Teach keras.tree, which is optree underneath, one output class."""

    def flatten(output: ModelOutput) -> tuple[tuple[Any, ...], tuple[str, ...], tuple[str, ...]]:
        return output.to_tuple(), tuple(output), tuple(output)

    def unflatten(names: Any, values: Any) -> ModelOutput:
        return cls(zip(names, values, strict=True))

    optree.register_pytree_node(cls, flatten, unflatten, namespace="keras")


for _cls in OUTPUTS:
    register(_cls)

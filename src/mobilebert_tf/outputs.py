"""Register the output classes as trees, which call, fit and predict flatten, in Keras and, if it is the backend, in JAX."""

from typing import Any

import keras
import optree

from mobilebert_common.model.outputs import OUTPUTS, ModelOutput


def register(cls: type[ModelOutput]) -> None:
    """Register one output class with keras.tree, which is built on optree."""

    def flatten(output: ModelOutput) -> tuple[tuple[Any, ...], tuple[str, ...], tuple[str, ...]]:
        return output.to_tuple(), tuple(output), tuple(output)

    def unflatten(names: Any, values: Any) -> ModelOutput:
        return cls(zip(names, values, strict=True))

    optree.register_pytree_node(cls, flatten, unflatten, namespace="keras")
    if keras.backend.backend() == "jax":
        import jax

        jax.tree_util.register_pytree_node(cls, lambda output: (output.to_tuple(), tuple(output)), unflatten)


for _cls in OUTPUTS:
    register(_cls)

"""What tf.distribute asks of a model and of `fit`, which Keras leaves to the user or gets wrong.

On other backends nothing here does anything.
"""

import contextlib
from collections.abc import Iterable
from typing import Any

import keras

from mobilebert_common.errors import ConfigError

REFUSED = {
    "CollectiveAllReduceStrategy": (
        "MultiWorkerMirroredStrategy", "use MirroredStrategy on one machine, or PyTorch (torchrun) on several"
    ),
    "ParameterServerStrategy": ("ParameterServerStrategy", "use MirroredStrategy"),
    "CentralStorageStrategy": ("CentralStorageStrategy", "use MirroredStrategy"),
}  # strategies that Keras 3 cannot train with, by TensorFlow's class: their public names, and what to use instead

UNSUPPORTED = {
    "gradient_accumulation_steps": "use larger batches",
    "ema_overwrite_frequency": "leave it out, and the averages are taken over at the end of fit",
}  # options of optimizers


def current_strategy() -> Any:
    """The strategy of TensorFlow whose scope this is; None outside any."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return tf.distribute.get_strategy() if tf.distribute.has_strategy() else None


def check_strategy(model: keras.Model, task: str) -> None:
    """Refuse strategies that Keras 3 cannot train with, of the model or of the scope.

    Args:
        task: the method that is about to run, for the message.
    Raises:
        ConfigError: one line that names what to use instead.
    """
    for strategy in (getattr(model, "_distribute_strategy", None), current_strategy()):
        for base in type(strategy).__mro__:
            if (kind := base.__name__.removesuffix("V1").removesuffix("V2")) in REFUSED:
                name, instead = REFUSED[kind]
                raise ConfigError(f"Keras 3 cannot {task} under {name}: {instead}")


def check_scope(model: keras.Model) -> None:
    """Refuse to train a model in a scope in which it was not made: replicas would each update the same weights."""
    own, current = getattr(model, "_distribute_strategy", None), current_strategy()
    if current is None or current is own or (own is None and current.num_replicas_in_sync == 1):
        return
    where = "outside of its scope" if own is None else "in the scope of another strategy"
    name = type(current).__name__
    raise ConfigError(f"this is the scope of a {name}, and the model was made {where}: make or open the model in this scope")


def check_optimizer(optimizer: Any, strategy: Any) -> None:
    """Refuse options that Keras cannot carry out under a strategy with several replicas; it raises a page of TensorFlow's text."""
    if strategy is None or strategy.num_replicas_in_sync == 1:
        return
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of LossScaleOptimizer
    for option, instead in UNSUPPORTED.items():
        if getattr(inner, option, None):
            raise ConfigError(f"Keras 3 has no {option} under {type(strategy).__name__}: {instead}")


def move_optimizer(optimizer: Any, strategy: Any) -> None:
    """Make an optimizer's variables anew in the scope of a strategy, as if the optimizer had been made there; in place.

    An optimizer takes the strategy of the scope it is made in for ever, and that is none if `compile` is called outside.
    """
    for part in (optimizer, getattr(optimizer, "inner_optimizer", None)):  # LossScaleOptimizer has another one inside
        if part is None or strategy is None or part.built or part._distribution_strategy is strategy:
            continue
        with strategy.scope():
            for variable in part._variables:
                variable._initialize(variable.numpy())
        part._distribution_strategy = strategy


def strategy_of(variables: Iterable[keras.Variable]) -> Any:
    """The strategy that variables were made under; None if there was none."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    values = (variable.value for variable in variables)
    return next((value.distribute_strategy for value in values if isinstance(value, tf.distribute.DistributedValues)), None)


def scope(strategy: Any) -> contextlib.AbstractContextManager[Any]:
    """The scope of a strategy, unless there is none or a scope is open already."""
    return contextlib.nullcontext() if strategy is None or current_strategy() is not None else strategy.scope()


def replicas() -> int:
    """The number of replicas of TensorFlow, over which Keras sums gradients and takes the mean of reported losses."""
    strategy = current_strategy()
    return 1 if strategy is None else int(strategy.num_replicas_in_sync)


def sum_replicas(values: list[Any]) -> list[Any]:
    """Numbers summed over all replicas; as they are where there is but one context for all."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return values if context is None else context.all_reduce("SUM", values)


def batch_spec(iterator: Any) -> Any:
    """The shapes and dtypes of the batches that a TFEpochIterator gives one replica, as keras.KerasTensor; draws no batch.

    None if the rank of a tensor is not known.
    """
    import tensorflow as tf

    specs = tf.nest.map_structure(
        lambda spec: getattr(spec, "_value_specs", [spec])[0],  # of one replica
        iterator._distributed_dataset.element_spec,
    )
    tensors = [spec for spec in tf.nest.flatten(specs) if not isinstance(spec, tf.OptionalSpec)]
    if any(not isinstance(spec, tf.TensorSpec) or spec.shape.rank is None for spec in tensors):
        return None
    return tf.nest.map_structure(
        lambda spec: None if isinstance(spec, tf.OptionalSpec) else keras.KerasTensor(spec.shape, spec.dtype.name), specs
    )

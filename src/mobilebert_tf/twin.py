"""Keras as mobilebert_common.training.twin describes it. mobilebert_pt/twin.py is its translation."""

import contextlib
import functools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mobilebert_common import processes
from mobilebert_common.errors import ConfigError
from mobilebert_common.files.folder import Folder
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import flat

from . import arrays, heads
from .arrays import to_numpy
from .fit import readable_errors
from .training import require_one_machine, train

__all__ = ["create", "devices", "fold", "infer", "largest", "load", "outputs", "set_tensors", "set_threads", "tensor", "tensors", "train"]

ONE_PROCESS = "Keras's fit trains in one process: start one, without a launcher or TF_CONFIG, with --devices, or use --framework pt"


def tensor(array: Any) -> Any:
    """A numpy array as a tensor."""
    return keras.ops.convert_to_tensor(np.asarray(array))


def create(config: MobileBertConfig, architecture: str, seed: int) -> Any:
    """A model with fresh weights."""
    keras.utils.set_random_seed(seed)
    return getattr(heads, f"TF{architecture}")(config)


def load(directory: str | Path | Folder, architecture: str, dtype: str = "float32", **overrides: Any) -> Any:
    """A model from a checkpoint directory."""
    return getattr(heads, f"TF{architecture}").from_pretrained(directory, dtype=dtype, **overrides)


def outputs(model: Any, batch: Mapping[str, np.ndarray], **switches: bool) -> dict[str, np.ndarray]:
    """Everything a model returns for a batch, hidden states and attentions numbered."""
    found = model({name: tensor(array) for name, array in batch.items()}, training=False, **switches)
    return {name: keras.ops.convert_to_numpy(value) for name, value in flat(found).items()}


def infer(model: Any, batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    """The outputs of one batch after the other, from a compiled model."""
    call = model.inference_function()
    for batch in batches:
        with readable_errors():
            found = call(dict(batch))
        yield {name: keras.ops.convert_to_numpy(value) for name, value in flat(found).items()}


def fold(model: Any, dtype: str | None = None, quantize: str | None = None) -> Any:
    """A copy of a model for inference, the fastest for this machine."""
    return model.fold(dtype=dtype, quantize=quantize)


def tensors(model: Any) -> dict[str, np.ndarray]:
    """{canonical name: array} of a model's weights."""
    return {name: to_numpy(variable, layout) for name, (variable, layout) in model.canonical_variables().items()}


def set_tensors(model: Any, tensors: Mapping[str, np.ndarray]) -> None:
    """Set some of a model's weights, {canonical name: array}."""
    variables = model.canonical_variables()
    for name, array in tensors.items():
        variable, layout = variables[name]
        arrays.assign(variable, array, layout)


def set_threads(count: int) -> None:
    """Compute in so many threads, in this whole process.

    Raises:
        ConfigError: TensorFlow has started with another number.
    """
    import tensorflow as tf

    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(count)
        threading.set_inter_op_parallelism_threads(count)
    except RuntimeError:
        found = threading.get_intra_op_parallelism_threads()
        raise ConfigError(f"threads is {count}, but TensorFlow has started with {found or 'one for each core'}") from None


@contextlib.contextmanager
def devices(count: int | None) -> Iterator[None]:
    """Create and train models on several devices of this machine, by MirroredStrategy.

    Raises:
        ConfigError: there are fewer, or a launcher has started several processes.
    """
    import tensorflow as tf

    if processes.count() > 1 or workers() > 1:
        raise ConfigError(ONE_PROCESS)
    if tf.distribute.has_strategy():
        require_one_machine(tf.distribute.get_strategy())
        if count not in (None, found := tf.distribute.get_strategy().num_replicas_in_sync):
            raise ConfigError(f"devices is {count}, but the strategy has {found}: leave devices out")
        count = None
    if count in (None, 1):
        yield
        return
    found = tf.config.list_logical_devices("GPU") if tf.config.list_physical_devices("GPU") else virtual_cpus(count)
    if len(found) < count:
        raise ConfigError(f"devices is {count}, and TensorFlow has {len(found)}: {', '.join(device.name for device in found)}")
    with mirrored(*(device.name for device in found[:count])).scope():
        yield


@functools.cache
def mirrored(*names: str) -> Any:
    """The strategy for some devices, once and for all: TensorFlow takes the sums of a second one for those of the first."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(names)


def workers() -> int:
    """The number of processes that TF_CONFIG says train together."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        return sum(map(len, json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {}).values()))
    return 0


def virtual_cpus(count: int) -> list[Any]:
    """So many devices on one CPU, which is good for trying; as many as there are, if TensorFlow has started already."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        (cpu,) = tf.config.list_physical_devices("CPU")[:1]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    found: list[Any] = tf.config.list_logical_devices("CPU")
    return found


def largest(values: Sequence[float]) -> list[float]:
    """The largest of each value over all processes, of which there is one."""
    return [float(value) for value in values]

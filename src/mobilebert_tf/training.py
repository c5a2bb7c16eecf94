"""`compile`, `fit`, `evaluate` and `predict`: labels in x or as y, the head's own loss, ids checked before a step.

Arrays are checked whole before the first step, tf.data and generators batch by batch. With streamed data the steps
before a bad batch have happened.
"""

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from mobilebert_common import inputs
from mobilebert_common.errors import InputError

from .losses import mean


class TrainableModel(keras.Model):
    """What Keras needs to know to train a model with a configuration and a head."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator()
        self._inference_function: Any = None

    def __call__(self, input_ids: Any = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(input_ids, Mapping):
            named = self._named(input_ids)
            if twice := sorted(set(named) & {name for name, value in kwargs.items() if value is not None}):
                raise InputError(f"{', '.join(twice)} given twice, in the mapping and as an argument")
            return super().__call__(named.pop("input_ids", None), *args, **{**named, **kwargs})
        kwargs = {name: _tensor(value) for name, value in kwargs.items()}
        return super().__call__(_tensor(input_ids), *(_tensor(value) for value in args), **kwargs)

    def _named(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors of a mapping as arguments of `call`."""
        arguments = inspect.signature(self.call).parameters
        if unknown := sorted(set(tensors) - set(arguments)):
            raise InputError(f"unknown input {', '.join(unknown)}; {type(self).__name__} takes {', '.join(arguments)}")
        return {name: _tensor(value) for name, value in tensors.items() if value is not None}

    def draw_seed(self, training: bool | None) -> Any:
        """A seed for this call's dropout; None where there is none."""
        return self.seed_generator.next() if training else None

    def compute_losses(self, logits: Any, labels: Any) -> tuple[Any, Any]:
        """The head's loss of each example and its weight; a base model has none."""
        raise NotImplementedError(f"{type(self).__name__} has no loss of its own: give compile() one")

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss given to compile() on the logits, or else the head's own; with sample_weight as Keras reduces it."""
        logits, labels = _logits(y_pred), _labels(x, y)
        if self._compile_loss is not None:
            return super().compute_loss(x, labels, logits, sample_weight, training)
        if labels is None:
            raise InputError("no labels to compute a loss with: give them as y or as x['labels']")
        losses, weights = self.compute_losses(logits, ops.convert_to_tensor(labels))
        if sample_weight is not None:
            losses = losses * ops.cast(ops.reshape(sample_weight, ops.shape(losses)), losses.dtype)
        return mean(losses, weights) + sum(self.losses)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Metrics see the logits and the labels."""
        return super().compute_metrics(x, _labels(x, y), _logits(y_pred), sample_weight)

    def fit(self, x: Any = None, y: Any = None, *args: Any, validation_data: Any = None, **kwargs: Any) -> Any:
        """`keras.Model.fit` on a dict, an array, tf.data or a generator."""
        kwargs.setdefault("shuffle", _kind(x) == "arrays")
        x, y = self._checked(x, y)
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)  # inside the traced step it would have the step traced twice
        if isinstance(validation_data, tuple):
            val_x, val_y = self._checked(validation_data[0], validation_data[1] if len(validation_data) > 1 else None)
            validation_data = (val_x, val_y, *validation_data[2:])
        with _readable_errors():
            return super().fit(x, y, *args, validation_data=validation_data, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.evaluate` on a dict, an array, tf.data or a generator."""
        x, y = self._checked(x, y)
        with _readable_errors():
            return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.predict`: the model's output with numpy arrays; labels are left out."""
        x, _ = self._checked(x, None)
        with _readable_errors():
            return super().predict(x, *args, **kwargs)

    def predict_step(self, data: Any) -> Any:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        return super().predict_step((_without_labels(x), y, sample_weight))

    def inference_function(self) -> Callable[[Mapping[str, Any]], Any]:
        """A function from named tensors to the output without dropout, compiled once for all lengths."""
        if keras.backend.backend() != "tensorflow":
            return lambda tensors: self(tensors, training=False)
        if self._inference_function is None:
            import tensorflow as tf

            self._inference_function = tf.function(
                lambda tensors: self(tensors, training=False), autograph=False, reduce_retracing=True
            )
        return self._inference_function

    def forget_compiled(self) -> None:
        """Undo compile(): its functions and its optimizer know variables that are gone."""
        self.compiled = False
        self.optimizer = None
        self.forget_functions()

    def forget_functions(self) -> None:
        """Have the next fit, evaluate and predict traced anew."""
        self.train_function = self.test_function = self.predict_function = self._inference_function = None

    def _checked(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The data with `labels` moved from x to y, and with its ids checked now or as they come."""
        kind = _kind(x)
        if kind == "arrays":
            if isinstance(x, Mapping):
                x = self._named(x)
                y = x.pop("labels", None) if y is None else y
                x = {name: value for name, value in x.items() if name != "labels"}
            self._check_batch(x, y)
            return x, y
        if kind == "tf.data":
            return x.map(self._checking_map(), num_parallel_calls=1), y
        if kind == "generator":
            return self._checking_generator(x), y
        if kind == "sequence":
            return _CheckedDataset(x, self._check_batch), y
        return x, y

    def _check_batch(self, x: Any, y: Any = None) -> None:
        """Check concrete ids, shapes and labels."""
        tensors = x if isinstance(x, Mapping) else {"input_ids": x}
        for name in ("input_ids", "inputs_embeds"):
            if tensors.get(name) is not None:
                inputs.check_shape(np.shape(tensors[name]), self.config)
        labels = (
            {} if y is None or self._compile_loss is not None else {"labels": y}
        )  # a loss of the user's has its own labels
        arrays = {name: keras.ops.convert_to_numpy(value) for name, value in {**tensors, **labels}.items()}
        inputs.check_arrays(arrays, self.config)

    def _checking_generator(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
            self._check_batch(x, y)
            yield batch

    def _checking_map(self) -> Callable[..., Any]:
        """A stage for tf.data that moves labels from x to y and asserts the ranges of the ids."""
        import tensorflow as tf

        limits = inputs.id_limits(self.config)

        def check(*batch: Any) -> Any:
            x = batch[0]
            tensors = x if isinstance(x, Mapping) else {"input_ids": x}
            assertions = [
                tf.debugging.Assert(
                    tf.reduce_all((tensors[name] >= 0) & (tensors[name] < limit)), [inputs.range_error(name, limit)]
                )
                for name, limit in limits.items()
                if name in tensors
            ]
            with tf.control_dependencies(assertions):
                x = tf.nest.map_structure(tf.identity, x)
            if isinstance(x, Mapping) and "labels" in x:
                labels = x["labels"]
                x = _without_labels(x)
                return (x, labels) if len(batch) < 2 else (x, *batch[1:])
            return (x, *batch[1:]) if len(batch) > 1 else x

        return check


class _CheckedDataset(keras.utils.PyDataset):
    """A PyDataset whose batches are checked as they come."""

    def __init__(self, dataset: Any, check: Callable[[Any, Any], None]) -> None:
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset = dataset
        self.check = check

    def __getitem__(self, index: int) -> Any:
        batch = self.dataset[index]
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        self.check(x, y)
        return batch

    @property
    def num_batches(self) -> int | None:
        return self.dataset.num_batches

    def on_epoch_begin(self) -> None:
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self.dataset.on_epoch_end()


def _kind(x: Any) -> str:
    """Which of the forms of data Keras takes this is."""
    if isinstance(x, Mapping | np.ndarray) or keras.ops.is_tensor(x):
        return "arrays"
    if isinstance(x, keras.utils.PyDataset):
        return "sequence"
    if type(x).__module__.startswith("tensorflow") and hasattr(x, "element_spec"):
        return "tf.data"
    return "generator" if inspect.isgenerator(x) else "other"


def _tensor(value: Any) -> Any:
    """Nested lists and numpy arrays as tensors; what else there is stays."""
    return ops.convert_to_tensor(value) if isinstance(value, list | np.ndarray) else value


def _logits(y_pred: Any) -> Any:
    return y_pred["logits"] if isinstance(y_pred, Mapping) and "logits" in y_pred else y_pred


def _labels(x: Any, y: Any) -> Any:
    return x.get("labels") if y is None and isinstance(x, Mapping) else y


def _without_labels(x: Any) -> Any:
    return {name: value for name, value in x.items() if name != "labels"} if isinstance(x, Mapping) else x


@contextlib.contextmanager
def _readable_errors() -> Iterator[None]:
    """Turn TensorFlow's report of one of our assertions back into the InputError it stands for."""
    try:
        yield
    except Exception as error:
        found = re.search(r"\w+ must be from 0 to \d+( \(or -100 to be ignored\))?", str(error))
        if type(error).__name__ != "InvalidArgumentError" or found is None:
            raise
        raise InputError(found.group(0)) from None

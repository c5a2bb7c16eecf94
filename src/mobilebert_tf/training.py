"""`compile`, `fit`, `evaluate` and `predict`: labels in x or as y, the head's own loss, ids checked before a step.

Arrays are checked whole before the first step, tf.data, PyDataset and generators batch by batch. With streamed data the steps
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

from mobilebert_common.errors import InputError
from mobilebert_common.model import inputs
from mobilebert_common.model.architectures import ARCHITECTURES

from .losses import Losses, total

ALIASES = {"next_sentence_label": "labels"}  # of a head that has no label of the first name
LABEL_NAMES = {*ALIASES, *(name for architecture in ARCHITECTURES.values() for name in architecture.labels)}


class TrainableModel(keras.Model):
    """What Keras needs to know to train a model with a configuration and a head.

    Labels are those of ARCHITECTURES, by name in x or as y: one array for a head with one label, else a mapping or a tuple in
    the order of the table. A loss or metrics given to compile() see the scores of one label as they are, those of
    several as a mapping by the output's name.
    """

    architecture: str  # the model's name in ARCHITECTURES

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator()
        self._inference_function: Any = None

    def __call__(self, input_ids: Any = None, *args: Any, **kwargs: Any) -> Any:
        kwargs = {name: _tensor(value) for name, value in kwargs.items()}
        if isinstance(input_ids, Mapping):
            named = self._named(input_ids)
            if twice := sorted(set(named) & {name for name, value in kwargs.items() if value is not None}):
                raise InputError(f"{', '.join(twice)} given twice, in the mapping and as an argument")
            return super().__call__(named.pop("input_ids", None), *args, **{**named, **kwargs})
        return super().__call__(_tensor(input_ids), *(_tensor(value) for value in args), **kwargs)

    def stateless_call(self, trainable: Any, others: Any, input_ids: Any = None, *args: Any, **kwargs: Any) -> Any:
        """What fit, evaluate and predict call on JAX; it does not pass through `__call__`."""
        named = self._named(input_ids) if isinstance(input_ids, Mapping) else {"input_ids": input_ids}
        return super().stateless_call(trainable, others, named.pop("input_ids", None), *args, **{**named, **kwargs})

    def _named(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors of a mapping as arguments of `call`."""
        arguments = inspect.signature(self.call).parameters
        if unknown := sorted(set(tensors) - set(arguments)):
            raise InputError(f"unknown input {', '.join(unknown)}; {type(self).__name__} takes {', '.join(arguments)}")
        return {name: _tensor(value) for name, value in tensors.items() if value is not None}

    def draw_seed(self, training: bool | None) -> Any:
        """A seed for this call's dropout; None where there is none."""
        return self.seed_generator.next() if training else None

    def label_losses(self, scores: Mapping[str, Any], labels: Mapping[str, Any]) -> list[Losses]:
        """The losses of each label given; a base model has none."""
        raise NotImplementedError(f"{type(self).__name__} has no loss of its own: give compile() one")

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss given to compile() on the scores, or else the head's own; with sample_weight as Keras reduces it."""
        if self._compile_loss is not None:
            return super().compute_loss(x, *self._scored(x, y, y_pred), sample_weight, training)
        labels = self._labels(x, y)
        if not labels:
            raise InputError("no labels to compute a loss with: give them as y or as x['labels']")
        terms = self.label_losses(y_pred, {name: ops.convert_to_tensor(label) for name, label in labels.items()})
        if sample_weight is not None:
            shares = [sample_weight[name] if isinstance(sample_weight, Mapping) else sample_weight for name in labels]
            terms = [
                (losses * _weights_like(share, losses), weights)
                for (losses, weights), share in zip(terms, shares, strict=True)
            ]
        return total(terms) + sum(self.losses)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Metrics see the labels and the scores."""
        return super().compute_metrics(x, *self._scored(x, y, y_pred), sample_weight)

    def fit(self, x: Any = None, y: Any = None, *args: Any, validation_data: Any = None, **kwargs: Any) -> Any:
        """`keras.Model.fit` on a dict, an array, tf.data, a PyDataset or a generator."""
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
        """`keras.Model.evaluate` on a dict, an array, tf.data, a PyDataset or a generator."""
        x, y = self._checked(x, y)
        with _readable_errors():
            return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.predict`: the model's output with numpy arrays; labels are left out."""
        x, _ = self._checked(x, None)
        with _readable_errors():
            return super().predict(x, *args, **kwargs)

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
                y = self._labels_of(x) if y is None else y
                x = self._without_labels(x)
            self._check_batch(x, y)
            return x, y
        if kind == "tf.data":
            return x.map(self._checking_map(), num_parallel_calls=1), y
        if kind == "generator":
            return self._checking_generator(x), y
        if kind == "sequence":
            return _CheckedDataset(x, self._checked_batch), y
        return x, y

    def _check_batch(self, x: Any, y: Any = None) -> None:
        """Check concrete ids, shapes and labels."""
        tensors = x if isinstance(x, Mapping) else {"input_ids": x}
        labels = {} if self._compile_loss is not None else self._labels(x, y)  # a loss of the user's has its own labels
        inputs.check_arrays(_arrays(self._without_labels(tensors)), _arrays(labels), self.config, self.architecture)

    def _labels(self, x: Any, y: Any) -> dict[str, Any]:
        """The labels of a batch by name."""
        names = list(ARCHITECTURES[self.architecture].labels)
        if y is None:
            return self._labels_in(x) or {}
        if isinstance(y, Mapping):
            found = {name if name in names else ALIASES.get(name, name): label for name, label in y.items()}
            return {name: found[name] for name in sorted(found, key=[*names, *found].index)}
        several = isinstance(y, tuple | list) and len(names) > 1
        return dict(zip(names, y, strict=True)) if several else {names[0] if names else "labels": y}

    def _labels_in(self, x: Any) -> dict[str, Any] | None:
        """The labels among the inputs, under the names the head has for them."""
        names = ARCHITECTURES[self.architecture].labels
        if not isinstance(x, Mapping):
            return None
        found = {name: x[name] for name in names if x.get(name) is not None}
        found |= {name: x[other] for other, name in ALIASES.items() if other not in names and x.get(other) is not None}
        return found or None

    def _labels_of(self, x: Any) -> Any:
        """The labels among the inputs in the form of y."""
        found = self._labels_in(x)
        return next(iter(found.values())) if found and len(ARCHITECTURES[self.architecture].labels) == 1 else found

    def _without_labels(self, x: Any) -> Any:
        if not isinstance(x, Mapping):
            return x
        return {name: value for name, value in x.items() if name not in LABEL_NAMES}

    def _scored(self, x: Any, y: Any, y_pred: Any) -> tuple[Any, Any]:
        """Labels and the scores they are held against, for losses and metrics that are not the head's."""
        expected, labels = ARCHITECTURES[self.architecture].labels, self._labels(x, y)
        if not isinstance(y_pred, Mapping) or not labels or not set(labels) <= set(expected):
            return y, y_pred
        pairs = {expected[name].scores: label for name, label in labels.items()}
        if len(pairs) == 1:
            return next((label, y_pred[name]) for name, label in pairs.items())
        return pairs, {name: y_pred[name] for name in pairs}

    def _checking_generator(self, batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            yield self._checked_batch(batch)

    def _checked_batch(self, batch: Any) -> Any:
        """A batch of a stream with `labels` moved from x to y, after a look at its ids."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        y = self._labels_of(x) if y is None else y
        self._check_batch(x, y)
        return keras.utils.pack_x_y_sample_weight(self._without_labels(x), y, sample_weight)

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
            labels = self._labels_of(x) if len(batch) < 2 else None
            if labels is not None:
                return self._without_labels(x), labels
            return (self._without_labels(x), *batch[1:]) if len(batch) > 1 else x

        return tf.autograph.experimental.do_not_convert(check)  # it has no branches on tensors


class _CheckedDataset(keras.utils.PyDataset):
    """A PyDataset whose batches are checked as they come."""

    def __init__(self, dataset: Any, check: Callable[[Any], Any]) -> None:
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset = dataset
        self.check = check

    def __getitem__(self, index: int) -> Any:
        return self.check(self.dataset[index])

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


def _arrays(tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: ops.convert_to_numpy(value) for name, value in tensors.items()}


def _weights_like(sample_weight: Any, losses: Any) -> Any:
    """Weights of examples [b], or [b 1], or of tokens [b t], so that they multiply losses [b] or [b t]."""
    weights = ops.cast(sample_weight, losses.dtype)
    if len(losses.shape) == 1:
        return ops.reshape(weights, ops.shape(losses))
    return weights if len(weights.shape) == 2 else weights[:, None]


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

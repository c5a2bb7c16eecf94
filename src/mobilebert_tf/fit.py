"""`compile`, `fit`, `evaluate` and `predict`: labels in x or as y, the head's own loss, ids checked before a step.

Arrays are checked as a whole before the first step; tf.data, PyDataset and generators batch by batch, so that the steps
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
from mobilebert_common.model.config import MobileBertConfig

from .labels import labels_by_name, match_scores, split_labels
from .losses import Losses, total
from .streams import checked_stream, is_arrays


class TrainableModel(keras.Model):
    """What Keras needs to know to train a model with a configuration and a head.

    Labels are those of ARCHITECTURES, by name in x or as y: one array for a head with one label, else a mapping or a
    tuple in the order of the table. A loss or metrics given to compile() get the scores of a single label as a tensor,
    those of several as a mapping by the name of the output.
    """

    config: MobileBertConfig
    architecture: str  # the model's name in ARCHITECTURES

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator()
        self._inference_function: Any = None

    # Calling

    def __call__(self, input_ids: Any = None, *args: Any, **kwargs: Any) -> Any:
        kwargs = {name: as_tensor(value) for name, value in kwargs.items()}
        if isinstance(input_ids, Mapping):
            named = self._named(input_ids)
            if twice := sorted(set(named) & {name for name, value in kwargs.items() if value is not None}):
                raise InputError(f"{', '.join(twice)} given twice, in the mapping and as an argument")
            return super().__call__(named.pop("input_ids", None), *args, **{**named, **kwargs})
        return super().__call__(as_tensor(input_ids), *(as_tensor(value) for value in args), **kwargs)

    def stateless_call(self, trainable: Any, others: Any, input_ids: Any = None, *args: Any, **kwargs: Any) -> Any:
        """What fit, evaluate and predict call on JAX, in place of `__call__`."""
        named = self._named(input_ids) if isinstance(input_ids, Mapping) else {"input_ids": input_ids}
        return super().stateless_call(trainable, others, named.pop("input_ids", None), *args, **{**named, **kwargs})

    def _named(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors of a mapping as arguments of `call`."""
        arguments = inspect.signature(self.call).parameters
        if unknown := sorted(set(tensors) - set(arguments)):
            raise InputError(f"unknown input {', '.join(unknown)}; {type(self).__name__} takes {', '.join(arguments)}")
        return {name: as_tensor(value) for name, value in tensors.items() if value is not None}

    def draw_seed(self, training: bool | None) -> Any:
        """A seed for the dropout of this call; None if it has none."""
        return self.seed_generator.next() if training else None

    # Loss and metrics

    def label_losses(self, scores: Mapping[str, Any], labels: Mapping[str, Any]) -> list[Losses]:
        """The losses of each label given; a base model has none."""
        raise NotImplementedError(f"{type(self).__name__} has no loss of its own: give compile() one")

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss given to compile(), or else the head's own, with sample_weight reduced as Keras does."""
        if self._compile_loss is not None:
            pair = match_scores(x, y, y_pred, self.architecture)
            return super().compute_loss(x, *pair, sample_weight, training)
        labels = labels_by_name(x, y, self.architecture)
        if not labels:
            raise InputError("no labels to compute a loss with: give them as y or as x['labels']")
        terms = self.label_losses(y_pred, {name: ops.convert_to_tensor(label) for name, label in labels.items()})
        if sample_weight is not None:
            terms = weighted(terms, sample_weight, list(labels))
        return total(terms) + sum(self.losses)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The metrics given to compile(), on the labels and their scores."""
        return super().compute_metrics(x, *match_scores(x, y, y_pred, self.architecture), sample_weight)

    # Training and prediction

    def fit(self, x: Any = None, y: Any = None, *args: Any, validation_data: Any = None, **kwargs: Any) -> Any:
        """`keras.Model.fit` on a dict, an array, tf.data, a PyDataset or a generator."""
        kwargs.setdefault("shuffle", is_arrays(x))
        x, y = self._prepared(x, y)
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)  # built inside the traced step, it would be traced twice
        if isinstance(validation_data, tuple):
            val_x, val_y, val_weights = keras.utils.unpack_x_y_sample_weight(validation_data)
            validation_data = (*self._prepared(val_x, val_y), val_weights)
        with readable_errors():
            return super().fit(x, y, *args, validation_data=validation_data, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.evaluate` on a dict, an array, tf.data, a PyDataset or a generator."""
        x, y = self._prepared(x, y)
        with readable_errors():
            return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.predict`: the model's output with numpy arrays; labels are left out."""
        x, _ = self._prepared(x, None)
        with readable_errors():
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
        """Undo compile(): its graphs and its optimizer hold variables that are gone."""
        self.compiled = False
        self.optimizer = None
        self.forget_functions()

    def forget_functions(self) -> None:
        """Drop cached graphs."""
        self.train_function = self.test_function = self.predict_function = self._inference_function = None

    # Data

    def _prepared(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The data with labels moved from x to y: arrays are checked now, streams batch by batch."""
        if not is_arrays(x):
            return checked_stream(x, self._checked, self.config, self.architecture), y
        return self._checked(self._named(x) if isinstance(x, Mapping) else x, y)

    def _checked(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Arrays with labels moved from x to y, after a check of ids, shapes and labels."""
        x, y = split_labels(x, y, self.architecture)
        tensors = x if isinstance(x, Mapping) else {"input_ids": x}
        # a loss given to compile() has labels of its own kind
        labels = {} if self._compile_loss is not None else labels_by_name(x, y, self.architecture)
        inputs.check_arrays(as_arrays(tensors), as_arrays(labels), self.config, self.architecture)
        return x, y


def as_tensor(value: Any) -> Any:
    """Nested lists and numpy arrays as tensors; anything else stays as it is."""
    return ops.convert_to_tensor(value) if isinstance(value, list | np.ndarray) else value


def as_arrays(tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Named tensors as numpy arrays."""
    return {name: ops.convert_to_numpy(value) for name, value in tensors.items()}


def weighted(terms: list[Losses], sample_weight: Any, names: list[str]) -> list[Losses]:
    """The losses of some labels times their weights, one for all labels or a mapping by name."""
    shares = [sample_weight[name] if isinstance(sample_weight, Mapping) else sample_weight for name in names]
    return [
        (losses * weights_like(share, losses), counted)
        for (losses, counted), share in zip(terms, shares, strict=True)
    ]


def weights_like(sample_weight: Any, losses: Any) -> Any:
    """Weights of examples [b], or [b 1], or of tokens [b t], so that they multiply losses [b] or [b t]."""
    weights = ops.cast(sample_weight, losses.dtype)
    if len(losses.shape) == 1:
        return ops.reshape(weights, ops.shape(losses))
    return weights if len(weights.shape) == 2 else weights[:, None]


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Raise TensorFlow's report of one of our assertions as the InputError it stands for."""
    try:
        yield
    except Exception as error:
        found = re.search(r"\w+ must be (from 0 to \d+( \(or -100 to be ignored\))?|whole numbers to be classes)", str(error))
        if type(error).__name__ != "InvalidArgumentError" or found is None:
            raise
        raise InputError(found.group(0)) from None

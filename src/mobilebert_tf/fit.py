"""`compile`, `fit`, `evaluate` and `predict`: labels in x or as y, the head's own loss, ids checked before a step.

Arrays are checked as a whole before the first step; tf.data, PyDataset and generators batch by batch, so that the steps
before a bad batch have happened.
"""

import contextlib
import functools
import inspect
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras import ops

from mobilebert_common.errors import InputError
from mobilebert_common.model import inputs
from mobilebert_common.model.architectures import ARCHITECTURES, has_choices
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.outputs import ModelOutput, flat

from .backup import holds_optimizer, with_positions
from .base import unbuilt
from .datasets import batched, collator
from .labels import LABEL_NAMES, labels_by_name, match_scores, split_labels
from .losses import Losses, replica_loss, total
from .metrics import update_metrics
from .strategies import batch_spec, check_optimizer, check_scope, check_strategy, move_optimizer, replicas, scope
from .streams import checked_stream, is_arrays

log = logging.getLogger(__name__)

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


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
        self.is_waiting = False  # for the first call, to build layers whose shapes could not be guessed
        self.called_with: SimpleNamespace | None = None  # what that call was made with
        self.first_inputs: SimpleNamespace | None = None  # of the first call, for what is exported
        self._convert_input_args = False  # `__call__` does it here, and layers cast floats
        self.progress: SimpleNamespace | None = None  # position and metrics for, or from, a file of BackupAndRestore
        self.epoch_iterator: Any = None  # of the fit that runs
        self._inference_functions: dict[Any, Callable[..., Any]] = {}
        self._dropped: frozenset[str] = frozenset()  # columns of data sets, which were reported

    # Calling

    @property
    def input_dtype(self) -> str:
        """What exporters make inputs of: word ids."""
        return "int32"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = self._arguments([as_tensor(value) for value in args], {n: as_tensor(v) for n, v in kwargs.items()})
        with scope(self._strategy() if self.is_waiting else None):
            found = super().__call__(*args, **kwargs)
        if self.first_inputs is None:
            self.first_inputs = SimpleNamespace(inputs=symbolic([], {**dict(zip(self._names(), args, strict=False)), **kwargs})[1])
        if self.is_waiting and not unbuilt(self):
            self.is_waiting, self.called_with = False, SimpleNamespace(inputs=symbolic(args, kwargs))
        return found

    def stateless_call(self, trainable: Any, others: Any, *args: Any, **kwargs: Any) -> Any:
        """What fit, evaluate and predict call on JAX, in place of `__call__`."""
        args, kwargs = self._arguments(args, kwargs)
        return super().stateless_call(trainable, others, *args, **kwargs)

    def _arguments(self, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of `call`, with a mapping or a list of tensors that comes first unpacked."""
        named = self._named(args[0]) if args else None
        if not isinstance(named, Mapping) or "input_ids" not in self._names():
            return list(args), kwargs
        given = {**dict(zip(self._names()[1:], args[1:], strict=False)), **kwargs}
        if twice := sorted(set(named) & {name for name, value in given.items() if value is not None}):
            raise InputError(f"{', '.join(twice)} given twice, in the first argument and as another")
        self._check_names(named)
        tensors = {name: as_tensor(value) for name, value in named.items() if value is not None}
        return [tensors.pop("input_ids", None)], {**given, **tensors}

    def _named(self, data: Any) -> Any:
        """Tensors in a list or a tuple, which are in the order of `call`, by name; anything else as it is."""
        if not is_several(data) or "input_ids" not in self._names():
            return data
        if len(data) > len(self._names()):
            raise InputError(f"{len(data)} inputs; {type(self).__name__} takes {', '.join(self._names())}, in this order")
        return {name: tensor for name, tensor in zip(self._names(), data, strict=False) if tensor is not None}

    def _names(self) -> list[str]:
        """The arguments of `call`."""
        return call_names(type(self))[0]

    def _check_names(self, named: Mapping[str, Any]) -> None:
        """Refuse inputs that `call` does not take."""
        if unknown := self._unknown(named):
            raise InputError(f"unknown input {', '.join(unknown)}; {type(self).__name__} takes {', '.join(self._names())}")

    def _unknown(self, named: Mapping[str, Any]) -> list[str]:
        """The names that `call` does not take."""
        names, takes_all = call_names(type(self))
        return [] if takes_all or "input_ids" not in names else sorted(set(named) - set(names))

    def input_shapes(self) -> dict[str, tuple[None, ...]]:
        """{input: shape} of what a tokenizer makes for this model, of any length."""
        rank = 3 if has_choices(self.architecture) else 2
        names = self._names()
        wanted = ("input_ids", "attention_mask", "token_type_ids")
        return {name: (None,) * rank for name in wanted if name in names or "input_ids" not in names}

    @property
    def input_signature(self) -> dict[str, Any]:
        """{input: tf.TensorSpec} for a batch of any size: the inputs of the first call, or else what a tokenizer makes."""
        import tensorflow as tf

        specs = {name: (shape, "int32") for name, shape in self.input_shapes().items()}
        if self.first_inputs is not None:
            free = 3 if has_choices(self.architecture) else 2
            tensors = {
                name: tensor
                for name, tensor in self.first_inputs.inputs.items()
                if isinstance(tensor, keras.KerasTensor) and name not in LABEL_NAMES
            }
            specs = {
                name: (((None,) * free + tensor.shape)[: len(tensor.shape)] if name != "head_mask" else tensor.shape, tensor.dtype)
                for name, tensor in tensors.items()
            }
        return {name: tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in specs.items()}

    def export(self, filepath: Any, *args: Any, input_signature: Any = None, **kwargs: Any) -> None:
        """`keras.Model.export`, before or after a first call; it takes a mapping of the inputs unless a signature is given."""
        signature = [self.input_signature] if input_signature is None else input_signature
        before = self.first_inputs
        super().export(filepath, *args, input_signature=signature, **kwargs)
        self.first_inputs = before  # tracing it is no call of the user's

    @property
    def _default_save_signature(self) -> Any:
        """What tf.saved_model.save serves unless it is told otherwise: Keras's own would call the inputs inputs, inputs_1 and so on."""
        import tensorflow as tf

        def serve(tensors: Mapping[str, Any]) -> Any:
            output = self(tensors, training=False)
            return dict(flat(output)) if isinstance(output, ModelOutput) else output

        before = self.first_inputs
        function = tf.function(serve, input_signature=[self.input_signature], autograph=False)
        function.get_concrete_function()
        self.first_inputs = before  # tracing it is no call of the user's
        return function

    def symbolic_inputs(self) -> list[Any]:
        """What to build layers of unknown shapes with, the best first: all inputs by name, or word ids alone."""
        inputs = {name: keras.KerasTensor(shape, "int32") for name, shape in self.input_shapes().items()}
        return [inputs, inputs["input_ids"]]

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
            pair = match_scores(x, y, y_pred, self.architecture, self._compile_loss._user_loss)
            return super().compute_loss(x, *pair, sample_weight, training)
        labels = labels_by_name(x, y, self.architecture)
        if not labels:
            raise InputError("no labels to compute a loss with: give them as y or as x['labels']")
        terms = self.label_losses(y_pred, {name: ops.convert_to_tensor(label) for name, label in labels.items()})
        if sample_weight is not None:
            terms = weighted(terms, sample_weight, list(labels))
        return replica_loss(terms) + sum(self.losses) / replicas()

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The metrics given to compile(), on the labels that count and their scores."""
        compiled, names = self._compile_metrics, list(labels_by_name(x, y, self.architecture))
        given = None if compiled is None else compiled._user_metrics or compiled._user_weighted_metrics
        labels, scores = match_scores(x, y, y_pred, self.architecture, given)
        if compiled is None or scores is y_pred:
            return super().compute_metrics(x, labels, scores, sample_weight)
        update_metrics(compiled, names, labels, scores, sample_weight, self.config, self.architecture)
        return self.get_metrics_result()

    def hf_compute_loss(self, labels: Any, logits: Any) -> Any:
        """The losses as transformers' TF classes return them: one per example, or their mean over all tokens, [1].

        `loss` in an output is always the mean, so that both twins return the same number.

        Args:
            labels: [b] or [b t]; a mapping by name for a head with several.
            logits: the scores; a tuple of them for a head with several.
        """
        expected = ARCHITECTURES[self.architecture].labels
        singular = {name.removesuffix("s"): name for name in expected}  # as in transformers' question answering
        labels = labels if isinstance(labels, Mapping) else {next(iter(expected)): labels}
        labels = {singular.get(name, name): ops.convert_to_tensor(label) for name, label in labels.items()}
        scores = logits if isinstance(logits, tuple | list) else (logits,)
        scores = dict(zip((label.scores for label in expected.values()), scores, strict=True))
        terms = self.label_losses(scores, labels)
        if any(expected[name].shape != "b" for name in labels):
            return ops.reshape(total(terms), (1,))
        return sum(losses * counted for losses, counted in terms)

    def prepare_tf_dataset(
        self,
        dataset: Any,
        batch_size: int = 8,
        shuffle: bool = True,
        tokenizer: Any = None,
        collate_fn: Callable[..., Mapping[str, Any]] | None = None,
        collate_fn_args: Mapping[str, Any] | None = None,
        drop_remainder: bool | None = None,
        prefetch: bool = True,
    ) -> Any:
        """The batches of a data set of the library `datasets` as tf.data for fit, evaluate and predict, labels as y.

        Args:
            dataset: anything with a length whose items are mappings; columns that the model does not take are left out.
            tokenizer: pads each batch; without one, all rows must have one length.
            collate_fn: makes a batch of numpy arrays from a list of rows, in place of the tokenizer.
            collate_fn_args: further arguments of collate_fn.
            drop_remainder: leave out a last batch that is smaller; default: as shuffle.
        """
        names, takes_all = call_names(type(self))
        return batched(
            dataset,
            batch_size=batch_size,
            shuffle=shuffle,
            columns=None if takes_all else names,
            collate=collator(tokenizer) if collate_fn is None else functools.partial(collate_fn, **(collate_fn_args or {})),
            drop_remainder=shuffle if drop_remainder is None else drop_remainder,
            prefetch=prefetch,
            split=functools.partial(split_labels, y=None, architecture=self.architecture),
        )

    # Training and prediction

    def fit(self, x: Any = None, y: Any = None, *args: Any, validation_data: Any = None, **kwargs: Any) -> Any:
        """`keras.Model.fit` on a dict, an array, tf.data, a PyDataset or a generator.

        A keras.callbacks.BackupAndRestore among `callbacks` goes on at the batch where it saved, see backup.py.

        Raises:
            ConfigError: a strategy that Keras cannot train with, or a model that was not made in the scope it is trained in.
        """
        check_strategy(self, "fit")
        check_scope(self)
        check_optimizer(getattr(self, "optimizer", None), self._strategy())
        kwargs.setdefault("shuffle", is_arrays(x))
        x, y = self._prepared(x, y)
        if self.optimizer is not None and not self.optimizer.built and not unbuilt(self) and not self._strategy():
            self.optimizer.build(self.trainable_variables)  # built inside the traced step, it would be traced twice
        if isinstance(validation_data, tuple):
            val_x, val_y, val_weights = keras.utils.unpack_x_y_sample_weight(validation_data)
            validation_data = (*self._prepared(val_x, val_y), val_weights)
        if len(args) > 3:  # callbacks by position
            args = (*args[:3], with_positions(args[3]), *args[4:])
        else:
            kwargs["callbacks"] = with_positions(kwargs.get("callbacks"))
        self.epoch_iterator = None
        try:
            with readable_errors():
                return super().fit(x, y, *args, validation_data=validation_data, **kwargs)
        finally:
            self.epoch_iterator = self.progress = None

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.evaluate` on a dict, an array, tf.data, a PyDataset or a generator."""
        check_strategy(self, "evaluate")
        x, y = self._prepared(x, y)
        with readable_errors():
            return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """`keras.Model.predict`: the model's output with numpy arrays; labels are left out."""
        x, _ = self._prepared(x, None)
        with readable_errors():
            return super().predict(x, *args, **kwargs)

    def load_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """`keras.Model.load_weights`, with the state of an optimizer given to compile(): Keras wants that built before."""
        if holds_optimizer(filepath, getattr(self, "optimizer", None)):
            move_optimizer(self.optimizer, self._strategy())
            with scope(self._strategy()):
                self.optimizer.build(self.trainable_variables)
        super().load_weights(filepath, *args, **kwargs)

    def inference_function(self, **switches: bool | None) -> Callable[[Mapping[str, Any]], Any]:
        """A function from named tensors to the output without dropout, compiled once for all lengths.

        Args:
            switches: arguments of `call` that are no tensors.
        """
        if keras.backend.backend() != "tensorflow":
            return lambda tensors: self(tensors, training=False, **switches)
        import tensorflow as tf

        def infer(tensors: Mapping[str, Any]) -> Any:
            """Trace for tensors of any size at once: TensorFlow would trace the first size alone, and warn of the second."""
            arrays = {name: tf.convert_to_tensor(value) for name, value in tensors.items()}
            kinds = tuple((name, free_shape(name, array.shape), array.dtype) for name, array in arrays.items())
            key = (kinds, tuple(sorted(switches.items())))
            if key not in self._inference_functions:
                function = tf.function(lambda tensors: self(tensors, training=False, **switches), autograph=False)
                specs = {name: tf.TensorSpec(shape, dtype) for name, shape, dtype in kinds}
                self._inference_functions[key] = function.get_concrete_function(specs)
            return self._inference_functions[key](arrays)

        return infer

    def forget_compiled(self) -> None:
        """Undo compile(): its graphs and its optimizer hold variables that are gone."""
        self.compiled = False
        self.optimizer = None
        self.forget_functions()

    def forget_functions(self) -> None:
        """Drop cached graphs."""
        self.train_function = self.test_function = self.predict_function = None
        self._inference_functions = {}

    def _strategy(self) -> Any:
        """The strategy of TensorFlow that the model was compiled under, if any; Keras builds its optimizer in its scope."""
        return getattr(self, "_distribute_strategy", None)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """What Keras does before it trains under a strategy, with the batch of one replica: the mean of ids is no id."""
        self.epoch_iterator = iterator if self.epoch_iterator is None else self.epoch_iterator
        check_strategy(self, "train")
        if (strategy := self._strategy()) is not None:
            move_optimizer(self.optimizer, strategy)
            if iterator is not None and (data_batch := batch_spec(iterator)) is None:
                batch = next(next(iter(iterator))[2])
                data_batch = keras.tree.map_structure(lambda value: strategy.experimental_local_results(value)[0], batch)
        super()._maybe_symbolic_build(data_batch=data_batch)

    def _make_function(self, step_function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """Keras's function for the steps of one execution; under a strategy, where its loop of several fails, they run one by one."""
        strategy, size = self._strategy(), self.steps_per_execution
        if strategy is None or strategy.num_replicas_in_sync == 1 or size == 1:
            return super()._make_function(step_function, **options)
        import tensorflow as tf

        one_step = super()._make_function(step_function, **options)

        def execute(iterator: Any) -> Any:
            logs = None
            several = isinstance(iterator, tf.data.Iterator | tf.distribute.DistributedIterator)
            self.steps_per_execution = 1  # which Keras's function asks for when it is called
            try:
                for _ in range(size if several else 1):
                    logs = one_step(iterator)
            except StopIteration:
                if logs is None:
                    raise
            finally:
                self.steps_per_execution = size
            return logs

        return execute

    def _get_metrics_result_or_logs(self, logs: Any) -> Any:
        """The metrics of an epoch, also if no batch of it was left to do."""
        return super()._get_metrics_result_or_logs(logs or self.get_metrics_result())

    # Data

    def _prepared(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The data with labels moved from x to y: arrays are checked now, streams batch by batch."""
        x = as_tensor(self._named(x))
        if not is_arrays(x):
            return checked_stream(x, self._checked_columns, self._columns, self.config, self.architecture), y
        if isinstance(x, Mapping):
            self._check_names(x)
            x = {name: as_tensor(value) for name, value in x.items() if value is not None}
        return self._checked(x, y)

    def _columns(self, x: Any) -> Any:
        """A batch of a data set without the columns that `call` does not take, which are reported once."""
        x = self._named(x)
        if not isinstance(x, Mapping):
            return x
        unknown = frozenset(self._unknown(x)) - LABEL_NAMES
        if unknown - self._dropped:
            log.warning("%s does not take %s: these columns are left out", type(self).__name__, ", ".join(sorted(unknown)))
            self._dropped |= unknown
        return {name: value for name, value in x.items() if name not in unknown}

    def _checked_columns(self, x: Any, y: Any) -> tuple[Any, Any]:
        """A batch of a data set in the form of `_checked`."""
        return self._checked(self._columns(x), y)

    def _checked(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Arrays with labels moved from x to y, after a check of ids, shapes and labels."""
        x, y = split_labels(x, y, self.architecture)
        tensors = x if isinstance(x, Mapping) else {"input_ids": x}
        # a loss given to compile() has labels of its own kind
        labels = {} if self._compile_loss is not None else labels_by_name(x, y, self.architecture)
        inputs.check_arrays(as_arrays(tensors), as_arrays(labels), self.config, self.architecture)
        return x, y


@functools.cache
def call_names(cls: type) -> tuple[list[str], bool]:
    """The arguments of a model's `call`, with those of its parents' where it hands on **kwargs, and whether it takes any other."""
    names: list[str] = []
    for base in cls.__mro__:
        if base is keras.Model:
            break
        if "call" in vars(base):
            parameters = list(inspect.signature(vars(base)["call"]).parameters.values())[1:]
            names += [each.name for each in parameters if each.kind not in VARIADIC and each.name not in names]
            if not any(each.kind is each.VAR_KEYWORD for each in parameters):
                return names, False
    return names, True


def is_several(value: Any) -> bool:
    """Whether a list or a tuple holds whole tensors, and not the rows of one."""
    return isinstance(value, list | tuple) and any(len(getattr(item, "shape", ())) > 1 for item in value)


def free_shape(name: str, shape: Sequence[int]) -> tuple[int | None, ...]:
    """The shape of an input for batches and sequences of any length."""
    fixed = {"inputs_embeds": 1, "head_mask": len(shape)}.get(name, 0)
    return (*(None,) * (len(shape) - fixed), *shape[len(shape) - fixed :])


def as_tensor(value: Any) -> Any:
    """Rows in a list or a tuple and numpy arrays as tensors, also in a mapping; anything else stays as it is."""
    if isinstance(value, Mapping):
        return {name: as_tensor(item) for name, item in value.items()}
    if is_several(value):
        return [as_tensor(item) for item in value]
    rows = isinstance(value, list | tuple) and len(value) > 0
    return ops.convert_to_tensor(value) if rows or isinstance(value, np.ndarray) else value


def symbolic(args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments of a call without their values, for a batch of any size."""

    def blank(tensor: Any) -> Any:
        is_tensor = ops.is_tensor(tensor) or isinstance(tensor, keras.KerasTensor)
        return keras.KerasTensor((None, *tensor.shape[1:]), tensor.dtype) if is_tensor else tensor

    return keras.tree.map_structure(blank, [list(args), dict(kwargs)])


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
        places = r"from 0 to (\d+|the last choice)( \(or -100 to be ignored\))?"
        found = re.search(rf"\w+ must be ({places}|whole numbers to be classes)", str(error))
        if type(error).__name__ != "InvalidArgumentError" or found is None:
            raise
        raise InputError(found.group(0)) from None

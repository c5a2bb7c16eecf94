"""Training in Keras, on `fit`: the same plan of batches and the same recipe as mobilebert_pt/training.py."""

import contextlib
import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import keras
from keras import ops

from mobilebert_common.errors import CheckpointError, ConfigError, DivergedError
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.training.plan import Plan
from mobilebert_common.training.recipe import LAMB, Recipe
from mobilebert_common.training.steps import Step, steps
from mobilebert_common.training.transfer import Phase, phases
from mobilebert_common.training.twin import State, Watch, require_shapes

from .arrays import assign, canonical_shape, to_numpy
from .fit import readable_errors, weights_like
from .seeds import seed_generators
from .strategies import move_optimizer, strategy_of
from .transfer import comparing, learning, transfer_loss


def train(
    model: Any, examples: Examples, recipe: Recipe, watch: Watch, state: State | None = None, teacher: Any = None
) -> None:
    """Train a model in place.

    Args:
        examples: with labels.
        watch: called after each step with the number of steps done, the loss of that step, and what captures the state; True
            ends the training.
        state: to go on from.
        teacher: a model of the same class, to learn from as `recipe.transfer` says.
    Raises:
        CheckpointError: the state does not fit the model.
        ConfigError: the class weights do not fit the model, the recipe has LoRA adapters, or the model is spread over machines.
        DivergedError: a loss or a gradient is not finite; the model has the weights from before that step.
    """
    if recipe.lora is not None:
        raise ConfigError("LoRA adapters are for PyTorch only: PEFT has none for Keras")
    for each in (model,) if teacher is None else (model, teacher):
        require_one_machine(model.distribute_strategy, each.weights[0])
    count, done = Plan(examples.lengths, recipe).steps, 0 if state is None else state.done
    found = phases(recipe, count, model.config, None if teacher is None else teacher.config)
    with deterministic(), checkpointing(model, recipe.gradient_checkpointing), model.distribute_strategy.scope():
        if state is not None:
            restore_weights(model, state)
        for phase in found:
            if done < phase.stop and train_phase(model, examples, recipe, watch, phase, state, teacher):
                break


def train_phase(
    model: Any, examples: Examples, recipe: Recipe, watch: Watch, phase: Phase, state: State | None, teacher: Any
) -> bool:
    """Take the steps of a phase, those after a state if that is in the phase; returns whether `watch` ended the training."""
    plan = Plan(examples.lengths, recipe)
    resumed = state is not None and phase.start < state.done
    first = state.done if resumed else phase.start
    with learning(model, phase):
        data = batches(examples, recipe, model, phase, first)
        trained = Training(model, recipe, phase, teacher)
        # XLA would compile each length anew
        trained.compile(make_optimizer(model, recipe, phase), jit_compile=False, auto_scale_loss=False)
        trained.optimizer.build(trained.trainable_variables)
        if resumed:
            restore_moments(model, trained.optimizer, state, phase)
        steps_left = phase.stop - first
        with readable_errors():
            trained.fit(data, steps_per_epoch=steps_left, shuffle=False, callbacks=[Progress(watch, plan, first)], verbose=0)
    return trained.stop_training


def require_one_machine(strategy: Any, weight: Any = None) -> None:
    """Refuse a tf.distribute strategy that Keras's `fit` cannot train with.

    Args:
        weight: of the model to be trained.
    Raises:
        ConfigError: it is neither MirroredStrategy nor one for a single device, or the model was made outside of its scope.
    """
    import tensorflow as tf

    name, default = type(strategy).__name__, not tf.distribute.has_strategy() and strategy is tf.distribute.get_strategy()
    if not default and not isinstance(strategy, tf.distribute.MirroredStrategy | tf.distribute.OneDeviceStrategy):
        raise ConfigError(f"Keras's fit does not train with {name}: use MirroredStrategy, on one machine, or PyTorch on several")
    if weight is not None and not strategy.extended.variable_created_in_scope(weight.value):
        raise ConfigError(f"the model was made outside of the scope of the {name} that is to train it: make it inside")


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Let TensorFlow add up in one order, so that a training can be repeated bit by bit."""
    from tensorflow.python.framework import config  # the public API can only turn it on

    if config.is_op_determinism_enabled():
        yield
        return
    config.enable_op_determinism()
    try:
        yield
    finally:
        config.disable_op_determinism()


def capture(model: Any, optimizer: Any, done: int) -> State:
    """The state after a step."""
    places = optimizer_places(model, optimizer)
    moments = {
        moment: {name: to_numpy(variables[number], layout) for name, (number, layout) in places.items()}
        for moment, variables in (("exp_avg", optimizer._momentums), ("exp_avg_sq", optimizer._velocities))
    }
    weights = {name: to_numpy(variable, layout) for name, (variable, layout) in model.canonical_variables().items()}
    return State(done, weights, **moments, adapters={}, scaler={})


def optimizer_places(model: Any, optimizer: Any) -> dict[str, tuple[int, Any]]:
    """{canonical name: (number in the optimizer, layout)} of the weights that are trained."""
    variables = model.canonical_variables().items()
    return {name: (optimizer._get_variable_index(variable), layout) for name, (variable, layout) in variables if variable.trainable}


def restore_weights(model: Any, state: State) -> None:
    """Set a model's weights to those of a state.

    Raises:
        CheckpointError: they are not those of the model, or are for LoRA adapters.
    """
    if state.adapters:
        raise CheckpointError("adapters", "LoRA adapters are for PyTorch only")
    variables = model.canonical_variables()
    require_shapes("weights", state.weights, {name: canonical_shape(*place) for name, place in variables.items()})
    for name, array in state.weights.items():
        assign(variables[name][0], array, variables[name][1])


def restore_moments(model: Any, optimizer: Any, state: State, phase: Phase) -> None:
    """Set the state of the optimizer.

    Raises:
        CheckpointError: the moments are not those of the model.
    """
    places, variables = optimizer_places(model, optimizer), model.canonical_variables()
    for title, moments, kept in (
        ("exp_avg", state.exp_avg, optimizer._momentums),
        ("exp_avg_sq", state.exp_avg_sq, optimizer._velocities),
    ):
        require_shapes(title, moments, {name: canonical_shape(*variables[name]) for name in moments if name in places})
        for name, array in moments.items():
            number, layout = places[name]
            assign(kept[number], array, layout)
    optimizer.iterations.assign(state.done - phase.start)


class Training(keras.Model):
    """What `fit` trains: a model with a step in parts, whose loss is the sum of the weighted losses of all labels."""

    def __init__(self, model: Any, recipe: Recipe, phase: Phase, teacher: Any = None) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        vars(self).update(phase=phase, teacher=teacher)  # past __setattr__, which would make the teacher a part that is trained
        self.built = True

    def _maybe_symbolic_build(self, *args: Any, **kwargs: Any) -> None:
        pass  # all is built

    def train_step(self, data: Any) -> dict[str, Any]:
        """Update the weights once; returns the loss and the norm of the gradients, of all replicas together."""
        import tensorflow as tf

        loss, gradients = self.gradients(data) if self.recipe.accumulation == 1 else self.accumulated(data)
        table, variables = self.model.get_input_embeddings().embeddings, self.trainable_variables
        for number, variable in enumerate(variables):
            if variable is table and gradients[number] is not None:  # a tied decoder would move the row of [PAD] from zero
                row = [[self.model.config.pad_token_id]]
                gradients[number] = tf.tensor_scatter_nd_update(whole(gradients[number]), row, tf.zeros((1, table.shape[1]), table.dtype))
        self.optimizer.apply(gradients, variables)
        return {"loss": tf.distribute.get_replica_context().all_reduce("SUM", loss), "norm": self.optimizer.norm}

    def gradients(self, data: Any) -> tuple[Any, list[Any]]:
        """The loss of some examples and its gradients."""
        import tensorflow as tf

        inputs, labels, weights = data
        policy = keras.DTypePolicy("mixed_bfloat16") if self.recipe.bf16 else self.model.dtype_policy
        with computing(self.model, policy):
            taught = None if self.teacher is None else self.taught(inputs, policy)
            with tf.GradientTape() as tape:
                if taught is None:
                    terms = self.model.label_losses(self.model(inputs, training=True), labels)
                    shares = [weights_like(weights[name], losses) for name, (losses, _) in zip(labels, terms, strict=True)]
                    loss = sum(ops.sum(losses * share) for (losses, _), share in zip(terms, shares, strict=True))
                else:
                    with comparing(self.model, self.phase.pairs, self.phase.labels):
                        found = self.model(inputs, training=True, output_hidden_states=bool(self.phase.pairs))
                    loss = transfer_loss(self.model, found, taught, labels, weights, self.recipe.transfer, self.phase)
            return loss, tape.gradient(loss, self.trainable_variables)  # gradient checkpointing calls layers again

    def taught(self, inputs: Any, policy: keras.DTypePolicy) -> Any:
        """What the teacher returns for some examples; outside of the tape, so that nothing of it gets gradients."""
        with computing(self.teacher, policy), comparing(self.teacher, self.phase.pairs.values(), self.phase.labels):
            return self.teacher(inputs, training=False, output_hidden_states=bool(self.phase.pairs))

    def accumulated(self, data: Any) -> tuple[Any, list[Any]]:
        """The same, one part of the examples after the other."""
        import tensorflow as tf

        rows = tf.shape(tf.nest.flatten(data)[0])[0]
        size = -(-rows // self.recipe.accumulation)
        connected: list[bool] = []

        def add(start: Any, loss: Any, sums: list[Any]) -> tuple[Any, Any, list[Any]]:
            part, gradients = self.gradients(tf.nest.map_structure(lambda array: array[start : start + size], data))
            connected[:] = [gradient is not None for gradient in gradients]
            sums = [old if new is None else old + whole(new) for old, new in zip(sums, gradients, strict=True)]
            return start + size, loss + part, sums

        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in self.trainable_variables]
        start = tf.zeros((), rows.dtype), tf.zeros((), self.model.variable_dtype), zeros
        _, loss, sums = tf.while_loop(lambda start, *_: start < rows, add, start, parallel_iterations=1)
        return loss, [total if known else None for total, known in zip(sums, connected, strict=True)]


def make_optimizer(model: Any, recipe: Recipe, phase: Phase) -> keras.optimizers.Optimizer:
    """The optimizer of a phase, with weight decay on matrices only, and each variable's share of the learning rate."""
    rate = Rate(recipe.learning_rate, recipe.warmup, phase.steps, phase.boost, by_layer=not phase.labels)
    kind = Lamb if recipe.optimizer == LAMB else AdamW
    optimizer = kind(rate, weight_decay=recipe.weight_decay, global_clipnorm=recipe.clip, epsilon=recipe.epsilon)
    optimizer.exclude_from_weight_decay([variable for variable in model.trainable_variables if len(variable.shape) <= 1])
    variables = [(name, variable) for name, (variable, _) in model.canonical_variables().items() if variable.trainable]
    optimizer.share_rate([(variable, phase.factor(name)) for name, variable in variables])
    return optimizer


@contextlib.contextmanager
def checkpointing(model: Any, wanted: bool) -> Iterator[None]:
    """Turn gradient checkpointing on, if it is wanted and not on already, and off again."""
    changed = wanted and not model.is_gradient_checkpointing
    if changed:
        model.gradient_checkpointing_enable()
    try:
        yield
    finally:
        if changed:
            model.gradient_checkpointing_disable()


@contextlib.contextmanager
def computing(model: Any, policy: keras.DTypePolicy) -> Iterator[None]:
    """Let all layers of a model compute by a dtype policy; their weights stay as they are."""
    before = {layer: layer.dtype_policy for layer in model._flatten_layers()}
    try:
        for layer in before if policy != model.dtype_policy else ():
            layer.dtype_policy = policy
        yield
    finally:
        for layer, own in before.items():
            layer.dtype_policy = own


@keras.saving.register_keras_serializable(package="mobilebert")
class AdamW(keras.optimizers.AdamW):
    """AdamW as in torch, for TensorFlow.

    Epsilon is added to the root of the corrected second moment, the rate is exact in float64, and gradients are clipped by the
    norm of whole gradients, summed over replicas: TensorFlow keeps a table's gradient as one row per token, and Keras would sum
    the squares of these rows, although the rows of a token that occurs several times must be added first.

    An update by gradients that are not finite changes no weights.

    Attributes:
        norm: the norm of the gradients of the last update, before clipping; a symbolic tensor in a graph.
    """

    norm: Any = None
    _factors: Mapping[Any, float] = MappingProxyType({})

    def __init__(self, learning_rate: Any = 0.001, *args: Any, **kwargs: Any) -> None:
        super().__init__(learning_rate, *args, **kwargs)
        if self.amsgrad:
            raise ConfigError("amsgrad is not supported: use keras.optimizers.AdamW")
        if isinstance(self._learning_rate, keras.Variable):  # float32
            rounded, exact = self._learning_rate, keras.Variable(learning_rate, trainable=False, dtype="float64", name="learning_rate")
            self._untrack_variable(rounded)
            self._learning_rate = exact
            self._track_variable(exact)

    def share_rate(self, factors: Iterable[tuple[Any, float]]) -> None:
        """Multiply the learning rate of each variable by a factor of its own; that of others is 1."""
        self._factors = MappingProxyType({self._var_key(variable): factor for variable, factor in factors if factor != 1.0})

    def build(self, variables: Any) -> None:
        if half := [variable.path for variable in variables if variable.dtype in ("float16", "bfloat16")]:
            raise ConfigError(f"{half[0]} is too coarse to train: use float32, or a policy such as mixed_bfloat16")
        move_optimizer(self, strategy_of(variables))
        super().build(variables)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        super().apply([whole(gradient) for gradient in grads], trainable_variables)

    def _clip_gradients(self, grads: Any) -> Any:
        return grads  # below, after the sum over replicas

    def _apply_weight_decay(self, variables: Any) -> None:
        pass  # in update_step

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars  # below, before they are clipped

    def _backend_update_step(self, grads: Any, trainable_variables: Any, learning_rate: Any) -> None:
        import tensorflow as tf

        grads = tf.distribute.get_replica_context().all_reduce("SUM", list(grads))
        squares = [2 * tf.cast(tf.nn.l2_loss(gradient), "float64") for gradient in grads]
        self.norm = norm = tf.sqrt(tf.add_n(squares))
        share = tf.ones_like(norm)
        if self.global_clipnorm:
            share = tf.minimum(share, self.global_clipnorm / (norm + 1e-6))  # as torch.nn.utils.clip_grad_norm_
        else:
            grads = super()._clip_gradients(grads)
        share, rate = (tf.where(tf.math.is_finite(norm), value, 0) for value in (share, ops.cast(learning_rate, "float64")))
        grads = [tf.math.multiply_no_nan(gradient, tf.cast(share, gradient.dtype)) for gradient in grads]
        scalars = {factor: self._scalars(rate * factor, grads[0].dtype) for factor in {1.0, *self._factors.values()}}
        super()._backend_update_step(grads, trainable_variables, scalars)

    def _scalars(self, rate: Any, dtype: Any) -> dict[str, Any]:
        """What TensorFlow's kernel needs besides a variable, its moments and its gradient, and the factor of weight decay.

        The kernel adds its epsilon to the root of the second moment before that is corrected. Correcting the epsilon instead
        gives torch's result.
        """
        import tensorflow as tf

        beta1, beta2 = (tf.constant(beta, tf.float64) for beta in (self.beta_1, self.beta_2))
        step = ops.cast(self.iterations + 1, "float64")
        power1, power2 = tf.pow(beta1, step), tf.pow(beta2, step)
        scalars = {"beta1": beta1, "beta2": beta2, "beta1_power": power1, "beta2_power": power2, "lr": rate}
        scalars |= {"epsilon": self.epsilon * tf.sqrt(1 - power2), "decay": 1 - rate * (self.weight_decay or 0)}
        return {name: tf.cast(value, dtype) for name, value in scalars.items()}

    def _scalars_of(self, variable: Any, scalars: Mapping[float, Mapping[str, Any]]) -> dict[str, Any]:
        """Those for a variable, of its dtype."""
        found = scalars[self._factors.get(self._var_key(variable), 1.0)]
        return {name: ops.cast(value, variable.dtype) for name, value in found.items()}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable and its moments.

        Args:
            learning_rate: all of `_scalars`, for each factor of the rate.
        """
        import tensorflow as tf

        scalars = self._scalars_of(variable, learning_rate)
        decay, index = scalars.pop("decay"), self._get_variable_index(variable)
        if self.weight_decay and self._use_weight_decay(variable):
            variable.assign(variable * decay)
        moments = {"m": self._momentums[index].value.handle, "v": self._velocities[index].value.handle}
        tf.raw_ops.ResourceApplyAdam(var=variable.handle, **moments, **scalars, grad=tf.cast(gradient, variable.dtype))


@keras.saving.register_keras_serializable(package="mobilebert")
class Lamb(AdamW):
    """LAMB as mobilebert_pt/lamb.py has it; all but the update itself is as in AdamW."""

    def _scalars(self, rate: Any, dtype: Any) -> dict[str, Any]:
        """The learning rate: moments are not corrected for their start."""
        return {"lr": ops.cast(rate, dtype)}

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """As AdamW's."""
        import tensorflow as tf

        scalars, index = self._scalars_of(variable, learning_rate), self._get_variable_index(variable)
        gradient, first, second = tf.cast(gradient, variable.dtype), self._momentums[index].value, self._velocities[index].value
        first.assign_add((1 - self.beta_1) * (gradient - first))
        second.assign(self.beta_2 * second + (1 - self.beta_2) * tf.square(gradient))
        update, ratio = first / (tf.sqrt(second) + self.epsilon), 1.0
        if self.weight_decay and self._use_weight_decay(variable):
            update = update + self.weight_decay * variable
            size, change = tf.norm(variable), tf.norm(update)
            ratio = tf.where((size > 0) & (change > 0), tf.math.divide_no_nan(size, change), 1)
        variable.assign_sub(scalars["lr"] * ratio * update)


@keras.saving.register_keras_serializable(package="mobilebert")
class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """Phase.rate as Keras asks for it, in float64; steps are those of the phase."""

    def __init__(self, learning_rate: float, warmup: float, steps: int, boost: float = 1.0, by_layer: bool = False) -> None:
        self.learning_rate, self.warmup, self.steps, self.boost, self.by_layer = learning_rate, warmup, steps, boost, by_layer

    def __call__(self, step: Any) -> Any:
        step = ops.cast(step, "float64")
        if self.by_layer:
            share = (step + 1.0) / self.steps
            factor = ops.minimum(0.9 + 0.1 * ops.sqrt(1.0 - share), 10.0 * share)
        else:
            rising = max(1, round(self.warmup * self.steps))
            falling = (self.steps - step) / max(1, self.steps - rising)
            factor = ops.where(step < rising, (step + 1.0) / rising, falling)
        return self.boost * (self.learning_rate * factor)

    def get_config(self) -> dict[str, Any]:
        names = ("learning_rate", "warmup", "steps", "boost", "by_layer")
        return {name: getattr(self, name) for name in names}


class Progress(keras.callbacks.Callback):
    """Seeds the dropout of each step, calls a Watch after it, and stops where it says so or where the step was not finite."""

    def __init__(self, watch: Watch, plan: Plan, done: int) -> None:
        super().__init__()
        self.watch = watch
        self.plan = plan
        self.done = done

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        model = self.model.model
        generators = seed_generators(model)
        for place, generator in enumerate(generators):
            replicas = model.distribute_strategy.experimental_local_results(generator.state.value)
            for replica, state in enumerate(replicas):  # whose masks must differ
                state.assign([self.plan.dropout_seed(self.done, place + replica * len(generators)), 0])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.done += 1
        loss = float(logs["loss"])
        if not math.isfinite(loss) or not math.isfinite(logs["norm"]):
            raise DivergedError(self.done, loss)
        state = functools.partial(capture, self.model.model, self.model.optimizer, self.done)
        self.model.stop_training = bool(self.watch(self.done, loss, state))


def batches(examples: Examples, recipe: Recipe, model: Any, phase: Phase, done: int) -> Any:
    """The steps of a phase as tf.data of unknown length, so that one graph serves all lengths.

    Args:
        done: the number of steps to leave out, because they are done.
    """
    import tensorflow as tf

    def generate() -> Iterator[Step]:
        following = steps(examples, recipe, model.config, model.architecture, done)
        return (tuple(step) for step in itertools.islice(following, phase.stop - done))

    signature = tf.nest.map_structure(lambda array: tf.TensorSpec([None] * array.ndim, array.dtype), next(generate()))
    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)


def whole(gradient: Any) -> Any:
    """A gradient as one tensor, with the rows of a token that occurs several times added up."""
    import tensorflow as tf

    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient

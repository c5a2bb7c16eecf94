"""Fine-tuning in Keras, on `fit`: the same plan of batches and the same recipe as mobilebert_pt/train.py."""

from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from mobilebert_common.tasks.examples import Examples
from mobilebert_common.training.plan import Plan
from mobilebert_common.training.recipe import Recipe, Report, decayed


def train(model: Any, examples: Examples, recipe: Recipe, report: Report) -> None:
    """Fine-tune a model in place.

    Args:
        examples: with labels.
        report: called after each step with the number of steps done and the mean loss of the epoch so far.
    """
    model.seed_generator.state.assign(keras.random.SeedGenerator(recipe.seed).state)  # a loaded model has drawn its own
    plan = Plan(examples.lengths, recipe)
    model.compile(make_optimizer(model, recipe, plan.steps))
    model.fit(
        batches(examples, plan),
        epochs=recipe.epochs,
        steps_per_epoch=plan.steps_per_epoch,
        callbacks=[Progress(report)],
        verbose=0,
    )


def make_optimizer(model: Any, recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """AdamW of the recipe, with weight decay on matrices only."""
    names = decayed(model.config, model.architecture)
    optimizer = AdamW(
        Rate(recipe.learning_rate, recipe.warmup, steps),
        weight_decay=recipe.weight_decay,
        global_clipnorm=recipe.clip,
        epsilon=1e-8,
    )
    others = [variable for name, (variable, _) in model.canonical_variables().items() if name not in names]
    optimizer.exclude_from_weight_decay(others)
    return optimizer


@keras.saving.register_keras_serializable(package="mobilebert")
class AdamW(keras.optimizers.AdamW):
    """Keras's AdamW, clipping by the norm of whole gradients.

    TensorFlow keeps a table's gradient as one row per token. Keras would sum the squares of these rows, although the rows of a
    token that occurs several times must be added first.
    """

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        import tensorflow as tf

        whole = [tf.convert_to_tensor(grad) if isinstance(grad, tf.IndexedSlices) else grad for grad in grads]
        super().apply(whole, trainable_variables)


@keras.saving.register_keras_serializable(package="mobilebert")
class Rate(keras.optimizers.schedules.LearningRateSchedule):
    """Recipe.rate as Keras asks for it."""

    def __init__(self, learning_rate: float, warmup: float, steps: int) -> None:
        self.learning_rate, self.warmup, self.steps = learning_rate, warmup, steps

    def __call__(self, step: Any) -> Any:
        rising = max(1, round(self.warmup * self.steps))
        step = ops.cast(step, "float32")
        falling = (self.steps - step) / max(1, self.steps - rising)
        return self.learning_rate * ops.where(step < rising, (step + 1.0) / rising, falling)

    def get_config(self) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate, "warmup": self.warmup, "steps": self.steps}


class Progress(keras.callbacks.Callback):
    """Tells a Report of each step."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report
        self.done = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.done += 1
        self.report(self.done, float(logs["loss"]))


def batches(examples: Examples, plan: Plan) -> Any:
    """The plan's batches as tf.data of unknown length, so that one graph serves all lengths."""
    import tensorflow as tf

    def generate() -> Iterator[Any]:
        for epoch in range(plan.recipe.epochs):
            for step, rows in enumerate(plan.epoch(epoch)):
                yield examples.batch(rows, plan.generator(epoch, step))

    names = examples.batch([0], plan.generator(0, 0))
    signature = {name: tf.TensorSpec([None] * array.ndim, array.dtype) for name, array in names.items()}
    return tf.data.Dataset.from_generator(generate, output_signature=signature).prefetch(2)

"""keras.callbacks.BackupAndRestore with what Keras leaves out: the position in an epoch, and the metrics up to there.

Keras restores weights, optimizer and epoch, and begins that epoch again. Here a backup also has the number of batches that
are done and the values of the metrics, in the same file as the weights, and `fit` goes on at the next batch. Every file
that Keras writes of a model here also holds its dropout seeds.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import h5py
import keras
import numpy as np
from keras import ops

from mobilebert_common.errors import ConfigError

from .seeds import seed_generators
from .strategies import batch_spec

log = logging.getLogger(__name__)

SEEDS, POSITION, METRIC = "seeds", "position", "metric_"  # names in a file of weights


def with_positions(callbacks: Any) -> Any:
    """Callbacks for `fit`, with a Position before each BackupAndRestore and a Restored after it."""
    if keras.backend.backend() != "tensorflow" or isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    given = callbacks if isinstance(callbacks, Sequence) else [callbacks]
    found: list[Any] = []
    for callback in given:
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            position = Position(callback)
            found += [position, callback, Restored(position)]
        else:
            found.append(callback)
    return found if len(found) > len(given) else callbacks


class Position(keras.callbacks.Callback):
    """Gives the model what a backup is to hold, before BackupAndRestore saves, and sets up what a backup held."""

    def __init__(self, backup: keras.callbacks.BackupAndRestore) -> None:
        super().__init__()
        self.backup = backup
        self.metrics: list[np.ndarray] = []  # of the epoch that is resumed
        self.epoch = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self.model.progress = None

    def restore(self) -> None:
        """Go on where the backup was made."""
        found, self.model.progress = self.model.progress, None
        if found is not None:
            epoch, done = found.position
            self.model._initial_epoch, self.metrics = epoch, found.metrics if done else []
            resume(self.model.epoch_iterator, epoch, done)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = self.backup._current_epoch = epoch  # Keras takes the first epoch of any fit for epoch 0
        values, self.metrics = self.metrics, []
        if values:
            set_metrics(self.model, values)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.model.progress = SimpleNamespace(position=(self.epoch, batch + 1), metrics=None)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.progress = SimpleNamespace(position=(epoch + 1, 0), metrics=None)


class Restored(keras.callbacks.Callback):
    """Follows a BackupAndRestore, so that no other callback's files of weights hold a position."""

    def __init__(self, position: Position) -> None:
        super().__init__()
        self.position = position

    def on_train_begin(self, logs: Any = None) -> None:
        self.position.restore()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.model.progress = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.progress = None


def write_state(model: Any, store: Any) -> None:
    """Put seeds into a file of weights, and position and metrics if BackupAndRestore is writing it."""
    store[SEEDS] = np.stack([ops.convert_to_numpy(generator.state) for generator in seed_generators(model)])
    if model.progress is not None:
        store[POSITION] = np.array(model.progress.position)
        for number, variable in enumerate(model.metrics_variables):
            store[f"{METRIC}{number}"] = ops.convert_to_numpy(variable)


def read_state(model: Any, store: Any) -> dict[str, Any]:
    """Take seeds, position and metrics out of a file of weights, if it has them; returns its other entries."""
    entries = {name: store[name] for name in store.keys()}  # noqa: SIM118 - Keras's store is no mapping
    seeds, position = entries.pop(SEEDS, None), entries.pop(POSITION, None)
    metrics = [np.array(entries.pop(f"{METRIC}{number}")) for number in range(sum(name.startswith(METRIC) for name in entries))]
    generators = seed_generators(model)
    if seeds is not None and tuple(seeds.shape) == (len(generators), 2):
        for generator, state in zip(generators, np.array(seeds), strict=True):
            generator.state.assign(state)
    elif seeds is not None:
        log.warning("the file has other dropout layers than the model: its dropout seeds are left out")
    if position is not None:
        model.progress = SimpleNamespace(position=tuple(int(value) for value in position), metrics=metrics)
    return entries


def holds_optimizer(filepath: Any, optimizer: Any) -> bool:
    """Whether a file of weights has state for an optimizer that is not built, which Keras would pass over with a warning."""
    path = str(filepath)
    if optimizer is None or optimizer.built or not path.endswith(".weights.h5") or not os.path.isfile(path):
        return False
    with h5py.File(path) as file:
        return len(file.get("optimizer/vars", ())) > len(optimizer.variables)


def set_metrics(model: Any, values: list[np.ndarray]) -> None:
    """Give metrics the values they had; those that only the first step would build are built now."""
    unbuilt = any(part is not None and not part.built for part in (model._compile_metrics, model._compile_loss))
    if unbuilt and (batch := batch_spec(model.epoch_iterator)) is not None:
        with model.distribute_strategy.scope():
            model._symbolic_build(data_batch=batch)
    variables = model.metrics_variables
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        log.warning("the backup has other metrics than compile() was given: those of this epoch start from here")
        return
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def resume(iterator: Any, epoch: int, done: int) -> None:
    """Make the first epoch that an EpochIterator runs go on after some batches, which are drawn and dropped.

    Streams that are shuffled anew in each epoch, or go on over the end of one, are brought to where they were.
    """
    original = iterator._enumerate_iterator

    def enumerate_from() -> Iterator[tuple[int, int, Any]]:
        iterator._enumerate_iterator = original
        for _ in range(epoch):
            skip_epoch(iterator)
        yield from skipped(original, iterator.steps_per_execution, done)

    iterator._enumerate_iterator = enumerate_from


def skip_epoch(iterator: Any) -> None:
    """Go through an epoch without training.

    Where steps_per_epoch is given, its end is the begin of the next one, so all batches are drawn. Otherwise each epoch starts
    anew, and the first batch is enough to shuffle the data as that epoch did.
    """
    for begin, _, batches in iterator._enumerate_iterator():
        if iterator.steps_per_epoch:
            draw(batches, iterator.steps_per_execution)
        elif begin == 0:
            draw(batches, 1)
        if iterator.num_batches is None:  # Keras would never stop
            iterator.data_adapter.on_epoch_end()
            return


def skipped(enumerate_epoch: Callable[[], Iterator[tuple[int, int, Any]]], size: int, done: int) -> Iterator[tuple[int, int, Any]]:
    """The steps of an epoch without the first ones, whose batches are dropped.

    Args:
        size: batches of a step.
        done: batches to drop.
    """
    drawn = 0
    for begin, end, batches in enumerate_epoch():
        if begin >= done:
            yield begin, end, batches
        elif draw(batches, size):
            drawn = end + 1
        else:
            break
    if drawn < done:
        raise ConfigError(f"the data ends after {drawn} batches, and the backup was made after {done}: give fit the same data")


def draw(batches: Iterator[Any], number: int) -> int:
    """Draw batches and drop them; returns how many there were."""
    return sum(1 for _ in zip(range(number), batches, strict=False))

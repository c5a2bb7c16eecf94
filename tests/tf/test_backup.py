"""A fit that is interrupted and goes on ends bit for bit as one that ran through: weights, optimizer, seeds and history."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilebert_common.errors import ConfigError
from mobilebert_tf import AdamW, MobileBertConfig, TFMobileBertForSequenceClassification

CONFIG = MobileBertConfig(
    vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, intra_bottleneck_size=8,
    embedding_size=4, max_position_embeddings=8, num_feedforward_networks=1, num_labels=3, hidden_dropout_prob=0.3,
)  # fmt: skip
IDS, LABELS = np.random.default_rng(0).integers(1, 40, (6, 5)), np.arange(6) % 3
OPTIMIZERS = {"keras": keras.optimizers.AdamW, "ours": AdamW}


class Interrupt(keras.callbacks.Callback):
    """Stands for Ctrl-C after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def make(optimizer: str = "keras", seed: int = 0) -> Any:
    """A compiled model; eager, because tracing takes longer than these few steps."""
    keras.utils.set_random_seed(seed)
    model = TFMobileBertForSequenceClassification(CONFIG)
    model.compile(OPTIMIZERS[optimizer](0.01), metrics=["accuracy"], run_eagerly=True)
    return model


def arrays() -> dict[str, Any]:
    return {"x": IDS, "y": LABELS, "batch_size": 2, "shuffle": True}


def stream() -> dict[str, Any]:
    return {"x": tf.data.Dataset.from_tensor_slices((IDS, LABELS)).shuffle(6, seed=1).batch(2)}


def endless() -> dict[str, Any]:
    return {"x": tf.data.Dataset.from_tensor_slices((IDS, LABELS)).batch(2).repeat(), "steps_per_epoch": 4}


def state(model: Any) -> list[np.ndarray]:
    variables = [*model.weights, *model.optimizer.variables, model.seed_generator.state]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def assert_same(model: Any, other: Any) -> None:
    for one, two in zip(state(model), state(other), strict=True):
        np.testing.assert_array_equal(one, two)


def interrupted(folder: Path, data: Callable[[], dict[str, Any]], stops: list[int], optimizer: str, save_freq: Any) -> Any:
    """A model after a fit that was interrupted after some steps, several times; the history is that of the last fit."""
    for steps in [*stops, 0]:
        backup = keras.callbacks.BackupAndRestore(folder / "backup", save_freq=save_freq)
        model = make(optimizer)
        with contextlib.suppress(KeyboardInterrupt):
            model.fit(**data(), epochs=2, verbose=0, callbacks=[backup, Interrupt(steps)])
    return model


@pytest.mark.parametrize(
    ("data", "optimizer", "save_freq", "stops"),
    [
        (arrays, "keras", 1, [4, 1]),  # twice in one epoch
        (stream, "ours", "epoch", [4]),
        (endless, "keras", 3, [6]),
    ],
)
def test_backup_goes_on_at_the_next_batch(tmp_path: Path, data: Any, optimizer: str, save_freq: Any, stops: list[int]) -> None:
    unbroken = make(optimizer)
    unbroken.fit(**data(), epochs=2, verbose=0)
    resumed = interrupted(tmp_path, data, stops, optimizer, save_freq)
    assert_same(unbroken, resumed)
    history = resumed.history.history
    assert set(history) == {"loss", "accuracy"}
    for name, values in history.items():  # also of the epoch that was interrupted
        assert values == unbroken.history.history[name][-len(values) :]


@pytest.mark.parametrize(("optimizer", "name"), [("ours", "one.weights.h5"), ("keras", "one.keras")])
def test_checkpoint_and_initial_epoch(tmp_path: Path, optimizer: str, name: str) -> None:
    data = {"x": IDS, "y": LABELS, "batch_size": 3, "shuffle": False, "verbose": 0}
    unbroken = make(optimizer)
    unbroken.fit(**data, epochs=2)
    first = make(optimizer)
    saver = keras.callbacks.ModelCheckpoint(tmp_path / name, save_weights_only=name.endswith(".h5"))
    first.fit(**data, epochs=1, callbacks=[saver])
    resumed = make(optimizer, seed=1)
    if name.endswith(".h5"):
        resumed.load_weights(tmp_path / name)
    else:
        resumed = keras.models.load_model(tmp_path / name)
    resumed.fit(**data, epochs=2, initial_epoch=1)
    assert_same(unbroken, resumed)


def test_files_without_seeds_still_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    monkeypatch.setattr("mobilebert_tf.pretrained.write_state", lambda model, store: None)
    model.save_weights(tmp_path / "old.weights.h5")
    other = make(seed=1)
    seed = keras.ops.convert_to_numpy(other.seed_generator.state)
    other.load_weights(tmp_path / "old.weights.h5")
    np.testing.assert_array_equal(model.classifier.kernel, other.classifier.kernel)
    np.testing.assert_array_equal(seed, other.seed_generator.state)


def test_less_data_than_the_backup_has_seen(tmp_path: Path) -> None:
    backup = [keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1)]
    with pytest.raises(KeyboardInterrupt):
        make().fit(**arrays(), verbose=0, callbacks=[*backup, Interrupt(3)])
    with pytest.raises(ConfigError, match="the data ends after 2 batches, and the backup was made after 3"):
        make().fit(IDS[:4], LABELS[:4], batch_size=2, shuffle=False, verbose=0, callbacks=backup)

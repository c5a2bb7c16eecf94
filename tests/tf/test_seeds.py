"""Where dropout gets its masks from: another seed for each place, the same one whenever it is computed again."""

from typing import Any

import keras
import numpy as np
import pytest

from mobilebert_common.model.config import MobileBertConfig
from mobilebert_tf import TFMobileBertForSequenceClassification, TFMobileBertModel, heads
from mobilebert_tf.seeds import dropout, seed_for

MODULI = {"int32 of TensorFlow": 2**31 - 2, "uint32 of JAX": 2**32}  # what a backend makes of the integers of a seed
IDS = np.arange(12).reshape(2, 6)
# places with dropout in one layer
PLACES = {"bottleneck": 2, "teacher": 2, "no bottleneck": 3}


def make_config(name: str = "bottleneck", layers: int = 2) -> MobileBertConfig:
    changes = {"teacher": {"use_bottleneck_attention": True}, "no bottleneck": {"use_bottleneck": False}}
    return MobileBertConfig(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=layers,
        intermediate_size=24,
        intra_bottleneck_size=16,
        embedding_size=8,
        max_position_embeddings=12,
        num_feedforward_networks=2,
        hidden_dropout_prob=0.5,
        attention_probs_dropout_prob=0.5,
        initializer_range=0.2,
        **changes.get(name, {}),
    )


def offsets(model: keras.Model, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each dropout of a call adds to the seed the model has drawn."""
    seeds: list[np.ndarray] = []

    def record(x: Any, rate: float, seed: Any) -> Any:
        seeds.append(keras.ops.convert_to_numpy(seed.next()))
        return x

    root = keras.ops.convert_to_numpy(model.seed_generator.state)
    with monkeypatch.context() as patch:
        patch.setattr(keras.random, "dropout", record)
        model(IDS, training=True)
    assert {seed[1] for seed in seeds} == {root[1]}
    return [int(seed[0] - root[0]) for seed in seeds]


@pytest.mark.parametrize("name", PLACES)
def test_every_place_has_a_seed_of_its_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TFMobileBertForSequenceClassification(make_config(name))
    found = offsets(model, monkeypatch)
    assert len(set(found)) == len(found) == 2 * PLACES[name] + 2  # and the embeddings and the head
    assert offsets(model, monkeypatch) == found  # of one call; the next one draws another seed


@pytest.mark.parametrize("name", PLACES)
def test_no_two_places_collide_in_the_deepest_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = offsets(TFMobileBertForSequenceClassification(make_config(name, layers=1)), monkeypatch)
    two = offsets(TFMobileBertForSequenceClassification(make_config(name, layers=2)), monkeypatch)
    second = set(two) - set(one)
    assert len(second) == PLACES[name]
    layer = [int(seed_for(Named(f"layer.{number}"), keras.ops.zeros(2, "int64"))[0]) for number in range(128)]
    places = [*one, *(place - layer[1] + layer[number] for place in second for number in range(1, 128))]
    for modulus in MODULI.values():
        assert len({place % modulus for place in places}) == len(places)


class Named:
    """A layer, as far as its name goes."""

    def __init__(self, name: str) -> None:
        self.name = self.path = name


def test_the_head_hands_the_base_model_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    head = TFMobileBertForSequenceClassification(make_config())
    inside, alone = offsets(head, monkeypatch), offsets(TFMobileBertModel(make_config()), monkeypatch)
    assert inside[-1] == 0  # the head's own dropout
    assert {place - inside[0] for place in inside[:-1]} == {place - alone[0] for place in alone}


def test_masks_of_a_seed() -> None:
    x, seed = keras.ops.ones((50, 50)), keras.ops.convert_to_tensor(np.array([7, 0]))
    masks = [keras.ops.convert_to_numpy(dropout(x, 0.5, each)) for each in (seed, seed, seed_for(Named("a"), seed))]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert 0.4 < (masks[0] != masks[2]).mean() < 0.6
    assert dropout(x, 0.5, None) is x is dropout(x, 0.0, seed)
    assert seed_for(Named("a"), None) is None


class Outer(keras.layers.Layer):
    """A layer with a model inside, and a name that Keras counts up."""

    def __init__(self, head: str) -> None:
        super().__init__()
        self.head = head

    def build(self, input_shape: Any) -> None:
        self.model = getattr(heads, self.head)(make_config())

    def call(self, ids: Any) -> Any:
        return self.model(ids, training=True, output_hidden_states=True).hidden_states[-1]


@pytest.mark.parametrize("head", ["TFMobileBertForSequenceClassification", "TFMobileBertForPreTraining"])
def test_a_random_seed_repeats_masks_whatever_names_keras_gives(head: str) -> None:
    def states(seed: int) -> np.ndarray:
        keras.utils.set_random_seed(seed)
        outer = Outer(head)
        found = keras.ops.convert_to_numpy(outer(IDS))
        names.update((outer.name, outer.model.name))
        return found

    names: set[str] = set()
    first, second = states(3), states(3)
    assert len(names) == 4
    np.testing.assert_array_equal(first, second)
    assert (states(4) != first).any()

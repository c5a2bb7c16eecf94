"""`train` in Keras on two virtual CPUs comes to the result of one device, in a process of its own: TensorFlow lists devices once."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import ConfigError
from mobilebert_common.training.plan import Plan
from mobilebert_common.training.transfer import Transfer
from mobilebert_common.training.twin import State
from support.commands import arguments, mobilebert, numbers, signalled, write_inputs
from support.configs import CLASSIFIER, make_config, random_weights
from support.processes import call
from support.teaching import load_school, write_school
from support.training import RECIPE, TINY, TOKENS, make_examples

SHORT = replace(RECIPE, max_steps=3, accumulation=3)  # one of the steps has one example
TF = ("--framework", "tf")
RATES = ("0.003",)


def trained(folder: Path) -> dict[str, np.ndarray]:
    """The losses and the weights of a training, in the strategy that is in force."""
    from mobilebert_tf import twin

    config = make_config(**TINY)
    checkpoint.save(folder, config, TOKENS, random_weights(config, TOKENS, 0))
    model = twin.load(folder, TOKENS, "float64", zero_pad_embedding=True)
    losses: list[float] = []
    twin.train(model, make_examples(config, TOKENS), SHORT, lambda done, loss, capture: losses.append(loss))
    return {"losses": np.array(losses), **{name: array.copy() for name, array in twin.tensors(model).items()}}


def taught(folder: Path) -> dict[str, np.ndarray]:
    """The losses and the weights of a student after the second of three phases, in the strategy that is in force."""
    from mobilebert_tf import twin

    config, architecture = write_school(folder, TOKENS)
    models = load_school(twin, folder, architecture)
    recipe = replace(SHORT, optimizer="lamb", transfer=Transfer("progressive", share=0.6))
    state = State(1, twin.tensors(models[0]), {}, {}, {}, {})  # where the second phase begins
    losses: list[float] = []

    def watch(done: int, loss: float, capture: Any) -> bool:
        losses.append(loss)
        return done == 2

    twin.train(models[0], make_examples(config, architecture), recipe, watch, state, models[1])
    return {"losses": np.array(losses), **{name: array.copy() for name, array in twin.tensors(models[0]).items()}}


def dropout_seeds(strategy: Any) -> list[list[int]]:
    """What two devices draw for the dropout of a step."""
    import tensorflow as tf

    from mobilebert_tf import twin
    from mobilebert_tf.training import Progress

    with strategy.scope():
        model = twin.create(make_config(**TINY), CLASSIFIER, 0)
        callback = Progress(lambda *given: False, Plan([3], SHORT), 7)
        callback.set_model(SimpleNamespace(model=model))
        callback.on_train_batch_begin(0)
        drawn = strategy.run(tf.function(lambda: model.seed_generator.next()))
    return [each.numpy().tolist() for each in strategy.experimental_local_results(drawn)]


def on_devices(folder: str) -> dict[str, Any]:
    """What one device and two come to."""
    import tensorflow as tf

    import mobilebert_tf
    from mobilebert_tf import twin

    place, found = Path(folder), {}
    with twin.devices(2):
        strategy = tf.distribute.get_strategy()
        assert strategy.num_replicas_in_sync == 2
        two = {**trained(place / "tiny"), **{f"taught {name}": array for name, array in taught(place / "school").items()}}
    one = {**trained(place / "tiny"), **{f"taught {name}": array for name, array in taught(place / "school").items()}}
    assert set(one) == set(two)
    found["apart"] = max(float(np.abs(one[each] - two[each]).max()) for each in one)
    found["seeds"] = dropout_seeds(strategy)
    command = (*TF, "--accumulation", "2", "--epochs", "2")
    with signalled(2):
        found["one"] = mobilebert(arguments(place, "out", *command, rates=RATES))
    with signalled(3):
        found["two"] = mobilebert(arguments(place, "out", *command, "--devices", "2", rates=RATES))
    found["one again"] = mobilebert(arguments(place, "out", *command, rates=RATES))
    options = {"max_length": 16, "batch_size": 5, "epochs": 2, "evaluate_every": 3, "learning_rate": 0.003, "progress": False}
    with strategy.scope():
        own = mobilebert_tf.train(
            place / "start", None, place / "data.csv", validation=place / "held_out.csv", output=place / "whole", **options
        )
    texts = ["the film was fine", "odd"]
    found["predicted"] = [mobilebert_tf.predict(each, texts, all=True) for each in (own, place / "whole")]
    found["refused"] = refusals(place, strategy, twin.load(place / "start", CLASSIFIER))
    return found


def refusals(place: Path, strategy: Any, model: Any) -> dict[str, Any]:
    """The errors of what cannot be."""
    import tensorflow as tf

    from mobilebert_tf import twin

    found: dict[str, Any] = {"more devices": mobilebert(arguments(place, "x", *TF, "--devices", "3"))}
    for name, changes in (("launcher", {"RANK": "0", "WORLD_SIZE": "2"}), ("TF_CONFIG", {"TF_CONFIG": CLUSTER})):
        before = dict(os.environ)
        os.environ |= changes
        found[name] = mobilebert(arguments(place, "x", *TF))
        os.environ.clear()
        os.environ |= before
    for name, scope in (("workers", tf.distribute.MultiWorkerMirroredStrategy().scope()), ("other number", strategy.scope())):
        with scope:
            found[name] = mobilebert(arguments(place, "x", *TF, "--devices", "4"))
    with strategy.scope(), pytest.raises(ConfigError) as caught:
        twin.train(model, make_examples(model.config, CLASSIFIER), SHORT, lambda *given: False)
    return {**found, "made outside": [1, "", str(caught.value)]}


CLUSTER = json.dumps({"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": {"type": "worker", "index": 0}})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("devices")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def ran(place: Path) -> dict[str, Any]:
    return call(on_devices, str(place), processes=1)[0]


def test_two_devices_come_to_the_result_of_one(ran: dict[str, Any]) -> None:
    assert ran["apart"] < 1e-12


def test_each_device_has_dropout_of_its_own(ran: dict[str, Any]) -> None:
    (one, _), (other, _) = ran["seeds"]
    assert one != other


def test_a_run_goes_on_with_another_number_of_devices(place: Path, ran: dict[str, Any]) -> None:
    assert [ran[name][0] for name in ("one", "two", "one again")] == [143, 143, 0]
    assert "until step 2" in ran["one"][2] and "until step 5" in ran["two"][2]
    ours, theirs = (json.loads((place / name / "report.json").read_text()) for name in ("out", "whole"))
    for trace in ("losses", "evaluations", "trials", "rates", "best_step", "scores"):
        np.testing.assert_allclose(*(list(numbers(report[trace])) for report in (ours, theirs)), rtol=1e-4, err_msg=trace)


def test_a_model_of_the_user_s_scope_predicts(ran: dict[str, Any]) -> None:
    own, saved = ran["predicted"]
    assert own == saved


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("more devices", "devices is 3, and TensorFlow has 2"),
        ("launcher", "Keras's fit trains in one process"),
        ("TF_CONFIG", "Keras's fit trains in one process"),
        ("workers", "Keras's fit does not train with CollectiveAllReduceStrategy: use MirroredStrategy"),
        ("other number", "devices is 4, but the strategy has 2: leave devices out"),
        ("made outside", "the model was made outside of the scope of the MirroredStrategy"),
    ],
)
def test_what_cannot_be(ran: dict[str, Any], name: str, message: str) -> None:
    status, _, err = ran["refused"][name]
    assert status == 1 and message in err and len(err.splitlines()) == 1

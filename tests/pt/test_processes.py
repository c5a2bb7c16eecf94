"""`train` in two processes: DDP and FSDP2 come to the result of one process, also after interruptions, and one process speaks."""

import json
import os
import signal
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilebert_pt
from mobilebert_common import processes
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import ConfigError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.training.recipe import Recipe
from mobilebert_common.training.transfer import Transfer
from mobilebert_pt import twin
from support.commands import arguments, full_disk, mobilebert, numbers, signalled, write_inputs
from support.configs import CLASSIFIER, make_config, random_weights
from support.processes import call
from support.training import CASES, MASKED, RECIPE, TINY, TOKENS, make_examples

SHORT = replace(RECIPE, max_steps=6)  # two epochs, in which one step has one example
WHOLE = "MobileBertForPreTraining"

# name -> case, recipe
VARIANTS: dict[str, tuple[str, Recipe]] = {
    **{case: (case, SHORT) for case in CASES},
    **{f"{case} in parts": (case, replace(SHORT, accumulation=3)) for case in ("classes", TOKENS, WHOLE)},
    **{f"{case} checkpointed": (case, replace(SHORT, gradient_checkpointing=True)) for case in (TOKENS, MASKED)},
    **{f"{case} weighted": (case, replace(SHORT, class_weights=(1.0, 3.0, 0.5))) for case in ("classes", TOKENS)},
    "regression with LAMB": ("regression", replace(SHORT, optimizer="lamb")),
}
TAUGHT = {
    "classes progressive": ("classes", replace(SHORT, transfer=Transfer("progressive", share=0.7))),
    f"{WHOLE} auxiliary": (WHOLE, replace(SHORT, transfer=Transfer("auxiliary"), optimizer="lamb", accumulation=3)),
    f"{TOKENS} joint": (TOKENS, replace(SHORT, transfer=Transfer("joint", "paper", share=0.7, temperature=2.0))),
}
VARIANTS |= TAUGHT
SHARDED = ["several labels", "MobileBertForMultipleChoice", f"{TOKENS} weighted", f"{WHOLE} in parts", "regression with LAMB"]
if find_spec("peft"):
    VARIANTS |= {f"{case} with LoRA": (case, replace(SHORT, lora=2)) for case in ("classes", MASKED)}
    SHARDED.append("classes with LoRA")


def trained(folder: Path, name: str) -> dict[str, np.ndarray]:
    """The losses and the weights of a variant."""
    case, recipe = VARIANTS[name]
    architecture, changes = CASES[case]
    config = make_config(**{**TINY, **changes, "num_hidden_layers": 1 if recipe.transfer is None else 2})
    model, teacher = start(folder, config, architecture, 0), None
    if recipe.transfer is not None:
        teacher = start(folder, config.replace(num_hidden_layers=4, intra_bottleneck_size=12), architecture, 1)
    losses: list[float] = []
    twin.train(model, make_examples(config, architecture), recipe, lambda done, loss, capture: losses.append(loss), None, teacher)
    return {"losses": np.array(losses), **{name: array.copy() for name, array in twin.tensors(model).items()}}


def start(folder: Path, config: MobileBertConfig, architecture: str, seed: int) -> Any:
    """A model in float64 with the weights of a seed."""
    place = folder / str(processes.index())
    checkpoint.save(place, config, architecture, random_weights(config, architecture, seed))
    return twin.load(place, architecture, "float64", zero_pad_embedding=True)


def shard() -> None:
    """Make accelerate use FSDP2 from here on; on a CPU it leaves it out, unless it takes that for another device."""
    from accelerate import PartialState
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    AcceleratorState._reset_state(True)
    os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"}
    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_XPU
    assert twin.make_accelerator().is_fsdp2


def all_variants(folder: str) -> dict[str, dict[str, float]]:
    """In each process: {DDP or FSDP2: {variant: how far it is from the result of one process}}."""
    found: dict[str, dict[str, float]] = {}
    with twin.devices(None):
        for kind in ("DDP", "FSDP2"):
            if kind == "FSDP2":
                shard()
            found[kind] = {}
            for name in VARIANTS if kind == "DDP" else SHARDED:
                ours, theirs = trained(Path(folder), name), np.load(Path(folder) / f"{name}.npz")
                assert set(ours) == set(theirs)
                found[kind][name] = max(float(np.abs(ours[each] - theirs[each]).max()) for each in ours)
        with pytest.raises(ConfigError, match=r"^FSDP cannot train in phases with a teacher: configure accelerate for DDP$"):
            trained(Path(folder), next(iter(TAUGHT)))
    return found


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("variants")
    for name in VARIANTS:
        np.savez(folder / f"{name}.npz", **trained(folder, name))
    return call(all_variants, str(folder))


@pytest.mark.parametrize(("kind", "name"), [*(("DDP", name) for name in VARIANTS), *(("FSDP2", name) for name in SHARDED)])
def test_two_processes_come_to_the_result_of_one(apart: Any, kind: str, name: str) -> None:
    assert [found[kind][name] for found in apart] == pytest.approx([0, 0], abs=1e-12)


def commands(folder: str) -> dict[str, Any]:
    """In each process: what each command came to."""
    place, found = Path(folder), {}
    processes.PATIENCE = 0.0
    found["wrong file"] = mobilebert(["train", str(place / "none.csv"), "--output", str(place / "wrong")])
    found["diverged"] = mobilebert(arguments(place, "diverged", rates=("1e30",)))
    found["differing"] = mobilebert(arguments(place, "differing", "--seed", str(processes.index())))
    with full_disk():
        found["full disk"] = mobilebert(arguments(place, "full"))
    with signalled(2, rank=1):
        found["second"] = mobilebert(arguments(place, "out"))
    with signalled(4, signum=signal.SIGINT):  # where an evaluation is due
        found["third"] = mobilebert(arguments(place, "out"))
    found["DDP"] = predictions(place, "ddp")
    shard()
    with signalled(14, rank=0):
        found["sharded"] = mobilebert(arguments(place, "out"))
    found["FSDP2"] = predictions(place, "fsdp2")
    return found


def predictions(folder: Path, output: str) -> dict[str, Any]:
    """Train without an output folder, save the model, and say what it predicts."""
    options = {"max_steps": 3, "max_length": 16, "batch_size": 5, "progress": False}
    model, _ = trained = mobilebert_pt.train(folder / "start", None, folder / "data.csv", **options)
    found = mobilebert_pt.predict(trained, ["the film was fine", "odd"], all=True)
    model.save_pretrained(folder / output)
    if processes.is_main():
        trained.opened.tokenizer.save_pretrained(folder / output)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def ran(place: Path) -> list[dict[str, Any]]:
    """What the commands came to in two processes, between two that this process runs alone."""
    with signalled(3):
        assert mobilebert(arguments(place, "out"))[0] == 143
    found = call(commands, str(place))
    assert mobilebert(arguments(place, "out"))[0] == 0
    return found


def test_a_run_goes_on_in_another_number_of_processes(place: Path, ran: list[dict[str, Any]]) -> None:
    """From one process to two, sharded and not, and back."""
    assert mobilebert(arguments(place, "whole"))[0] == 0
    for name, step in (("second", 5), ("third", 9), ("sharded", 7)):  # the last one at the second learning rate
        assert f"until step {step}, and the same command goes on" in ran[0][name][2]
    ours, theirs = (json.loads((place / name / "report.json").read_text()) for name in ("out", "whole"))
    for trace in ("losses", "evaluations", "trials", "rates", "best_step", "scores"):
        np.testing.assert_allclose(*(list(numbers(report[trace])) for report in (ours, theirs)), rtol=1e-4, err_msg=trace)
    models = [twin.tensors(twin.load(place / name, CLASSIFIER)) for name in ("out", "whole", "start")]
    assert max(np.abs(models[0][name] - models[1][name]).max() for name in models[0]) < 1e-5
    assert max(np.abs(models[0][name] - models[2][name]).max() for name in models[0]) > 1e-3


@pytest.mark.parametrize(("name", "status"), [("second", 143), ("third", 130), ("sharded", 143)])
def test_a_signal_to_one_process_ends_all(ran: list[dict[str, Any]], name: str, status: int) -> None:
    assert [found[name][0] for found in ran] == [status, status]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong file", "none.csv: cannot be read: No such file or directory"),
        ("diverged", "train with a smaller learning rate; "),
        ("differing", "the processes differ in seed, configuration: give all of them the same files"),
        ("full disk", "No space left on device, so this run could not write a snapshot in "),
    ],
)
def test_an_error_ends_all(place: Path, ran: list[dict[str, Any]], name: str, message: str) -> None:
    assert [found[name][0] for found in ran] == [1, 1]
    assert message in ran[0][name][2] and not (place / "full" / "config.json").exists()
    assert name != "diverged" or (place / "diverged" / "config.json").exists()


def test_the_first_process_speaks(ran: list[dict[str, Any]]) -> None:
    printed = [name for name, found in ran[1].items() if isinstance(found, list) and found[1]]
    assert not printed and all("going on after step" in ran[0][name][1] for name in ("second", "third", "sharded"))
    assert not any(ran[1][name][2] for name in ("second", "third", "sharded"))


def test_what_was_trained_together_predicts_and_saves(place: Path, ran: list[dict[str, Any]]) -> None:
    for kind in ("DDP", "FSDP2"):
        assert ran[0][kind] == ran[1][kind] == mobilebert_pt.predict(place / kind.lower(), ["the film was fine", "odd"], all=True)
    assert ran[0]["DDP"] == ran[0]["FSDP2"]

"""What every training does around the steps, with a twin that only pretends: no framework is needed to get it right."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common.errors import ConfigError, DataError, DivergedError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.zoo import ZOO
from mobilebert_common.tasks.base import Lengths, Predictions
from mobilebert_common.tasks.examples import Examples
from mobilebert_common.tasks.task import MEMORY, new_setup
from mobilebert_common.tasks.tokens import Tags
from mobilebert_common.training import jobs
from mobilebert_common.training.fine_tuning import Trained, fine_tune
from mobilebert_common.training.preparation import Options, default_rate, left_out, prepare
from mobilebert_common.training.recipe import Recipe
from mobilebert_common.training.summary import worst
from support.pretending import ROWS, SMALL, Heard, Model, Twin, options


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving takes no time."""
    monkeypatch.setitem(ZOO, "tiny", SMALL)


def run(twin: Twin, told: list[Any] | None = None, **changes: Any) -> Trained:
    return fine_tune(twin, "Nothing", options(**changes), Heard([] if told is None else told))


def test_the_best_weights_are_kept(tmp_path: Path) -> None:
    twin, told = Twin(right=[1] * 4 + [3] * 4 + [2] * 4), []
    model, scores = run(twin, told, output=tmp_path / "out")
    assert model.right == 3 and scores.metrics["accuracy"] == 1.0 and scores.baseline["accuracy"] == pytest.approx(2 / 3)
    assert [step for step in told if isinstance(step, int)] == [4, 8, 12] and ("training", 12) in told
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["best_step"] == 8 and [len(report[name]) for name in ("losses", "rates", "evaluations")] == [12, 12, 3]
    assert [round(found["metrics"]["accuracy"], 2) for found in report["evaluations"]] == [0.33, 1.0, 0.67]
    assert report["data"]["training"] == {"path": "the list", "examples": 40, "rows": 40, "labels": {"good": 20, "bad": 20}}
    assert report["stopped"] == "" and not report["warnings"] and report["saved"] == str(tmp_path / "out")
    memory = json.loads((tmp_path / "out" / "config.json").read_text())[MEMORY]
    assert memory["task"] == "classification" and memory["columns"] == {"text": "text", "text_pair": [], "label": "label"}
    assert memory["lengths"]["max_length"] == 16
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!")


def test_tags_of_the_worst_examples_are_written_as_predictions_are() -> None:
    task, columns = new_setup("tokens").task, {"tokens": [["a", "b"]], "tags": [["B-X", "O"]]}
    [found] = worst(task, task.read(columns), Predictions({"prediction": [Tags(["O", "O"])]}, losses=[1.0]))
    assert (found["label"], found["prediction"]) == ("B-X O", "O O")


@pytest.mark.parametrize(
    ("task", "length", "expected"),
    [
        ("classification", 512, (512, 128)),
        ("choices", 64, (64, 128)),
        ("answers", 512, (384, 128)),
        ("answers", 100, (100, 128)),
        ("tokens", 512, (512, 384)),
        ("tokens", 128, (128, 96)),
        ("masked-lm", 512, (512, 128)),
    ],
)
def test_lengths_of_a_model_that_remembers_none(task: str, length: int, expected: tuple[int, int]) -> None:
    found = new_setup(task).task.lengths_without_memory(length)
    assert (found.max_length, found.stride) == expected


@pytest.mark.parametrize(
    ("task", "lines"),
    [
        ("classification", ["1 example cut: longer than 16 tokens", "2 examples dropped: why"]),
        ("answers", ["1 example cut: a question longer than 8 tokens", "2 examples dropped: why"]),
        ("tokens", ["1 example cut: a word longer than 14 tokens", "2 examples dropped: why"]),
        ("pretraining", ["1 document cut: longer than 16 tokens", "2 documents dropped: why"]),
    ],
)
def test_what_the_model_does_not_see(task: str, lines: list[str]) -> None:
    examples = Examples({}, {}, sources=[0, 3], truncated=[0], dropped={"why": [1, 2, 3], "none": [0]})
    assert left_out(new_setup(task).task, Lengths(max_length=16), examples) == lines


def test_the_worst_examples() -> None:
    worst = run(Twin(right=[2])).report["worst"]
    assert worst[0] == {"text": "fine", "label": "good", "prediction": "bad", "loss": pytest.approx(1.3133, abs=1e-4)}
    assert [found["loss"] for found in worst] == sorted((found["loss"] for found in worst), reverse=True)


def test_training_ends_early() -> None:
    told: list[Any] = []
    trained = run(Twin(right=[2, 1, 2, 1, 1, 3]), told, evaluate_every=1, patience=3)
    assert trained.model.right == 2 and len(trained.report["losses"]) == 4
    assert trained.report["stopped"] == "after step 4, because 3 evaluations were no better than that after step 1"
    assert f"training ended {trained.report['stopped']}" in told
    assert run(Twin(right=[2, 1, 2, 3, 1, 1]), evaluate_every=1, patience=3, epochs=2).report["best_step"] == 4


def test_several_learning_rates() -> None:
    twin, told = Twin(right=[1]), []
    twin.infer = lambda model, batches: Twin.infer(twin, model, batches)  # type: ignore[method-assign]
    original = Twin.train

    def train(model: Model, examples: Any, recipe: Recipe, *others: Any) -> None:
        twin.right = [{1e-4: 1, 1e-3: 3, 1e-2: 2}.get(recipe.learning_rate, 0)]
        original(twin, model, examples, recipe, *others)

    twin.train = train  # type: ignore[method-assign]
    trained = run(twin, told, learning_rate=[1e-4, 1e-3, 1e-2, 5.0])
    assert trained.model.right == 3
    assert [(each["learning_rate"], each["kept"]) for each in trained.report["trials"]] == [
        (1e-4, False),
        (1e-3, True),
        (1e-2, False),
        (5.0, False),
    ]
    assert trained.report["trials"][3]["metric"] is None and trained.report["settings"]["learning_rate"] == 1e-3
    assert "learning rate 0.001 is best, and its model is kept" in told
    assert any("learning rate 5: the gradient is not finite in step 1" in str(line) for line in told)
    with pytest.raises(ConfigError, match="does not stay finite at any of the learning rates 2, 3"):
        run(Twin(), learning_rate=[2.0, 3.0])


def test_the_last_good_weights_are_saved(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"the loss is nan in step 3: .*; .*out has the weights after step 2$") as error:
        run(Twin(losses=[0.7, 0.6, np.nan]), output=tmp_path / "out")
    assert error.value.step == 3 and (tmp_path / "out" / "model.safetensors").exists()
    with pytest.raises(DivergedError, match=r"the loss is inf in step 1: train with a smaller learning rate$"):
        run(Twin(losses=[np.inf]), output=tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())


def test_a_loss_that_rises_is_told() -> None:
    told: list[Any] = []
    trained = run(Twin(losses=[0.7] * 6 + [1273.0] * 6, right=[2]), told)
    assert trained.report["warnings"] == [
        "the loss rose from 0.7 to 1.27e+03: try a smaller learning rate than 0.002",
        "accuracy 0.667 is no better than 0.667 for always 'good': train longer, or try other learning rates",
    ]
    assert f"warning: {trained.report['warnings'][0]}" in told


def test_the_default_learning_rate() -> None:
    assert default_rate(MobileBertConfig.from_zoo("mobilebert")) == pytest.approx(4.9e-5, rel=0.01)
    assert default_rate(MobileBertConfig.from_zoo("mobilebert-mini")) == pytest.approx(1.17e-3, rel=0.01)
    assert default_rate(MobileBertConfig(hidden_size=128, num_hidden_layers=1)) == 2e-3
    assert prepare(options(learning_rate=np.float32(3e-4))).rates == (np.float32(3e-4),)
    assert prepare(options(learning_rate=3e-4)).rates == (3e-4,) and prepare(options()).rates == (2e-3,)


def test_limits() -> None:
    ready = prepare(options(limit=7, validation_limit=2, seed=3))
    assert (len(ready.training), len(ready.held_out), len(ready.examples)) == (7, 2, 7)
    assert ready.training.kept() == prepare(options(limit=7, seed=3)).training.kept() != prepare(options(limit=7)).training.kept()
    assert ready.training.kept()["id"] == sorted(ready.training.kept()["id"])


def test_speed_counts_examples_not_whole_batches() -> None:
    report = run(Twin(), limit=7).report
    assert report["examples_per_second"] == pytest.approx(7 * report["steps_per_second"])


def test_class_weights() -> None:
    rows = [*ROWS[:10], *(row for row in ROWS if row["label"] == "good")]  # 5 bad, 25 good
    assert prepare(options(data=rows, class_weights="balanced")).recipe.class_weights == (3.0, 0.6)
    numbered = {"data": [{**row, "label": int(row["label"] == "good")} for row in ROWS], "validation": None}
    assert prepare(options(**numbered, class_weights={0: 1, 1: 3})).recipe.class_weights == (1, 3)
    assert prepare(options(class_weights={"good": 2, "bad": 1})).recipe.class_weights == (1.0, 2.0)


SCORED = [{"text": "a", "label": number / 9} for number in range(9)]
IMPOSSIBLE: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "limit": ({"limit": 0}, ConfigError, "limit must be a whole number from 1, not 0"),
    "patience": ({"patience": -1}, ConfigError, "patience must be a whole number from 1, not -1"),
    "rate of zero": ({"learning_rate": 0}, ConfigError, "the learning rate must be above 0 and finite, not 0"),
    "half an example": ({"limit": 2.5}, ConfigError, "limit must be a whole number from 1, not 2.5"),
    "rate as text": ({"learning_rate": "1e-3"}, ConfigError, "must be above 0 and finite, not '1e-3'"),
    "rate of True": ({"learning_rate": True}, ConfigError, "must be above 0 and finite, not True"),
    "no rates": ({"learning_rate": []}, ConfigError, "learning_rate is empty"),
    "a fraction of three": ({"validation_fraction": 3, "validation": None}, ConfigError, "must be between 0 and 1, not 3"),
    "seed": ({"seed": -1}, ConfigError, "seed must be a whole number from 0"),
    "length as text": ({"max_length": "16"}, ConfigError, "max_length must be a whole number from 1, not '16'"),
    "batch as text": ({"batch_size": "8"}, ConfigError, "batch_size must be a whole number from 1, not '8'"),
    "weight as text": ({"class_weights": {"good": "much", "bad": 1}}, ConfigError, "class 1 must be from 0, and finite, not 'much'"),
    "one rate of several": ({"learning_rate": [1e-3, float("nan")]}, ConfigError, "above 0 and finite, not nan"),
    "length": ({"max_length": 513}, ConfigError, "max_length 513 is more than the model's 512 positions"),
    "class with one example": (
        {"data": [*ROWS, {"text": "a", "label": "new"}], "validation": None},
        DataError,
        "by label: there is only one example of 'new'; is it the right --label",
    ),
    "no class with two examples": (
        {"data": [{"text": "a", "label": f"day {number}"} for number in range(9)], "validation": None},
        DataError,
        "only one example of 'day 0', 'day 1', 'day 2', 'day 3', 'day 4' and 4 more; is it the right --label",
    ),
    "one class": ({"data": ROWS[::2]}, DataError, "needs at least two labels, but all rows have 'good'"),
    "unknown label": ({"validation": [{"text": "a", "label": "new"}]}, DataError, "has labels unseen in training in row 1: 'new'"),
    "no scores to learn": ({"task": "regression", "data": SCORED[:1] * 9, "validation": None}, DataError, "the score 0.0"),
    "no labels to learn": ({"task": "multi-label", "data": [{"text": "a", "label": []}] * 9}, DataError, "no row has a label"),
    "metric": ({"metric": "BLEU"}, ConfigError, r"metric must be one of accuracy, F1 \(macro\), MCC, F1 \(good\), not 'BLEU'"),
    "weights of a regression": (
        {"task": "regression", "data": SCORED, "validation": None, "class_weights": "balanced"},
        ConfigError,
        "class_weights are for labels that are one class of several",
    ),
    "weights of choices": (
        {"data": [{"question": "a", "choices": ["b", "c"], "label": row % 2} for row in range(9)], "class_weights": "balanced"},
        ConfigError,
        "class_weights are for labels that are one class of several, not for choices",
    ),
    "balance": ({"class_weights": "fair"}, ConfigError, "class_weights must be 'balanced' or a weight for each label, not 'fair'"),
    "weights": ({"class_weights": {"good": 1}}, ConfigError, "must have a weight for each of bad, good, not for good"),
    "weights of nothing": ({"class_weights": {"good": 0, "bad": 0}}, ConfigError, "class_weights must not all be 0"),
    "task": ({"task": "translation"}, ConfigError, "task must be one of classification"),
    "steps": ({"max_steps": 0}, ConfigError, "max_steps must be a whole number from 1, not 0"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    changes, kind, message = IMPOSSIBLE[name]
    with pytest.raises(kind, match=message):
        prepare(options(output=tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_a_folder_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(ConfigError, match=r"out has 0 MB free, but the model takes 7 MB with its snapshots: choose another folder"):
        prepare(options(output=tmp_path / "out"))


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/out cannot be created \(Not a directory\): choose another folder"):
        prepare(options(output=tmp_path / "file" / "out"))


def test_a_checkpoint_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="already holds a checkpoint"):
        prepare(options(output=tmp_path))


def test_what_is_cut_is_told() -> None:
    told: list[Any] = []
    run(Twin(), told, max_length=6)
    assert "40 training examples cut: longer than 6 tokens" in told
    assert "task classification: text 'text', label 'label'" in told
    assert any("40 examples to train on, 3 to validate; fresh tiny in Nothing, learning rate 0.002" in str(line) for line in told)


def test_one_list_of_options_for_both_doors() -> None:
    """The command line has each option of a training, under the same name."""
    from dataclasses import fields

    from mobilebert_common.cli.distilling import DistillOptions
    from mobilebert_common.cli.learning import TrainOptions
    from mobilebert_common.cli.pretraining import PretrainOptions

    for_python, renamed = {"tokenizer", "command"}, {"student": "model", "factor": "factors"}
    names = {each.name for each in fields(Options)}
    found = {renamed.get(each.name, each.name) for command in (TrainOptions, PretrainOptions, DistillOptions) for each in fields(command)}
    assert found - {"framework"} == names - for_python
    assert jobs.BATCH == 64

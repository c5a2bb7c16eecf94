"""What a training with a teacher does around the steps, with a framework that only pretends."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilebert_common import processes
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import CheckpointError, ConfigError, DataError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.zoo import ZOO
from mobilebert_common.tokenization import MobileBertTokenizerFast
from mobilebert_common.training import api, summary
from mobilebert_common.training import run as runs
from mobilebert_common.training.fine_tuning import Trained, fine_tune
from mobilebert_common.training.preparation import TRANSFER, Attempt, Options, prepare
from mobilebert_common.training.run import Run
from mobilebert_common.training.transfer import Phase, Transfer, outside
from support.configs import CLASSIFIER, random_weights
from support.pretending import HELD_OUT, ROWS, SMALL, Heard, Learner, Model, Twin
from support.pretending import options as plain_options

from .test_run import Killed, Stopping, clean, die, result, snapshots

PRETRAINING = "MobileBertForPreTraining"
STUDENT = {**SMALL, "num_hidden_layers": 2}
TEACHER = {**STUDENT, "num_hidden_layers": 3, "intra_bottleneck_size": 12, "intermediate_size": 40, "num_feedforward_networks": 1}
TEXT = "The film was fine. The film was odd. It was so.\n\nA fine film was here. So it was.\n\nIt was odd. It was fine.\n"


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Saving takes no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ZOO, "tiny", SMALL)
        patch.setitem(ZOO, "student", STUDENT)
        patch.setitem(ZOO, "large", TEACHER)
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teachers of a task and of words, and others that cannot teach."""
    folder = tmp_path_factory.mktemp("teachers")
    fine_tune(Learner(), "Nothing", plain_options(model="large", output=folder / "teacher"))
    tokenizer, stored = MobileBertTokenizerFast.from_pretrained(folder / "teacher"), MobileBertConfig.from_pretrained(folder / "teacher")
    found = checkpoint.load(folder / "teacher", CLASSIFIER).tensors

    def save(name: str, architecture: str, weights: Any, vocabulary: Any = tokenizer, **changes: Any) -> None:
        checkpoint.save(folder / name, stored.replace(fine_tuning=None, **changes), architecture, weights)
        vocabulary.save_pretrained(folder / name)

    save("words", PRETRAINING, random_weights(stored, PRETRAINING))
    save("base", "MobileBertModel", {name.removeprefix("mobilebert."): array for name, array in found.items() if "classifier" not in name})
    shutil.copytree(folder / "base", folder / "headless")
    config = json.loads((folder / "base" / "config.json").read_text()) | {"architectures": [CLASSIFIER]}
    (folder / "headless" / "config.json").write_text(json.dumps(config))
    other = MobileBertTokenizerFast(vocab=[*list(tokenizer.get_vocab())[:-1], "strange"])
    save("other words", CLASSIFIER, found, other)
    save("short", CLASSIFIER, random_weights(stored.replace(max_position_embeddings=12), CLASSIFIER), max_position_embeddings=12)
    (folder / "text.txt").write_text(TEXT)
    (folder / "empty.txt").write_text("\n\n")
    return folder


@pytest.fixture
def options(places: Path) -> Callable[..., Options]:
    def make(**changes: Any) -> Options:
        given = {"teacher": places / "teacher", "model": "student", "vocabulary_size": None, "epochs": 2, "evaluate_every": 3}
        return plain_options(**{**given, **changes})

    return make


def run(given: Options, twin: Any = None, told: list[Any] | None = None) -> Trained:
    return fine_tune(twin or Learner(), "Nothing", given, Heard([] if told is None else told))


def text_options(places: Path, **changes: Any) -> dict[str, Any]:
    given = {"teacher": places / "words", "data": places / "text.txt", "validation": places / "text.txt", "dupes": 1}
    return {**given, "max_length": None, **changes}


WITHOUT = {"teacher": None, "vocabulary_size": 60}
REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "strategy without a teacher": ({**WITHOUT, "strategy": "joint"}, ConfigError, "^without a teacher, there must be no strategy$"),
    "values without a teacher": (
        {**WITHOUT, "alone": False, "form": "paper", "share": 0.5, "alpha": 1, "temperature": 2, "factors": {"mean": 1}},
        ConfigError,
        "^without a teacher, there must be no alone, form, share, alpha, temperature, factors$",
    ),
    "no student": ({"model": None}, ConfigError, "^name the student: a checkpoint, or, for fresh weights, mobilebert, .*, tiny"),
    "a vocabulary": ({"vocabulary_size": 60}, ConfigError, "^a student has its teacher's vocabulary: leave out vocabulary_size$"),
    "a vocabulary file": ({"vocabulary": "vocab.txt"}, ConfigError, "leave out vocabulary$"),
    "strategy": ({"strategy": "slow"}, ConfigError, "^strategy must be one of soft-labels, auxiliary, joint, progressive, not 'slow'$"),
    "form": ({"form": "ours"}, ConfigError, "^form must be one of paper, google, not 'ours'$"),
    "share": ({"share": 1.5}, ConfigError, "^share must be between 0 and 1, not 1.5$"),
    "alpha": ({"alpha": -0.5}, ConfigError, "^alpha must be from 0 to 1, not -0.5$"),
    "temperature": ({"temperature": 0}, ConfigError, "^temperature must be more than 0, and finite, not 0$"),
    "factor": ({"factors": {"attention": -1}}, ConfigError, "^the factor of attention must be from 0, and finite, not -1$"),
    "unknown factor": ({"factors": {"heads": 1}}, ConfigError, "^factors are for hidden, mean, variance, attention, not for 'heads'$"),
    "nothing to compare": (
        {"strategy": "joint", "form": "paper", "factors": {"hidden": 0, "attention": 0}},
        ConfigError,
        "^all factors are 0, so joint has nothing to compare: use the strategy soft-labels$",
    ),
    "no teacher there": ({"teacher": "nowhere"}, ConfigError, "^'nowhere' is neither a checkpoint directory nor owner/name on the hub$"),
    "another task": ({"task": "regression"}, CheckpointError, "teacher: was trained for classification, not for regression$"),
    "a teacher without a head": ({"teacher": "{places}/base"}, CheckpointError, "base: holds MobileBertModel, not a MobileBertFor"),
    "a head without weights": (
        {"teacher": "{places}/headless"},
        CheckpointError,
        "headless: has no classifier.weight, classifier.bias, so it cannot teach$",
    ),
    "other words": (
        {"model": "{places}/other words"},
        ConfigError,
        "^.*other words cannot learn from .*teacher: their vocabularies differ in '11', 'strange'$",
    ),
    "other sizes": (
        {"model": "mobilebert-small-uncased", "strategy": "joint"},
        ConfigError,
        "^mobilebert-small-uncased cannot learn from .*teacher: the student has 8,000 tokens, the teacher 60; hidden states are 256 wide "
        r"in the student, 16 in the teacher; the student has 6 layers, the teacher only 3; the strategy joint copies what is outside the "
        r"encoder, but mobilebert.embeddings.word_embeddings.weight is \[8000, 128\], not \[60, 8\], .*, and 7 tensors more$",
    ),
    "other labels": (
        {"data": [*ROWS, {"text": "so", "label": "new"}]},
        ConfigError,
        "^student cannot learn from .*teacher: the labels of student and data are bad, good, new, the teacher's bad, good$",
    ),
    "layers that do not fit": (
        {"model": "mobilebert-mini", "strategy": "auxiliary"},
        ConfigError,
        "^mobilebert-mini cannot learn from .*: hidden states .*; the student has 4 layers.*; the strategy soft-labels compares no layers$",
    ),
    "length": (
        {"teacher": "{places}/short", "max_length": 14},
        ConfigError,
        "^student cannot learn from .*short: .*max_length 14 is more than the teacher's 12 positions$",
    ),
    "fewer steps than phases": ({"strategy": "progressive", "max_steps": 2}, ConfigError, "has 3 phases, but the training has 2 steps$"),
    "adapters": ({"lora": 2}, ConfigError, "^LoRA adapters cannot learn from a teacher: leave out lora$"),
    "words without sentences": ({"teacher": "{places}/words", "data": "{places}/empty.txt"}, DataError, "empty.txt: "),
}


def placed(value: Any, places: Path) -> Any:
    return value.format(places=places) if isinstance(value, str) else value


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_before_any_work(name: str, places: Path, options: Any, tmp_path: Path) -> None:
    changes, kind, message = REFUSED[name]
    given = options(output=tmp_path / "out", **{key: placed(value, places) for key, value in changes.items()})
    with pytest.raises(kind, match=message) as error:
        prepare(given)
    assert not (tmp_path / "out").exists() and "\n" not in str(error.value)


def test_values_are_refused_before_the_data_are_read(options: Any) -> None:
    for name, value in (("strategy", "slow"), ("alpha", 2), ("model", None), ("vocabulary_size", 60)):
        with pytest.raises(ConfigError):
            prepare(options(data="nowhere.csv", **{name: value}))


def test_several_processes_need_gradients_for_all_they_train(options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = {"factors": {"hidden": 0}, "form": "paper"}
    assert prepare(options(strategy="joint", **alone))
    monkeypatch.setattr(processes, "count", lambda: 2)
    with pytest.raises(ConfigError, match=r"^several processes cannot compare attention alone: give hidden, mean or "):
        prepare(options(strategy="joint", **alone))
    assert prepare(options(strategy="auxiliary", **alone)) and prepare(options(strategy="joint", form="paper"))


def test_fsdp_is_refused_before_the_student_trains_alone(options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match=r"^FSDP cannot train in phases with a teacher: configure accelerate for DDP$"):
        prepare(options())


def test_a_model_that_is_there_can_begin_once_only(places: Path, options: Any) -> None:
    model = Learner().load(places / "teacher", CLASSIFIER)
    with pytest.raises(ConfigError, match=r"^to train the student alone, too, as without alone=False, needs a model's name or directory"):
        prepare(options(model=model))
    with pytest.raises(ConfigError, match=r"^several learning rates need a model's name or directory"):
        prepare(options(model=model, learning_rate=[1e-3, 2e-3], alone=False))
    ready = prepare(options(model=model, alone=False))
    assert ready.make(ready.attempts[0], Learner(), 0) is model
    assert ready.begin.tokenizer.get_vocab() == MobileBertTokenizerFast.from_pretrained(places / "teacher").get_vocab()


def test_what_a_student_takes_from_its_teacher(places: Path, options: Any) -> None:
    config = json.loads((places / "teacher" / "config.json").read_text())
    assert config["fine_tuning"]["lengths"]["max_length"] == 16
    data, validation = ([{"body": row["text"], "label": row["label"]} for row in rows] for rows in (ROWS, HELD_OUT))
    ready = prepare(options(max_length=None, data=data, text="body", validation=validation))
    assert ready.begin.setup.lengths.max_length == 16 and ready.begin.setup.columns.text == "body"
    assert ready.begin.config.id2label == {0: "bad", 1: "good"} and ready.begin.config.vocab_size == 60


@pytest.mark.parametrize(
    ("changes", "strategy", "alone"),
    [
        ({}, "joint", True),
        ({"model": "mobilebert-mini"}, "soft-labels", True),
        ({"strategy": "joint", "alone": False}, "joint", False),
        ({"factors": {"hidden": 0, "mean": 0, "variance": 0}, "model": "tiny"}, "joint", True),
    ],
)
def test_the_strategy_of_a_task(changes: dict[str, Any], strategy: str, alone: bool, options: Any) -> None:
    ready = prepare(options(learning_rate=[1e-3, 2e-3], **changes))
    assert ready.recipe.transfer.strategy == strategy and ready.recipe.transfer.dropout and ready.rates == (1e-3, 2e-3)
    expected = [Attempt(rate, alone) for alone in ((True, False) if alone else (False,)) for rate in (1e-3, 2e-3)]
    assert list(ready.attempts) == expected
    assert [ready.recipe_of(each).transfer is None for each in ready.attempts] == [each.alone for each in expected]
    assert [ready.recipe_of(each).learning_rate for each in ready.attempts] == [each.rate for each in expected]


def test_a_student_that_is_a_checkpoint_keeps_its_embeddings(places: Path, options: Any) -> None:
    assert prepare(options(model=places / "base")).recipe.transfer.strategy == "auxiliary"


def test_the_strategy_of_words(places: Path, options: Any) -> None:
    for changes, attempts in (({}, 1), ({"alone": True}, 2)):
        ready = prepare(options(**text_options(places, **changes), max_steps=20))
        assert ready.recipe.transfer.strategy == "progressive" and not ready.recipe.transfer.dropout
        assert len(ready.attempts) == attempts and not ready.attempts[-1].alone
    assert ready.begin.setup.task.name == "pretraining" and not ready.attempts[1].alone


def test_a_student_has_the_embeddings_of_its_teacher_but_not_alone(places: Path, options: Any) -> None:
    theirs = outside(checkpoint.load(places / "teacher", CLASSIFIER).tensors)
    for strategy in ("auxiliary", "joint"):
        ready, twin = prepare(options(strategy=strategy)), Learner()
        alone, taught = (ready.make(attempt, twin, 0).weights for attempt in ready.attempts)
        same = [name for name in alone if np.array_equal(alone[name], taught[name])]
        assert len(same) == len(alone) - (len(theirs) if strategy == "joint" else 0)
        assert strategy != "joint" or all(np.array_equal(taught[name], array) for name, array in theirs.items())
        assert not np.array_equal(alone["classifier.weight"], theirs["classifier.weight"])


class Scored(Twin):
    """Gets so many right alone, and so many with its teacher."""

    def __init__(self, alone: list[int], taught: list[int]) -> None:
        super().__init__()
        self.alone, self.taught = alone, taught
        self.teachers: list[Any] = []

    def train(self, model: Model, examples: Any, recipe: Any, watch: Any, state: Any = None, teacher: Any = None) -> None:
        self.teachers.append(teacher)
        self.right = self.alone if teacher is None else self.taught
        super().train(model, examples, recipe, watch, state, teacher)


def test_the_gain(options: Any, tmp_path: Path) -> None:
    twin, told = Scored([2] * 8, [1] * 4 + [3] * 4), []
    trained = run(options(output=tmp_path / "out", evaluate_every=None, strategy="auxiliary"), twin, told)
    assert trained.model.right == 3 and [teacher is None for teacher in twin.teachers] == [True, False]
    assert [recipe.transfer is None for recipe in twin.recipes] == [True, False]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["gain"] == {"metric": "accuracy", "alone": pytest.approx(2 / 3), "taught": 1.0}
    assert report["teacher"].endswith("/teacher") and report["phases"] == [["distillation", 1, 8]] and not report["warnings"]
    assert [(each["metric"], each["kept"], each.get("alone", False)) for each in report["trials"]] == [
        (pytest.approx(2 / 3), False, True),
        (1.0, True, False),
    ]
    values = {"strategy": "auxiliary", "form": "google", "alpha": 0.5, "temperature": 1.0, "factors": {}, "dropout": True}
    assert {name: report["settings"][name] for name in values} == values and "transfer" not in report["settings"]
    assert ("alone training", 8) in told and ("training", 8) in told
    assert "accuracy 1.000 with the teacher, 0.667 without" in told
    assert any(line.startswith("teacher ") and line.endswith("/teacher, auxiliary") for line in told if isinstance(line, str))


@pytest.mark.parametrize(("taught", "words"), [(1, "0.667, no less than 0.333"), (2, "0.667, no less than 0.667")])
def test_a_student_that_is_no_worse_alone(taught: int, words: str, options: Any) -> None:
    told: list[Any] = []
    trained = run(options(), Scored([2] * 8, [taught] * 8), told)
    assert trained.model.right == taught
    [warning] = [line for line in trained.report["warnings"] if "alone" in line]
    advice = "train longer, or try another strategy, alpha or temperature"
    assert warning == f"the student alone has accuracy {words} with its teacher: {advice}"
    assert f"warning: {warning}" in told


def test_without_the_student_alone_there_is_no_gain(options: Any) -> None:
    twin, told = Scored([], [3] * 8), []
    report = run(options(alone=False), twin, told).report
    assert report["gain"] is None and len(report["trials"]) == 1 and len(twin.teachers) == 1
    assert not any("without" in line for line in told if isinstance(line, str))
    report = run(plain_options(), Twin()).report
    assert report["gain"] is None and report["teacher"] is None and report["phases"] == [["training", 1, 12]]


def test_several_rates_alone_and_taught(options: Any) -> None:
    """Each kind has its best rate; one that diverges is left out, alone or not."""
    rights = {(1e-4, True): 1, (1e-3, True): 2, (1e-4, False): 3, (1e-3, False): 1}
    twin, told = Scored([0], [0]), []
    real = twin.train

    def train(model: Model, examples: Any, recipe: Any, watch: Any, state: Any = None, teacher: Any = None) -> None:
        twin.alone = twin.taught = [rights.get((recipe.learning_rate, teacher is None), 0)]
        real(model, examples, recipe, watch, state, teacher)

    twin.train = train  # type: ignore[method-assign]
    trained = run(options(learning_rate=[1e-4, 1e-3, 5.0]), twin, told)
    assert trained.model.right == 3 and trained.report["gain"] == {"metric": "accuracy", "alone": pytest.approx(2 / 3), "taught": 1.0}
    kept = [(each["learning_rate"], each.get("alone", False), each["kept"]) for each in trained.report["trials"]]
    assert kept == [
        *((rate, True, False) for rate in (1e-4, 1e-3, 5.0)),
        *((rate, False, rate == 1e-4) for rate in (1e-4, 1e-3, 5.0)),
    ]
    assert ("alone 1: 0.0001", 8) in told and ("5: 0.001", 8) in told
    assert sum("learning rate 5: the gradient is not finite" in line for line in told if isinstance(line, str)) == 2
    assert sum(line.startswith("the student alone, learning rate 5") for line in told if isinstance(line, str)) == 1


def test_all_rates_diverge_with_the_teacher(options: Any) -> None:
    twin = Scored([3], [3])
    with pytest.raises(ConfigError, match=r"^the loss does not stay finite at any of the learning rates 2$"):
        run(options(learning_rate=[2.0]), twin)


def test_evaluations_begin_where_labels_count(options: Any) -> None:
    told: list[Any] = []
    trained = run(options(strategy="joint", share=0.5, evaluate_every=1, patience=2, alone=False), Scored([], [3] * 8), told)
    assert [step for step in told if isinstance(step, int)] == [5, 6, 7] and trained.report["best_step"] == 5
    assert trained.report["stopped"] == "after step 7, because 2 evaluations were no better than that after step 5"
    phases = [found for found in told if isinstance(found, Phase)]
    assert [(found.title, found.start) for found in phases] == [("all layers", 0), ("distillation", 4)]
    assert [step for step, _ in trained.report["rates"]] == list(range(1, 8))
    assert trained.report["phases"] == [["all layers", 1, 4], ["distillation", 5, 8]]


def test_a_loss_that_rises_from_phase_to_phase_is_no_trouble(options: Any) -> None:
    twin = Scored([], [3] * 24)
    twin.losses = [0.1] * 12 + [5.0] * 12
    changes = {"strategy": "joint", "share": 0.5, "max_steps": 24, "alone": False, "evaluate_every": 24}
    assert not run(options(**changes), twin).report["warnings"]
    twin.losses = [0.1] * 12 + [5.0] * 6 + [9.0] * 6
    assert "the loss rose from 5 to 9" in run(options(**changes), twin).report["warnings"][0]
    assert summary.FEW <= 12


RUNS: dict[str, dict[str, Any]] = {
    "alone and taught": {"strategy": "auxiliary"},
    "joint": {"strategy": "joint", "share": 0.5},
    "progressive": {"strategy": "progressive", "share": 0.6, "max_steps": 6},
    "several rates": {"strategy": "soft-labels", "learning_rate": [2.0, 1e-3]},  # the first diverges
    "patience": {"strategy": "joint", "share": 0.3, "patience": 1, "evaluate_every": 1, "max_steps": 6},
}


@pytest.mark.parametrize("name", RUNS)
def test_every_step_in_a_process_of_its_own(name: str, options: Any, tmp_path: Path) -> None:
    """Killed after each of its steps: alone, at the border to the teacher, in each phase and at their borders."""
    given = options(**{"snapshot_every": 1, "max_steps": 4, "evaluate_every": 2, **RUNS[name]})
    run(replace(given, output=tmp_path / "whole"))
    expected, output = result(tmp_path / "whole"), tmp_path / "out"
    for _ in range(60):
        try:
            run(replace(given, output=output), Stopping(2, die))
        except Killed:
            assert all(Run(output / "run", {}).read(each) for each in snapshots(output))
        else:
            break
    assert result(output) == expected and clean(output)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.mark.parametrize("after", [3, 8, 11, 13, 16])
def test_killed_between_snapshots(after: int, whole: Path, options: Any, tmp_path: Path) -> None:
    given = options(snapshot_every=3, strategy="progressive", share=0.5)
    if not (whole / "out").exists():
        run(replace(given, output=whole / "out"))
    with pytest.raises(Killed):
        run(replace(given, output=tmp_path / "out"), Stopping(after, die))
    told: list[Any] = []
    run(replace(given, output=tmp_path / "out"), None, told)
    assert result(tmp_path / "out") == result(whole / "out") and clean(tmp_path / "out")
    if after > 8 + 3:  # with its teacher: the phase that it goes on in is told first
        first = next(found for found in told if isinstance(found, Phase))
        done = int(next(line for line in told if "going on after step" in str(line)).split("after step ")[1].split()[0])
        assert first.start <= done < first.stop


def test_a_better_score_alone_pushes_no_weights_out(options: Any, tmp_path: Path) -> None:
    """While a third rate is tried, the best weights of the first with the teacher are there, and none of those alone."""

    class Ranked(Scored, Learner):
        """Alone, all are right; with the teacher, the first rate is best."""

        def infer(self, model: Model, batches: Any) -> Any:
            return Twin.infer(self, model, batches)

        def create(self, *given: Any) -> Model:
            model = Learner.create(self, *given)
            model.right = 0
            return model

        def train(self, model: Model, examples: Any, recipe: Any, watch: Any, state: Any = None, teacher: Any = None) -> None:
            model.right = 3 if teacher is None else 2 if recipe.learning_rate == 1e-3 else 1
            Learner.train(self, model, examples, recipe, watch, state, teacher)

    def seen(done: int) -> None:
        counts.append(done)
        if len(counts) == 6 * 4:
            raise Killed

    counts: list[int] = []
    given = options(learning_rate=[1e-3, 2e-3, 3e-3], output=tmp_path / "out", snapshot_every=1, epochs=1)
    twin = Ranked([], [])
    noting = type("Noting", (Heard,), {"step": lambda self, done, loss: seen(done)})
    with pytest.raises(Killed):
        fine_tune(twin, "Nothing", given, noting([]))
    names = snapshots(tmp_path / "out")
    best = [name for name in names if not name.startswith("6-")]
    assert len(best) == 1 and best[0].startswith("4-")
    found = Run(tmp_path / "out" / "run", {}).read(names[0])
    assert set(found.best) == {4, 6} and [trial.alone for trial in found.trials] == [True] * 3 + [False] * 3
    trained = fine_tune(Ranked([], []), "Nothing", given, Heard([]))
    assert [each["kept"] for each in trained.report["trials"]] == [False, False, False, True, False, False]
    assert trained.report["gain"] == {"metric": "accuracy", "alone": 1.0, "taught": pytest.approx(2 / 3)}


def interrupted(given: Options, output: Path, after: int = 4) -> None:
    with pytest.raises(Killed):
        run(replace(given, output=output), Stopping(after, die))


CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "strategy": ({"strategy": "auxiliary"}, 'strategy is "auxiliary", not "joint"'),
    "form": ({"form": "paper"}, 'form is "paper", not "google"'),
    "share": ({"share": 0.4}, "share is 0.4, not 0.5"),
    "alpha": ({"alpha": 0.1}, "alpha is 0.1, not 0.5"),
    "temperature": ({"temperature": 2}, "temperature is 2, not 1.0"),
    "factors": ({"factors": {"mean": 0}}, r'factors is \{"mean": 0\}, not \{\}'),
    "alone": ({"alone": False}, "alone is false, not true"),
    "optimizer": ({"optimizer": "lamb"}, 'optimizer is "lamb", not null'),
    "teacher": ({"teacher": "{places}/other"}, "teacher changed; "),
    "no teacher": (
        {"teacher": None, "strategy": None, "share": Transfer.share, "vocabulary_size": 60},
        "alpha is null, not 0.5, .*teacher changed",
    ),
}


@pytest.fixture(scope="module")
def halfway(places: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was killed, and another teacher, of one weight."""
    folder = tmp_path_factory.mktemp("halfway")
    given = plain_options(teacher=places / "teacher", model="student", vocabulary_size=None, strategy="joint", share=0.5, snapshot_every=2)
    interrupted(given, folder / "out")
    tensors = {name: array.copy() for name, array in checkpoint.load(places / "teacher", CLASSIFIER).tensors.items()}
    tensors["mobilebert.encoder.layer.1.output.dense.bias"][3] += 1e-3
    shutil.copytree(places / "teacher", places / "other", ignore=shutil.ignore_patterns("*.safetensors", "manifest.json", "run"))
    checkpoint.save(places / "other", MobileBertConfig.from_pretrained(places / "teacher"), CLASSIFIER, tensors)
    MobileBertTokenizerFast.from_pretrained(places / "teacher").save_pretrained(places / "other")
    return folder / "out"


@pytest.mark.parametrize("name", CHANGED)
def test_another_transfer_is_refused(name: str, halfway: Path, places: Path) -> None:
    changes, message = CHANGED[name]
    same = {"teacher": places / "teacher", "model": "student", "vocabulary_size": None, "strategy": "joint", "share": 0.5}
    given = plain_options(**{**same, **{key: placed(value, places) for key, value in changes.items()}}, output=halfway)
    before = snapshots(halfway)
    with pytest.raises(ConfigError, match=f"run holds a run of another configuration: .*{message}"):
        run(given)
    assert snapshots(halfway) == before


def test_a_teacher_may_move(places: Path, options: Any, tmp_path: Path) -> None:
    given = options(strategy="joint", share=0.5, snapshot_every=2)
    run(replace(given, output=tmp_path / "whole"))
    interrupted(given, tmp_path / "out", 11)
    shutil.copytree(places / "teacher", tmp_path / "moved")
    run(replace(given, output=tmp_path / "out", teacher=tmp_path / "moved"))
    assert result(tmp_path / "out") == result(tmp_path / "whole")


OLD_SETTINGS = {  # what a run without a teacher was compared by before there were teachers
    *("task", "model", "learning rates", "max_length", "stride", "max_question", "max_answer", "n_best", "null_threshold", "whole_words"),
    *("dupes", "epochs", "max_steps", "batch_size", "warmup", "weight_decay", "bf16", "lora", "class_weights", "evaluate_every"),
    *("patience", "metric", "seed", "training data (SHA-256)", "validation data (SHA-256)", "configuration (SHA-256)"),
    "vocabulary (SHA-256)",
}


def test_a_run_from_before_there_were_teachers_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = plain_options(snapshot_every=2, evaluate_every=3)
    run(replace(given, output=tmp_path / "whole"))
    with monkeypatch.context() as patch:
        now = runs._plain
        patch.setattr(runs, "_plain", lambda trial: {key: value for key, value in now(trial).items() if key not in ("alone", "first")})
        interrupted(given, tmp_path / "out", 6)
    [newest, *_] = snapshots(tmp_path / "out")
    state = json.loads((tmp_path / "out" / "run" / newest / "state.json").read_text())
    assert "alone" not in state["trials"][0] and set(state["settings"]) == OLD_SETTINGS
    run(replace(given, output=tmp_path / "out"))
    assert result(tmp_path / "out") == result(tmp_path / "whole")


def test_distill_in_python(places: Path, options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What both twins' `distill` hands on."""
    monkeypatch.setattr(api, "twin", lambda framework: Learner())
    given = {"validation": HELD_OUT, "batch_size": 10, "evaluate_every": 3, "alpha": 0.3}
    model, scores = trained = api.distill("pt", places / "teacher", "student", None, ROWS, False, epochs=2, **given)
    assert trained.report["teacher"] == str(places / "teacher") and trained.report["framework"] == "PyTorch"
    assert trained.report["settings"]["alpha"] == 0.3 and set(trained.report["gain"]) == {"metric", "alone", "taught"}
    assert model.config.num_hidden_layers == 2 and scores.metrics == trained.scores.metrics
    for wrong in ({"model": "student"}, {"teachers": 1}):
        with pytest.raises(TypeError, match=re.escape(f"distill() has no argument {next(iter(wrong))}; it takes ")):
            api.distill("pt", places / "teacher", "student", None, ROWS, False, **wrong)
    with pytest.raises(TypeError, match=r"^the teacher must be a checkpoint's name or directory, not a Model$"):
        api.distill("pt", model, "student", None, ROWS, False)


def test_the_options_of_a_transfer_are_its_values() -> None:
    assert set(TRANSFER) == {"form", "share", "alpha", "temperature", "factors"}
    with pytest.raises(TypeError):
        Options(data=None, dropout=True)  # type: ignore[call-arg]

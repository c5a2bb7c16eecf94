"""Learning from a teacher, as tables: the values of a transfer, its phases and their rates, and what must fit."""

import math
import re
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilebert_common.errors import ConfigError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import expand
from mobilebert_common.training.recipe import ADAMW, LAMB, Recipe
from mobilebert_common.training.transfer import (
    BOOST,
    FORMS,
    STRATEGIES,
    TERMS,
    Transfer,
    different_shapes,
    layer_pairs,
    misfits,
    outside,
    phase_of,
    phases,
)
from support.configs import CLASSIFIER, make_config

MASKED = "MobileBertForMaskedLM"


def recipe_of(strategy: str | None, optimizer: str = ADAMW, **values: Any) -> Recipe:
    return Recipe(2e-3, optimizer=optimizer, transfer=None if strategy is None else Transfer(strategy, **values))


def found(strategy: str | None, steps: int, layers: int = 4, teacher: int = 12, optimizer: str = ADAMW, **values: Any) -> Any:
    student, taught_by = make_config(num_hidden_layers=layers), make_config(num_hidden_layers=teacher)
    return phases(recipe_of(strategy, optimizer, **values), steps, student, None if strategy is None else taught_by)


def test_the_factors_are_those_of_the_sources() -> None:
    assert FORMS["google"].factors == {"hidden": 100, "mean": 5000, "variance": 5, "attention": 1}
    assert FORMS["paper"].factors == {"hidden": 1, "mean": 0, "variance": 0, "attention": 1}
    assert all(tuple(form.factors) == TERMS for form in FORMS.values())
    assert Transfer(factors={"mean": 2}).weights() == {"hidden": 100, "mean": 2, "variance": 5, "attention": 1}
    assert Transfer().share == pytest.approx(240_000 / 740_000) and (Transfer().alpha, Transfer().temperature) == (0.5, 1.0)


def test_a_training_without_a_teacher_is_one_phase() -> None:
    [phase] = found(None, 7)
    assert (phase.start, phase.stop, phase.steps, phase.labels, phase.dropout, phase.boost) == (0, 7, 7, True, True, 1.0)
    assert not phase.pairs and phase.layers == (1.0,) * 4 and phase.others == 1.0
    recipe = recipe_of(None)
    assert [phase.rate(step, recipe) for step in range(7)] == [recipe.rate(step, 7) for step in range(7)]


PAIRS = {0: 2, 1: 5, 2: 8, 3: 11}  # four layers of twelve


def test_soft_labels_are_one_phase_without_layers() -> None:
    [phase] = found("soft-labels", 10)
    assert (phase.start, phase.stop, phase.labels, phase.pairs) == (0, 10, True, {})


def test_auxiliary_is_one_phase_with_all_layers() -> None:
    [phase] = found("auxiliary", 10)
    assert (phase.start, phase.stop, phase.labels, phase.pairs) == (0, 10, True, PAIRS)
    assert (phase.layers, phase.others) == ((1.0,) * 4, 1.0)


def test_joint_compares_all_layers_then_learns_labels() -> None:
    first, last = found("joint", 74)
    assert (first.title, first.start, first.stop, first.labels, first.pairs) == ("all layers", 0, 24, False, PAIRS)
    assert (first.layers, first.others, first.dropout) == ((1.0,) * 4, 0.0, False)
    assert (last.title, last.start, last.stop, last.labels, last.pairs) == ("distillation", 24, 74, True, {})
    assert (last.layers, last.others) == ((1.0,) * 4, 1.0)


def test_progressive_compares_layer_after_layer() -> None:
    *layers, last = found("progressive", 74)
    assert [(phase.start, phase.stop) for phase in layers] == [(0, 6), (6, 12), (12, 18), (18, 24)]
    assert [phase.title for phase in layers] == [f"layer {number} of 4" for number in (1, 2, 3, 4)]
    assert [phase.pairs for phase in layers] == [{0: 2}, {1: 5}, {2: 8}, {3: 11}]
    assert [phase.layers for phase in layers] == [(1, 0, 0, 0), (0.1, 1, 0, 0), (0.1, 0.1, 1, 0), (0.1, 0.1, 0.1, 1)]
    assert not any(phase.labels or phase.dropout or phase.others for phase in layers)
    assert last.labels and (last.start, last.stop, last.pairs, last.layers, last.others) == (24, 74, {}, (1,) * 4, 1)


def test_dropout_is_on_with_labels_only_and_where_it_is_wanted() -> None:
    for strategy in STRATEGIES:
        for dropout in (False, True):
            assert [phase.dropout for phase in found(strategy, 50, dropout=dropout)] == [
                dropout and phase.labels for phase in found(strategy, 50)
            ]


@given(
    st.sampled_from(list(STRATEGIES)), st.integers(1, 400), st.integers(1, 24), st.integers(0, 24), st.floats(1e-9, 1 - 1e-9)
)
def test_the_phases_have_every_step_exactly_once(strategy: str, steps: int, layers: int, more: int, share: float) -> None:
    count = {"soft-labels": 1, "auxiliary": 1, "joint": 2, "progressive": layers + 1}[strategy]
    if steps < count:
        with pytest.raises(ConfigError, match=f"^{strategy} transfer has {count} phases, but the training has {steps} steps?$"):
            found(strategy, steps, layers, layers + more, share=share)
        return
    every = found(strategy, steps, layers, layers + more, share=share)
    assert len(every) == count and all(phase.steps >= 1 for phase in every)
    assert [step for phase in every for step in range(phase.start, phase.stop)] == list(range(steps))
    assert all(phase_of(every, step).start <= step < phase_of(every, step).stop for step in range(steps))
    assert phase_of(every, steps) == every[-1]  # the end belongs to the last
    before = every[-1].start
    if count > 1:
        assert before == min(max(count - 1, round(share * steps)), steps - 1)
        lengths = [phase.steps for phase in every[:-1]]
        assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("optimizer", "boost"), [(LAMB, 3.0), (ADAMW, 1.0)])
def test_the_rates_of_a_layer_are_googles(optimizer: str, boost: float) -> None:
    """Google's: 3.0 * min(0.9 + 0.1 * sqrt(1 - t), 10 * t), with t the part of the phase that is done."""
    assert BOOST == {LAMB: 3.0}
    recipe, every = recipe_of("progressive", optimizer), found("progressive", 740, optimizer=optimizer)
    for phase in every[:-1]:
        assert phase.steps == 60
        for step in range(60):
            done = (step + 1) / 60
            google = 0.9 + 0.1 * math.sqrt(1 - done) if 10 * done > 0.9 + 0.1 * math.sqrt(1 - done) else 10 * done
            assert phase.rate(phase.start + step, recipe) == pytest.approx(2e-3 * boost * google, rel=1e-12)
    last = every[-1]
    rates = [last.rate(step, recipe) for step in range(last.start, last.stop)]
    assert max(rates) == rates[49] == pytest.approx(2e-3) and rates[0] == pytest.approx(2e-3 / 50)  # warm-up of a tenth of 500
    assert rates[-1] == pytest.approx(2e-3 / 450) and rates[49:] == sorted(rates[49:], reverse=True)


def test_each_tensor_has_the_share_of_its_layer() -> None:
    phase = found("progressive", 74)[1]
    config = make_config(num_hidden_layers=4)
    for root in ("", "mobilebert."):
        assert phase.factor(f"{root}encoder.layer.0.attention.self.query.weight") == 0.1
        assert phase.factor(f"{root}encoder.layer.1.output.dense.bias") == 1.0
        assert phase.factor(f"{root}encoder.layer.2.output.dense.bias") == 0.0
    names = expand(config, CLASSIFIER)
    assert {name: phase.factor(name) for name in outside(names)} == dict.fromkeys(outside(names), 0.0)
    assert {name.split(".")[0] for name in outside(names)} == {"mobilebert", "classifier"}
    assert len(names) == len(outside(names)) + sum(".layer." in name for name in names)
    deep = replace_layers(phase, 12)
    assert deep.factor("encoder.layer.11.x") == 1.0 and deep.factor("encoder.layer.1.x") == 0.5  # not by its first digit


def replace_layers(phase: Any, count: int) -> Any:
    return phase._replace(layers=(*([0.5] * (count - 1)), 1.0))


@given(st.integers(1, 48), st.integers(0, 48))
def test_pairs_are_those_of_the_edge_tpu_models(student: int, more: int) -> None:
    """TF Model Garden's edgetpu distillation: the stage s, counted from 1, learns from the teacher's layer s * teacher // student."""
    teacher = student + more
    expected = {}
    for stage in range(1, student + 1):
        expected[stage - 1] = stage * teacher // student - 1
    pairs = layer_pairs(student, teacher)
    assert pairs == expected and list(pairs) == list(range(student))
    assert pairs[student - 1] == teacher - 1 and len(set(pairs.values())) == student
    assert more or all(ours == theirs for ours, theirs in pairs.items())


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"strategy": "slow"}, "strategy must be one of soft-labels, auxiliary, joint, progressive, not 'slow'"),
    ({"strategy": ["joint"]}, "strategy must be one of soft-labels, auxiliary, joint, progressive, not ['joint']"),
    ({"form": None}, "form must be one of paper, google, not None"),
    *(({"share": value}, f"share must be between 0 and 1, not {value!r}") for value in (0, 1, -0.1, math.nan, "0.5", True)),
    *(({"alpha": value}, f"alpha must be from 0 to 1, not {value!r}") for value in (-0.01, 1.01, math.nan, None)),
    *(({"temperature": value}, f"temperature must be more than 0, and finite, not {value!r}") for value in (0, -1, math.inf, math.nan)),
    *(
        ({"factors": {"mean": value}}, f"the factor of mean must be from 0, and finite, not {value!r}")
        for value in (-1, math.inf, math.nan, "1")
    ),
    ({"factors": {"median": 1, 7: 1, "mean": 1}}, "factors are for hidden, mean, variance, attention, not for 'median', 7"),
    ({"factors": [("mean", 1)]}, "factors must be {term: factor}, not [('mean', 1)]"),
    (
        {"factors": dict.fromkeys(TERMS, 0)},
        "all factors are 0, so progressive has nothing to compare: use the strategy soft-labels",
    ),
    (
        {"strategy": "auxiliary", "form": "paper", "factors": {"hidden": 0, "attention": 0}},
        "all factors are 0, so auxiliary has nothing to compare: use the strategy soft-labels",
    ),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_values_out_of_range(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Transfer(**values)
    assert str(error.value) == message


def test_values_at_the_edge() -> None:
    for values in ({"alpha": 0}, {"alpha": 1}, {"share": 1e-9}, {"temperature": 1e-3}, {"factors": {"mean": 0}}):
        Transfer(**values)
    assert not Transfer("soft-labels", factors=dict.fromkeys(TERMS, 0)).compares_layers
    assert [Transfer(name).compares_layers for name in STRATEGIES] == [False, True, True, True]
    assert asdict(Transfer(factors=FORMS["paper"].factors))["factors"] == FORMS["paper"].factors
    assert {each.name for each in fields(Transfer)} == {"strategy", "form", "share", "alpha", "temperature", "factors", "dropout"}


def test_a_recipe_refuses_adapters_with_a_teacher() -> None:
    with pytest.raises(ConfigError, match=r"^LoRA adapters cannot learn from a teacher: leave out lora$"):
        replace(recipe_of("joint"), lora=4)
    with pytest.raises(ConfigError, match=r"^optimizer must be adamw or lamb, not 'sgd'$"):
        replace(recipe_of(None), optimizer="sgd")


LABELS = {"num_labels": 2, "id2label": {0: "bad", 1: "good"}}

# what differs in the teacher -> the strategies that cannot do with it, and why
UNEQUAL: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "vocabulary": ({"vocab_size": 1041}, tuple(STRATEGIES), "the student has 40 tokens, the teacher 1,041"),
    "width": ({"hidden_size": 64}, ("auxiliary", "joint", "progressive"), "hidden states are 32 wide in the student, 64 in the teacher"),
    "heads": ({"num_attention_heads": 1}, ("auxiliary", "joint", "progressive"), "the student has 4 attention heads, the teacher 1"),
    "depth": ({"num_hidden_layers": 1}, ("auxiliary", "joint", "progressive"), "the student has 2 layers, the teacher only 1"),
    "labels": ({"id2label": {0: "bad", 1: "fine"}}, tuple(STRATEGIES), "labels of student and data are bad, good, the teacher's bad, fine"),
    "embeddings": (
        {"embedding_size": 16},
        ("joint", "progressive"),
        "copies what is outside the encoder, but mobilebert.embeddings.word_embeddings.weight is [40, 8], not [40, 16]",
    ),
    "pooler": (
        {"classifier_activation": False},
        ("joint", "progressive"),
        "the encoder, but mobilebert.pooler.dense.weight is [32, 32], not there, mobilebert.pooler.dense.bias is [32], not there",
    ),
}


@pytest.mark.parametrize("name", UNEQUAL)
def test_what_must_fit(name: str) -> None:
    changes, unfit, message = UNEQUAL[name]
    student, teacher = make_config(**LABELS), make_config(**{**LABELS, **changes})
    for strategy in STRATEGIES:
        reasons = misfits(student, teacher, CLASSIFIER, Transfer(strategy))
        assert any(message in each for each in reasons) == bool(reasons) == (strategy in unfit)
        assert not misfits(student, student, CLASSIFIER, Transfer(strategy))


@pytest.mark.parametrize(
    ("teacher", "students"),
    [
        ("ib-bert-large", ("mobilebert", "mobilebert-tiny", "mobilebert-without-opt")),
        ("ib-bert-small", ("mobilebert-small", "mobilebert-small-shallow")),
        ("ib-bert-mini", ("mobilebert-mini",)),
        ("mobilebert-small", ("mobilebert-small-shallow",)),
    ],
)
def test_the_zoo_has_teachers_and_students(teacher: str, students: tuple[str, ...]) -> None:
    for student in students:
        configs = [MobileBertConfig.from_zoo(name) for name in (student, teacher)]
        for architecture in ("MobileBertForPreTraining", CLASSIFIER):
            assert not misfits(*configs, architecture, Transfer("progressive"))


def test_only_what_is_compared_must_fit() -> None:
    student, teacher = make_config(), make_config(hidden_size=64, num_attention_heads=2)
    reasons = misfits(student, teacher, CLASSIFIER, Transfer("auxiliary"))
    assert len(reasons) == 2
    only = {term: Transfer("auxiliary", "google", factors={each: float(each == term) for each in TERMS}) for term in TERMS}
    assert [misfits(student, teacher, CLASSIFIER, only[term]) for term in TERMS] == [[reasons[0]]] * 3 + [[reasons[1]]]
    inside = make_config(intra_bottleneck_size=64, intermediate_size=99, num_feedforward_networks=1, num_hidden_layers=7, hidden_act="gelu")
    assert not [strategy for strategy in STRATEGIES if misfits(student, inside, CLASSIFIER, Transfer(strategy))]


def test_labels_matter_to_heads_that_have_them() -> None:
    student, teacher = make_config(**LABELS), make_config(num_labels=3)
    assert misfits(student, teacher, "MobileBertForTokenClassification", Transfer("soft-labels"))
    for architecture in (MASKED, "MobileBertForMultipleChoice", "MobileBertForQuestionAnswering"):
        assert not misfits(student, teacher, architecture, Transfer("progressive"))
    scores = [make_config(num_labels=1, id2label={0: name}) for name in ("score", "label")]  # the name of a single column
    assert not misfits(*scores, CLASSIFIER, Transfer("progressive"))


def test_all_that_does_not_fit_is_told_at_once() -> None:
    student = make_config(**LABELS)
    changes = {"vocab_size": 50, "hidden_size": 64, "num_attention_heads": 2, "num_hidden_layers": 1, "classifier_activation": False}
    teacher = make_config(**changes)
    reasons = misfits(student, teacher, CLASSIFIER, Transfer("joint"))
    assert len(reasons) == 6 and re.search(r"weight is \[40, 8\], not \[50, 8\], .*, and 8 tensors more$", reasons[-1])
    assert len(different_shapes(student, teacher, CLASSIFIER)) > 5 and not different_shapes(student, student, CLASSIFIER)
    assert different_shapes(make_config(), make_config(num_hidden_layers=5, intra_bottleneck_size=24), MASKED) == []


def test_the_tables_of_the_documentation() -> None:
    """docs/distillation.md says of strategies and forms what the code does."""
    text = (Path(__file__).parents[2] / "docs" / "distillation.md").read_text(encoding="utf-8").partition("## Measured")[0]
    rows = {cells[1].strip(" `"): [cell.strip() for cell in cells[2:-1]] for line in text.splitlines() if len(cells := line.split("|")) > 4}
    for name, strategy in STRATEGIES.items():
        before, beside, copied = rows[name]
        assert before == {"": "none", "together": "all layers together", "layers": "one layer after the other"}[strategy.first]
        assert beside == ("scores and all layers" if strategy.beside else "scores")
        assert (copied != "nothing") == strategy.copied
    for term in TERMS:
        assert [float(cell) for cell in rows[term][1:]] == [FORMS["google"].factors[term], FORMS["paper"].factors[term]]


def test_a_teacher_and_what_is_learned_go_together() -> None:
    student = MobileBertConfig.from_zoo("mobilebert-mini")
    for recipe, teacher in ((Recipe(1e-3, transfer=Transfer()), None), (Recipe(1e-3), student)):
        with pytest.raises(ConfigError, match=r"^to learn from a teacher takes both the teacher and recipe\.transfer$"):
            phases(recipe, 20, student, teacher)

"""What a checkpoint remembers of its task, and GLUE's names for tasks."""

import json
from typing import Any

import pytest

from mobilebert_common.errors import ConfigError, DataError
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.tasks.base import Lengths
from mobilebert_common.tasks.tables import Columns
from mobilebert_common.tasks.task import GLUE, MEMORY, TASKS, Setup, new_setup, setup_of

CLASSIFIER = "MobileBertForSequenceClassification"


def remembering(setup: Setup, **changes: Any) -> MobileBertConfig:
    """A configuration as config.json has it, read again."""
    config = MobileBertConfig(architectures=[setup.task.architecture], **{**setup.settings(), **changes})
    return MobileBertConfig.from_dict(json.loads(config.to_json_string()))


def test_a_checkpoint_remembers() -> None:
    setup = Setup(TASKS["classification"], Columns("q1", "q2", "same", header=("q1", "q2", "same")), Lengths(64, stride=32), "MCC")
    found = setup_of(remembering(setup))
    assert found.remembered and (found.task, found.columns, found.lengths, found.metric) == (
        setup.task,
        setup.columns,
        setup.lengths,
        "MCC",
    )
    single = Setup(TASKS["regression"], Columns("text", (), ("joy", "fear")))
    config = remembering(single, id2label={0: "joy", 1: "fear"}, problem_type="regression")
    assert setup_of(config).columns == single.columns and setup_of(config).metric is None


@pytest.mark.parametrize(
    ("settings", "task"),
    [
        ({}, "classification"),
        ({"num_labels": 1}, "regression"),
        ({"num_labels": 3, "problem_type": "regression"}, "regression"),
        ({"problem_type": "multi_label_classification"}, "multi-label"),
    ],
)
def test_a_checkpoint_that_does_not_say(settings: dict[str, Any], task: str) -> None:
    for architectures in ([CLASSIFIER], ["TF" + CLASSIFIER], None):
        found = setup_of(MobileBertConfig(architectures=architectures, **settings))
        assert found == Setup(TASKS[task]) and not found.remembered


@pytest.mark.parametrize(
    ("settings", "name", "message"),
    [
        ({}, "regression", "is a model for single_label_classification, not for regression"),
        ({"num_labels": 1}, "sst2", "is a model for regression, not for classification"),
        ({}, "translation", "task must be one of classification"),
        ({"architectures": ["MobileBertModel"]}, None, "holds MobileBertModel, not a MobileBertForSequenceClassification"),
        ({"architectures": ["BertModel"]}, "sst2", "holds BertModel, not a MobileBertForSequenceClassification"),
        (Setup(TASKS["classification"]).settings(), "stsb", "was trained for classification, not for stsb"),
        ({**Setup(TASKS["classification"]).settings(), "num_labels": 1}, None, "is a model for regression, not for classification"),
    ],
)
def test_a_checkpoint_for_another_task(settings: dict[str, Any], name: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        setup_of(MobileBertConfig(**{"architectures": [CLASSIFIER], **settings}), name)


def test_a_remembered_metric_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match=r"fine_tuning of config\.json names the metric 'BLEU', which classification does not have"):
        setup_of(remembering(Setup(TASKS["classification"], metric="BLEU")))


GOOD = Setup(TASKS["classification"]).settings()[MEMORY]


@pytest.mark.parametrize(
    "memory",
    [
        "classification",
        [],
        {},
        {**GOOD, "task": "translation"},
        {**GOOD, "task": ["classification"]},
        {**GOOD, "columns": None},
        {**GOOD, "columns": {"text": 1}},
        {**GOOD, "columns": {"choices": ["a", 1]}},
        {**GOOD, "columns": {"colour": "red"}},
        {**GOOD, "lengths": {"max_length": "128"}},
        {**GOOD, "lengths": {"max_length": True}},
        {**GOOD, "lengths": {"max_length": 0}},
        {**GOOD, "lengths": {"max_length": 1.5}},
        {**GOOD, "lengths": {"max_length": 10**12}},
        {**GOOD, "lengths": {"null_threshold": float("nan")}},
        {**GOOD, "lengths": {"width": 1}},
        {**GOOD, "metric": 7},
    ],
)
def test_a_memory_that_cannot_be_read(memory: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{MEMORY} .* does not describe a task: remove it from config.json, or correct it$"):
        setup_of(MobileBertConfig(architectures=[CLASSIFIER], **{MEMORY: memory}))


def test_a_remembered_column_that_is_missing() -> None:
    setup = setup_of(remembering(Setup(TASKS["classification"], Columns("premise", "hypothesis", "label"))))
    rows = [{"premise": "a", "label": "x"}]
    with pytest.raises(DataError, match="has no column 'hypothesis', which the model was trained on"):
        setup.read(rows)
    assert setup.with_columns(Columns(text_pair=())).read(rows).pairs is None
    assert setup.with_columns(Columns(text_pair="premise")).read(rows).pairs == ["a"]
    assert setup.read([{"premise": "a", "hypothesis": "b"}], labelled=False).labels is None


def test_options_name_columns() -> None:
    setup = new_setup("cola").with_columns(Columns(text="mark"))
    assert setup.columns == Columns(text="mark", header=("source", "label", "mark", "sentence"))
    assert new_setup("sst2").with_lengths(max_length=64, stride=None).lengths == Lengths(64)


FILES = {
    "cola": ("gj04\t1\t\tOne sentence.\nbc73\t0\t*\tTwo sentence.\n", ["One sentence.", "Two sentence."], None, ["1", "0"]),
    "sst2": ("sentence\tlabel\nfine\t1\nbad\t0\n", ["fine", "bad"], None, ["1", "0"]),
    "mrpc": ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\ta\tb\n", ["a"], ["b"], ["1"]),
    "stsb": ("index\tsentence1\tsentence2\tscore\n0\ta\tb\t2.500\n", ["a"], ["b"], [(2.5,)]),
    "qqp": ("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\ta\tb\t0\n", ["a"], ["b"], ["0"]),
    "mnli": ("index\tsentence1_parse\tsentence1\tsentence2\tlabel1\tgold_label\n0\tx\ta\tb\tneutral\tneutral\n", ["a"], ["b"], ["neutral"]),
    "qnli": ("index\tquestion\tsentence\tlabel\n0\ta\tb\tentailment\n", ["a"], ["b"], ["entailment"]),
    "rte": ("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tnot_entailment\n", ["a"], ["b"], ["not_entailment"]),
    "wnli": ("index\tsentence1\tsentence2\tlabel\n0\ta\tb\t1\n", ["a"], ["b"], ["1"]),
}


@pytest.mark.parametrize("name", GLUE)
def test_the_files_of_glue(name: str, tmp_path: Any) -> None:
    content, texts, pairs, labels = FILES[name]
    (tmp_path / "train.tsv").write_text(content)
    data = new_setup(name).read(tmp_path / "train.tsv")
    assert (data.texts, data.pairs, data.labels) == (texts, pairs, labels)


@pytest.mark.parametrize(("name", "metric"), [("cola", "MCC"), ("stsb", "Pearson"), ("rte", "accuracy")])
def test_the_metrics_of_glue(name: str, metric: str) -> None:
    setup = new_setup(name)
    assert setup.metric == metric and metric in setup.task.titles(MobileBertConfig())

"""Configurations of transformers in our classes, and ours in its Auto classes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import mobilebert_pt
from mobilebert_common.model.config import MobileBertConfig
from support.configs import SIZES

CLASSES: dict[Any, Any] = {
    AutoModel: mobilebert_pt.MobileBertModel,
    AutoModelForSequenceClassification: mobilebert_pt.MobileBertForSequenceClassification,
}

CHANGES: list[dict[str, Any]] = [
    {},
    {"num_labels": 3},
    {"id2label": {0: "a", 1: "b"}},
    {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}},
    {"problem_type": "regression", "num_labels": 1},
    {"hidden_act": "gelu", "normalization_type": "layer_norm", "return_dict": False},
    {"use_bottleneck": False, "classifier_dropout": 0.2, "note": [1]},
    {"dtype": "float16", "architectures": ["MobileBertModel"]},
]


SHAPES = {key: value for key, value in SIZES.items() if key != "num_labels"}


def theirs(**changes: Any) -> Any:
    return transformers.MobileBertConfig(**{**SHAPES, **changes})


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_both_say_the_same(changes: dict[str, Any], tmp_path: Path) -> None:
    """to_diff_dict, and what each opens of the file of the other."""
    config, ours = theirs(**changes), MobileBertConfig(**{**SHAPES, **changes})
    version = {"transformers_version": transformers.__version__}
    copied = MobileBertConfig.from_any(config).to_diff_dict()
    assert {**copied, **version} == {**ours.to_diff_dict(), **version}
    known = {key: value for key, value in config.to_diff_dict().items() if key not in ("transformers_version", "label2id")}
    assert known.items() <= ours.to_diff_dict().items()
    ours.save_pretrained(tmp_path)
    again = transformers.MobileBertConfig.from_pretrained(tmp_path)
    assert {key: value for key, value in again.to_dict().items() if key in known} == known
    config.save_pretrained(tmp_path / "theirs")
    opened = MobileBertConfig.from_pretrained(tmp_path / "theirs")
    assert opened.to_diff_dict() == {**ours.to_diff_dict(), **version}


def test_their_configuration_makes_our_model(tmp_path: Path) -> None:
    config = theirs(num_labels=3, torch_dtype=torch.float32)
    for model in (
        mobilebert_pt.MobileBertModel(config),
        mobilebert_pt.MobileBertForMaskedLM(config),
        mobilebert_pt.MobileBertForSequenceClassification(config),
    ):
        assert type(model.config) is type(model.base_model.config) is MobileBertConfig
    model.save_pretrained(tmp_path)
    for given in (config, AutoConfig.from_pretrained(tmp_path), str(tmp_path)):
        opened = mobilebert_pt.MobileBertForSequenceClassification.from_pretrained(tmp_path, config=given)
        assert opened.config.num_labels == 3 and torch.equal(opened.classifier.weight, model.classifier.weight)


@pytest.fixture
def registered() -> Iterator[None]:
    """Our classes in the Auto classes, whose tables are the process's."""
    AutoConfig.register("mobilebert", MobileBertConfig, exist_ok=True)
    for auto, model in CLASSES.items():
        auto.register(MobileBertConfig, model, exist_ok=True)
    yield
    CONFIG_MAPPING._extra_content.pop("mobilebert")
    for auto in CLASSES:
        auto._model_mapping._extra_content.pop(MobileBertConfig)


def test_auto_classes(registered: None, tmp_path: Path) -> None:
    model = mobilebert_pt.MobileBertForSequenceClassification(MobileBertConfig(**SIZES))
    model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(config) is MobileBertConfig and config.name_or_path == str(tmp_path)
    assert config == model.config.replace(architectures=config.architectures, dtype=config.dtype)
    assert AutoConfig.from_pretrained(tmp_path, num_labels=5).num_labels == 5
    config, unused = AutoConfig.from_pretrained(tmp_path, output_attentions=True, other=2, return_unused_kwargs=True)
    assert config.output_attentions and unused == {"other": 2}
    for auto, kind in CLASSES.items():
        assert type(auto.from_pretrained(tmp_path)) is kind
        assert type(auto.from_config(config)) is kind
        assert auto.from_config(config, torch_dtype=torch.float64).dtype == torch.float64
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(opened.classifier.weight, model.classifier.weight)
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    assert opened.config.num_labels == 5 and opened.config.name_or_path == str(tmp_path)


@pytest.mark.parametrize(
    "labels",
    [
        {"id2label": {"0": "a", "1": "b"}},
        {"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}},
        {"id2label": {"0": 3, "1": 5}},
        {"id2label": {"0": "a", "1": "a"}},
        {"id2label": {"1": "a", "2": "b"}},
        {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"a": 0, "b": 1}},
        {"label2id": {"a": 0, "b": 1, "c": 2}},
    ],
    ids=str,
)
def test_label_maps_have_as_many_labels_as_in_transformers(labels: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mobilebert", **labels}))
    config, ours = transformers.MobileBertConfig.from_pretrained(tmp_path), MobileBertConfig.from_pretrained(tmp_path)
    assert list(ours.id2label.values()) == [str(name) for name in config.id2label.values()]
    assert MobileBertConfig.from_any(config).id2label == ours.id2label
    for count in (ours.num_labels, 4):
        options = {"num_labels": count}
        wanted = transformers.MobileBertConfig.from_pretrained(tmp_path, **options).id2label
        assert list(MobileBertConfig.from_pretrained(tmp_path, **options).id2label.values()) == [str(name) for name in wanted.values()]

"""The PyTorch twin against transformers' PyTorch classes: files both ways, outputs, losses, precision."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers

import mobilebert_pt
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.schema import count_parameters, expand
from mobilebert_pt import MobileBertForSequenceClassification, MobileBertModel

from . import models
from .models import CASES, LOSSES, SOME, assert_close, distance, run_torch, saved_shapes

EVERYTHING = {"output_hidden_states": True, "output_attentions": True}
ARCHITECTURES = {name: (getattr(mobilebert_pt, name), getattr(transformers, name)) for name in models.ARCHITECTURES}
CALLS = models.calls() | (models.head_masks() if models.HAS_HEAD_MASK else {})
FILES = SOME if transformers.__version__.startswith("4.") else CASES  # 4.57 computes the same and keeps its files alike
LABELS = {"labels": np.array(LOSSES["single-label"][1])}


class Pair(NamedTuple):
    """A directory that Hugging Face saved, the model it saved there and ours opened from it."""

    folder: Path
    theirs: Any
    ours: Any


Open = Callable[..., Pair]


@pytest.fixture(scope="module")
def open_pair(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """Both models of a case, in float64 unless told otherwise; the weights are float32 numbers."""

    @lru_cache(maxsize=4)  # tests of one case follow each other
    def open_pair(case: str, head: str = "MobileBertForSequenceClassification", dtype: str = "float64") -> Pair:
        path, (ours, theirs) = tmp_path_factory.mktemp("theirs"), ARCHITECTURES[head]
        model = models.random_model(theirs, models.for_class(CASES[case], head))
        model.save_pretrained(path)
        return Pair(path, model.to(getattr(torch, dtype)), ours.from_pretrained(path, dtype=dtype))

    return open_pair


def open_theirs(cls: Any, path: Path, dtype: str = "float64", **options: Any) -> Any:
    """Hugging Face's from_pretrained, which must find exactly what it looks for."""
    model, info = cls.from_pretrained(
        path, dtype=getattr(torch, dtype), attn_implementation="eager", output_loading_info=True, **options
    )
    assert not any(info.values()), info
    return model.eval()


def assert_same_weights(ours: Any, theirs: Any) -> None:
    found = ours.state_dict()
    assert [name for name, tensor in theirs.state_dict().items() if not torch.equal(tensor, found[name])] == []


def comparable(call: models.Arrays, model: Any) -> models.Arrays:
    """The call as Hugging Face wants it: 5.x takes a mask per query only as what is added to the scores."""
    mask = call.get("attention_mask")
    ids = call.get("input_ids", call.get("token_type_ids"))
    if mask is None or ids is None or mask.ndim == ids.ndim or models.HAS_HEAD_MASK:
        return call
    return {**call, "attention_mask": np.where(mask[:, None] == 0, torch.finfo(model.dtype).min, 0.0)}


@pytest.mark.parametrize("case", FILES)
def test_files_open_both_ways_and_give_equal_outputs(case: str, open_pair: Open, tmp_path: Path) -> None:
    folder, theirs, ours = open_pair(case)
    assert saved_shapes(folder) == {
        name: tensor.shape for name, tensor in expand(ours.config, type(ours).__name__).items()
    }
    call = {**CALLS["ragged"], **LABELS}
    expected, found = (run_torch(model, call, **EVERYTHING) for model in (theirs, ours))
    assert_close(found, expected, 1e-12)
    fast = run_torch(ours, call)  # nothing asked for: another way through attention
    assert_close(fast, {name: expected[name] for name in fast}, 1e-12)
    ours.save_pretrained(tmp_path)
    returned = open_theirs(type(theirs), tmp_path)
    assert_same_weights(returned, theirs)
    assert_close(found, run_torch(returned, call, **EVERYTHING), 1e-12)


@pytest.mark.parametrize("case", models.HEAD_CASES)
@pytest.mark.parametrize("head", ARCHITECTURES)
def test_every_head_both_ways(case: str, head: str, open_pair: Open, tmp_path: Path) -> None:
    """Outputs and losses of their file here, and of ours there; a state_dict of either model is the other's."""
    folder, theirs, ours = open_pair(case, head)
    assert saved_shapes(folder) == {name: tensor.shape for name, tensor in expand(ours.config, head).items()}
    call = models.for_head({**CALLS["ragged"], **models.LABELS[head]}, head)
    expected = run_torch(theirs, call, **EVERYTHING)
    assert "loss" in expected or head == "MobileBertModel"
    assert_close(run_torch(ours, call, **EVERYTHING), expected, 1e-12)
    ours.save_pretrained(tmp_path)
    returned = open_theirs(type(theirs), tmp_path)
    assert_same_weights(returned, theirs)
    fresh = type(ours)(ours.config).double().eval()
    fresh.load_state_dict(theirs.state_dict())  # decoder.* included
    assert_close(run_torch(fresh, call), {name: expected[name] for name in run_torch(ours, call)}, 1e-12)


@pytest.mark.parametrize("head", ["MobileBertForMaskedLM", "MobileBertForPreTraining"])
def test_an_untied_decoder(head: str, tmp_path: Path) -> None:
    theirs = models.random_model(ARCHITECTURES[head][1], {"tie_word_embeddings": False}).double()
    theirs.save_pretrained(tmp_path / "theirs")
    ours = ARCHITECTURES[head][0].from_pretrained(tmp_path / "theirs", dtype="float64")
    assert not torch.equal(ours.cls.predictions.decoder.weight, ours.get_input_embeddings().weight)
    call = {**CALLS["ragged"], **models.LABELS[head]}
    expected = run_torch(theirs, call)
    assert_close(run_torch(ours, call), expected, 1e-12)
    ours.save_pretrained(tmp_path / "ours")
    assert_close(run_torch(open_theirs(ARCHITECTURES[head][1], tmp_path / "ours"), call), expected, 1e-12)


@pytest.mark.parametrize("head", ["MobileBertForPreTraining", "MobileBertForSequenceClassification"])
def test_their_shards(head: str, tmp_path: Path) -> None:
    theirs = models.random_model(ARCHITECTURES[head][1], {}).double()
    theirs.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    call = {**CALLS["ragged"], **models.LABELS[head]}
    assert_close(run_torch(ARCHITECTURES[head][0].from_pretrained(tmp_path, dtype="float64"), call), run_torch(theirs, call), 1e-12)


def test_answers_outside_the_sequence_are_ignored(open_pair: Open) -> None:
    _, theirs, ours = open_pair("silu", "MobileBertForQuestionAnswering")
    call = {**CALLS["ragged"], "start_positions": np.array([3, 11, 99]), "end_positions": np.array([40, 2, 10])}
    assert_close(run_torch(ours, call), run_torch(theirs, call), 1e-12)


HEAD_CALLS = [(head, call) for head in ARCHITECTURES for call in CALLS]
HEAD_CALLS.remove((models.CHOICES, "mask-per-query"))  # transformers flattens the mask's two axes into one


@pytest.mark.parametrize(("head", "call"), HEAD_CALLS)
@pytest.mark.parametrize("case", models.OTHERS)
def test_every_argument(case: str, head: str, call: str, open_pair: Open) -> None:
    _, theirs, ours = open_pair(case, head)
    arguments = CALLS[call]
    if "inputs_embeds" in arguments:
        arguments = models.calls({**models.SIZES, **CASES[case]})[call]
    if "head_mask" in arguments:
        arguments = models.head_masks({**models.SIZES, **CASES[case]})[call]
    arguments = models.for_head(arguments, head)
    expected = run_torch(theirs, comparable(arguments, theirs), **EVERYTHING)
    assert_close(run_torch(ours, arguments, **EVERYTHING), expected, 1e-12)
    fast = run_torch(ours, arguments)
    assert_close(fast, {name: expected[name] for name in fast}, 1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss: str, tmp_path: Path) -> None:
    settings, labels = LOSSES[loss]
    models.random_model(transformers.MobileBertForSequenceClassification, settings).save_pretrained(tmp_path)
    call = {**CALLS["ragged"], "labels": np.array(labels)}
    ours = run_torch(MobileBertForSequenceClassification.from_pretrained(tmp_path, dtype="float64"), call)
    theirs = run_torch(open_theirs(transformers.MobileBertForSequenceClassification, tmp_path), call)
    assert theirs["loss"] > 0.01
    assert_close(ours, theirs, 1e-12)


def test_the_weights_make_attention_uneven() -> None:
    """Else all that agrees here would prove nothing."""
    uneven = []
    for case in SOME:
        model = models.random_model(transformers.MobileBertForSequenceClassification, CASES[case])
        found = run_torch(model, CALLS["ids"], **EVERYTHING)
        uneven += [np.median(found[name].max(-1) / found[name].min(-1)) for name in ("attentions.0", "attentions.1")]
    assert min(uneven) > 1.1
    assert np.median(uneven) > 2


def test_float32_is_as_close_to_float64_as_theirs(
    open_pair: Open, record_property: Callable[[str, object], None]
) -> None:
    call, ratios = {**CALLS["ragged"], **LABELS}, []
    for case in SOME:
        exact = run_torch(open_pair(case).theirs, call, output_hidden_states=True)
        _, theirs, ours = open_pair(case, dtype="float32")
        found, peer = (
            run_torch(ours, call, output_hidden_states=True),
            run_torch(theirs, call, output_hidden_states=True),
        )
        models.assert_float32_close(found, exact)
        last = list(exact)[-1]
        ratios.append(distance(found[last], exact[last]) / distance(peer[last], exact[last]))
    assert len(ratios) >= 50
    record_property("geometric_mean", models.geometric_mean(ratios))  # the README's figure, in the junit report
    assert models.geometric_mean(ratios) <= 2, models.geometric_mean(ratios)


def test_a_base_models_file_and_a_head_models_file_cross(open_pair: Open) -> None:
    base, head = (open_pair("teacher", name) for name in ("MobileBertModel", "MobileBertForSequenceClassification"))
    opened = MobileBertForSequenceClassification.from_pretrained(base.folder, dtype="float64")
    assert_close(run_torch(opened.mobilebert, CALLS["ragged"]), run_torch(base.theirs, CALLS["ragged"]), 1e-12)
    opened = MobileBertModel.from_pretrained(head.folder, dtype="float64")
    assert_close(run_torch(opened, CALLS["ragged"]), run_torch(head.theirs.mobilebert, CALLS["ragged"]), 1e-12)


def test_the_published_size_has_as_many_parameters() -> None:
    config = MobileBertConfig.from_zoo("mobilebert")
    with torch.device("meta"):
        ours = MobileBertModel(config)
        theirs = transformers.MobileBertModel(transformers.MobileBertConfig(classifier_activation=False))
    assert (
        ours.num_parameters()
        == theirs.num_parameters()
        == count_parameters(expand(config, "MobileBertModel"))
        == 24_581_888
    )

"""The Keras twin against transformers' TF classes (float32) and PyTorch classes (float64), in one process."""

import copy
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import transformers
from safetensors import safe_open
from transformers.models.mobilebert import modeling_tf_mobilebert as hf

import mobilebert_tf
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.model.config import MobileBertConfig
from mobilebert_common.model.layout import from_layout, to_layout
from mobilebert_common.model.schema import count_parameters, expand
from mobilebert_pt import MobileBertForSequenceClassification
from mobilebert_tf import TFMobileBertModel

from . import models
from .models import CASES, LOSSES, SOME, Arrays, assert_close, distance, run_torch, saved_shapes

EVERYTHING = {"output_hidden_states": True, "output_attentions": True}
# head -> our class, Hugging Face's TF class, Hugging Face's PyTorch class
ARCHITECTURES = {
    name: (getattr(mobilebert_tf, f"TF{name}"), getattr(transformers, f"TF{name}"), getattr(transformers, name))
    for name in models.ARCHITECTURES
}
SOME_HEADS = ["MobileBertModel", "MobileBertForSequenceClassification"]  # for what hangs on the base model alone
CLASSIFIER = "MobileBertForSequenceClassification"
CALLS = models.calls() | models.head_masks()
TF_CALLS = [
    name for name, call in models.calls().items() if np.ndim(call.get("attention_mask", 0)) < 3
]  # no head mask either
ARGUMENTS = ["teacher", "three-layers-one-head"]  # the cases to try every argument with
RETURNS = [*SOME[: -len(models.OTHERS) : 4], *models.OTHERS]  # the cases to open again: their TF is slow to build
LABELS = {"labels": np.array(LOSSES["single-label"][1])}


class Trio(NamedTuple):
    """A directory that Hugging Face's PyTorch saved; its float64 model, their TF model, ours in both dtypes."""

    folder: Path
    exact: Any
    theirs: Any
    ours64: Any
    ours32: Any


Open = Callable[..., Trio]


class Archive:
    """safetensors.safe_open as Hugging Face's TF classes expect it: to be iterated over, which 0.8 no longer allows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.file = safe_open(*args, **kwargs)

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *error: Any) -> None:
        self.file.__exit__(*error)

    def __iter__(self) -> Iterator[str]:
        return iter(self.file.keys())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.fixture(scope="module", autouse=True)
def repaired_tf() -> Iterator[None]:
    """Let Hugging Face's TF classes read safetensors, and build the teacher's query and key as wide as their input."""

    def widen(layer: Any, config: Any) -> None:
        if models.is_teacher(config):
            layer.config = copy.copy(config)
            layer.config.true_hidden_size = (
                config.hidden_size
            )  # from here on it decides only what query and key are built for

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.modeling_tf_utils, "safe_open", Archive)
        patch.setattr(
            hf.TFMobileBertSelfAttention, "__init__", models.after(hf.TFMobileBertSelfAttention.__init__, widen)
        )
        yield


@pytest.fixture(scope="module")
def open_trio(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """The models of a case, all with the same weights."""

    @cache
    def open_trio(case: str, head: str = CLASSIFIER) -> Trio:
        ours, theirs, pytorch = ARCHITECTURES[head]
        folder = tmp_path_factory.mktemp("theirs")
        model = models.random_model(pytorch, models.for_class(CASES[case], head))
        model.save_pretrained(folder)
        opened = [ours.from_pretrained(folder, dtype=dtype) for dtype in ("float64", "float32")]
        return Trio(folder, model.double(), open_theirs(theirs, folder), *opened)

    return open_trio


def open_theirs(cls: Any, folder: Path) -> Any:
    """Hugging Face's from_pretrained for TF, which must find exactly what it looks for."""
    model, info = cls.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    return model


def run_ours(model: Any, arguments: Arrays, **options: Any) -> Arrays:
    """`run` for our Keras twin, floating-point numbers in the dtype of the model."""

    def tensor(array: Any) -> Any:
        return (
            keras.ops.cast(array, model.compute_dtype)
            if np.asarray(array).dtype.kind == "f"
            else keras.ops.convert_to_tensor(array)
        )

    return models.run(model, arguments, tensor, **options)


def run_theirs(model: Any, arguments: Arrays, **options: Any) -> Arrays:
    """`run` for Hugging Face's TF, whose loss is one number per sentence."""
    first = {} if "input_ids" in arguments else {"input_ids": None}  # a Keras 2 model insists on its first argument
    output = models.run(model, arguments, tf.constant, **first, **options)
    return {name: np.mean(value) if name == "loss" else value for name, value in output.items()}


def read_h5(folder: Path) -> Arrays:
    """{name: array} of tf_model.h5, each name without its group and the scope of the class."""
    found: Arrays = {}
    with h5py.File(folder / "tf_model.h5") as file:
        file.visititems(
            lambda path, node: (
                found.update({"/".join(path.split("/")[2:]).removesuffix(":0"): node[()]})
                if isinstance(node, h5py.Dataset)
                else None
            )
        )
    return found


def test_outputs_equal_both_of_theirs_and_float32_is_as_close_to_float64(
    open_trio: Open, record_property: Callable[[str, object], None]
) -> None:
    """All cases in one test, since they are slow to open and the mean needs them all."""
    call, ratios, far = {**CALLS["ragged"], **LABELS}, [], {}
    for case in SOME:
        trio = open_trio(case)
        exact = run_torch(trio.exact, call, **EVERYTHING)
        found, peer = run_ours(trio.ours32, call, **EVERYTHING), run_theirs(trio.theirs, call, **EVERYTHING)
        try:
            assert_close(run_ours(trio.ours64, call, **EVERYTHING), exact, 1e-12)
            assert_close(found, peer, 1e-5)
            models.assert_float32_close(found, exact)
        except AssertionError as error:
            far[case] = str(error)
        last = f"hidden_states.{trio.exact.config.num_hidden_layers}"
        ratios.append(distance(found[last], exact[last]) / distance(peer[last], exact[last]))
    assert not far
    assert len(ratios) >= 50
    record_property("geometric_mean", models.geometric_mean(ratios))  # the README's figure, in the junit report
    assert models.geometric_mean(ratios) <= 2, models.geometric_mean(ratios)


@pytest.mark.parametrize("case", RETURNS)
def test_our_file_opens_in_both_of_theirs(case: str, open_trio: Open, tmp_path: Path) -> None:
    trio = open_trio(case)
    trio.ours32.save_pretrained(tmp_path)
    assert saved_shapes(tmp_path) == saved_shapes(trio.folder)
    call = {**CALLS["ragged"], **LABELS}
    pytorch, info = ARCHITECTURES[CLASSIFIER][2].from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert_close(run_ours(trio.ours64, call), run_torch(pytorch.double().eval(), call), 1e-12)
    returned = open_theirs(type(trio.theirs), tmp_path)
    for ours, theirs in zip(returned.weights, trio.theirs.weights, strict=True):
        assert np.array_equal(ours, theirs), ours.name


@pytest.mark.parametrize("head", ARCHITECTURES)
@pytest.mark.parametrize("case", models.HEAD_CASES)
def test_every_head_both_ways(case: str, head: str, open_trio: Open, tmp_path: Path) -> None:
    trio, labels = open_trio(case, head), models.LABELS[head]
    call = models.for_head({**CALLS["ragged"], **labels}, head)
    exact = run_torch(trio.exact, call, **EVERYTHING)
    assert_close(run_ours(trio.ours64, call, **EVERYTHING), exact, 1e-12)
    if "NextSentence" in head:  # the name that their TF has for it
        call["next_sentence_label"] = call.pop("labels")
    assert_close(run_ours(trio.ours32, call, **EVERYTHING), run_theirs(trio.theirs, call, **EVERYTHING), 1e-5)
    trio.ours32.save_pretrained(tmp_path)
    returned = open_theirs(type(trio.theirs), tmp_path)
    for ours, theirs in zip(returned.weights, trio.theirs.weights, strict=True):
        assert np.array_equal(ours, theirs), ours.name


@pytest.mark.parametrize("head", SOME_HEADS)
@pytest.mark.parametrize("case", models.OTHERS)
def test_their_h5_is_the_schemas_dialect_and_opens_here(case: str, head: str, open_trio: Open, tmp_path: Path) -> None:
    trio = open_trio(case, head)
    trio.theirs.save_pretrained(tmp_path)
    found, tensors = read_h5(tmp_path), expand(trio.ours32.config, head)
    foreign = {tensor.dialects["h5"].name: tensor for tensor in tensors.values()}
    shapes = {
        name: to_layout(np.zeros(tensor.shape), tensor.dialects["h5"].layout, heads=1).shape
        for name, tensor in foreign.items()
    }
    assert {name: array.shape for name, array in found.items()} == shapes
    canonical = {
        tensor.name: from_layout(found[name], tensor.dialects["h5"].layout) for name, tensor in foreign.items()
    }
    checkpoint.save(tmp_path / "here", MobileBertConfig.from_pretrained(tmp_path), head, canonical)
    opened = ARCHITECTURES[head][0].from_pretrained(tmp_path / "here")
    assert_close(run_ours(opened, CALLS["ragged"]), run_theirs(trio.theirs, CALLS["ragged"]), 1e-5)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("head", SOME_HEADS)
@pytest.mark.parametrize("case", ARGUMENTS)
def test_every_argument(case: str, head: str, call: str, open_trio: Open) -> None:
    trio, sizes = open_trio(case, head), {**models.SIZES, **CASES[case]}
    arguments = (models.calls(sizes) | models.head_masks(sizes))[call]
    assert_close(run_ours(trio.ours64, arguments, **EVERYTHING), run_torch(trio.exact, arguments, **EVERYTHING), 1e-12)
    if call in TF_CALLS:
        assert_close(
            run_ours(trio.ours32, arguments, **EVERYTHING), run_theirs(trio.theirs, arguments, **EVERYTHING), 1e-5
        )


@pytest.mark.parametrize("loss", LOSSES)
def test_losses(loss: str, tmp_path: Path) -> None:
    settings, labels = LOSSES[loss]
    ours, theirs, pytorch = ARCHITECTURES[CLASSIFIER]
    model = models.random_model(pytorch, settings)
    model.save_pretrained(tmp_path)
    call = {**CALLS["ragged"], "labels": np.array(labels)}
    expected = run_torch(model.double(), call)
    assert expected["loss"] > 0.01
    assert_close(run_ours(ours.from_pretrained(tmp_path, dtype="float64"), call), expected, 1e-12)
    if loss in ("regression", "single-label"):  # all that their TF class knows
        call["labels"] = np.array(labels, np.float32 if loss == "regression" else np.int64)
        assert_close(
            run_ours(ours.from_pretrained(tmp_path), call), run_theirs(open_theirs(theirs, tmp_path), call), 1e-5
        )


@pytest.mark.parametrize("case", models.OTHERS)
def test_both_twins_save_the_same_file(case: str, open_trio: Open, tmp_path: Path) -> None:
    trio = open_trio(case)
    trio.ours32.save_pretrained(tmp_path / "keras")
    MobileBertForSequenceClassification.from_pretrained(trio.folder).save_pretrained(tmp_path / "pytorch")
    files = [(tmp_path / twin / "model.safetensors").read_bytes() for twin in ("keras", "pytorch")]
    assert files[0] == files[1]


def test_the_published_size_has_as_many_parameters() -> None:
    config = MobileBertConfig.from_zoo("mobilebert")
    theirs = transformers.TFMobileBertModel(transformers.MobileBertConfig(classifier_activation=False))
    theirs.build_in_name_scope()
    ours = TFMobileBertModel(config).num_parameters()
    assert ours == theirs.num_parameters() == count_parameters(expand(config, "MobileBertModel")) == 24_581_888

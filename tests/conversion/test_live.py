"""A live model of one twin in the other, without a file."""

from typing import Any

import numpy as np
import pytest
import torch

import mobilebert_pt.twin
import mobilebert_tf.twin
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_conversion.live import to_keras, to_torch
from mobilebert_pt import heads
from mobilebert_pt.arrays import dtype_name, to_numpy
from mobilebert_tf import heads as keras_heads
from mobilebert_tf.arrays import to_numpy as keras_numpy
from support.configs import make_config

DTYPES = ("float32", "float64", "bfloat16", "float16")


def torch_tensors(model: Any) -> dict[str, np.ndarray]:
    return {name: to_numpy(tensor) for name, tensor in model.state_dict().items()}


def keras_tensors(model: Any) -> dict[str, np.ndarray]:
    return {name: keras_numpy(variable, layout) for name, (variable, layout) in model.canonical_variables().items()}


def identical(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> bool:
    return ours.keys() == theirs.keys() and all(
        (array.dtype, array.shape, array.tobytes()) == (theirs[name].dtype, theirs[name].shape, theirs[name].tobytes())
        for name, array in ours.items()
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head", ARCHITECTURES)
def test_there_and_back(head: str, dtype: str) -> None:
    model = mobilebert_pt.twin.create(make_config(), head, seed=0).to(getattr(torch, dtype))
    there = to_keras(model)
    assert type(there).__name__ == f"TF{head}"
    assert there.config == model.config and there.config is not model.config
    assert identical(torch_tensors(model), keras_tensors(there))
    back = to_torch(there)
    assert type(back) is type(model)
    assert dtype_name(back.dtype) == dtype and not back.training
    assert identical(torch_tensors(model), torch_tensors(back))


def test_they_share_no_memory() -> None:
    model = to_torch(mobilebert_tf.twin.create(make_config(), "MobileBertModel", seed=0))
    keras_model = to_keras(model)
    before = keras_tensors(keras_model)
    for parameter in model.parameters():
        parameter.data.add_(1.0)
    assert identical(before, keras_tensors(keras_model))
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    "model",
    ["a-folder", torch.nn.Linear(1, 1), heads.MobileBertModel(make_config()), keras_heads.TFMobileBertModel(make_config())],
    ids=lambda model: type(model).__name__,
)
def test_what_is_no_model_of_the_twin_is_refused(model: Any) -> None:
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if not isinstance(model, heads.MobileBertModel):
        with pytest.raises(TypeError, match=f"^the model must come from mobilebert_pt, not {kind}$"):
            to_keras(model)
    if not isinstance(model, keras_heads.TFMobileBertModel):
        with pytest.raises(TypeError, match=f"^the model must come from mobilebert_tf, not {kind}$"):
            to_torch(model)


def test_a_mixed_policy_keeps_its_variables() -> None:
    model = keras_heads.TFMobileBertForSequenceClassification(make_config(), dtype="mixed_bfloat16")
    assert dtype_name(to_torch(model).dtype) == "float32"

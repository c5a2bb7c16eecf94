"""Which dtype an opened model has: dtype= decides, else Keras's own setting, as for a fresh model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilebert_tf import TFMobileBertModel
from support.configs import make_config

CONFIG = make_config(num_hidden_layers=1, num_feedforward_networks=1)


@pytest.fixture
def setting() -> Iterator[None]:
    """Put Keras's settings back."""
    policy, floatx = keras.config.dtype_policy(), keras.config.floatx()
    yield
    keras.config.set_dtype_policy(policy)
    keras.config.set_floatx(floatx)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    TFMobileBertModel(CONFIG, dtype="bfloat16").save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("policy", ["float32", "float64", "bfloat16", "mixed_bfloat16", "mixed_float16"])
def test_an_opened_model_has_the_policy_of_a_fresh_one(policy: str, saved: Path, setting: None) -> None:
    keras.config.set_dtype_policy(policy)
    fresh, opened = TFMobileBertModel(CONFIG), TFMobileBertModel.from_pretrained(saved)
    assert opened.dtype_policy == fresh.dtype_policy == keras.DTypePolicy(policy)
    assert [variable.dtype for variable in opened.weights] == [variable.dtype for variable in fresh.weights]
    assert opened(np.array([[1, 2]]))[0].dtype == policy.removeprefix("mixed_")


def test_floatx_before_any_policy(saved: Path, setting: None) -> None:
    """Keras derives its policy from floatx when it is first asked for one."""
    keras.src.backend.common.global_state.set_global_attribute("dtype_policy", None)  # as in a new process
    keras.config.set_floatx("float64")
    assert TFMobileBertModel.from_pretrained(saved).dtype_policy == TFMobileBertModel(CONFIG).dtype_policy
    assert TFMobileBertModel.from_pretrained(saved).compute_dtype == "float64"


GIVEN: dict[str, tuple[Any, str]] = {
    "name": ("float32", "float32"),
    "dtype of TensorFlow": (tf.float16, "float16"),
    "dtype of numpy": (np.float64, "float64"),
    "policy": (keras.DTypePolicy("mixed_float16"), "mixed_float16"),
    "name of a policy": ("mixed_bfloat16", "mixed_bfloat16"),
    "the file's": ("auto", "bfloat16"),
}


@pytest.mark.parametrize("case", GIVEN)
def test_dtype_decides_whatever_the_setting(case: str, saved: Path, setting: None) -> None:
    keras.config.set_dtype_policy("float64")
    given, expected = GIVEN[case]
    model = TFMobileBertModel.from_pretrained(saved, dtype=given)
    assert model.dtype_policy.name == expected
    assert {variable.dtype for variable in model.weights} == {model.dtype_policy.variable_dtype}


def test_policies_that_quantize_are_refused(saved: Path, setting: None) -> None:
    with pytest.raises(ValueError, match=r"dtype must be one of float32, .* not 'int8_from_float32'"):
        TFMobileBertModel.from_pretrained(saved, dtype="int8_from_float32")
    keras.config.set_dtype_policy("int8_from_float32")
    with pytest.raises(ValueError, match="dtype must be one of float32"):
        TFMobileBertModel.from_pretrained(saved)

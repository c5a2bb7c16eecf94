"""The published weights, where MOBILEBERT_WEIGHTS names a checkpoint directory of google/mobilebert-uncased with safetensors."""

import os
from types import ModuleType

import numpy as np
import pytest

import mobilebert_pt.twin
import mobilebert_tf.twin
from support.configs import BASE

WEIGHTS = os.environ.get("MOBILEBERT_WEIGHTS")
IDS = np.array([[101, 7110, 1005, 1056, 2023, 11333, 17413, 1029, 102]])
LAST_HIDDEN_STATE = np.array(  # [0, :3, :3], as transformers tests it
    [
        [-2.4736526e7, 8.2691656e4, 1.6521838e5],
        [-5.7541704e-1, 3.9056022, 4.4011507],
        [2.6047359, 1.5677652, -1.7324188e-1],
    ]
)


@pytest.mark.skipif(WEIGHTS is None, reason="MOBILEBERT_WEIGHTS names no checkpoint directory of the published model")
@pytest.mark.parametrize("door", [mobilebert_pt.twin, mobilebert_tf.twin])
def test_published_weights_give_the_published_values(door: ModuleType) -> None:
    output = door.outputs(door.load(WEIGHTS, BASE), {"input_ids": IDS})
    np.testing.assert_allclose(output["last_hidden_state"][0, :3, :3] / LAST_HIDDEN_STATE, 1.0, atol=1e-3)

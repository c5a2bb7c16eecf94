"""SavedModels that the Keras twin writes, in TensorFlow without our code."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_tf import twin
from support import artefacts

NORMS = ("no_norm", "layer_norm")


@pytest.mark.parametrize(("number", "architecture"), list(enumerate(ARCHITECTURES)))
def test_the_same_outputs_for_any_rows_and_lengths(number: int, architecture: str, tmp_path: Path) -> None:
    model = artefacts.make_model(twin, architecture, normalization_type=NORMS[number % 2])
    artefact = artefacts.write(tmp_path / "out", model, artefacts.signature_for("savedmodel", model))
    folded = model.fold()
    for rows, length, used in ((3, 12, 7), (1, 1, 0)):
        batch = artefacts.batch_for(model, rows, length, used)
        expected = {name: array for name, array in twin.outputs(folded, batch).items() if name in artefact.signature.outputs}
        assert artefacts.farthest(expected, artefact.outputs(batch)) <= 1e-5
    batch = artefacts.batch_for(model, 2, 12, 7)
    changed = artefact.outputs(artefacts.without_hidden(batch, 8))
    for name, array in artefact.outputs(batch).items():
        shown = slice(7) if artefact.signature.is_per_token(name) else slice(None)
        assert np.array_equal(array[-1][shown], changed[name][-1][shown])


def test_a_plain_script_calls_it_by_the_names_of_its_signature(tmp_path: Path) -> None:
    model = artefacts.make_model(twin, "MobileBertForQuestionAnswering")
    artefact = artefacts.write(tmp_path / "out", model, artefacts.signature_for("savedmodel", model))
    loaded = tf.saved_model.load(str(tmp_path / "out" / "saved_model"))
    function = loaded.signatures["serving_default"]
    specs = function.structured_input_signature[1]
    assert {name: (spec.dtype, spec.shape.as_list()) for name, spec in specs.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids"), (tf.int32, [None, None])
    )
    batch = artefacts.batch_for(model, 2, 9, 6)
    found = function(**{name: tf.constant(array, tf.int32) for name, array in batch.items()})
    expected = artefact.outputs(batch)
    assert {name: tensor.shape for name, tensor in found.items()} == {name: array.shape for name, array in expected.items()}
    assert all(np.array_equal(found[name].numpy(), array) for name, array in expected.items())
    assert len(loaded.variables_of_model) == len(model.fold().variables)  # whose values are in the variables folder, once

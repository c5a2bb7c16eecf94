import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilebert_pt.twin
import mobilebert_tf.twin
from mobilebert_common.checkpoints import checkpoint
from mobilebert_common.errors import CheckpointError
from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_common.verification import TOLERANCE, Difference, difference, sample_inputs, verify
from support.configs import BASE, CLASSIFIER, make_config, random_weights
from support.twins import wave

OUTPUTS = {head: ["loss", "logits"] for head in ARCHITECTURES} | {
    BASE: ["last_hidden_state", "pooler_output"],
    "MobileBertForPreTraining": ["loss", "prediction_logits", "seq_relationship_logits"],
    "MobileBertForQuestionAnswering": ["loss", "start_logits", "end_logits"],
}


def save(folder: Path, head: str, **overrides: Any) -> Path:
    config = make_config(**overrides)
    checkpoint.save(folder, config, head, random_weights(config, head))
    return folder


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("head", ARCHITECTURES)
def test_the_twins_agree(head: str, dtype: str, tmp_path: Path) -> None:
    found = verify(save(tmp_path, head), dtype)
    states = [f"hidden_states.{n}" for n in range(3)] + [f"attentions.{n}" for n in range(2)]
    assert [difference.output for difference in found] == OUTPUTS[head] + states
    assert all(difference.relative <= TOLERANCE[dtype] for difference in found)
    if dtype == "float32":
        assert max(difference.relative for difference in found) > TOLERANCE["float64"]  # it did compute in float32


@pytest.mark.parametrize("twin", [mobilebert_pt.twin, mobilebert_tf.twin])
@pytest.mark.parametrize("head", ARCHITECTURES)
def test_a_difference_is_detected(head: str, twin: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a", head)
    config, weights = make_config(), random_weights(make_config(), head)
    name = next(name for name in weights if name.endswith("layer.1.output.dense.weight"))
    weights[name] = weights[name] + 1e-6 * wave(weights[name].shape)
    checkpoint.save(tmp_path / "b", config, head, weights)
    load = twin.load
    monkeypatch.setattr(twin, "load", lambda directory, *options: load(tmp_path / "b", *options))
    apart = {found.output for found in verify(tmp_path / "a") if not found.relative <= TOLERANCE["float64"]}
    assert apart == {*OUTPUTS[head], "hidden_states.2"}


def test_outputs_must_be_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = mobilebert_tf.twin.outputs
    monkeypatch.setattr(mobilebert_tf.twin, "outputs", lambda model, inputs, **switches: outputs(model, inputs))
    with pytest.raises(AssertionError, match="the twins return different outputs"):
        verify(save(tmp_path, BASE))


def test_a_head_that_is_not_there(tmp_path: Path) -> None:
    """Fresh weights of two twins are not the same."""
    save(tmp_path, BASE)
    values = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**values, "architectures": [f"TF{CLASSIFIER}"]}))
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match=f"has no classifier.weight, classifier.bias, which {CLASSIFIER} needs"):
        verify(tmp_path)


def test_a_bad_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        verify(tmp_path)


@pytest.mark.parametrize("positions", [1, 2, 5, 24, 512])
def test_sample_inputs(positions: int) -> None:
    config = make_config(max_position_embeddings=positions, type_vocab_size=3)
    inputs = sample_inputs(config, BASE)
    assert set(inputs) == {"input_ids", "attention_mask", "token_type_ids"}
    assert {array.shape for array in inputs.values()} == {(3, min(24, positions))}
    assert {array.dtype for array in inputs.values()} == {np.dtype(np.int64)}
    assert inputs["input_ids"].min() >= 0 and inputs["input_ids"].max() < config.vocab_size
    assert inputs["token_type_ids"].min() >= 0 and inputs["token_type_ids"].max() < 3
    if positions >= 24:
        assert sorted(inputs["attention_mask"].sum(axis=1)) == [12, 21, 24]
        assert len(np.unique(inputs["token_type_ids"])) == 3
    again, other = sample_inputs(config, BASE), sample_inputs(config, BASE, seed=1)
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs)
    assert not np.array_equal(inputs["input_ids"], other["input_ids"]) or positions < 3


@pytest.mark.parametrize(
    ("overrides", "shape", "kind"),
    [
        ({"num_labels": 1}, (3, 1), "f"),
        ({"num_labels": 4}, (3,), "i"),
        ({"num_labels": 4, "problem_type": "regression"}, (3, 4), "f"),
        ({"num_labels": 4, "problem_type": "multi_label_classification"}, (3, 4), "f"),
    ],
)
def test_sample_labels(tmp_path: Path, overrides: dict[str, Any], shape: tuple[int, ...], kind: str) -> None:
    found = sample_inputs(make_config(**overrides), CLASSIFIER)["labels"]
    assert found.shape == shape and found.dtype.kind == kind
    loss = verify(save(tmp_path, CLASSIFIER, **overrides))[0]
    assert loss.output == "loss" and loss.relative <= TOLERANCE["float64"]


def test_difference() -> None:
    reference, other = np.array([[3.0, 4.0]], np.float32), np.array([[3.0, 4.5]], np.float32)
    assert difference("x", reference, other) == Difference("x", (1, 2), 0.5, 0.1)
    assert difference("x", np.zeros(2), np.array([0.0, 2.0])) == Difference("x", (2,), 2.0, 2.0)
    assert np.isnan(difference("x", np.array([1.0]), np.array([np.nan])).relative)

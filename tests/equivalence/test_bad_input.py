"""Bad input is one clear error with the same text in both twins."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mobilebert_pt.twin
import mobilebert_tf.twin
from mobilebert_common.errors import CheckpointError, ConfigError, InputError
from mobilebert_common.model.architectures import ARCHITECTURES
from support.configs import CLASSIFIER, make_config
from support.twins import LENGTH, Pair, make_inputs

IDS = np.ones((3, LENGTH), np.int64)


def with_id(value: int) -> np.ndarray:
    ids = IDS.copy()
    ids[1, 2] = value
    return ids


# name -> changes to good inputs, and the whole error
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "id too large": ({"input_ids": with_id(40)}, "input_ids must be from 0 to 39; found 40"),
    "id negative": ({"input_ids": with_id(-1)}, "input_ids must be from 0 to 39; found -1"),
    "segment too large": ({"token_type_ids": with_id(2)}, "token_type_ids must be from 0 to 1; found 2"),
    "position too large": ({"position_ids": with_id(12)}, "position_ids must be from 0 to 11; found 12"),
    "ids of floats": (
        {"input_ids": IDS.astype(np.float32)},
        "input_ids must be of an integer dtype, not float32",
    ),
    "embeddings of integers": (
        {"input_ids": None, "inputs_embeds": np.ones((3, LENGTH, 8), np.int64)},
        "inputs_embeds must be of a floating-point dtype, not int64",
    ),
    "too long": (
        {"input_ids": np.ones((1, 13), np.int64), "attention_mask": None, "token_type_ids": None, "labels": None},
        "the sequence has 13 tokens, more than max_position_embeddings 12",
    ),
    "empty batch": (
        {"input_ids": np.ones((0, 4), np.int64), "attention_mask": None, "token_type_ids": None, "labels": None},
        "the batch is empty: the inputs have shape [0, 4]",
    ),
    "no tokens": (
        {"input_ids": np.ones((2, 0), np.int64), "attention_mask": None, "token_type_ids": None, "labels": None},
        "the batch is empty: the inputs have shape [2, 0]",
    ),
    "one dimension": (
        {"input_ids": np.ones(4, np.int64), "attention_mask": None, "token_type_ids": None, "labels": None},
        "the inputs must be [batch, sequence], not of shape [4]",
    ),
    "mask of another length": (
        {"attention_mask": np.ones((3, 5), np.int64)},
        "attention_mask must be [3, 7] or [3, 7, 7], not [3, 5]",
    ),
    "head mask": ({"head_mask": np.ones(3)}, "head_mask must be [4] or [2, 4], not [3]"),
    "ids and embeddings": (
        {"inputs_embeds": np.ones((3, LENGTH, 8))},
        "give either input_ids or inputs_embeds",
    ),
    "neither": ({"input_ids": None}, "give either input_ids or inputs_embeds"),
    "label too large": (
        {"labels": np.array([0, 3, 1])},
        "labels must be from 0 to 2 (or -100 to be ignored); found 3",
    ),
    "label negative": (
        {"labels": np.array([0, -1, 1])},
        "labels must be from 0 to 2 (or -100 to be ignored); found -1",
    ),
    "labels of another batch": (
        {"labels": np.array([0, 1])},
        "labels must be [3] or [3, 1], not [2]",
    ),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair.open(tmp_path_factory.mktemp("checkpoint"), make_config(), dtype="float32")


@pytest.mark.parametrize("name", BAD)
def test_one_error_with_one_text(pair: Pair, name: str) -> None:
    changes, text = BAD[name]
    inputs = make_inputs(pair.config, **changes)
    for door, model in ((mobilebert_pt.twin, pair.torch_model), (mobilebert_tf.twin, pair.keras_model)):
        with pytest.raises(InputError) as raised:
            door.outputs(model, inputs)
        assert str(raised.value) == text


# what every head refuses, whatever is behind it: the input to change, how, and the text
EVERYWHERE: dict[str, tuple[str, Any, str]] = {
    "an id too large": ("input_ids", lambda ids: ids * 0 + 40, "input_ids must be from 0 to 39; found 40"),
    "a negative id": ("input_ids", lambda ids: ids * 0 - 1, "input_ids must be from 0 to 39; found -1"),
    "ids as numbers with a point": (
        "input_ids",
        lambda ids: ids.astype(np.float32),
        "input_ids must be of an integer dtype, not float32",
    ),
    "ids as truth": ("input_ids", lambda ids: ids > 0, "input_ids must be of an integer dtype, not bool"),
    "a segment too many": ("token_type_ids", lambda ids: ids * 0 + 2, "token_type_ids must be from 0 to 1; found 2"),
    "no tokens": ("input_ids", lambda ids: ids[..., :0], "the batch is empty"),
    "too many tokens": (
        "input_ids",
        lambda ids: np.repeat(ids, 2, axis=-1),
        "the sequence has 14 tokens, more than max_position_embeddings 12",
    ),
}
# what only some heads refuse
BY_HEAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "word out of the vocabulary": (
        "MaskedLM",
        {"labels": np.full((3, LENGTH), 40)},
        "labels must be from 0 to 39 (or -100 to be ignored); found 40",
    ),
    "words as floats": (
        "MaskedLM",
        {"labels": np.zeros((3, LENGTH), np.float32)},
        "labels must be of an integer dtype, not float32",
    ),
    "words of another length": (
        "MaskedLM",
        {"labels": np.zeros((3, LENGTH - 1), np.int64)},
        "labels must be [3, 7], not [3, 6]",
    ),
    "a place outside": (
        "MaskedLM",
        {"masked_lm_positions": np.array([[0], [1], [7]]), "labels": None},
        "masked_lm_positions must be from 0 to 6; found 7",
    ),
    "places of another batch": (
        "MaskedLM",
        {"masked_lm_positions": np.array([[0]]), "labels": None},
        "masked_lm_positions must be [3, any], not [1, 1]",
    ),
    "a third relation": (
        "PreTraining",
        {"next_sentence_label": np.array([0, 1, 2])},
        "next_sentence_label must be from 0 to 1 (or -100 to be ignored); found 2",
    ),
    "two names": (
        "NextSentencePrediction",
        {"next_sentence_label": np.array([0, 1, 1])},
        "labels and next_sentence_label mean the same: give only one of them",
    ),
    "a tag too many": (
        "TokenClassification",
        {"labels": np.full((3, LENGTH), 3)},
        "labels must be from 0 to 2 (or -100 to be ignored); found 3",
    ),
    "a third choice of two": (
        "MultipleChoice",
        {"labels": np.array([0, 1, 2])},
        "labels must be from 0 to 1 (or -100 to be ignored); found 2",
    ),
    "no choices": (
        "MultipleChoice",
        {"input_ids": np.zeros((3, LENGTH), np.int64)},
        "the inputs must be [batch, choices, sequence], not of shape [3, 7]",
    ),
    "an end missing": (
        "QuestionAnswering",
        {"end_positions": None},
        "give all of start_positions, end_positions, not only start_positions",
    ),
    "places as floats": (
        "QuestionAnswering",
        {"start_positions": np.zeros(3, np.float32)},
        "start_positions must be of an integer dtype, not float32",
    ),
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    config = make_config()
    return {head: Pair.open(tmp_path_factory.mktemp("head"), config, head, "float32") for head in ARCHITECTURES}


def assert_refused(pair: Pair, inputs: dict[str, Any], text: str) -> None:
    """By both twins, with one text."""
    messages = set()
    for door, model in ((mobilebert_pt.twin, pair.torch_model), (mobilebert_tf.twin, pair.keras_model)):
        with pytest.raises(InputError) as raised:
            door.outputs(model, inputs)
        messages.add(str(raised.value))
    assert len(messages) == 1
    assert messages.pop().startswith(text)


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize("head", ARCHITECTURES)
def test_every_head_refuses_alike(pairs: dict[str, Pair], head: str, name: str) -> None:
    changed, change, text = EVERYWHERE[name]
    inputs = make_inputs(pairs[head].config, head, attention_mask=None)
    inputs = {key: value for key, value in inputs.items() if key not in ARCHITECTURES[head].labels}
    if changed == "input_ids":
        del inputs["token_type_ids"]
    assert_refused(pairs[head], {**inputs, changed: change(inputs[changed])}, text)


@pytest.mark.parametrize("name", BY_HEAD)
def test_what_only_some_heads_refuse(pairs: dict[str, Pair], name: str) -> None:
    head, changes, text = BY_HEAD[name]
    pair = pairs[f"MobileBertFor{head}"]
    assert_refused(pair, make_inputs(pair.config, pair.head, **changes), text)


# what is done to a good checkpoint directory, or asked of it, and what the error says
LOADS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "unknown override": ({"num_labls": 4}, ConfigError, "unknown argument num_labls"),
    "impossible override": ({"hidden_size": 0}, ConfigError, "hidden_size"),
    "another size": ({"intermediate_size": 25}, CheckpointError, "intermediate.dense.weight has shape"),
    "another number of labels": ({"num_labels": 7}, CheckpointError, "classifier.weight has shape [3, 32]"),
}


@pytest.mark.parametrize("name", LOADS)
def test_loading_refuses_alike(tmp_path: Path, name: str) -> None:
    overrides, error, text = LOADS[name]
    Pair.open(tmp_path, make_config())
    messages = set()
    for door in (mobilebert_pt.twin, mobilebert_tf.twin):
        with pytest.raises(error) as raised:
            door.load(tmp_path, CLASSIFIER, **overrides)
        assert text in str(raised.value)
        messages.add(str(raised.value))
    assert len(messages) == 1


@pytest.mark.parametrize("dtype", ["int8", "half", "float", ""])
def test_unknown_dtype(tmp_path: Path, dtype: str) -> None:
    Pair.open(tmp_path, make_config())
    for door in (mobilebert_pt.twin, mobilebert_tf.twin):
        with pytest.raises(ValueError, match="dtype must be one of float32, float64, bfloat16, float16"):
            door.load(tmp_path, CLASSIFIER, dtype)

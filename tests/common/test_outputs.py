import copy
import pickle
from typing import Any

import numpy as np
import pytest

from mobilebert_common.model.outputs import (
    OUTPUTS,
    BaseModelOutput,
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    MobileBertForPreTrainingOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    NextSentencePredictorOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
    flat,
)

FIELDS = {
    BaseModelOutput: ("last_hidden_state", "hidden_states", "attentions"),
    BaseModelOutputWithPooling: ("last_hidden_state", "pooler_output", "hidden_states", "attentions"),
    MobileBertForPreTrainingOutput: (
        "loss",
        "prediction_logits",
        "seq_relationship_logits",
        "hidden_states",
        "attentions",
    ),
    QuestionAnsweringModelOutput: ("loss", "start_logits", "end_logits", "hidden_states", "attentions"),
} | dict.fromkeys(
    (
        MaskedLMOutput,
        NextSentencePredictorOutput,
        SequenceClassifierOutput,
        MultipleChoiceModelOutput,
        TokenClassifierOutput,
    ),
    ("loss", "logits", "hidden_states", "attentions"),
)


def test_fields() -> None:
    assert {output: output.fields() for output in OUTPUTS} == FIELDS


@pytest.mark.parametrize("kind", OUTPUTS)
def test_a_full_output_is_a_mapping_a_tuple_and_attributes(kind: type[ModelOutput]) -> None:
    values = {name: place for place, name in enumerate(kind.fields())}
    output = kind(**dict(reversed(values.items())))
    assert dict(output) == values and list(output) == list(kind.fields())
    assert output.to_tuple() == tuple(output.values()) == tuple(values.values())
    for place, name in enumerate(kind.fields()):
        assert output[name] == output[place] == getattr(output, name) == place
    assert output[1:] == output.to_tuple()[1:] and output[-1] == len(values) - 1
    assert kind(values) == kind(list(values.items())) == output


def test_none_is_left_out() -> None:
    output = SequenceClassifierOutput(loss=None, logits=1, attentions=2)
    assert list(output) == ["logits", "attentions"] and len(output) == 2
    assert output.loss is None and output.hidden_states is None
    assert output[0] == 1 and output[:2] == output.to_tuple() == (1, 2)
    assert "loss" not in output and output.get("loss", "absent") == "absent"
    with pytest.raises(KeyError):
        output["loss"]
    with pytest.raises(IndexError):
        output[2]


@pytest.mark.parametrize("by_attribute", [True, False])
def test_late_assignment_keeps_the_order(by_attribute: bool) -> None:
    output = SequenceClassifierOutput(logits=1, attentions=3)

    def assign(name: str, value: Any) -> None:
        if by_attribute:
            setattr(output, name, value)
        else:
            output[name] = value

    assign("hidden_states", 2)
    assign("loss", 0)
    assert list(output.items()) == [("loss", 0), ("logits", 1), ("hidden_states", 2), ("attentions", 3)]
    assign("logits", 9)
    assert list(output) == list(SequenceClassifierOutput.fields()) and output.logits == 9
    assign("loss", None)
    assign("loss", None)
    assert list(output) == ["logits", "hidden_states", "attentions"] and output.loss is None


def test_unknown_fields() -> None:
    output = BaseModelOutput(last_hidden_state=1)
    with pytest.raises(TypeError, match="BaseModelOutput has no field logits, loss"):
        BaseModelOutput(loss=1, logits=None)
    with pytest.raises(AttributeError, match="no field logits"):
        _ = output.logits
    with pytest.raises(AttributeError, match="no field logits"):
        output.logits = 1
    assert dict(output) == {"last_hidden_state": 1} and not hasattr(output, "logits")


def test_other_keys_by_item_and_from_a_mapping() -> None:
    """Pipelines of transformers put the inputs beside the outputs."""
    output = SequenceClassifierOutput(logits=1)
    output["input_ids"] = 5
    output["loss"] = 0
    assert list(output) == ["loss", "logits", "input_ids"] and output.to_tuple() == (0, 1, 5)
    assert pickle.loads(pickle.dumps(output)) == output == SequenceClassifierOutput(dict(output))
    with pytest.raises(TypeError, match="by name, not by 0"):
        output[0] = 1


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda output: pickle.loads(pickle.dumps(output))])
def test_copies(copied: Any) -> None:
    output = BaseModelOutputWithPooling(last_hidden_state=np.arange(3), hidden_states=(np.zeros(2), np.ones(2)))
    other = copied(output)
    assert type(other) is type(output) and list(other) == list(output)
    np.testing.assert_array_equal(other.last_hidden_state, output.last_hidden_state)
    np.testing.assert_array_equal(other.hidden_states[1], np.ones(2))


def test_flat() -> None:
    output = SequenceClassifierOutput(logits=1, hidden_states=(2, 3), attentions=(4,))
    assert flat(output) == {"logits": 1, "hidden_states.0": 2, "hidden_states.1": 3, "attentions.0": 4}
    assert list(flat(output)) == ["logits", "hidden_states.0", "hidden_states.1", "attentions.0"]

"""Labels in x and labels as y are the same labels."""

from typing import Any

import pytest

from mobilebert_common.model.architectures import ARCHITECTURES
from mobilebert_tf.labels import LABEL_NAMES, labels_as_y, labels_by_name, match_scores, split_labels

CLASSIFIER, PRETRAINING, BASE = "MobileBertForSequenceClassification", "MobileBertForPreTraining", "MobileBertModel"
ANSWERS, NEXT = "MobileBertForQuestionAnswering", "MobileBertForNextSentencePrediction"
X = {"input_ids": 0}

# architecture, the labels in x, y, the labels by name
FORMS: dict[str, tuple[str, dict[str, Any], Any, dict[str, Any]]] = {
    "one in x": (CLASSIFIER, {"labels": 1}, None, {"labels": 1}),
    "one as y": (CLASSIFIER, {}, 1, {"labels": 1}),
    "one in a mapping": (CLASSIFIER, {}, {"labels": 1}, {"labels": 1}),
    "a list of numbers is one label": (CLASSIFIER, {}, [1, 2], {"labels": [1, 2]}),
    "y before x": (CLASSIFIER, {"labels": 1}, 2, {"labels": 2}),
    "None in x": (CLASSIFIER, {"labels": None}, None, {}),
    "none": (CLASSIFIER, {}, None, {}),
    "several in x": (ANSWERS, {"end_positions": 2, "start_positions": 1}, None, {"start_positions": 1, "end_positions": 2}),
    "several as a tuple": (ANSWERS, {}, (1, 2), {"start_positions": 1, "end_positions": 2}),
    "several as a mapping": (ANSWERS, {}, {"end_positions": 2, "start_positions": 1}, {"start_positions": 1, "end_positions": 2}),
    "a part": (PRETRAINING, {"next_sentence_label": 2}, None, {"next_sentence_label": 2}),
    "the other name in x": (NEXT, {"next_sentence_label": 1}, None, {"labels": 1}),
    "the other name in y": (NEXT, {}, {"next_sentence_label": 1}, {"labels": 1}),
    "a name of its own where a head has two": (PRETRAINING, {}, {"next_sentence_label": 1}, {"next_sentence_label": 1}),
    "an unknown name": (CLASSIFIER, {}, {"x": 3, "labels": 1}, {"labels": 1, "x": 3}),
    "a base model": (BASE, {}, 1, {"labels": 1}),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_by_name(form: str) -> None:
    architecture, in_x, y, expected = FORMS[form]
    found = labels_by_name({**X, **in_x}, y, architecture)
    assert list(found.items()) == list(expected.items())
    assert labels_by_name(*split_labels({**X, **in_x}, y, architecture), architecture) == expected
    assert split_labels({**X, **in_x}, y, architecture)[0] == X


def test_labels_as_y() -> None:
    assert labels_as_y({**X, "labels": 1}, CLASSIFIER) == 1
    assert labels_as_y({**X, "start_positions": 1}, ANSWERS) == {"start_positions": 1}
    assert labels_as_y(X, CLASSIFIER) is labels_as_y([1, 2], CLASSIFIER) is labels_as_y({**X, "labels": 1}, BASE) is None


def test_an_array_has_no_labels() -> None:
    assert split_labels([0], None, CLASSIFIER) == ([0], None)
    assert split_labels([0], 1, CLASSIFIER) == ([0], 1)


def test_too_few_labels_for_a_head_with_several() -> None:
    with pytest.raises(ValueError, match="shorter"):
        labels_by_name(X, (1,), ANSWERS)


def test_scores_by_label() -> None:
    assert match_scores(X, 1, {"logits": 2, "hidden_states": 3}, CLASSIFIER) == (1, 2)
    assert match_scores({**X, "labels": 1}, None, {"logits": 2}, CLASSIFIER) == (1, 2)
    scores = {"start_logits": 3, "end_logits": 4, "attentions": 5}
    pair = {"start_logits": 1, "end_logits": 2}, {"start_logits": 3, "end_logits": 4}
    assert match_scores(X, (1, 2), scores, ANSWERS) == pair
    assert match_scores(X, 1, {"last_hidden_state": 2}, BASE) == (1, {"last_hidden_state": 2})
    assert match_scores(X, {"x": 1}, {"logits": 2}, CLASSIFIER) == ({"x": 1}, {"logits": 2})
    assert match_scores(X, 1, 2, CLASSIFIER) == (1, 2)


def test_every_label_of_the_table_is_taken_out_of_x() -> None:
    assert {name for architecture in ARCHITECTURES.values() for name in architecture.labels} <= LABEL_NAMES

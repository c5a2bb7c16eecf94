from typing import Any

import numpy as np
import pytest

from mobilebert_common.errors import InputError
from mobilebert_common.model import inputs
from mobilebert_common.model.config import MobileBertConfig

CONFIG = MobileBertConfig(
    vocab_size=40, type_vocab_size=3, max_position_embeddings=12, num_hidden_layers=2, num_attention_heads=4
)
REGRESSION, SINGLE, MULTI = "regression", "single_label_classification", "multi_label_classification"


def test_limits() -> None:
    assert inputs.id_limits(CONFIG) == {"input_ids": 40, "token_type_ids": 3, "position_ids": 12}


@pytest.mark.parametrize(("low", "high", "found"), [(0, 39, None), (-1, 5, -1), (0, 40, 40), (-2, 99, -2)])
def test_ids(low: int, high: int, found: int | None) -> None:
    if found is None:
        inputs.check_ids("input_ids", low, high, 40)
    else:
        with pytest.raises(InputError, match=f"input_ids must be from 0 to 39; found {found}$"):
            inputs.check_ids("input_ids", low, high, 40)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 12), None),
        ((1, 1), None),
        ((2, 3, 128), None),
        ((None, None), None),
        ((5,), "must be \\[batch, sequence\\], not of shape \\[5\\]"),
        ((), "must be \\[batch, sequence\\]"),
        ((0, 3), "the batch is empty"),
        ((3, 0), "the batch is empty"),
        ((2, 13), "the sequence has 13 tokens, more than max_position_embeddings 12"),
        ((None, 13), "13 tokens"),
    ],
)
def test_shape(shape: Any, message: str | None) -> None:
    expect(message, inputs.check_shape, shape, CONFIG)


@pytest.mark.parametrize(
    ("ids", "embeds", "message"),
    [(1, None, None), (None, 1, None), (None, None, "either input_ids or"), (1, 1, "either input_ids or")],
)
def test_one_source(ids: Any, embeds: Any, message: str | None) -> None:
    expect(message, inputs.check_one_source, ids, embeds)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "<dtype: 'x'>", "bool", "torch.float32", "bfloat16"])
def test_dtypes(dtype: str) -> None:
    integer, floating = dtype in ("int64", "int32", "uint8"), "float" in dtype
    expect(None if integer else "x must be of an integer dtype", inputs.check_integer, "x", dtype)
    expect(None if floating else "x must be of a floating-point dtype", inputs.check_floating, "x", dtype)


@pytest.mark.parametrize(
    ("shape", "allowed"),
    [
        ((2, 5), True),
        ((2, 5, 5), True),
        ((None, 5), True),
        ((2, None, None), True),
        ((2, 4), False),
        ((1, 5), False),
        ((5,), False),
        ((2, 5, 4), False),
        ((2, 1, 5), False),
        ((2, 1, 5, 5), False),
    ],
)
def test_mask(shape: Any, allowed: bool) -> None:
    message = None if allowed else r"attention_mask must be \[2, 5\] or \[2, 5, 5\]"
    expect(message, inputs.check_mask, shape, (2, 5))


@pytest.mark.parametrize(
    ("shape", "allowed"), [((4,), True), ((2, 4), True), ((2,), False), ((4, 2), False), ((), False)]
)
def test_head_mask(shape: Any, allowed: bool) -> None:
    expect(None if allowed else r"head_mask must be \[4\] or \[2, 4\]", inputs.check_head_mask, shape, CONFIG)


@pytest.mark.parametrize(
    ("config", "integers", "kind"),
    [
        ({"num_labels": 1}, True, REGRESSION),
        ({"num_labels": 1}, False, REGRESSION),
        ({"num_labels": 3}, True, SINGLE),
        ({"num_labels": 3}, False, MULTI),
        *(
            ({"num_labels": 3, "problem_type": kind}, integers, kind)
            for kind in (REGRESSION, SINGLE, MULTI)
            for integers in (True, False)
        ),
    ],
)
def test_problem_type(config: dict[str, Any], integers: bool, kind: str) -> None:
    assert inputs.problem_type(MobileBertConfig(**config), integers) == kind


@pytest.mark.parametrize(
    ("shape", "integers", "kind"),
    [((5,), False, SINGLE), ((5, 1), False, SINGLE), ((None, 1), False, SINGLE), ((5, 3), False, MULTI), ((None, None), False, MULTI)]
    + [(shape, True, SINGLE) for shape in ((5,), (5, 1), (5, 3))],
)
def test_one_number_per_example_is_a_class(shape: Any, integers: bool, kind: str) -> None:
    assert inputs.problem_type(MobileBertConfig(num_labels=3), integers, shape) == kind
    for fixed in (REGRESSION, SINGLE, MULTI):
        assert inputs.problem_type(MobileBertConfig(num_labels=3, problem_type=fixed), integers, shape) == fixed


@pytest.mark.parametrize(
    ("low", "high", "found"), [(0, 2, None), (-100, 2, None), (0, 3, 3), (-1, 2, -1), (-101, 0, -101)]
)
def test_labels(low: int, high: int, found: int | None) -> None:
    message = None if found is None else rf"labels must be from 0 to 2 \(or -100 to be ignored\); found {found}$"
    expect(message, inputs.check_classes, "labels", low, high, 3)


# the shapes that go with logits [2, labels]
LABEL_SHAPES = [
    (MULTI, 3, [(2, 3), (None, 3), (None, None)]),
    (REGRESSION, 3, [(2, 3), (None, 3), (None, None)]),
    (REGRESSION, 1, [(2,), (2, 1), (None,), (None, 1), (None, None)]),
]


@pytest.mark.parametrize(("kind", "labels", "allowed"), LABEL_SHAPES)
def test_label_shape(kind: str, labels: int, allowed: list[Any]) -> None:
    others: list[Any] = [shape for *_, shapes in LABEL_SHAPES for shape in shapes if shape not in allowed]
    for shape in allowed:
        expect(None, inputs.check_label_shape, shape, (2, labels), kind)
    for shape in [(), (3,), (3, labels), (2, 2), (2, labels, 1), *others]:
        expect(f"labels for {kind} must be", inputs.check_label_shape, shape, (2, labels), kind)


@pytest.mark.parametrize(
    ("scored", "allowed", "refused"),
    [
        ((2,), [(2,), (2, 1), (None,), (None, 1)], [(), (3,), (2, 2), (2, 1, 1)]),
        ((2, 7), [(2, 7), (None, 7), (None, None)], [(2,), (2, 1), (14,), (2, 7, 1), (3, 7)]),
        ((None, 7), [(2, 7), (None, None)], [(7,), (2, 8)]),
    ],
)
def test_class_shape(scored: Any, allowed: list[Any], refused: list[Any]) -> None:
    for shape in allowed:
        expect(None, inputs.check_class_shape, "labels", shape, scored)
    for shape in refused:
        expect("^labels must be", inputs.check_class_shape, "labels", shape, scored)


def test_labels_of_heads() -> None:
    expect(None, inputs.one_name, None, None)
    expect("mean the same: give only one of them", inputs.one_name, 1, 2)
    assert (inputs.one_name(None, 2), inputs.one_name(1, None)) == (2, 1)
    expect(None, inputs.check_together, ["b", "a"], ["a", "b"])
    expect("give all of a, b, not only b", inputs.check_together, ["b"], ["a", "b"])
    expect(None, inputs.check_choices, (2, 4, 7))
    expect(r"must be \[batch, choices, sequence\], not of shape \[2, 7\]", inputs.check_choices, (2, 7))
    expect(None, inputs.check_positions, (2, 5), (2, 7, 8))
    expect(r"masked_lm_positions must be \[2, any\], not \[3, 5\]", inputs.check_positions, (3, 5), (2, 7, 8))


IDS = {"input_ids": np.zeros((2, 3, 4), np.int64)}


@pytest.mark.parametrize(
    ("head", "arrays", "labels", "message"),
    [
        ("ForMaskedLM", {}, {"labels": np.array([[39, -100]])}, None),
        ("ForMaskedLM", {}, {"labels": np.array([[40, -100]])}, "labels must be from 0 to 39 .* found 40"),
        ("ForTokenClassification", {}, {"labels": np.array([[2]])}, "labels must be from 0 to 1 .* found 2"),
        ("ForNextSentencePrediction", {}, {"labels": np.array([2])}, "labels must be from 0 to 1 .* found 2"),
        ("ForPreTraining", {}, {"next_sentence_label": np.array([2])}, "next_sentence_label must be from 0 to 1"),
        ("ForQuestionAnswering", {}, {"start_positions": np.array([99]), "end_positions": np.array([-1])}, None),
        ("ForMultipleChoice", IDS, {"labels": np.array([2, 0])}, None),
        ("ForMultipleChoice", IDS, {"labels": np.array([1.5, 0])}, "labels must be whole numbers"),
        ("ForMaskedLM", {}, {"labels": np.array([[0.5]])}, None),  # the loss refuses the dtype
        ("ForMultipleChoice", IDS, {"labels": np.array([3, 0])}, "labels must be from 0 to 2 .* found 3"),
        ("ForMultipleChoice", {"input_ids": np.zeros((2, 3), np.int64)}, {}, "batch, choices, sequence"),
        ("ForMultipleChoice", {"input_ids": np.zeros((2, 3, 13), np.int64)}, {}, "13 tokens"),
        ("Model", IDS, {"labels": np.array([99])}, None),
    ],
)
def test_arrays_of_heads(head: str, arrays: Any, labels: Any, message: str | None) -> None:
    expect(message, inputs.check_arrays, arrays, labels, CONFIG, f"MobileBert{head}")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"input_ids": np.array([[0, 39]]), "token_type_ids": np.array([[2]]), "other": np.array([99])}, None),
        ({"labels": np.array([0, 1, -100])}, None),
        ({"labels": np.array([[0.0, 7.5]])}, None),
        ({"labels": np.array([0.0, 1.0, -100.0])}, None),
        ({"labels": np.array([[0.0], [1.0]])}, None),
        ({"labels": np.array([True, False])}, None),
        ({"labels": np.array([0.5])}, "labels must be whole numbers to be classes"),
        ({"labels": np.array([[np.nan]])}, "labels must be whole numbers to be classes"),
        ({"labels": np.array([-np.inf])}, "labels must be whole numbers to be classes"),
        ({"labels": np.array([2.0])}, "labels must be from 0 to 1 .* found 2"),
        ({"labels": np.array(["a"])}, "labels must be numbers, not <U1"),
        ({"labels": np.zeros(0, np.int64)}, None),
        ({"labels": np.array([0, 2])}, "labels must be from 0 to 1 .* found 2"),
        ({"input_ids": np.zeros((0, 3), np.int64)}, "the batch is empty"),
        ({"input_ids": np.array([[0, 40]])}, "input_ids must be from 0 to 39; found 40"),
        ({"token_type_ids": np.array([[-1]])}, "token_type_ids must be from 0 to 2; found -1"),
        ({"position_ids": np.array([[12]])}, "position_ids must be from 0 to 11; found 12"),
        ({"input_ids": np.array([[1.0]])}, "input_ids must be of an integer dtype, not float64"),
        ({"input_ids": np.array([[True]])}, "not bool"),
        ({"input_ids": np.array([[255]], np.uint8)}, "found 255"),
    ],
)
def test_arrays(arrays: Any, message: str | None) -> None:
    expect(message, inputs.check_arrays, arrays, arrays, CONFIG, "MobileBertForSequenceClassification")


def expect(message: str | None, check: Any, *arguments: Any) -> None:
    """That a check passes, or refuses with a message."""
    if message is None:
        check(*arguments)
        return
    with pytest.raises(InputError, match=message):
        check(*arguments)

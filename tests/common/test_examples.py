from typing import Any

import numpy as np
import pytest

from mobilebert_common.tasks.examples import Examples, padded


def test_batches_are_padded_at_the_end() -> None:
    columns = {
        "input_ids": [[2, 5, 3], [2, 3], [2, 5, 6, 3]],
        "attention_mask": [[1] * 3, [1] * 2, [1] * 4],
        "token_type_ids": [[0, 0, 1], [0, 0], [0, 0, 1, 1]],
        "labels": np.array([1, 0, 2]),
    }
    examples = Examples(columns, {"input_ids": 9}, [0, 0, 1])
    batch = examples.batch([1, 0])
    assert {name: array.tolist() for name, array in batch.items()} == {
        "input_ids": [[2, 3, 9], [2, 5, 3]],
        "attention_mask": [[1, 1, 0], [1, 1, 1]],
        "token_type_ids": [[0, 0, 0], [0, 0, 1]],
        "labels": [0, 1],
    }
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}
    ordered = list(examples.without({"labels"}).ordered(2))
    assert [batch["input_ids"].tolist() for batch in ordered] == [[[2, 5, 3], [2, 3, 9]], [[2, 5, 6, 3]]]
    assert len(examples) == 3 and not any("labels" in batch for batch in ordered)


@pytest.mark.parametrize(
    ("values", "filled"),
    [
        ([1, 2], [1, 2]),
        ([[1], [], [2, 3]], [[1, 9], [9, 9], [2, 3]]),
        ([[[1], [2, 3]], [[4, 5, 6], [7]]], [[[1, 9, 9], [2, 3, 9]], [[4, 5, 6], [7, 9, 9]]]),
        ([[[1]], [[2], [3]]], [[[1], [9]], [[2], [3]]]),
        ([0.5, 1], [0.5, 1.0]),
        ([[]], [[]]),
    ],
)
def test_padded(values: list[Any], filled: list[Any]) -> None:
    array = padded(values, 9)
    assert array.tolist() == filled
    assert array.dtype == (np.float64 if 0.5 in values else np.int64)


def test_choices_are_as_long_as_their_longest() -> None:
    assert Examples({"input_ids": [[[1], [1, 2, 3]], [[1, 2], [1]]]}, {}, [0, 1]).lengths == [3, 2]

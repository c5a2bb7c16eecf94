import numpy as np
import pytest

from mobilebert_common.errors import DataError
from mobilebert_common.tasks.spans import Choice, Span, Window, best_spans, choose, is_max_context

CONTEXT = "ab cd ef ab"
OFFSETS = [(0, 0), (0, 0), (0, 2), (3, 5), (6, 8), (9, 11), (0, 0)]  # [CLS] [SEP] ab cd ef ab [SEP]
IN_CONTEXT = np.array([end > 0 for _, end in OFFSETS])


def test_the_maximal_context_is_that_of_googles_script() -> None:
    # the example of its comment: the man went to the | to the store and bought | and bought a gallon of
    contexts = is_max_context([0, 3, 6], [5, 5, 5])
    assert [context.tolist() for context in contexts] == [
        [True, True, True, True, False],  # to: 1 and 0 words beside it; the first of equal windows counts
        [False, True, True, True, False],
        [False, True, True, True, True],
    ]


def test_longer_windows_win_ties() -> None:
    short_last = is_max_context([0, 2], [4, 3])  # tokens 2 and 3 are in both
    assert [context.tolist() for context in short_last] == [[True, True, True, False], [False, True, True]]
    assert [context.tolist() for context in is_max_context([0, 2], [3, 4])] == [[True, True, False], [True, True, True, True]]
    assert [context.tolist() for context in is_max_context([0], [3])] == [[True] * 3]


def spans(starts: list[float], ends: list[float], n_best: int = 20, longest: int = 30, context: np.ndarray = IN_CONTEXT) -> list[Span]:
    return best_spans(np.float32(starts), np.float32(ends), IN_CONTEXT, context, n_best, longest)


def test_best_spans() -> None:
    #         CLS SEP ab cd ef ab SEP
    starts = [9.0, 8, 5, 4, 3, 0, 8]
    ends = [9.0, 8, 1, 2, 7, 0, 8]
    found = spans(starts, ends)
    assert found[:3] == [(12.0, 2, 4), (11.0, 3, 4), (10.0, 4, 4)]
    assert len(found) == 10 and {(span.start, span.end) for span in found} == {(i, j) for i in range(2, 6) for j in range(i, 6)}
    assert [span.score for span in found] == sorted((span.score for span in found), reverse=True)
    assert found[0] == Span(12.0, 2, 4) and type(found[0].start) is int and type(found[0].score) is float


def test_the_limits_of_spans() -> None:
    starts, ends = [9.0, 8, 5, 4, 3, 0, 7], [9.0, 8, 1, 2, 5, 0, 7]
    assert {(span.start, span.end) for span in spans(starts, ends, longest=1)} == {(2, 2), (3, 3), (4, 4), (5, 5)}
    assert {span.end - span.start for span in spans(starts, ends, longest=2)} == {0, 1}
    # the n best are chosen among all tokens: [CLS] and both [SEP] take the first three places
    assert spans(starts, ends, n_best=3) == []
    assert spans(starts, ends, n_best=4) == [(10.0, 2, 4)]
    assert {(span.start, span.end) for span in spans(starts, ends, n_best=5)} == {(2, 4), (3, 4), (2, 3), (3, 3)}
    # only the start needs its maximal context
    context = IN_CONTEXT & (np.arange(7) != 4)
    assert {span.start for span in spans(starts, ends, context=context)} == {2, 3, 5}
    assert spans(starts, ends, context=context)[0] == (10.0, 2, 4)


def test_equal_scores_keep_the_order_of_the_logits() -> None:
    found = spans([0.0] * 7, [0.0] * 7)
    assert [(span.start, span.end) for span in found] == [(i, j) for i in range(2, 6) for j in range(i, 6)]
    assert [(span.start, span.end) for span in spans([0.0] * 7, [0.0] * 7, n_best=3)] == [(2, 2)]  # tokens 0, 1 and 2
    assert spans([0.0, 0, 1, 2, 0, 0, 0], [0.0, 0, 0, 1, 0, 0, 0])[:3] == [(3.0, 3, 3), (2.0, 3, 4), (2.0, 3, 5)]
    assert spans([0.0, 0, 1, 2, 0, 0, 0], [0.0, 0, 0, 1, 0, 0, 0])[3] == (2.0, 2, 3)
    everywhere, flat = np.ones(99, bool), np.tile(np.float32([0, 1, 2]), 33)  # short arrays are always sorted stably
    assert [span.start for span in best_spans(flat, flat, everywhere, everywhere, 66, 1)] == [*range(2, 99, 3), *range(1, 99, 3)]
    by_end = best_spans(0 * flat, flat, everywhere, everywhere, 99, 1)
    assert [span.start for span in by_end] == [*range(2, 99, 3), *range(1, 99, 3), *range(0, 99, 3)]


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_logits_that_are_not_finite(broken: float) -> None:
    with pytest.raises(DataError, match="not finite"):
        spans([broken, 0, 0, 0, 0, 0, 0], [0.0] * 7)
    with pytest.raises(DataError, match="not finite"):
        spans([0.0] * 7, [0.0, 0, 0, 0, 0, 0, broken])


def chosen(*windows: tuple[list[tuple[float, int, int]], float], n_best: int = 20, threshold: float | None = None) -> Choice:
    return choose([Window([Span(*span) for span in found], OFFSETS, null) for found, null in windows], CONTEXT, n_best, threshold)


def test_choose() -> None:
    choice = chosen(([(3.0, 2, 3), (1.0, 4, 4)], 5.0), ([(2.0, 5, 5), (1.0, 3, 3)], 4.0))
    assert choice.text == "ab cd" and choice.no_answer == 4.0 - 3.0  # the smallest null score of the windows
    assert [(answer.text, answer.score) for answer in choice.best] == [("ab cd", 3.0), ("ab", 2.0), ("ef", 1.0), ("cd", 1.0)]
    assert [(answer.start, answer.end) for answer in choice.best] == [(0, 5), (9, 11), (6, 8), (3, 5)]
    shares = np.exp([0.0, -1, -2, -2])
    assert [answer.probability for answer in choice.best] == pytest.approx(list(shares / shares.sum()), abs=1e-15)


def test_large_scores() -> None:
    assert [answer.probability for answer in chosen(([(5000.0, 3, 3), (4000.0, 4, 4)], 0.0)).best] == [1.0, 0.0]


def test_a_text_counts_once() -> None:
    choice = chosen(([(3.0, 5, 5), (2.0, 2, 2), (1.0, 3, 3)], 0.0), n_best=2)
    assert [(answer.text, answer.start) for answer in choice.best] == [("ab", 9), ("cd", 3)]
    assert sum(answer.probability for answer in choice.best) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize(
    ("null", "threshold", "text", "best"),
    [
        (4.0, 0.0, "", ["", "cd", "ef"]),
        (3.0, 0.0, "cd", ["cd", "", "ef"]),  # no answer comes after an equal score, and needs more than the threshold
        (4.0, 1.0, "cd", ["", "cd", "ef"]),
        (4.0, 0.9, "", ["", "cd", "ef"]),
        (2.0, -2.0, "", ["cd", "ef", ""]),
        (0.0, 0.0, "cd", ["cd", "ef", "ab", ""]),  # beyond the n best, but always there
    ],
)
def test_no_answer(null: float, threshold: float, text: str, best: list[str]) -> None:
    found = [(3.0, 3, 3), (2.0, 4, 4), (1.0, 5, 5), (0.5, 2, 3)]
    choice = chosen((found, null), n_best=3, threshold=threshold)
    assert choice.text == text and choice.no_answer == null - 3.0
    assert [answer.text for answer in choice.best] == best
    assert sum(answer.probability for answer in choice.best) == pytest.approx(1.0, abs=1e-15)
    nothing = next(answer for answer in choice.best if not answer.text)
    assert (nothing.score, nothing.start, nothing.end) == (null, 0, 0)
    assert chosen((found, null), n_best=3).best[-1].text == "ab"


def test_no_possible_answer() -> None:
    assert chosen(([], 2.0)) == Choice("", 2.0, [])
    choice = chosen(([], 2.0), ([], 1.5), threshold=9.0)
    assert (choice.text, choice.no_answer) == ("", 1.5)
    assert [(answer.text, answer.probability) for answer in choice.best] == [("", 1.0)]

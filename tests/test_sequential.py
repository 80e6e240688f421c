"""Many anytime tests over growing prefixes: the same bit by bit as in one go, and within their level."""

from __future__ import annotations

from itertools import permutations
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.sequential import MeanTests, PairTests, Prefixes, SwitchingTest, as_scores

tenths = st.integers(0, 10).map(lambda number: number / 10)


def filled(scores: np.ndarray, asked: list[int] | None = None) -> Prefixes:
    data = Prefixes(*scores.shape)
    for row, count in enumerate(asked or [scores.shape[1]] * len(scores)):
        if count:
            data.extend(np.array([row]), scores[[row], :count])
    return data


def everyone(data: Prefixes) -> np.ndarray:
    return np.ones(len(data.asked), dtype=bool)


def leading(scores: np.ndarray, *, peeking: bool = False) -> np.ndarray:
    """The row with the highest sum before each question; ``peeking`` counts the question itself too."""
    sums = np.cumsum(scores, axis=1)
    if not peeking:
        sums = np.column_stack([np.zeros(len(scores)), sums[:, :-1]])
    return sums.argmax(axis=0)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_pitfall_2_question_by_question_and_in_batches_is_the_same_bit_for_bit(seed: int, cuts: list[int]) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.random((4, sum(cuts)))
    leaders = leading(scores)

    def played(steps: list[int]) -> tuple[list[float], ...]:
        data = Prefixes(*scores.shape)
        pairs = [PairTests(data, 0.45, 0.05, named=named) for named in ("a", "b")]
        switching = SwitchingTest(data, 0.5, 0.05)
        start = 0
        for step in steps:
            data.extend(np.arange(4), scores[:, start : start + step])
            start += step
            for each in pairs:
                each.against(1, everyone(data))
            switching.replay(leaders)
        tests = [*(each._known[1][1] for each in pairs), switching._tests]
        open_rows = [~test.shown for test in tests]  # those that have been shown are not looked at any further
        wealth = [test._wealth[rows].ravel().tolist() for test, rows in zip(tests, open_rows, strict=True)]
        return *(rows.tolist() for rows in open_rows), *wealth

    assert played(cuts) == played([1] * sum(cuts)) == played([sum(cuts)])


def test_a_leader_chosen_on_earlier_questions_is_within_the_level_over_all_orders() -> None:
    """Every order of six questions: how often the best one (or one of the best) is shown not to be the best."""
    generator = np.random.default_rng(1)
    for number in range(3):
        scores = generator.integers(0, 3, (3, 6)) / 2 if number else np.full((3, 6), 0.5)
        best = int(scores.mean(axis=1).argmax())
        shown = []
        for order in permutations(range(6)):
            data = filled(scores[:, list(order)])
            switching = SwitchingTest(data, 0.5, 0.5)
            switching.replay(leading(data.scores))
            shown.append(switching.shown[best])
        assert np.mean(shown) <= 0.5


def test_pitfall_2_an_opponent_chosen_on_the_same_questions_is_over_the_level_and_ours_is_not() -> None:
    """Twelve alike on coins: one fixed one of the best is shown not to be the best by peeking, and rarely by ours."""
    generator = np.random.default_rng(2)
    runs, level, n = 200, 0.05, 60
    counts = {False: 0, True: 0}
    for _ in range(runs):
        scores = np.zeros((12, n))
        scores[:, : n // 2] = 1.0
        scores = generator.permuted(scores, axis=1)
        data = filled(scores)
        for peeking in counts:
            switching = SwitchingTest(data, 0.5, level)
            switching.replay(leading(scores, peeking=peeking))
            counts[peeking] += bool(switching.shown[-1])
    most = level * runs + 3.1 * sqrt(runs * level * (1 - level))
    assert counts[False] <= most < counts[True]


def test_pitfall_3_of_unequal_prefixes_only_the_common_part_is_compared() -> None:
    """Hard questions last, two that are alike, one of them lagging."""
    scores = np.repeat([[1.0] * 50 + [0.0] * 50], 2, axis=0)
    data = filled(scores, asked=[100, 50])
    assert data.mean(1) - data.mean(0) == 0.5
    assert data.means().tolist() == [0.5, 1.0]
    for row in (0, 1):
        assert not PairTests(data, 0.5, 0.2).against(row, everyone(data)).any()
    switching = SwitchingTest(data, 0.5, 0.2)
    switching.replay(np.ones(100, dtype=np.intp))
    switching.replay(np.zeros(100, dtype=np.intp))
    assert not switching.shown.any()


def test_once_everything_is_answered_the_means_decide() -> None:
    """Whatever the evidence said on the way, and ties as asked."""
    scores = np.array([[1.0] * 20 + [0.0] * 20, [0.0] * 20 + [1.0] * 20])
    part, whole = filled(scores, asked=[20, 20]), filled(scores)
    assert PairTests(part, 0.5, 0.05).against(0, everyone(part))[1]
    assert not PairTests(whole, 0.5, 0.05).against(0, everyone(whole))[1]
    assert PairTests(whole, 0.5, 0.05, ties=True).against(0, everyone(whole)).all()
    below = PairTests(whole, 0.49, 0.05, named="b").against(0, everyone(whole))
    assert below.all()


def test_those_not_asked_for_keep_what_was_known_of_them() -> None:
    scores = np.array([[1.0] * 30, [0.0] * 30, [0.0] * 30])
    data = Prefixes(3, 60)
    tests = PairTests(data, 0.5, 0.05)
    data.extend(np.arange(3), scores[:, :5])
    assert not tests.against(0, everyone(data)).any()
    data.extend(np.arange(3), scores[:, 5:])
    assert tests.against(0, np.array([False, True, False])).tolist() == [False, True, False]
    assert tests.against(0, everyone(data)).tolist() == [False, True, True]


@pytest.mark.parametrize("wrong", [1.5, -0.1, np.inf])
def test_pitfall_9_a_score_outside_0_to_1_is_refused_and_one_that_is_not_there_counts_0(wrong: float) -> None:
    data = Prefixes(1, 3)
    with pytest.raises(InputError, match="expected 0 to 1"):
        data.extend(np.array([0]), np.array([[0.5, wrong]]))
    assert data.asked.tolist() == [0]
    assert as_scores(np.array([np.nan, 0.5, 1.0])).tolist() == [0, 0.5, 1]


@given(st.lists(tenths, min_size=1, max_size=20), st.integers(1, 19))
def test_a_test_of_means_goes_on_where_it_stopped(values: list[float], cut: int) -> None:
    rows = np.array([0])
    whole, parts = MeanTests(1, 0.3, 0.2), MeanTests(1, 0.3, 0.2)
    whole.play(rows, np.array([values]))
    for start in range(0, len(values), cut):
        parts.play(rows, np.array([values[start : start + cut]]))
    assert whole._best.tolist() == parts._best.tolist()

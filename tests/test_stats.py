"""Intervals and differences: laws, and coverage judged by binomial bounds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.pareto import frontier
from workbench.stats import DIFFERENCE_PRIOR, interval, paired_difference, paired_ratio, questions_needed, sign_flip

scores = st.lists(st.floats(0, 1), min_size=1, max_size=40).map(np.array)


@given(scores)
def test_an_interval_holds_its_mean_and_stays_within_the_values(values: np.ndarray) -> None:
    found = interval(values, 0.95)
    assert found is not None
    assert values.min() - 1e-9 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= values.max() + 1e-9
    assert found.n == len(values)


def test_absent_values_are_left_out_and_nothing_gives_nothing() -> None:
    assert interval(np.array([np.nan, np.nan]), 0.95) is None
    found = interval(np.array([0.5, np.nan, 0.7]), 0.95)
    assert found is not None
    assert found.n == 2


@given(scores, st.integers(0, 5))
def test_the_same_seed_gives_the_same_interval(values: np.ndarray, seed: int) -> None:
    assert interval(values, 0.9, seed=seed) == interval(values, 0.9, seed=seed)


def test_two_identical_configurations_are_not_proven_equal_by_few_questions() -> None:
    few, many = np.zeros(24), np.zeros(600)
    of_few, of_many = paired_difference(few, few, 0.95), paired_difference(many, many, 0.95)
    assert of_few is not None
    assert of_few.mean == 0
    assert of_few.low < -0.05
    assert of_many is not None
    assert of_many.low > -0.02


def test_a_common_factor_cancels_in_a_ratio() -> None:
    generator = np.random.default_rng(1)
    base = generator.lognormal(0, 1, 200)
    ratio = paired_ratio(base * 0.5, base, 0.95)
    assert ratio is not None
    assert abs(ratio.mean - 0.5) < 1e-9
    assert ratio.high - ratio.low < 1e-6
    assert paired_ratio(base, np.zeros(200), 0.95) is None


def test_differences_of_equal_configurations_rarely_exclude_zero() -> None:
    """A/A: the 95 % interval excludes 0 in at most 5 % of runs, judged with a binomial 99.9 % bound."""
    generator = np.random.default_rng(7)
    runs, n = 400, 60
    excluded = 0
    for _ in range(runs):
        difficulty = generator.random(n)
        a, b = (generator.random(n) < difficulty).astype(float), (generator.random(n) < difficulty).astype(float)
        found = paired_difference(a, b, 0.95)
        assert found is not None
        excluded += not found.low <= 0 <= found.high
    assert excluded <= 0.05 * runs + 3.1 * (runs * 0.05 * 0.95) ** 0.5


def test_more_questions_are_needed_nearer_the_boundary() -> None:
    generator = np.random.default_rng(3)
    differences = generator.choice([-1.0, 0.0, 1.0], 100, p=[0.1, 0.8, 0.1])
    differences -= differences.mean()
    near = questions_needed(differences, -0.03, 0.95, prior=DIFFERENCE_PRIOR)
    far = questions_needed(differences, -0.2, 0.95, prior=DIFFERENCE_PRIOR)
    assert near is not None
    assert far is not None
    assert near > far >= 101
    assert questions_needed(differences, float(differences.mean()), 0.95, prior=DIFFERENCE_PRIOR) is None


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=10).map(np.array), st.floats(-0.5, 0.5))
def test_a_sign_flip_of_few_differences_counts_every_pattern(differences: np.ndarray, boundary: float) -> None:
    shifted = differences - boundary
    sums = [sum(pattern) for pattern in itertools.product(*((value, -value) for value in shifted))]
    p = sign_flip(differences, boundary)
    assert np.mean(np.array(sums) >= shifted.sum() + 1e-9) <= p <= np.mean(np.array(sums) >= shifted.sum() - 1e-9)
    assert 0 < p <= 1


def test_a_sign_flip_of_many_differences_is_seeded_and_leaves_out_what_is_absent() -> None:
    differences = np.random.default_rng(4).normal(0.1, 0.3, 60)
    p = sign_flip(differences, 0.0)
    assert p == sign_flip(np.append(differences, np.nan), 0.0) == sign_flip(differences, 0.0)
    assert sign_flip(differences, -0.2) < p < sign_flip(differences, 0.2)
    assert sign_flip(np.array([np.nan]), 0.0) == 1.0


@pytest.mark.parametrize("n", [8, 40])
def test_a_sign_flip_rejects_a_true_null_no_more_often_than_it_says(n: int) -> None:
    """Symmetric differences with their mean on the boundary, judged with a binomial 99.9 % bound."""
    generator = np.random.default_rng(11)
    runs = 400 if n == 8 else 120
    rejected = sum(sign_flip(generator.normal(-0.05, 0.3, n), -0.05) <= 0.05 for _ in range(runs))
    assert rejected <= 0.05 * runs + 3.1 * (runs * 0.05 * 0.95) ** 0.5


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 10)), min_size=1, max_size=20))
def test_the_frontier_dominates_everything_off_it(points: list[tuple[float, float]]) -> None:
    on = frontier(list(points))
    assert any(on)
    for (quality, cost), flag in zip(points, on, strict=True):
        beaten = any(q >= quality and c <= cost and (q > quality or c < cost) for q, c in points)
        assert flag is not beaten


def test_a_point_without_a_cost_is_not_on_the_frontier() -> None:
    assert frontier([(0.9, None), (0.1, 1.0), (None, 0.1)]) == [False, True, False]

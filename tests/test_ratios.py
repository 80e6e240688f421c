"""Ratios of a statistic on the same questions: common factors cancel, and no change is rarely taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.ratios import over, ratio_questions_needed, ratios
from workbench.stats import Interval


def mean(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows[..., 0].mean(axis=-1))


def test_a_common_factor_cancels_and_the_seed_decides() -> None:
    base = np.random.default_rng(1).lognormal(0, 1, (50, 1))
    assert np.allclose(ratios(base * 1.2, base, mean), 1.2)
    other = np.random.default_rng(2).lognormal(0, 1, (50, 1))
    assert np.array_equal(ratios(other, base, mean), ratios(other, base, mean))
    assert not np.array_equal(ratios(other, base, mean), ratios(other, base, mean, seed=1))


def test_nothing_against_nothing_is_no_change_and_something_against_nothing_has_no_end() -> None:
    found = over(np.array([0.0, 2.0, 3.0]), np.array([0.0, 0.0, 2.0]))
    assert found.tolist() == [1.0, np.inf, 1.5]


def test_no_change_is_seldom_taken_for_one() -> None:
    """The lower end at level .05 lies above 1 in at most .05 of runs without any change, by a binomial 99.9 % bound."""
    generator = np.random.default_rng(3)
    runs, n, wrong = 200, 40, 0
    for _ in range(runs):
        common = generator.lognormal(0, 0.5, n)
        a, b = (common * generator.lognormal(0, 0.3, n) for _ in range(2))
        wrong += float(np.quantile(ratios(a[:, None], b[:, None], mean), 0.05)) > 1
    assert wrong <= 0.05 * runs + 3.1 * (runs * 0.05 * 0.95) ** 0.5


def test_more_questions_are_needed_nearer_the_bound_and_none_would_do_on_it() -> None:
    near, far = (
        ratio_questions_needed(Interval(mean=ratio, low=ratio - 0.2, high=ratio + 0.2, n=30), 1.05, 0.05)
        for ratio in (1.0, 0.9)
    )
    assert near is not None
    assert far is not None
    assert near > far >= 31
    assert ratio_questions_needed(Interval(mean=1.05, low=0.9, high=1.2, n=30), 1.05, 0.05) is None
    endless = Interval(mean=float("inf"), low=1.0, high=float("inf"), n=30)
    assert ratio_questions_needed(endless, 1.05, 0.05) is None


def test_what_it_says_would_do_does_with_its_power() -> None:
    """At the number of questions it names, about 80 % of samples tell the ratio from the bound."""
    generator = np.random.default_rng(5)

    def interval(n: int) -> Interval:
        a, b = (generator.lognormal(0, 0.3, (n, 1)) for _ in range(2))
        sampled = ratios(a, b, mean)
        low, high = np.quantile(sampled, [0.025, 0.975])
        return Interval(mean=float(mean(a) / mean(b)), low=float(low), high=float(high), n=n)

    first = interval(60)
    at_one = Interval(mean=1.0, low=first.low / first.mean, high=first.high / first.mean, n=60)
    needed = ratio_questions_needed(at_one, 1.1, 0.05)
    assert needed is not None
    told = np.mean([interval(needed).high <= 1.1 for _ in range(150)])
    assert told == pytest.approx(0.8, abs=0.15)

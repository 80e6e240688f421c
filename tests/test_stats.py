"""Intervals and differences: laws, and coverage judged by binomial bounds."""

from __future__ import annotations

import itertools
from itertools import permutations
from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workbench.pareto import frontier
from workbench.stats import (
    BETS,
    DIFFERENCE_PRIOR,
    anytime_bound,
    anytime_difference,
    best_evidence,
    bootstrap_counts,
    cost_ratios,
    evidence,
    interval,
    intervals,
    paired_difference,
    paired_ratio,
    planned_evidence,
    powers,
    questions_needed,
    sign_flip,
    winning_bets,
)

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


@given(st.lists(st.lists(st.sampled_from([0.0, 0.25, 1.0, np.nan]), min_size=5, max_size=5), min_size=1, max_size=6))
def test_intervals_of_many_rows_are_those_of_each(rows: list[list[float]]) -> None:
    values = np.array(rows)
    for row, found in zip(values, intervals(values, 0.9, prior=(-1.0, 1.0)), strict=True):
        kept = row[~np.isnan(row)]
        if not len(kept):
            assert found is None
            continue
        sample = np.append(kept, (-1.0, 1.0))
        low, high = np.quantile(bootstrap_counts(len(sample)) @ sample / len(sample), [0.05, 0.95])
        assert found is not None
        assert (found.mean, found.n) == (pytest.approx(kept.mean()), len(kept))
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


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


# ------------------------------------------------------------------------------------------------- anytime evidence

thousandths = st.one_of(st.sampled_from([0, 500, 1000]), st.integers(0, 1000)).map(lambda number: number / 1000)
strict = st.sampled_from([None, 0.5, 0.01])  # the level that bets are made for, if any
populations = st.lists(thousandths, min_size=1, max_size=7).map(np.array)


def most_of(share: float, runs: int) -> float:
    """What a count of events, each of probability at most ``share``, exceeds once in a thousand times."""
    return share * runs + 3.1 * sqrt(runs * share * (1 - share)) + 1


def all_orders(values: np.ndarray) -> np.ndarray:
    return np.array(list(permutations(values)))


@settings(max_examples=90)
@given(populations, st.one_of(st.just(0.0), thousandths), st.sampled_from([1.2, 2.0, 5.0]), strict)
@example(np.array([0.3]), 0.0, 2.0, None)  # one question, which is also the last
@example(np.array([0.0, 0.0, 0.0]), 0.0, 2.0, None)  # a boundary of 0
@example(np.array([1.0, 1.0, 1.0, 1.0]), 0.0, 2.0, None)  # a boundary of 1
@example(np.array([0.5, 0.5, 0.5]), 0.0, 2.0, None)  # all tied
@example(np.array([1.0, 0.0, 0.0, 0.0, 0.0]), 0.0, 1.2, None)  # nothing is left once the one is seen
@example(np.array([0.0, 0.0, 0.0, 1.0]), 0.9, 1.2, None)  # a boundary that soon leaves 0..1
def test_evidence_against_what_is_true_is_at_most_one_on_average_over_all_orders(
    values: np.ndarray, above: float, bar: float, level: float | None
) -> None:
    """At fixed times, and under rules that stop on the evidence or on the values."""
    orders = all_orders(values)
    boundary = min(float(values.mean()) + above, 1.0)
    bets = BETS if level is None else winning_bets(boundary, level, len(values))
    found, _ = evidence(orders, boundary, population=len(values), bets=bets)
    assert (found >= 0).all()
    assert (found.mean(axis=0) <= 1 + 1e-9).all()
    sums = np.cumsum(orders, axis=1)
    rules = {
        "evidence above": found >= bar,
        "evidence below": found <= 1 / bar,
        "values so far": sums >= values.sum() / 2,
        "a loss": orders <= np.median(values),
    }
    for name, stops in rules.items():
        stops[:, -1] = True
        stopped = found[np.arange(len(found)), stops.argmax(axis=1)]
        assert stopped.mean() <= 1 + 1e-9, name


@given(populations, st.integers(1, 6), st.booleans())
def test_evidence_is_the_same_in_one_go_and_value_by_value(values: np.ndarray, cut: int, finite: bool) -> None:
    population = len(values) if finite else None
    sums = np.concatenate([[0], np.cumsum(values)])[:-1]
    whole, ended = evidence(values[None], 0.4, population=population, before=sums[None])
    wealth, found = None, []
    for start in range(0, len(values), cut):
        part = slice(start, start + cut)
        path, wealth = evidence(
            values[None, part], 0.4, population=population, before=sums[None, part], asked=start, wealth=wealth
        )
        found += path[0].tolist()
    assert found == whole[0].tolist()
    assert wealth is not None
    assert wealth.tolist() == ended.tolist()


def test_what_has_become_impossible_is_refuted_and_what_must_follow_is_not() -> None:
    assert best_evidence(np.array([1.0, 1.0]), 0.25, population=4) >= 1e200
    assert best_evidence(np.array([1.0, 0.0, 0.0, 0.0]), 0.25, population=4) < 10
    assert best_evidence(np.zeros(0), 0.25, population=4) == 1
    lost, _ = evidence(np.array([[0.0] * 1900 + [1.0] * 100]), 0.04, population=2000)
    assert np.isfinite(lost[0, :1901]).all()
    assert not np.isnan(lost).any()
    assert lost[0, -1] >= 1e200  # in the end the mean is .05


@settings(max_examples=40)
@given(populations, st.integers(0, 7))
def test_an_anytime_bound_holds_what_is_still_possible_and_closes_at_the_end(values: np.ndarray, seen: int) -> None:
    part = values[:seen]
    low = anytime_bound(part, 0.05, population=len(values))
    high = 1 - anytime_bound(1 - part, 0.05, population=len(values))
    assert values[:seen].sum() / len(values) - 1e-6 <= low <= high + 1e-6
    if seen >= len(values):
        assert low == pytest.approx(values.mean(), abs=1e-9) == high


def test_pitfall_4_an_interval_of_these_questions_closes_and_one_of_new_questions_does_not() -> None:
    generator = np.random.default_rng(4)
    a, b = generator.random(60), generator.random(60)
    these, new = anytime_difference(a, b, 0.95, population=60), anytime_difference(a, b, 0.95)
    assert these is not None
    assert new is not None
    assert these.high - these.low < 1e-9
    assert new.high - new.low > 0.2
    assert anytime_difference(a[:0], b[:0], 0.95) is None


def test_an_anytime_interval_watched_all_the_way_rarely_misses() -> None:
    """The interval misses at some time only if the evidence against the truth ever reached 2/α, from either side."""
    generator = np.random.default_rng(5)
    runs, n = 2000, 60
    values = generator.permuted(np.broadcast_to((generator.random(n) < 0.3) * 1.0, (runs, n)), axis=1)
    mean = float(values[0].mean())
    missed = (best_evidence(values, mean, population=n) >= 20) | (
        best_evidence(1 - values, 1 - mean, population=n) >= 20
    )
    assert missed.sum() <= most_of(0.1, runs)


# ------------------------------------------------------------------------------------------------------ worst cases


def bad_by_one_question(kind: str, margin: float, n: int, generator: np.random.Generator) -> np.ndarray:
    """(s_k − s_best + 1)/2 on n questions, of a mean that lies one question (or a little) beyond the margin."""
    losses = int(margin * n + 1e-9) + 1
    if kind == "losses only":
        gaps = -np.repeat([1.0, 0.0], [losses, n - losses])
    elif kind == "binary":
        won = n // 5
        gaps = np.repeat([1.0, -1.0, 0.0], [won, won + losses, n - 2 * won - losses])
    elif kind == "tied":
        gaps = np.full(n, -margin - 1e-9)
    else:  # like F1: mass at 0 and at ±1, the rest in between
        gaps = generator.choice([-1.0, -0.5, -0.2, 0.0, 0.3, 0.6, 1.0], n, p=[0.1, 0.1, 0.1, 0.4, 0.1, 0.1, 0.1])
        gaps = np.clip(gaps - (gaps.mean() + losses / n), -1, 1)
        gaps -= max(gaps.mean() + losses / n, 0.0) * (gaps > -0.9) * 2
        gaps = np.clip(gaps, -1, 1)
    assert gaps.mean() <= -margin
    return (gaps + 1) / 2


@pytest.mark.parametrize("bold", [False, True])
@pytest.mark.parametrize("rivals", [2, 12, 60, 200])
@pytest.mark.parametrize("kind", ["losses only", "binary", "tied", "f1"])
def test_pitfall_16_many_that_are_just_not_good_enough_are_rarely_certified(kind: str, rivals: int, bold: bool) -> None:
    """K − 1 cheap ones one question beyond the margin, each held against the best at α/(2(K − 1)), watched all the way."""
    generator = np.random.default_rng(rivals)
    margin, n, alpha = 0.05, 60, 0.05
    runs = min(2000, 40_000 // rivals)
    values = bad_by_one_question(kind, margin, n, generator)
    boundary, level = (1 - margin) / 2, alpha / (2 * (rivals - 1))
    bets = winning_bets(boundary, level, n) if bold else BETS
    false = 0
    for _ in range(4):
        orders = generator.permuted(np.broadcast_to(values, (runs // 4, rivals - 1, n)), axis=-1)
        evident = best_evidence(orders, boundary, population=n, bets=bets) >= 1 / level
        false += int(evident.any(axis=1).sum())
    assert false <= most_of(alpha / 2, runs // 4 * 4)


@pytest.mark.parametrize(("population", "at_most"), [(60, 0.9), (200, 0.95), (2000, 1.02)])
def test_bets_that_can_win_are_bolder_the_fewer_the_questions_and_the_stricter_the_level(
    population: int, at_most: float
) -> None:
    """And they show few questions' worth at a strict level sooner than the mixture for any number of questions."""
    at_ease, strictly = (winning_bets(0.475, level, population) for level in (0.1, 0.0005))
    assert all(0 < bet < 1 for bet in at_ease + strictly)
    assert min(at_ease) < min(strictly) <= BETS[-1] < max(strictly)
    assert min(winning_bets(0.475, 0.0005, 2 * population)) <= min(strictly)
    generator = np.random.default_rng(population)
    gap = 1.5 / sqrt(population)
    values = np.clip(0.475 + generator.normal(gap, 0.2, (200, population)), 0, 1)
    asked = [
        (evidence(values, 0.475, population=population, bets=bets)[0] < 2000).sum(axis=1).mean()
        for bets in (strictly, BETS)
    ]
    assert asked[0] < at_most * asked[1]


def peeked(values: np.ndarray, boundary: float, level: float, first: int) -> np.ndarray:
    """Whether a z test at every question from the ``first`` on ever shows a mean above the boundary."""
    count = np.arange(1, values.shape[-1] + 1)
    means = np.cumsum(values, axis=-1) / count
    variances = np.cumsum(values**2, axis=-1) / count - means**2
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (means - boundary) / np.sqrt(np.maximum(variances, 1e-12) / count)
    found: np.ndarray = (z[..., first - 1 :] > NormalDist().inv_cdf(1 - level)).any(axis=-1)
    return found


def test_pitfall_5_a_z_test_peeked_at_is_over_its_level_where_ours_is_not() -> None:
    """Right answers against 5.5 % wrong ones, for one configuration and for twelve."""
    generator = np.random.default_rng(8)
    runs, n, margin, alpha = 500, 200, 0.05, 0.05
    values = bad_by_one_question("losses only", margin, n, generator)
    for candidates in (1, 12):
        orders = generator.permuted(np.broadcast_to(values, (runs, candidates, n)), axis=-1)
        level = alpha / candidates
        ours = (best_evidence(orders, (1 - margin) / 2, population=n) >= 1 / level).any(axis=1)
        theirs = peeked(orders, (1 - margin) / 2, level, 10).any(axis=1)
        assert ours.sum() <= most_of(alpha, runs)
        assert theirs.sum() > most_of(alpha, runs)


@pytest.mark.parametrize("boundary", [0.475, 0.45, 0.49])
def test_planned_evidence_is_within_its_level_on_the_most_skewed_values(boundary: float) -> None:
    generator = np.random.default_rng(9)
    runs, n, level = 800, 100, 0.05
    lost = 1 - 2 * boundary
    values = np.where(generator.random((runs, n)) < lost, 0.0, 0.5)  # always right, against a share of wrong answers
    shown = sum(bool((planned_evidence(row, boundary, n, level) >= np.log(1 / level)).any()) for row in values)
    assert shown <= most_of(level, runs)


def test_planned_evidence_looks_at_earlier_values_only_and_knows_a_margin_of_everything() -> None:
    generator = np.random.default_rng(10)
    values = generator.random(50)
    changed = np.append(values[:20], generator.random(30))
    assert (planned_evidence(values, 0.45, 50, 0.05)[:20] == planned_evidence(changed, 0.45, 50, 0.05)[:20]).all()
    assert planned_evidence(np.full(100, 0.5), 0.45, 100, 0.05)[-1] > np.log(20)
    assert planned_evidence(np.full(9, 0.5), 0.0, 9, 0.05)[-1] > np.log(20)


# ------------------------------------------------------------------------------------------------------------ costs


@pytest.mark.parametrize("variation", [0.5, 1.0])
def test_pitfall_12_one_of_two_that_cost_the_same_is_rarely_called_cheaper(variation: float) -> None:
    generator = np.random.default_rng(11)
    runs, n = 2000, 60
    base = generator.lognormal(0, variation, n)
    costs = generator.lognormal(0, variation, (runs, n))
    costs *= base.mean() / np.exp(variation**2 / 2)  # the same mean as base has, which is what is known here
    _, low, high = cost_ratios(powers(costs), powers(base), 0.95)
    assert (high < 0.98).sum() <= most_of(0.05, runs)
    assert (low > 1.02).sum() <= most_of(0.05, runs)


def test_what_is_common_to_two_costs_cancels_and_unknown_costs_are_left_out() -> None:
    generator = np.random.default_rng(12)
    base = generator.lognormal(0, 1, 80)
    half, unknown, none, one = base / 2, base.copy(), np.full(80, np.nan), np.full(80, np.nan)
    unknown[::2], one[3] = np.nan, 1.0
    costs = np.array([half, unknown, none, one, np.zeros(80)])
    ratio, low, high = cost_ratios(powers(costs), powers(base), 0.95)
    assert ratio[:2] == pytest.approx([0.5, 1.0])
    assert high[:2] - low[:2] == pytest.approx([0, 0], abs=1e-6)
    assert np.isnan([ratio[2], low[2], high[2], ratio[3], low[3], high[3]]).all()
    assert [ratio[4], low[4], high[4]] == [0, 0, 0]

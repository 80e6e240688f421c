"""Statistics of paired scores, for looking once and for looking all the time.

*Fixed sample* (bootstrap intervals, paired differences and cost ratios, questions needed): for runs that answered every
question. Looking at these while a run is going on and stopping when they please is not valid.

*Anytime* (evidence by betting): valid whenever one looks and whatever decides when to stop. Under the hypothesis that the
mean of values in 0..1 is at most a boundary, the evidence E is a supermartingale that starts at 1, so that it ever reaches
1/level with probability at most ``level`` (Ville). Questions must come in an order that was drawn uniformly. Sources:
Waudby-Smith & Ramdas, "Confidence sequences for sampling without replacement" (NeurIPS 2020) and "Estimating means of
bounded random variables by betting" (JRSS-B 2024).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf, log, log1p, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_KEPT_UP_TO = 2_000  # rows; their counts take 32 MB
_ROWS_AT_ONCE = 200
_RESAMPLES_AT_ONCE = 100
DIFFERENCE_PRIOR = (-1.0, 1.0)  # one question lost, one won
SCORE_PRIOR = (0.0, 1.0)  # one wrong answer, one right
MOST_QUESTIONS = 100_000  # more than this nobody will ask
FLIPS = 9_999  # random sign patterns; up to _EXACT_FLIPS differences all patterns are tried

BETS = (0.05, 0.1, 0.2, 0.35, 0.55, 0.8)
"""Shares of the wealth that the six players of the mixture bet; evidence is the mean of their wealths."""
_BOLDEST = 0.95  # of all bets: it loses nearly everything on a single 0
_APART = 2.5  # neighbouring bets of those that can win

_EXACT_FLIPS = 12
_FLIPS_AT_ONCE = 500
_POWER = 0.8
_EXACT = 1e-9  # what a boundary may be off by through rounding; scores differ by more
_MORE_THAN_NOTHING = 1e-6  # of a value that has to be 0
_CERTAIN = 1e300  # in place of infinity, which would make nothing of a wealth of 0

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean with its percentile-bootstrap interval over ``n`` questions; all ``None``-free, n ≥ 1."""

    mean: float
    low: float
    high: float
    n: int


def interval(values: Array, confidence: float, *, prior: Sequence[float] = (), seed: int = 0) -> Interval | None:
    """The mean of the values that are not NaN and its two-sided bootstrap interval; ``None`` without any value.

    ``prior`` values join the sample for the interval (not for the mean): they keep a small sample without variation from
    being taken for certainty, and lose their weight as questions come in.
    """
    return intervals(values[None], confidence, prior=prior, seed=seed)[0]


def intervals(rows: Array, confidence: float, *, prior: Sequence[float] = (), seed: int = 0) -> list[Interval | None]:
    """The ``interval`` of every row, of shape (rows, n); at once, because all rows share their resamples."""
    found: list[Interval | None] = []
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        means = resampled_means(part, prior=prior, seed=seed)
        ends = iter(_bounds([each for each in means if each is not None], confidence))
        for values, known in zip(part, means, strict=True):
            if known is None:
                found.append(None)
                continue
            kept = values[~np.isnan(values)]
            low, high = next(ends)
            found.append(Interval(mean=float(kept.mean()), low=low, high=high, n=len(kept)))
    return found


def resampled_means(rows: Array, *, prior: Sequence[float] = (), seed: int = 0) -> list[Array | None]:
    """Of every row, of shape (rows, n), the means of ``RESAMPLES`` bootstrap samples of its values that are not NaN.

    Rows that know the same values are drawn together, so that sums and ratios of them keep pairs. ``None`` without any value.
    """
    found: list[Array | None] = [None] * len(rows)
    known = ~np.isnan(rows)
    alike: defaultdict[bytes, list[int]] = defaultdict(list)
    for row, mask in enumerate(known):
        alike[mask.tobytes()].append(row)
    for members in alike.values():
        kept = rows[members][:, known[members[0]]]
        if kept.shape[1]:
            means = _resampled(np.column_stack([kept, np.tile(prior, (len(members), 1))]).T, seed)
            for row, sample in zip(members, means.T, strict=True):
                found[row] = sample
    return found


def paired_difference(a: Array, b: Array, confidence: float, seed: int = 0) -> Interval | None:
    """The mean of a − b over the questions both have, with its two-sided interval.

    One question won and one lost are added to the sample for the interval: answers that never differed on 24 questions
    do not prove that they never will.
    """
    return interval(a - b, confidence, prior=DIFFERENCE_PRIOR, seed=seed)


def paired_ratio(a: Array, b: Array, confidence: float, seed: int = 0) -> Interval | None:
    """Ratio of means, mean(a) / mean(b), over the questions both have; the pairs are resampled together.

    A factor common to both (watts per vCPU) cancels, so the interval stays tight although each cost alone is uncertain.
    """
    both = ~np.isnan(a) & ~np.isnan(b)
    if not both.any() or b[both].mean() <= 0:
        return None
    means = _resampled(np.column_stack([a[both], b[both]]), seed)
    ((low, high),) = _bounds([means[:, 0] / np.maximum(means[:, 1], np.finfo(float).tiny)], confidence)
    return Interval(mean=float(a[both].mean() / b[both].mean()), low=low, high=high, n=int(both.sum()))


def sign_flip(differences: Array, boundary: float, seed: int = 0) -> float:
    """How likely paired differences like these, or higher ones, are where their mean is not above ``boundary``: a p-value.

    Fisher's randomisation of signs around the boundary: every pattern for up to 12 differences, ``FLIPS`` random ones
    beyond. Differences without variation are sure too early where losses are rare and large: use it beside the interval
    of ``paired_difference``, which guards against that. Without any difference 1.
    """
    kept = differences[~np.isnan(differences)] - boundary
    n = len(kept)
    if not n:
        return 1.0
    reached = float(kept.sum()) - 1e-12
    if n <= _EXACT_FLIPS:
        patterns = (np.arange(2**n)[:, None] >> np.arange(n)) % 2 * 2.0 - 1
        return float(np.mean(patterns @ kept >= reached))
    generator = np.random.default_rng(seed)
    higher = 0
    for start in range(0, FLIPS, _FLIPS_AT_ONCE):
        signs = generator.integers(0, 2, size=(min(_FLIPS_AT_ONCE, FLIPS - start), n)) * 2.0 - 1
        higher += int(np.sum(signs @ kept >= reached))
    return (1 + higher) / (1 + FLIPS)


def paired_ratios(a: Mapping[str, Array], b: Mapping[str, Array], confidence: float) -> dict[str, Interval]:
    """The paired ratios of what both hold under a name, such as costs by unit; what has none is left out."""
    found = ((name, paired_ratio(values, b[name], confidence)) for name, values in a.items())
    return {name: ratio for name, ratio in found if ratio is not None}


def questions_needed(values: Array, boundary: float, confidence: float, *, prior: Sequence[float]) -> int | None:
    """About how many questions in all would tell a mean from a boundary, with 80 % power.

    The smallest n with (z_α + z_power) · sd(n) / √n ≤ gap, normal approximation, gap and deviation from the questions so
    far and the same ``prior`` as the interval's. ``None`` where the mean lies on the boundary (no number would do) or
    there are fewer than two questions.
    """
    kept = values[~np.isnan(values)]
    if len(kept) < 2:
        return None
    gap = abs(float(kept.mean()) - boundary)
    variance = float(kept.var(ddof=1))
    extra = sum((value - float(kept.mean())) ** 2 for value in prior)
    normal = NormalDist()
    z = normal.inv_cdf(0.5 + confidence / 2) + normal.inv_cdf(_POWER)
    if gap < 1e-9:
        return None
    needed = len(kept) + 1
    while z * sqrt(needed * variance + extra) / (needed + len(prior)) > gap:
        needed = ceil(needed * 1.05)
        if needed > MOST_QUESTIONS:
            return None
    return needed


# ------------------------------------------------------------------------------------------------- anytime evidence


def winning_bets(boundary: float, level: float, population: int) -> tuple[float, ...]:
    """Bets from the least that can win 1/level within so many values to the boldest, each at most 2.5 times the one before.

    To second order a bet f on values with mean m + g and variance v wins f·g/m − f²v/2m² a value, most with f = g·m/v; that
    comes to ln(1/level) within N values only where g ≥ √(2v·ln(1/level)/N), that is where f ≥ m·√(2·ln(1/level)/(N·v)). At a
    mean of m the variance of values in 0..1 is at most m(1 − m). A smaller bet only takes its share of the mixture; one that
    is 1.6 times too bold still wins two thirds of what the right one does, so that more of them take more than they win.
    """
    least = sqrt(2 * log(1 / level) * boundary / (population * (1 - boundary))) if boundary < 1 else inf
    least = min(max(least, BETS[0]), BETS[-1])
    bets: list[float] = np.geomspace(least, _BOLDEST, 1 + ceil(log(_BOLDEST / least, _APART))).tolist()
    return tuple(bets)


def evidence(
    values: Array,
    boundary: float,
    *,
    population: int | None = None,
    before: Array | None = None,
    asked: int = 0,
    wealth: Array | None = None,
    bets: Sequence[float] = BETS,
) -> tuple[Array, Array]:
    """The evidence after each value against a mean of at most ``boundary``, and the wealth of each bet after the last.

    ``values`` has shape (…, n), in 0..1, n ≥ 1; the results (…, n) and (…, bets). With a ``population`` the mean is that of
    so many values drawn without replacement: m_t = (N·m − S_{t−1}) / (N − t + 1), where ``before`` (…, n) are the sums S of
    all values before each and ``asked`` counts those before the first. Without one the mean is that of values yet to come
    and m_t = m. A value multiplies the wealth of bet f by 1 + f·(X/m_t − 1); by 1 where m_t ≥ 1, and by as good as infinity
    once the hypothesis has become impossible (m_t < 0). Given the ``wealth`` before, the game goes on, bit by bit as in one go.
    """
    growth = _growth(values, boundary, population, before, asked)
    found, ended = np.zeros(values.shape), np.empty((*values.shape[:-1], len(bets)))
    with np.errstate(over="ignore", under="ignore"):  # beyond either the wealth decides nothing any more
        for number, bet in enumerate(bets):
            path = 1 + bet * growth
            if wealth is not None:
                path[..., 0] *= wealth[..., number]
            np.cumprod(path, axis=-1, out=path)
            found += path
            ended[..., number] = path[..., -1]
    return found / len(bets), ended


def _growth(values: Array, boundary: float, population: int | None, before: Array | None, asked: int) -> Array:
    """X/m_t − 1 of each value, with what it is where that makes no sense."""
    if population is None:
        limits = np.full(values.shape, float(boundary))
    else:
        sums = np.cumsum(values, axis=-1) - values if before is None else before
        limits = (population * boundary - sums) / (population - asked - np.arange(values.shape[-1]))
    growth = values / np.maximum(limits, _EXACT) - 1
    growth[limits >= 1] = 0.0
    if limits.min() <= _EXACT:  # then every value left must be 0
        growth[(limits <= _EXACT) & (values <= _MORE_THAN_NOTHING)] = 0.0
        growth[(limits < -_EXACT) | ((limits <= _EXACT) & (values > _MORE_THAN_NOTHING))] = _CERTAIN
    return growth


def best_evidence(
    values: Array, boundary: float, *, population: int | None = None, bets: Sequence[float] = BETS
) -> Array:
    """The highest evidence reached so far against a mean of at most ``boundary``, at least 1; shape of values but the last."""
    if not values.shape[-1]:
        return np.ones(values.shape[:-1])
    found: Array = evidence(values, boundary, population=population, bets=bets)[0].max(axis=-1, initial=1.0)
    return found


def planned_evidence(values: Array, boundary: float, horizon: int, level: float) -> Array:
    """The logarithm of the evidence after each value against a mean of at most ``boundary`` over values yet to come.

    For a number of values fixed beforehand (``horizon``) but valid at any stop. Bets λ_t = min(√(2 ln(1/level) / (n·v)),
    0.9/m), where v = (0.14 + Σ (X − mean before X)²) / (t + 3) over the values before, starting from a mean of ½.
    """
    wealth, squares, total = 0.0, 0.14, 0.0
    most = 0.9 / boundary if boundary > 0 else inf
    found = np.empty(len(values))
    for number, value in enumerate(values):
        variance = squares / (number + 3)
        bet = min(sqrt(2 * log(1 / level) / (horizon * variance)), most)
        wealth += log1p(bet * (value - boundary))
        squares += (value - (total / number if number else 0.5)) ** 2
        total += value
        found[number] = wealth
    return found


def anytime_bound(values: Array, level: float, *, population: int | None = None) -> float:
    """A lower bound of the mean of values in 0..1 that holds whenever one looks, with probability 1 − ``level``.

    The largest boundary that the evidence ever refuted; with a ``population`` at least what the values seen leave possible,
    so that nothing is left open when all were seen. By bisection to 1e-6: evidence falls as the boundary grows.
    """
    seen = len(values)
    least = 0.0 if population is None else float(values.sum()) / population
    if seen == 0 or (population is not None and seen >= population):
        return least
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        refuted = best_evidence(values, middle, population=population) >= 1 / level
        low, high = (middle, high) if refuted else (low, middle)
    return max(low, least)


def anytime_interval(values: Array, confidence: float, *, population: int | None = None) -> Interval:
    """The mean of values in 0..1, at least one, with an interval that holds whenever one looks."""
    level, mean = (1 - confidence) / 2, float(values.mean())
    low = anytime_bound(values, level, population=population)
    high = 1 - anytime_bound(1 - values, level, population=population)
    return Interval(mean=mean, low=min(low, mean), high=max(high, mean), n=len(values))


def anytime_difference(a: Array, b: Array, confidence: float, *, population: int | None = None) -> Interval | None:
    """The mean of a − b (both in 0..1) with an interval that holds whenever one looks; of a ``population`` of questions, or
    of questions yet to come. ``None`` without any question."""
    if not len(a):
        return None
    around = anytime_interval((a - b + 1) / 2, confidence, population=population)
    mean = float((a - b).mean())
    return Interval(mean=mean, low=min(2 * around.low - 1, mean), high=max(2 * around.high - 1, mean), n=len(a))


def powers(costs: Array) -> Array:
    """Indicators, costs and their squares, 0 where a cost is not known (NaN): shape (3, …), what ``cost_ratios`` works on."""
    known = np.nan_to_num(costs)
    return np.stack([~np.isnan(costs), known, known**2])


def cost_ratios(costs: Array, base: Array, confidence: float) -> tuple[Array, Array, Array]:
    """Ratios of mean costs to that of ``base`` over the questions both have: estimate, low and high of each row.

    ``costs`` are ``powers`` of shape (3, rows, n), ``base`` of (3, n). Interval of Student's t on the logarithm of the ratio,
    its error by the delta method from the residuals c − ratio·base, so that what is common to both cancels. Where the base
    costs nothing: 1 if the row does, too, otherwise infinite. NaN where fewer than two questions are common.
    """
    sums = costs @ base.T  # sums[i, row, j]: of the row's cost to the i times the base's to the j, where both are known
    count, own, other = sums[0, :, 0], sums[1, :, 0], sums[0, :, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = own / other
        residuals = sums[2, :, 0] - 2 * ratio * sums[1, :, 1] + ratio**2 * sums[0, :, 2]
        error = np.sqrt(np.maximum(residuals, 0.0) / (count - 1) / count) / (own / count)
        reach = _student(0.5 + confidence / 2, count - 1) * error
        free = other == 0
        ratio = np.where(free, np.where(own == 0, 1.0, np.inf), ratio)
        exact = free | (ratio == 0)  # an error relative to nothing does not exist
        low = np.where(exact, ratio, ratio * np.exp(-reach))
        high = np.where(exact, ratio, ratio * np.exp(reach))
    return tuple(np.where(count < 2, np.nan, each) for each in (ratio, low, high))  # type: ignore[return-value]


def _student(probability: float, degrees: Array) -> Array:
    """Quantiles of Student's t, by the expansion in the normal's (Abramowitz & Stegun 26.7.5); within 1 % from 4 degrees on."""
    z = NormalDist().inv_cdf(probability)
    with np.errstate(divide="ignore"):
        first = (z**3 + z) / (4 * degrees)
        second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
        third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * degrees**3)
    found: Array = z + first + second + third
    return found


# --------------------------------------------------------------------------------------------------------- resampling


def _resampled(columns: Array, seed: int) -> Array:
    """Means of ``RESAMPLES`` bootstrap samples of the rows: shape (resamples, columns)."""
    n = len(columns)
    means: Array = bootstrap_counts(n, seed) @ columns / n
    return means


def bootstrap_counts(n: int, seed: int = 0) -> Array:
    """How often each of n rows is drawn, in each sample: the same for every configuration, and dear to draw."""
    return _kept_counts(n, seed) if n <= _KEPT_UP_TO else _counts(n, seed).astype(np.float64)


@lru_cache(maxsize=2)
def _kept_counts(n: int, seed: int) -> Array:
    return _counts(n, seed).astype(np.float64)


@lru_cache(maxsize=4)
def _counts(n: int, seed: int) -> NDArray[np.unsignedinteger[Any]]:
    generator = np.random.default_rng(seed)
    counts = np.empty((RESAMPLES, n), dtype=np.min_scalar_type(n))
    for start in range(0, RESAMPLES, _RESAMPLES_AT_ONCE):  # ten times as fast as drawing from a multinomial
        part = counts[start : start + _RESAMPLES_AT_ONCE]
        drawn = generator.integers(0, n, size=part.shape) + n * np.arange(len(part))[:, None]
        part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
    return counts


def _bounds(samples: Sequence[Array], confidence: float) -> list[tuple[float, float]]:
    """The ends of the middle part of each sample."""
    if not samples:
        return []
    tail = (1 - confidence) / 2
    found: list[tuple[float, float]] = np.quantile(np.array(samples), [tail, 1 - tail], axis=-1).T.tolist()
    return found

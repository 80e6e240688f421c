"""Fixed-sample statistics: bootstrap intervals over questions, paired differences and cost ratios, questions needed.

For runs that answered every question; looking at these while a run is going on and stopping when they please is not valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
DIFFERENCE_PRIOR = (-1.0, 1.0)  # one question lost, one won
SCORE_PRIOR = (0.0, 1.0)  # one wrong answer, one right
MOST_QUESTIONS = 100_000  # more than this nobody will ask
FLIPS = 9_999  # random sign patterns; up to _EXACT_FLIPS differences all patterns are tried

_EXACT_FLIPS = 12
_FLIPS_AT_ONCE = 500
_POWER = 0.8

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
    kept = values[~np.isnan(values)]
    if not len(kept):
        return None
    means = _resampled(np.append(kept, prior)[:, None], seed)[:, 0]
    low, high = _bounds(means, confidence)
    return Interval(mean=float(kept.mean()), low=low, high=high, n=len(kept))


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
    low, high = _bounds(means[:, 0] / np.maximum(means[:, 1], np.finfo(float).tiny), confidence)
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


def _resampled(columns: Array, seed: int) -> Array:
    """Means of ``RESAMPLES`` bootstrap samples of the rows: shape (resamples, columns)."""
    generator = np.random.default_rng(seed)
    n = len(columns)
    counts = generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    means: Array = counts @ columns / n
    return means


def _bounds(values: Array, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)

"""Ratios of a statistic between two setups on the same questions: bootstrap samples, and how many questions would tell."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, isfinite
from statistics import NormalDist

import numpy as np

from workbench.stats import MOST_QUESTIONS, RESAMPLES, Array, Interval

Statistic = Callable[[Array], Array]
"""From rows of values, one per question (the last axis but one), to one figure."""

_AT_ONCE = 2_000_000  # values drawn at a time
_POWER = 0.8


def over(one: Array, other: Array) -> Array:
    """A ratio; of nothing to nothing it is 1, of something to nothing without end."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.asarray(one, dtype=float) / np.asarray(other, dtype=float)
    return np.where(np.isnan(found), 1.0, found)


def ratios(a: Array, b: Array, statistic: Statistic, seed: int = 0) -> Array:
    """The ratio of a statistic in bootstrap samples of the questions, the pairs drawn together."""
    generator = np.random.default_rng(seed)
    at_once = max(1, min(RESAMPLES, _AT_ONCE // len(a)))
    found = []
    for start in range(0, RESAMPLES, at_once):
        drawn = generator.integers(0, len(a), size=(min(at_once, RESAMPLES - start), len(a)))
        found.append(over(statistic(a[drawn]), statistic(b[drawn])))
    return np.concatenate(found)


def ratio_questions_needed(effect: Interval, bound: float, level: float) -> int | None:
    """About how many questions in all would tell a ratio from its bound at a two-sided level, with 80 % power.

    n × (half × (z_level + z_power) / (z_.975 · gap))²: ``effect`` is a 95 % interval, which narrows with √n. ``None`` where
    the ratio lies on the bound, or no realistic number would do.
    """
    gap, half = abs(effect.mean - bound), (effect.high - effect.low) / 2
    if not isfinite(gap) or not isfinite(half) or gap < 1e-9:
        return None
    normal = NormalDist()
    z = normal.inv_cdf(1 - level / 2)
    needed = max(effect.n * (half * (z + normal.inv_cdf(_POWER)) / normal.inv_cdf(0.975) / gap) ** 2, effect.n + 1)
    return ceil(needed) if needed <= MOST_QUESTIONS else None

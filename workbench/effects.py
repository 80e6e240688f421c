"""What each axis buys: the change in score and cost between configurations that differ in that axis only."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from workbench.comparison import Comparison
from workbench.errors import InputError
from workbench.records import Configuration, plugin_label
from workbench.stats import DIFFERENCE_PRIOR, Array, Interval, intervals, resampled_means
from workbench.tariffs import UNITS

POINT = 0.01
"""A point of quality: one hundredth of the deciding metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisEffect:
    """What one value of an axis changes against another, over all ``pairs`` of configurations that differ in it only.

    ``before`` is the value that costs less. ``score`` and ``cost`` are the mean changes per answer from ``before`` to
    ``after``, with paired intervals over ``questions``; ``None``: not measured of both. ``cost_per_point`` is the change in
    cost for every hundredth of score, given where the score certainly rises; low, central, high.
    """

    axis: str
    before: str
    after: str
    pairs: int
    questions: int
    score: Interval | None
    cost: Interval | None
    cost_per_point: tuple[float, float, float] | None


def axis_effects(comparison: Comparison, unit: str = "joules") -> list[AxisEffect]:
    """The effect of every change of one axis that the run holds, by axis, in a cost of ``UNITS``; the largest costs first.

    Intervals resample questions and keep pairs together; of a run that was raced they are over the questions that both of
    a pair were asked, which its strategy chose.
    """
    if unit not in UNITS:
        raise InputError(f"unit is {unit!r}; expected one of {', '.join(UNITS)}")
    rows: defaultdict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
    costs = comparison.matrix.costs[unit]
    for axis, one, other in _pairs(comparison.matrix.configurations):
        values = [_label(comparison.matrix.configurations[row], axis) for row in (one, other)]
        if values[0] <= values[1]:
            rows[axis, values[0], values[1]].append((one, other))
        else:
            rows[axis, values[1], values[0]].append((other, one))
    return sorted(
        _effects(comparison, rows, costs),
        key=lambda each: (each.axis, -abs(each.cost.mean) if each.cost is not None else 0.0),
    )


def _pairs(configurations: tuple[Configuration, ...]) -> Iterator[tuple[str, int, int]]:
    """Rows of configurations that differ in one axis only; bounds, which nobody can deploy, are left aside."""
    kept = [(row, each) for row, each in enumerate(configurations) if not each.is_bound]
    for (one, first), (other, second) in itertools.combinations(kept, 2):
        axis = _only_difference(first, second)
        if axis is not None:
            yield axis, one, other


def _only_difference(one: Configuration, other: Configuration) -> str | None:
    """The axis that two configurations differ in; one that matters for one of them only follows from the other's value."""
    differing = [axis for axis in one.axes if axis in other.axes and one.axes[axis] != other.axes[axis]]
    return differing[0] if len(differing) == 1 else None


def _label(configuration: Configuration, axis: str) -> str:
    return plugin_label(configuration.axes[axis])


def _effects(
    comparison: Comparison, rows: Mapping[tuple[str, str, str], list[tuple[int, int]]], costs: Array
) -> list[AxisEffect]:
    goal = comparison.goal
    scores = comparison.matrix.scores[goal.metric]
    changes = []
    for (axis, first, second), pairs in rows.items():
        score, cost = (_mean_change(values, pairs) for values in (scores, costs))
        turned = np.nansum(cost) < 0
        names = (axis, second, first) if turned else (axis, first, second)
        changes.append((*names, len(pairs), *((-score, -cost) if turned else (score, cost))))
    if not changes:
        return []
    *_, score_rows, cost_rows = map(np.array, zip(*changes, strict=True))
    gained = intervals(score_rows, goal.confidence, prior=DIFFERENCE_PRIOR)
    paid = intervals(cost_rows, goal.confidence)
    prices = _costs_per_point(score_rows, cost_rows, goal.confidence)
    return [
        AxisEffect(
            axis=axis,
            before=before,
            after=after,
            pairs=pairs,
            questions=int((~np.isnan(score)).sum()),
            score=gain,
            cost=spent,
            cost_per_point=price if gain is not None and gain.low > 0 else None,
        )
        for (axis, before, after, pairs, score, _), gain, spent, price in zip(
            changes, gained, paid, prices, strict=True
        )
    ]


def _mean_change(values: Array, pairs: list[tuple[int, int]]) -> Array:
    """By question the change from the first of a pair to the second, over those pairs that know it; NaN where none does."""
    changes = np.array([values[second] - values[first] for first, second in pairs])
    known = (~np.isnan(changes)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        found: Array = np.where(known > 0, np.nansum(changes, axis=0) / np.maximum(known, 1), np.nan)
    return found


def _costs_per_point(scores: Array, costs: Array, confidence: float) -> list[tuple[float, float, float] | None]:
    """Cost per point with a percentile interval: questions are resampled, score and cost of each together."""
    both = ~np.isnan(scores) & ~np.isnan(costs)
    scores, costs = (np.where(both, values, np.nan) for values in (scores, costs))
    tail = (1 - confidence) / 2
    found: list[tuple[float, float, float] | None] = []
    for score, cost, gains, paid in zip(scores, costs, resampled_means(scores), resampled_means(costs), strict=True):
        if gains is None or paid is None:
            found.append(None)
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(gains > 0, POINT * paid / gains, np.inf)
        low, high = np.quantile(ratios, [tail, 1 - tail], method="inverted_cdf")
        mean = np.nanmean(score)
        found.append((float(low), float(POINT * np.nanmean(cost) / mean) if mean else float("inf"), float(high)))
    return found

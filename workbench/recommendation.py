"""The choice: the cheapest configuration that is no worse than the best by more than a margin, with its evidence.

Fixed-sample rule, for runs that answered all their questions: a configuration is *proven* when the paired bootstrap
interval of its difference to the best stays above −margin, *excluded* when it stays below, *open* otherwise. The verdict
is decided when no cheaper configuration is open. The best is chosen on the same questions, which flatters it a little;
nothing is corrected for the number of configurations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from workbench.comparison import COSTS, Comparison, Figures
from workbench.errors import InputError
from workbench.records import Configuration
from workbench.specification import Goal
from workbench.stats import (
    DIFFERENCE_PRIOR,
    SCORE_PRIOR,
    Array,
    Interval,
    interval,
    paired_difference,
    paired_ratio,
    questions_needed,
)

Verdict = Literal["decided", "undecided", "nothing qualifies"]
Side = Literal["proven", "excluded", "open"]
_SAME_COST = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A configuration that was not chosen, and why. ``open``: the questions so far neither prove nor exclude it."""

    configuration: Configuration
    reason: str
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One thing that was to be shown, and whether it was: what it is about, against whom, at which error ``alpha``.

    ``questions`` is how many were used of the ``available`` ones.
    """

    about: Literal["these questions", "new questions"]
    against: Literal["every configuration", "the reference", "the floor", "anything cheaper"]
    statement: str
    alpha: float
    shown: bool
    reference: Configuration | None
    difference: Interval | None
    questions: int
    available: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The verdict with its evidence.

    ``chosen`` is the cheapest proven configuration when decided; when undecided, provisionally the cheapest whose mean
    lies within the margin, while ``proven`` is the cheapest that is certain. ``savings`` maps a unit to the ratio
    chosen/reference with its paired interval. ``questions_needed`` is in all, not in addition.
    """

    verdict: Verdict
    run: str
    goal: Goal
    exploratory: bool
    questions: int
    chosen: Configuration | None
    proven: Configuration | None
    reference: Configuration | None
    difference: Interval | None
    savings: dict[str, Interval]
    questions_needed: int | None
    rejections: tuple[Rejection, ...]
    nearest_miss: str = ""
    level: str = "fixed sample"
    claims: tuple[Claim, ...] = ()


def choose(comparison: Comparison, goal: Goal | None = None) -> Recommendation:
    """The recommendation for a goal; any other than the one declared before the run is marked exploratory.

    Raises ``InputError`` for a metric that the run did not score.
    """
    declared = comparison.goal
    goal = goal or declared
    if goal.metric not in comparison.matrix.scores:
        raise InputError(
            f"metric {goal.metric!r} was not scored in run {comparison.run!r}; scored: {', '.join(comparison.matrix.scores)}"
        )
    return _Choice(comparison, goal, exploratory=goal != declared).make()


class _Choice:
    def __init__(self, comparison: Comparison, goal: Goal, *, exploratory: bool) -> None:
        self._comparison = comparison
        self._goal = goal
        self._exploratory = exploratory
        self._scores = comparison.matrix.scores[goal.metric]
        self._costs = comparison.matrix.costs
        self._rejections: dict[int, Rejection] = {}

    def make(self) -> Recommendation:
        rows = [row for row in range(len(self._comparison.figures)) if self._eligible(row)]
        within = [row for row in rows if self._within_limits(row)]
        if not within:
            return self._nothing(self._nearest_by_limits(rows))
        best = max(within, key=lambda row: (self._mean(row), -self._cost(row)))
        standing = {row: self._stands(row, best) for row in within}
        order = sorted(within, key=lambda row: (self._cost(row), -self._mean(row)))
        proven = next((row for row in order if standing[row] == "proven"), None)
        if all(standing[row] == "excluded" for row in within):
            return self._nothing(
                f"the best, {self._label(best)}, reaches {self._mean(best):.3f}; the floor is {self._goal.floor}"
            )
        bound = self._cost(proven) if proven is not None else float("inf")
        open_rows = [row for row in order if standing[row] == "open" and self._cost(row) < bound - _SAME_COST]
        provisional = next((row for row in open_rows if self._likely(row, best)), proven)
        if provisional is None:
            provisional = max(open_rows, key=self._mean)
        chosen = provisional if open_rows else proven
        assert chosen is not None
        self._explain(chosen, best, within, standing)
        return self._recommendation(
            verdict="undecided" if open_rows else "decided",
            chosen=chosen,
            proven=proven,
            reference=best,
            needed=self._needed(open_rows, best),
        )

    # ------------------------------------------------------------------------------------------------- the judgement

    def _eligible(self, row: int) -> bool:
        figures = self._comparison.figures[row]
        if figures.configuration.is_bound:
            self._reject(
                row, "a bound: it is given the gold passages, so it is no setup to choose or to be measured against"
            )
            return False
        if figures.state != "finished":
            why = figures.reason or (f"only {figures.answers} answers so far" if figures.answers else "not run yet")
            self._reject(row, f"incomplete: {why}")
            return False
        if self._mean_or_none(row) is None:
            self._reject(row, f"{self._goal.metric} does not apply to any of its questions")
            return False
        if np.isnan(self._costs[self._goal.minimise][row]).all():
            self._reject(row, f"its {self._goal.minimise} were not measured, so it cannot be compared on them")
            return False
        return True

    def _within_limits(self, row: int) -> bool:
        broken = self._broken_limits(row)
        if broken:
            self._reject(
                row, "; ".join(f"{name} is {value:.2f} s, the limit is {limit:g} s" for name, value, limit in broken)
            )
        return not broken

    def _broken_limits(self, row: int) -> list[tuple[str, float, float]]:
        latency = self._comparison.figures[row].seconds
        measured = {} if latency is None else {"p50_seconds": latency.p50, "p95_seconds": latency.p95}
        return [
            (name, measured.get(name, float("inf")), limit)
            for name, limit in self._goal.limits.items()
            if measured.get(name, float("inf")) > limit
        ]

    def _stands(self, row: int, best: int) -> Side:
        """Against the best and against the floor; the best itself needs only the floor."""
        found = []
        if row != best:
            difference = self._difference(row, best)
            found.append(_side(difference, -self._goal.margin))
        if self._goal.floor is not None:
            found.append(self._floor_side(row))
        if "excluded" in found:
            return "excluded"
        return "open" if "open" in found else "proven"

    def _likely(self, row: int, best: int) -> bool:
        within_margin = self._mean(row) >= self._mean(best) - self._goal.margin
        return within_margin and (self._goal.floor is None or self._mean(row) >= self._goal.floor)

    def _needed(self, rows: Sequence[int], best: int) -> int | None:
        needed = []
        for row in rows:
            if row != best and _side(self._difference(row, best), -self._goal.margin) == "open":
                differences = self._scores[row] - self._scores[best]
                needed.append(
                    questions_needed(differences, -self._goal.margin, self._goal.confidence, prior=DIFFERENCE_PRIOR)
                )
            if self._goal.floor is not None and self._floor_side(row) == "open":
                needed.append(
                    questions_needed(self._scores[row], self._goal.floor, self._goal.confidence, prior=SCORE_PRIOR)
                )
        known = [count for count in needed if count is not None]
        return max(known) if known and len(known) == len(needed) else None

    # ---------------------------------------------------------------------------------------------------- its words

    def _explain(self, chosen: int, best: int, within: Sequence[int], standing: Mapping[int, Side]) -> None:
        for row in within:
            if row == chosen:
                continue
            difference = self._difference(row, best)
            shown = (
                ""
                if difference is None
                else f" ({difference.mean:+.3f}, {difference.low:+.3f} to {difference.high:+.3f})"
            )
            cheaper = self._cost(row) < self._cost(chosen) - _SAME_COST
            dearer = self._cost(row) / self._cost(chosen) if self._cost(chosen) > 0 else float("inf")
            if row == best and standing[row] != "excluded":
                reason = f"the best score, but {_times(dearer)} the {self._goal.minimise}"
            elif standing[row] == "excluded" and self._below_floor(row):
                reason = f"below the floor of {self._goal.floor}: {self._mean(row):.3f}"
            elif standing[row] == "excluded":
                reason = f"worse than the best by more than the margin{shown}"
            elif standing[row] == "open" and cheaper:
                reason = f"cheaper, but neither shown within the margin nor outside it{shown}"
            elif standing[row] == "open":
                reason = f"{_times(dearer)} the {self._goal.minimise}, and not shown to be within the margin{shown}"
            else:
                reason = f"good enough, but {_times(dearer)} the {self._goal.minimise}"
            self._reject(row, reason, open=standing[row] == "open" and cheaper)

    def _below_floor(self, row: int) -> bool:
        return self._goal.floor is not None and self._floor_side(row) == "excluded"

    def _floor_side(self, row: int) -> Side:
        assert self._goal.floor is not None
        return _side(interval(self._scores[row], self._goal.confidence, prior=SCORE_PRIOR), self._goal.floor)

    def _nearest_by_limits(self, rows: Sequence[int]) -> str:
        if not rows:
            return "no configuration has answered all its questions; run the experiment to its end, or mend it with --retry-failed"
        nearest = min(rows, key=lambda row: max(value / limit for _, value, limit in self._broken_limits(row)))
        name, value, limit = max(self._broken_limits(nearest), key=lambda each: each[1] / each[2])
        return f"{self._label(nearest)} comes nearest: {name} {value:.2f} s against a limit of {limit:g} s"

    def _nothing(self, nearest_miss: str) -> Recommendation:
        for row in range(len(self._comparison.figures)):
            if row not in self._rejections:
                self._reject(row, f"below the floor of {self._goal.floor}: {self._mean(row):.3f}")
        return self._recommendation(
            verdict="nothing qualifies",
            chosen=None,
            proven=None,
            reference=None,
            needed=None,
            nearest_miss=nearest_miss,
        )

    def _recommendation(
        self,
        *,
        verdict: Verdict,
        chosen: int | None,
        proven: int | None,
        reference: int | None,
        needed: int | None,
        nearest_miss: str = "",
    ) -> Recommendation:
        configurations = self._comparison.matrix.configurations
        savings: dict[str, Interval] = {}
        difference = None
        if chosen is not None and reference is not None:
            difference = self._difference(chosen, reference)
            for unit in COSTS:
                ratio = paired_ratio(self._costs[unit][chosen], self._costs[unit][reference], self._goal.confidence)
                if ratio is not None:
                    savings[unit] = ratio
        return Recommendation(
            verdict=verdict,
            run=self._comparison.run,
            goal=self._goal,
            exploratory=self._exploratory,
            questions=len(self._comparison.matrix.questions),
            chosen=None if chosen is None else configurations[chosen],
            proven=None if proven is None else configurations[proven],
            reference=None if reference is None else configurations[reference],
            difference=difference,
            savings=savings,
            questions_needed=needed,
            rejections=tuple(self._rejections[row] for row in sorted(self._rejections, key=self._order)),
            nearest_miss=nearest_miss,
        )

    # ------------------------------------------------------------------------------------------------------- figures

    def _reject(self, row: int, reason: str, *, open: bool = False) -> None:
        configuration = self._comparison.matrix.configurations[row]
        self._rejections[row] = Rejection(configuration=configuration, reason=reason, open=open)

    def _order(self, row: int) -> tuple[bool, float]:
        cost = self._cost(row)
        return bool(np.isnan(cost)), cost

    def _mean_or_none(self, row: int) -> float | None:
        kept = self._scores[row][~np.isnan(self._scores[row])]
        return float(kept.mean()) if len(kept) else None

    def _mean(self, row: int) -> float:
        mean = self._mean_or_none(row)
        return float("nan") if mean is None else mean

    def _cost(self, row: int) -> float:
        values: Array = self._costs[self._goal.minimise][row]
        kept = values[~np.isnan(values)]
        return float(kept.mean()) if len(kept) else float("nan")

    def _difference(self, row: int, best: int) -> Interval | None:
        return paired_difference(self._scores[row], self._scores[best], self._goal.confidence)

    def _label(self, row: int) -> str:
        figures: Figures = self._comparison.figures[row]
        return figures.configuration.label


def _side(found: Interval | None, boundary: float) -> Side:
    if found is None:
        return "open"
    if found.low >= boundary:
        return "proven"
    return "excluded" if found.high < boundary else "open"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}×" if ratio < 10 else f"{ratio:.0f}×"


def sentences(recommendation: Recommendation) -> list[str]:
    """The recommendation in words a manager can read, one sentence or two per entry."""
    goal = recommendation.goal
    claim = f"{goal.metric} at most {goal.margin:g} below the best, at {goal.confidence:.0%} confidence"
    if recommendation.verdict == "nothing qualifies":
        return [f"Nothing qualifies. {recommendation.nearest_miss}."]
    assert recommendation.chosen is not None
    assert recommendation.reference is not None
    chosen, reference = recommendation.chosen, recommendation.reference
    lines = []
    if recommendation.verdict == "decided":
        lines.append(
            f"Decided on {recommendation.questions} questions: {chosen.label} [{chosen.id}] is the smallest setup with {claim}."
        )
    else:
        needed = recommendation.questions_needed
        more = None if needed is None else needed - recommendation.questions
        how_many = (
            f"about {more:,} more questions would decide"
            if more and more > 0
            else "no realistic number of questions would decide: a candidate lies on the margin"
        )
        lines.append(f"Undecided: {recommendation.questions} questions are too few for {claim}; {how_many}.")
        lines.append(f"Provisional choice: {chosen.label} [{chosen.id}].")
        if recommendation.proven is not None and recommendation.proven != chosen:
            lines.append(f"Certain so far: {recommendation.proven.label} [{recommendation.proven.id}].")
    if chosen == reference:
        lines.append("It is also the best-scoring setup.")
    else:
        lines += _against(recommendation, reference)
    if recommendation.exploratory:
        lines.append("Exploratory: this is not the goal that was declared before the run.")
    return lines


def _against(recommendation: Recommendation, reference: Configuration) -> list[str]:
    difference = recommendation.difference
    lines = []
    if difference is not None:
        lines.append(
            f"Against the best-scoring setup, {reference.label} [{reference.id}]: {recommendation.goal.metric} {difference.mean:+.3f}"
            f" ({difference.low:+.3f} to {difference.high:+.3f})."
        )
    parts = [_saving(unit, ratio) for unit, ratio in recommendation.savings.items()]
    if parts:
        lines.append(f"It needs {', '.join(parts)} per answer.")
    return lines


def _saving(unit: str, ratio: Interval) -> str:
    """A ratio in words: percent where it is near 1, times where it is far from it."""
    if ratio.low > 0 and ratio.high < 0.1:
        return f"{_figure(1 / ratio.mean)}× fewer {unit} ({_figure(1 / ratio.high)}–{_figure(1 / ratio.low)}×)"
    if ratio.high == 0:
        return f"no {unit} at all"
    change, low, high = (100 * (1 - value) for value in (ratio.mean, ratio.high, ratio.low))
    if low < 0 < high:
        return f"about the same {unit} ({-high:+.0f} to {-low:+.0f} %)"
    if change >= 0:
        return f"{change:.0f} % fewer {unit} ({low:.0f} to {high:.0f} %)"
    return f"{-change:.0f} % more {unit} ({-high:.0f} to {-low:.0f} %)"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def as_mapping(recommendation: Recommendation) -> dict[str, Any]:
    """The recommendation as plain data, for JSON."""

    def identify(configuration: Configuration | None) -> dict[str, Any] | None:
        return (
            None
            if configuration is None
            else {"id": configuration.id, "label": configuration.label, "axes": dict(configuration.axes)}
        )

    def numbers(found: Interval | None) -> dict[str, float] | None:
        return None if found is None else {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}

    return {
        "run": recommendation.run,
        "verdict": recommendation.verdict,
        "exploratory": recommendation.exploratory,
        "goal": recommendation.goal.model_dump(mode="json"),
        "questions": recommendation.questions,
        "chosen": identify(recommendation.chosen),
        "proven": identify(recommendation.proven),
        "reference": identify(recommendation.reference),
        "difference": numbers(recommendation.difference),
        "ratios": {unit: numbers(ratio) for unit, ratio in recommendation.savings.items()},
        "questions_needed": recommendation.questions_needed,
        "rejections": [
            {"id": each.configuration.id, "label": each.configuration.label, "reason": each.reason, "open": each.open}
            for each in recommendation.rejections
        ],
        "nearest_miss": recommendation.nearest_miss,
        "summary": " ".join(sentences(recommendation)),
    }

"""The choice by the fixed-sample rule, for runs that answered all their questions.

A configuration is *proven* when the paired bootstrap interval of its difference to the best stays above −margin, *excluded*
when it stays below, *open* otherwise. The verdict is decided when no cheaper configuration is open. The best is chosen on
the same questions, which flatters it a little; nothing is corrected for the number of configurations.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from math import isinf
from typing import Literal

import numpy as np

from workbench.comparison import Comparison, Figures
from workbench.specification import Goal
from workbench.stats import (
    DIFFERENCE_PRIOR,
    SCORE_PRIOR,
    Array,
    Interval,
    interval,
    intervals,
    paired_ratios,
    questions_needed,
)
from workbench.store import AT_WORK
from workbench.verdict import A_BOUND, Recommendation, Rejection, Verdict

Side = Literal["proven", "excluded", "open"]
_SAME_COST = 1e-9


def choose_fixed_sample(comparison: Comparison, goal: Goal, *, exploratory: bool) -> Recommendation:
    """The recommendation for a goal on everything that was answered; what configurations have in common is compared."""
    return _Choice(comparison, goal, exploratory=exploratory).make()


class _Choice:
    def __init__(self, comparison: Comparison, goal: Goal, *, exploratory: bool) -> None:
        self._comparison = comparison
        self._goal = goal
        self._exploratory = exploratory
        self._scores = comparison.matrix.scores[goal.metric]
        self._costs = comparison.matrix.costs
        self._rejections: dict[int, Rejection] = {}
        self._differences: dict[int, Interval | None] = {}  # to the best

    def make(self) -> Recommendation:
        rows = [row for row in range(len(self._comparison.figures)) if self._eligible(row)]
        begun = [] if rows or self._comparison.state == "finished" else self._begun()
        rows = rows or begun
        within = [row for row in rows if self._within_limits(row)]
        if not within:
            return self._nothing(self._nearest_by_limits(rows))
        most = max(self._answers(row) for row in within)  # means over different questions are not compared
        best = max(
            (row for row in within if self._answers(row) == most), key=lambda row: (self._mean(row), -self._cost(row))
        )
        differences = self._scores[within] - self._scores[best]
        found = intervals(differences, self._goal.confidence, prior=DIFFERENCE_PRIOR)
        self._differences = dict(zip(within, found, strict=True))
        standing = {row: self._stands(row, best) for row in within}
        order = sorted(within, key=lambda row: (self._cost(row), -self._mean(row)))
        proven = next((row for row in order if standing[row] == "proven"), None)
        if all(standing[row] == "excluded" for row in within):
            return self._nothing(
                f"The best, {self._label(best)}, reaches {self._mean(best):.3f}; the floor is {self._goal.floor}"
            )
        bound = self._cost(proven) if proven is not None else float("inf")
        open_rows = [row for row in order if standing[row] == "open" and self._cost(row) < bound - _SAME_COST]
        provisional = next((row for row in open_rows if self._likely(row, best)), proven)
        if provisional is None:
            provisional = max(open_rows, key=self._mean)
        chosen = provisional if open_rows else proven
        assert chosen is not None
        self._explain(chosen, best, within, standing)
        self._rejections.pop(chosen, None)
        return self._recommendation(
            verdict="undecided" if open_rows or begun else "decided",
            chosen=chosen,
            proven=None if begun else proven,
            open_because=self._still_to_be_asked() if begun else "",
            reference=best,
            needed=self._needed(open_rows, best),
        )

    # ------------------------------------------------------------------------------------------------- the judgement

    def _eligible(self, row: int) -> bool:
        figures = self._comparison.figures[row]
        if figures.configuration.is_bound:
            self._reject(row, A_BOUND)
            return False
        if figures.state != "finished" and (figures.state == "incomplete" or not self._comparison.raced):
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

    def _begun(self) -> list[int]:
        """Of a run that has not ended: those that have some answers, from which one can be picked for the time being."""
        return [
            row
            for row, figures in enumerate(self._comparison.figures)
            if figures.state == "racing"
            and not figures.configuration.is_bound
            and self._mean_or_none(row) is not None
            and not np.isnan(self._costs[self._goal.minimise][row]).all()
        ]

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
            difference = self._differences[row]
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
            if row != best and _side(self._differences[row], -self._goal.margin) == "open":
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
            difference = self._differences[row]
            shown = (
                ""
                if difference is None
                else f" ({difference.mean:+.3f}, {difference.low:+.3f} to {difference.high:+.3f})"
            )
            cheaper = self._cost(row) < self._cost(chosen) - _SAME_COST
            dearer = self._cost(row) / self._cost(chosen) if self._cost(chosen) > 0 else float("inf")
            if row == best and standing[row] != "excluded":
                reason = f"the best score, but {_times(dearer, self._goal.minimise)}"
            elif standing[row] == "excluded" and self._below_floor(row):
                reason = f"below the floor of {self._goal.floor}: {self._mean(row):.3f}"
            elif standing[row] == "excluded":
                reason = f"worse than the best by more than the margin{shown}"
            elif standing[row] == "open" and cheaper:
                reason = f"cheaper, but neither shown within the margin nor outside it{shown}"
            elif standing[row] == "open":
                reason = f"{_times(dearer, self._goal.minimise)}, and not shown to be within the margin{shown}"
            else:
                reason = f"good enough, but {_times(dearer, self._goal.minimise)}"
            self._reject(row, reason, open=standing[row] == "open" and cheaper)

    def _below_floor(self, row: int) -> bool:
        return self._goal.floor is not None and self._floor_side(row) == "excluded"

    def _floor_side(self, row: int) -> Side:
        assert self._goal.floor is not None
        return _side(interval(self._scores[row], self._goal.confidence, prior=SCORE_PRIOR), self._goal.floor)

    def _nearest_by_limits(self, rows: Sequence[int]) -> str:
        if not rows:
            return self._nobody()
        nearest = min(rows, key=lambda row: max(value / limit for _, value, limit in self._broken_limits(row)))
        name, value, limit = max(self._broken_limits(nearest), key=lambda each: each[1] / each[2])
        return f"{self._label(nearest)} comes nearest: {name} {value:.2f} s against a limit of {limit:g} s"

    def _nobody(self) -> str:
        """Why none can be judged at all."""
        unit, run = self._goal.minimise.replace("_", " "), self._comparison.run
        if np.isnan(self._costs[self._goal.minimise]).all() and not np.isnan(self._scores).all():
            return f"The {unit} of no setup are known, so that none is the cheapest; minimise something else"
        return (
            "No configuration has answered all its questions; go on with: workbench resume "
            f"{shlex.quote(run)} (--retry-failed where answers were lost)"
        )

    def _still_to_be_asked(self) -> str:
        if self._comparison.state in AT_WORK:
            return "the run is still going on"
        return f"no setup has answered all its questions yet; go on with: workbench resume {shlex.quote(self._comparison.run)}"

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
        open_because: str = "",
    ) -> Recommendation:
        configurations = self._comparison.matrix.configurations
        savings: dict[str, Interval] = {}
        difference = None
        if chosen is not None and reference is not None:
            difference = self._differences[chosen]
            mine, theirs = (self._comparison.costs_of(row, self._goal.minimise) for row in (chosen, reference))
            savings = paired_ratios(mine, theirs, self._goal.confidence)
        return Recommendation(
            verdict=verdict,
            run=self._comparison.run,
            goal=self._goal,
            exploratory=self._exploratory,
            questions=max(map(self._answers, range(len(configurations))), default=0)
            if chosen is None
            else self._answers(chosen),
            chosen=None if chosen is None else configurations[chosen],
            proven=None if proven is None else configurations[proven],
            reference=None if reference is None else configurations[reference],
            difference=difference,
            savings=savings,
            questions_needed=needed,
            rejections=tuple(self._rejections[row] for row in sorted(self._rejections, key=self._order)),
            nearest_miss=nearest_miss,
            open_because=open_because,
        )

    # ------------------------------------------------------------------------------------------------------- figures

    def _reject(self, row: int, reason: str, *, open: bool = False) -> None:
        configuration = self._comparison.matrix.configurations[row]
        self._rejections[row] = Rejection(configuration=configuration, reason=reason, open=open)

    def _order(self, row: int) -> tuple[bool, float]:
        cost = self._cost(row)
        return bool(np.isnan(cost)), cost

    def _answers(self, row: int) -> int:
        return int((~np.isnan(self._scores[row])).sum())

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

    def _label(self, row: int) -> str:
        figures: Figures = self._comparison.figures[row]
        return figures.configuration.label


def _side(found: Interval | None, boundary: float) -> Side:
    if found is None:
        return "open"
    if found.low >= boundary:
        return "proven"
    return "excluded" if found.high < boundary else "open"


def _times(ratio: float, unit: str) -> str:
    if isinf(ratio):
        return f"more {unit} than none"
    return f"{ratio:.2f}× the {unit}" if ratio < 10 else f"{ratio:.0f}× the {unit}"

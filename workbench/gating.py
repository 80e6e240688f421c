"""The gate: is this run's setup still as good as that one's, and no dearer? Paired tests on the questions both answered.

Quality is tested for non-inferiority by the goal's margin, each resource for a relative change beyond a minimum effect. A
measure has *passed* when it is shown to stay within its bound, has *regressed* when it is shown to lie beyond it, and is
*not shown* when these questions are too few for either.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np

from workbench.bundle import opened
from workbench.comparison import Comparison
from workbench.errors import InputError
from workbench.pairing import Side, common_questions, must_compare, notes, same_answers, side
from workbench.ratios import Statistic, over, ratio_questions_needed, ratios
from workbench.recommendation import choose
from workbench.records import Configuration
from workbench.reports import compare, find_configuration
from workbench.stats import (
    DIFFERENCE_PRIOR,
    Array,
    Interval,
    paired_difference,
    questions_needed,
    sign_flip,
)
from workbench.store import RunRecord, Store

Status = Literal["passed", "regressed", "not shown"]
RESOURCES = ("tokens", "p95_seconds", "joules", "joules_per_correct")

_UNITS = {
    "tokens": "tokens per answer",
    "p95_seconds": "seconds, 95th percentile of answers",
    "joules": "joules per answer",
    "joules_per_correct": "joules per correct answer",
}
_LEAST_FOR_P95 = 20  # of fewer answers the 95th percentile is the slowest one


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One measure of the gate. ``effect`` is a difference of scores, or a ratio of resources, this run against the base.

    ``bound`` is what the effect is tested against; ``p`` the p-value of the sign-flip test that quality is within it.
    """

    measure: str
    unit: str
    status: Status
    said: str
    here: float | None = None
    base: float | None = None
    effect: Interval | None = None
    bound: float
    p: float | None = None
    questions: int = 0
    questions_needed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What the gate found, measure by measure."""

    run: str
    base: str
    configuration: Configuration
    base_configuration: Configuration
    questions: int
    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    @property
    def status(self) -> Status:
        """Regressed where any measure has, passed where all have."""
        found = {check.status for check in self.checks}
        return "regressed" if "regressed" in found else "not shown" if "not shown" in found else "passed"


def gate(
    run: str = "latest",
    *,
    against: str,
    configuration: str | None = None,
    base_configuration: str | None = None,
    resources: Sequence[str] = RESOURCES,
    min_effect: float = 0.05,
    store: Store | None = None,
) -> Gate:
    """Test the setup of a run against that of a base, which is a run's name or a bundle's file.

    The setups are the recommended ones, or those whose ids begin as given. ``min_effect`` is how much more of a resource
    is acceptable (0.05: 5 %). Raises ``NotComparable`` for other questions, another metric, or another machine or meter
    where ``resources`` ask for seconds or joules.
    """
    resources = tuple(dict.fromkeys(resources))
    unknown = [each for each in resources if each not in RESOURCES]
    if unknown or not 0 <= min_effect <= 10:
        problems = [f"resource is {each!r}; expected one of {', '.join(RESOURCES)}" for each in unknown]
        raise InputError(problems or f"min_effect is {min_effect!r}; expected a share from 0 to 10, such as 0.05")
    with ExitStack() as stack:
        store = store or Store(create=False)
        record, comparison = _run(store, run)
        base_store, base_name = store, against
        if against.endswith(".zip") and Path(against).exists():
            base_store, base_name = stack.enter_context(opened(Path(against))), "latest"
        base_record, base_comparison = _run(base_store, base_name)
        must_compare(comparison, base_comparison, resources)
        chosen = _chosen(store, record, comparison, configuration, "--configuration")
        other = _chosen(base_store, base_record, base_comparison, base_configuration, "--base-configuration")
        common = common_questions(comparison, base_comparison)
        metric = comparison.goal.metric
        here = side(store, record, comparison, chosen, common, metric)
        base = side(base_store, base_record, base_comparison, other, common, metric)
    checks = [check_quality(here, base)]
    resource_checks = [check_resource(each, here, base, min_effect, len(resources)) for each in resources]
    missing = [each for each, found in zip(resources, resource_checks, strict=True) if found is None]
    return Gate(
        run=record.name,
        base=base_record.name,
        configuration=chosen,
        base_configuration=other,
        questions=len(common),
        checks=(*checks, *(each for each in resource_checks if each is not None)),
        notes=(*(f"{_UNITS[each]}: {_lacking(each)} in either run" for each in missing), *notes(here, base)),
    )


def _run(store: Store, name: str) -> tuple[RunRecord, Comparison]:
    record = store.get(name)
    return record, compare(record.name, store=store)


def _chosen(
    store: Store, record: RunRecord, comparison: Comparison, beginning: str | None, option: str
) -> Configuration:
    if beginning is not None:
        return comparison.of(find_configuration(store, record, beginning)).configuration
    found = choose(comparison).chosen
    if found is None:
        raise InputError(
            f"nothing qualifies in run {record.name!r}, so it has no setup to test; name one with {option} ID"
        )
    return found


# -------------------------------------------------------------------------------------------------------------- tests


def check_quality(here: Side, base: Side) -> Check:
    """The test that this side's scores are not below the base's by more than the margin of this side's goal.

    Passed (regressed) where both the paired bootstrap interval and the sign-flip test at α = 1 − confidence say so.
    """
    goal = here.comparison.goal
    alpha = 1 - goal.confidence
    differences = here.scores - base.scores
    effect = paired_difference(here.scores, base.scores, goal.confidence)
    if effect is None:
        return Check(
            measure=goal.metric,
            unit="score",
            status="not shown",
            bound=-goal.margin,
            said="no question is scored in both",
        )
    within = sign_flip(differences, -goal.margin)
    status: Status = "not shown"
    needed = None
    said = f"{effect.mean:+.3f} ({effect.low:+.3f} to {effect.high:+.3f}) against a margin of {goal.margin:g}"
    if same_answers(here, base):
        status, said = "passed", "the same setup gave the same answers, word for word"
    elif effect.low >= -goal.margin and within <= alpha:
        status, said = "passed", f"{said}: not worse by more than the margin"
    elif effect.high < -goal.margin and sign_flip(-differences, goal.margin) <= alpha:
        status, said = "regressed", f"{said}: worse by more than the margin"
    else:
        needed = questions_needed(differences, -goal.margin, goal.confidence, prior=DIFFERENCE_PRIOR)
        said = f"{said}: {effect.n} questions cannot tell; {_would_do(needed)}"
    both = ~np.isnan(differences)
    return Check(
        measure=goal.metric,
        unit="score",
        status=status,
        said=said,
        here=float(here.scores[both].mean()),
        base=float(base.scores[both].mean()),
        effect=effect,
        bound=-goal.margin,
        p=within,
        questions=effect.n,
        questions_needed=needed,
    )


def check_resource(what: str, here: Side, base: Side, min_effect: float, tests: int) -> Check | None:
    """The test of one resource; ``None`` where neither run measured it.

    It has regressed where the lower end of the paired bootstrap interval of the ratio, at level α divided by the number of
    resources, lies beyond 1 + the minimum effect: a gate without any change turns red by chance with at most α.
    """
    columns = _columns(what, here), _columns(what, base)
    known = [~np.isnan(column).any(axis=1) for column in columns]
    bound = 1 + min_effect
    if not known[0].any() and not known[1].any():
        return None
    both = known[0] & known[1]
    n = int(both.sum())
    statistic = _STATISTICS[what]

    def check(status: Status, said: str, **found: Any) -> Check:
        return Check(measure=what, unit=_UNITS[what], status=status, said=said, bound=bound, questions=n, **found)

    if not n:
        without = base if known[0].any() else here
        return check("not shown", f"{_lacking(what)} in run {without.name!r} on any question that both have")
    a, b = columns[0][both], columns[1][both]
    values = {"here": _finite(statistic(a)), "base": _finite(statistic(b))}
    if same_answers(here, base) and np.array_equal(a, b):
        return check("passed", "the same setup took the same, question by question", **values)
    if what == "p95_seconds" and n < _LEAST_FOR_P95:
        said = f"{n} undisturbed answers have no 95th percentile; {_would_do(_LEAST_FOR_P95)}"
        return check("not shown", said, questions_needed=_LEAST_FOR_P95, **values)
    alpha = 1 - here.comparison.goal.confidence
    sampled = ratios(a, b, statistic)
    ratio = float(over(statistic(a), statistic(b)))
    ends = [alpha / 2, 1 - alpha / 2, alpha / 2 / tests]
    low, high, surely = (float(each) for each in np.quantile(sampled, ends, method="inverted_cdf"))  # may be infinite
    effect = Interval(mean=ratio, low=low, high=high, n=n)
    said = f"{_times(ratio)} ({_times(low)} to {_times(high)}) against at most {_times(bound)}"
    if high <= bound:
        return check("passed", said, effect=effect, **values)
    if surely > bound:
        return check("regressed", said, effect=effect, **values)
    needed = ratio_questions_needed(effect, bound, alpha / tests)
    said += f", which is beyond it alone, but not as one of {tests} tests" if low > bound else ""
    said = f"{said}: {n} questions cannot tell; {_would_do(needed)}"
    return check("not shown", said, effect=effect, questions_needed=needed, **values)


def _lacking(what: str) -> str:
    return "no answer without other processes in the way" if what == "p95_seconds" else "not measured"


def _columns(what: str, side: Side) -> Array:
    """The values that a resource's statistic is made from, one row per question."""
    columns = {
        "tokens": [side.tokens],
        "p95_seconds": [side.seconds],
        "joules": [side.joules],
        "joules_per_correct": [side.joules, side.correct],
    }
    return np.column_stack(columns[what])


def _mean(rows: Array) -> Array:
    return np.asarray(rows[..., 0].mean(axis=-1))


def _p95(rows: Array) -> Array:
    return np.asarray(np.quantile(rows[..., 0], 0.95, axis=-1))


def _per_correct(rows: Array) -> Array:
    return over(rows[..., 0].sum(axis=-1), rows[..., 1].sum(axis=-1))


_STATISTICS: dict[str, Statistic] = {
    "tokens": _mean,
    "p95_seconds": _p95,
    "joules": _mean,
    "joules_per_correct": _per_correct,
}


def _finite(value: Array) -> float | None:
    return float(value) if np.isfinite(value) else None


def _times(ratio: float) -> str:
    return f"{ratio:.3f}×" if isfinite(ratio) else "∞×"


def _would_do(needed: int | None) -> str:
    return f"about {needed:,} would" if needed is not None else "no realistic number would"

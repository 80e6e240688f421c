"""Plans: what an experiment was expected to take before anything was spent, kept with its run and held against the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from workbench.comparison import Comparison
from workbench.errors import InputError
from workbench.footprint import Estimate
from workbench.records import Energy
from workbench.texts import NOT_ESTIMATED, NOT_MEASURED, significant

RACED = "race"
"""The strategy whose work is what a plan expects of a race; of any other it is at most the full grid's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Answers and what they take, each low, central, high; ``None`` is not estimated or not priced.

    Every answer is counted as it stands alone; what configurations share is done once, so that a run takes less.
    """

    calls: Estimate
    tokens_in: Estimate
    tokens_out: Estimate
    seconds: Estimate | None
    joules: Energy | None
    grams_co2e: Estimate | None
    dollars: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """One-off work before the first answer: loading, cutting, embedding. ``None`` is not estimated."""

    work: str
    what: str
    seconds: Estimate | None
    joules: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """One model's part of the full grid, per answer; ``known`` says how its seconds and joules are known."""

    model: str
    configurations: int
    tokens_in: Estimate
    tokens_out: Estimate
    seconds: Estimate | None
    joules: Estimate | None
    dollars: Estimate | None
    known: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OneAnswer:
    """What one answer of a configuration takes as it stands alone, tokens in and out together; ``None`` is not estimated."""

    tokens: Estimate
    seconds: Estimate | None
    joules: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decidable:
    """What questions can show: a claim, the margin they can decide it at (low, central, high over how much scores scatter),
    and how many questions the declared margin takes. ``promised``: the declared margin is not below what they can show."""

    about: Literal["these questions", "new questions"]
    against: Literal["every configuration", "the reference"]
    questions: int
    margin: Estimate | None
    needed: int | None
    promised: bool
    statement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an experiment takes: every configuration on every question (``grid``), and what a race is expected to (``race``).

    ``confirmation`` is the test split, asked of a race's pick and its reference; ``None`` without such a split.
    ``merged``, ``impossible`` and ``refused`` say why there are fewer configurations than ``combinations``.
    ``one_answer`` is by id of configuration, empty where there are too many of them to keep.
    """

    experiment: str
    strategy: str
    level: str
    minimise: str
    margin: float
    confidence: float
    combinations: int
    configurations: int
    merged: Mapping[str, int]
    impossible: Mapping[str, int]
    refused: Mapping[str, int]
    questions: int
    test_questions: int
    repeats: int
    grid: Work
    race: Work
    confirmation: Work | None
    preparations: tuple[Preparation, ...]
    models: tuple[ModelPlan, ...]
    decidable: tuple[Decidable, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    region: str
    calibrated: bool
    planning_seconds: float
    one_answer: Mapping[str, OneAnswer] = field(default_factory=dict)

    @property
    def expected(self) -> Work:
        """What the experiment's own strategy takes: the race's share, or for any other at most the grid's."""
        return self.race if self.strategy == RACED else self.grid


_PLAN = TypeAdapter(Plan)


def as_mapping(plan: Plan) -> dict[str, Any]:
    """A plan as plain data, as it is stored with a run."""
    found: dict[str, Any] = _PLAN.dump_python(plan, mode="json")
    return found


def from_mapping(stored: Mapping[str, Any]) -> Plan:
    """A plan as it was stored."""
    try:
        return _PLAN.validate_python(dict(stored))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise InputError(f"the stored plan cannot be read: {where}: {problem['msg'].lower()}") from error


def amount(value: float) -> str:
    """A number as people read it, thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else significant(value)


def whole(value: float) -> str:
    """A number of things as people read it."""
    return f"{value:,.0f}"


def compare_with_plan(plan: Plan, comparison: Comparison) -> str:
    """One line that holds what a plan expected against what a run's answers took, each as it stands alone.

    How many answers a race asks for depends on what nobody knows before it; tokens, seconds and joules are therefore held
    against what was planned for as many answers of each configuration as there are.
    """
    asked = [figures for figures in comparison.figures if figures.answers]
    count = sum(figures.answers for figures in asked)
    parts = [_held("answers", plan.expected.calls, float(count), whole)]
    if all(figures.configuration.id in plan.one_answer for figures in asked):
        each = [(figures.answers, plan.one_answer[figures.configuration.id]) for figures in asked]
        planned = {
            "tokens": _times([(answers, one.tokens) for answers, one in each]),
            "seconds": _times([(answers, one.seconds) for answers, one in each]),
            "joules": _times([(answers, one.joules) for answers, one in each]),
        }
        held = [_held(unit, work, _taken(comparison, unit)) for unit, work in planned.items()]
        parts.append(f"for those {count:,}: {', '.join(held)}")
    else:
        parts.append("what one answer of each setup takes is not kept with this plan")
    return f"Planned against taken: {'; '.join(parts)}."


def _times(each: Sequence[tuple[int, Estimate | None]]) -> Estimate | None:
    """What so many answers of each come to; ``None`` where one of them was not estimated."""
    known = [(answers, one) for answers, one in each if one is not None]
    if len(known) < len(each):
        return None
    return Estimate(*(sum(answers * one[level] for answers, one in known) for level in range(3)))


def _taken(comparison: Comparison, unit: str) -> float | None:
    """The standalone cost of all answers; ``None`` where that of any is not known."""
    known = [
        float(np.nanmean(costs)) * figures.answers
        for costs, figures in zip(comparison.matrix.costs[unit], comparison.figures, strict=True)
        if figures.answers and not np.isnan(costs).all()
    ]
    asked = sum(1 for figures in comparison.figures if figures.answers)
    return sum(known) if known and len(known) == asked else None


def _held(what: str, planned: Estimate | None, taken: float | None, read: Callable[[float], str] = amount) -> str:
    told = NOT_MEASURED if taken is None else read(taken)
    if planned is None:
        return f"{what} {NOT_ESTIMATED}, {told}"
    said = f"{what} {read(planned.central)} ({read(planned.low)}–{read(planned.high)}), {told}"
    if taken is None:
        return said
    inside = planned.low <= taken <= planned.high
    off = f"{taken / planned.central - 1:+.0%}" if planned.central else ""
    return f"{said} ({', '.join(filter(None, [off, 'inside' if inside else 'outside']))})"

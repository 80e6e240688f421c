"""What a recommendation is: the verdict, what was shown and what not, and why each other configuration was not chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.records import Configuration
from workbench.specification import Goal
from workbench.stats import Interval

Verdict = Literal["decided", "undecided", "nothing qualifies"]
Against = Literal["every configuration", "the reference", "anything cheaper"]
Level = Literal["screen", "every", "reference", "fixed sample"]

A_BOUND = "a bound: it is given the gold passages, so it is no setup to choose or to be measured against"
"""Why a configuration that knows the gold is not chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One thing that was to be shown, of the chosen configuration: with error at most ``alpha``, or not shown.

    ``difference`` is chosen − reference with an interval that holds whenever one looks, on ``questions`` of ``available``.
    """

    about: Literal["these questions", "new questions"]
    against: Against
    statement: str
    alpha: float
    shown: bool
    reference: Configuration | None
    difference: Interval | None
    questions: int
    available: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A configuration that was not chosen, and why. ``open``: the questions so far neither prove nor exclude it."""

    configuration: Configuration
    reason: str
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The verdict with its evidence.

    ``chosen`` is the cheapest proven configuration when decided; when undecided, provisionally the cheapest whose mean
    lies within the margin, while ``proven`` is the cheapest that is certain. ``savings`` maps a unit to the ratio
    chosen/reference with its paired interval. ``questions_needed`` is in all, not in addition. ``level`` says how it was
    decided: by a race, or by the fixed-sample rule; ``claims`` what a race has shown and what not; ``ties`` are good enough
    as far as one knows, and their cost cannot be told from the chosen one's. ``screened_at`` is the error of a single decision
    of a screening. ``leads``: the chosen one scores best, and the reference is the next; ``barred``: of those that meet floor
    and limits, as others do not. ``open_because`` is what keeps a verdict open where it is not that more questions have to be
    asked.
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
    level: Level = "fixed sample"
    claims: tuple[Claim, ...] = ()
    ties: tuple[Configuration, ...] = ()
    screened_at: float | None = None
    leads: bool = False
    barred: bool = False
    open_because: str = ""

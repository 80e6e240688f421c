"""Two configurations face to face, of one run or of two: won, tied and lost questions, and where they differ most."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from workbench.comparison import Comparison
from workbench.errors import NotComparable
from workbench.pairing import common_questions, must_compare
from workbench.records import Configuration, Question
from workbench.stats import Array, Interval, anytime_difference, paired_difference, paired_ratios

_TIE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionDuel:
    """One question that both were asked: the scores of the one and of the other, means over repeats."""

    question: Question
    score: float
    other_score: float

    @property
    def difference(self) -> float:
        """How much better the one is."""
        return self.score - self.other_score


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """What two configurations made of the questions that both were asked.

    ``difference`` is that of the deciding metric, the one − the other; ``anytime``: its interval holds although a race
    looked while answers came in. ``ratios`` are the one's cost over the other's, by unit, where both were measured in the
    same way; ``not_compared`` says why they are not. ``questions`` are all of them, the largest differences first.
    """

    metric: str
    configuration: Configuration
    other: Configuration
    wins: int
    ties: int
    losses: int
    difference: Interval | None
    anytime: bool
    ratios: dict[str, Interval] = field(default_factory=dict)
    not_compared: str = ""
    questions: tuple[QuestionDuel, ...]


def face_to_face(
    comparison: Comparison, configuration: str, other: str, *, other_comparison: Comparison | None = None
) -> Duel:
    """The duel of two configurations by their ids, by the metric that decides the first run.

    Raises ``NotComparable`` where two runs have not asked the same questions, or not scored them so.
    """
    base = other_comparison or comparison
    must_compare(comparison, base, ["tokens"])
    metric = comparison.goal.metric
    common = common_questions(comparison, base)
    here, there = _columns(comparison, common), _columns(base, common)
    row, other_row = _row(comparison, configuration), _row(base, other)
    mine, theirs = comparison.matrix.scores[metric][row, here], base.matrix.scores[metric][other_row, there]
    known = np.flatnonzero(~np.isnan(mine) & ~np.isnan(theirs))
    gaps = mine[known] - theirs[known]
    raced = comparison.raced or base.raced
    not_compared = _not_compared(comparison, base)
    order = np.argsort(-np.abs(gaps), kind="stable")
    return Duel(
        metric=metric,
        configuration=comparison.matrix.configurations[row],
        other=base.matrix.configurations[other_row],
        wins=int((gaps > _TIE).sum()),
        ties=int((np.abs(gaps) <= _TIE).sum()),
        losses=int((gaps < -_TIE).sum()),
        difference=_difference(mine[known], theirs[known], comparison.goal.confidence, raced=raced),
        anytime=raced and _from_0_to_1(mine[known], theirs[known]),
        ratios={} if not_compared else _ratios(comparison, row, here, base, other_row, there),
        not_compared=not_compared,
        questions=tuple(
            QuestionDuel(
                question=comparison.matrix.questions[here[known[at]]],
                score=float(mine[known[at]]),
                other_score=float(theirs[known[at]]),
            )
            for at in order
        ),
    )


def _columns(comparison: Comparison, common: list[str]) -> list[int]:
    column = {question.id: number for number, question in enumerate(comparison.matrix.questions)}
    return [column[each] for each in common]


def _row(comparison: Comparison, configuration: str) -> int:
    return [each.id for each in comparison.matrix.configurations].index(configuration)


def _from_0_to_1(*scores: Array) -> bool:
    return all(bool(len(each)) and each.min() >= 0 and each.max() <= 1 for each in scores)


def _difference(mine: Array, theirs: Array, confidence: float, *, raced: bool) -> Interval | None:
    if raced and _from_0_to_1(mine, theirs):
        return anytime_difference(mine, theirs, confidence)
    return paired_difference(mine, theirs, confidence)


def _not_compared(comparison: Comparison, base: Comparison) -> str:
    try:
        must_compare(comparison, base, ["joules"])
    except NotComparable as error:
        return str(error)
    return ""


def _ratios(
    comparison: Comparison, row: int, here: list[int], base: Comparison, other_row: int, there: list[int]
) -> dict[str, Interval]:
    unit = comparison.goal.minimise
    mine = {name: values[here] for name, values in comparison.costs_of(row, unit).items()}
    theirs = {name: values[there] for name, values in base.costs_of(other_row, unit).items()}
    return paired_ratios(mine, theirs, comparison.goal.confidence)

"""From a matrix or a landscape to cases, from cases to what every method finds, and whether that is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.searching import rivals, variants
from benchmarks.searching.landscapes import WORST_CASES, draw, worst_case
from benchmarks.searching.matrix import Array, Matrix
from benchmarks.searching.replay import Case, Found, race, searched
from workbench.expected import expected_costs
from workbench.records import DEFAULT_AXES, Configuration, digest
from workbench.sequential import Rows

CHEAP_ENOUGH = 1.05  # times the cheapest that is within half the margin
_SAME_COST = 0.05
_DEV_SHARE = 2 / 3  # of the questions of a matrix, as the product splits questions that come without a split
_OF_THE_PRODUCT = {"model", "concurrency"}  # axes that every configuration of the product has
_GUESS_ERROR = 0.2  # of the logarithm of a cost that is guessed beforehand

SCREEN, EVERY, EXACT, REFERENCE = "race (default)", "race every", "race every, ζ=1", "race, reference the best"
DEAREST = "race, reference the dearest"
BERNSTEIN, ALL_PAIRS, HINDSIGHT = "ζ=1, empirical Bernstein", "ζ=1, all pairs", "ζ=1, hindsight floor"

OURS: dict[str, Callable[[Case], Found]] = {
    SCREEN: partial(race, level="screen"),
    EVERY: partial(race, level="every"),
    EXACT: partial(race, level="every", inferior_share=1.0),
    REFERENCE: lambda case: race(case, "reference", reference=case.best),
    DEAREST: lambda case: race(case, "reference", reference=int(case.joules.mean(axis=1).argmax())),
    "random (ours)": partial(searched, choice="random"),
    "tpe (ours)": partial(searched, choice="tpe"),
    "halving (ours)": partial(searched, choice="halving"),
    BERNSTEIN: variants.empirical_bernstein,
    ALL_PAIRS: variants.all_pairs,
    HINDSIGHT: variants.hindsight,
}
RIVALS: dict[str, Callable[[Case], Found]] = {
    "full grid, sorted": rivals.grid,
    "full grid, bootstrap": rivals.grid_bootstrap,
    "random 25 %": rivals.random_share,
    "random 50 %": partial(rivals.random_share, share=0.5),
    "Optuna TPE 25 %": rivals.tpe,
    "Optuna TPE 50 %": partial(rivals.tpe, share=0.5),
    "Optuna WilcoxonPruner": rivals.wilcoxon,
    "halving on means": rivals.halving,
    "confidence boxes": rivals.confidence_boxes,
}
METHODS = {**OURS, **RIVALS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One replay: what it took, as shares of the full grid, and whether its answer is right.

    ``sound``: within the margin of the best (or of the named reference) and at most 1.05 times the cheapest within half of
    it; ``exact``: what the full grid picks, within 5 % of the cost. ``false``: it certified a pick that is outside the
    margin on these questions; ``false_new``: it confirmed one that is outside on the population's truth. ``None``: it
    claims no such thing, or the truth is not known. ``new_outside``: the pick is outside the margin of the population's best.
    """

    source: str
    questions: int
    margin: float
    method: str
    evaluations: float
    joules: float
    sound: bool
    exact: bool
    outside: bool
    certified: bool | None
    false: bool | None
    confirmed: bool | None
    false_new: bool | None
    new_outside: bool | None


def cases_of(matrix: Matrix, margins: Sequence[float], confidence: float, seed: int) -> Iterator[Case]:
    """A case for each margin: the questions in a seeded order, two thirds to search on, a third kept for the test."""
    order = np.random.default_rng(seed).permutation(len(matrix.questions))
    dev = round(_DEV_SHARE * len(order))
    return _cases(matrix, order[:dev], order[dev:], margins, confidence, seed)


def _cases(
    matrix: Matrix, dev: Rows, test: Rows, margins: Sequence[float], confidence: float, seed: int
) -> Iterator[Case]:
    configurations = tuple(
        Configuration(axes, id=digest(each)[:10]) for each, axes in zip(matrix.configurations, matrix.axes, strict=True)
    )
    guesses = _guessed_costs(configurations, matrix, seed)
    for margin in margins:
        yield Case(
            configurations=configurations,
            scores=matrix.scores[:, dev],
            joules=matrix.joules[:, dev],
            test_scores=matrix.scores[:, test],
            test_joules=matrix.joules[:, test],
            expected_costs=guesses,
            margin=margin,
            confidence=confidence,
            seed=seed,
        )


def _guessed_costs(configurations: Sequence[Configuration], matrix: Matrix, seed: int) -> Array:
    """As the product guesses them where the axes are its own; elsewhere the truth with an error of a fifth."""
    if all(_OF_THE_PRODUCT <= each.axes.keys() <= DEFAULT_AXES.keys() for each in configurations):
        return expected_costs(configurations, "joules")
    error = np.random.default_rng([seed, 1]).normal(0, _GUESS_ERROR, len(configurations))
    return matrix.joules.mean(axis=1) * np.exp(error)


def judge(case: Case, method: str, source: str, truth: Array | None = None) -> Judged:
    """Run a method on a case and hold its answer against the matrix, and against the population's means where known."""
    found = METHODS[method](case)
    means, costs = case.scores.mean(axis=1), case.joules.mean(axis=1)
    named = found.certified is not None and found.reference is not None
    target = float(means[found.reference] if named else means.max())
    within = bool(means[found.pick] >= target - case.margin - 1e-12)
    cheapest = costs[means >= target - case.margin / 2 - 1e-12].min()
    of_grid = costs[means >= target - case.margin - 1e-12].min()
    false_new = new_outside = None
    if truth is not None:
        new_outside = bool(truth[found.pick] < truth.max() - case.margin - 1e-12)
        if found.confirmed is not None and found.reference is not None:
            false_new = found.confirmed and bool(truth[found.pick] < truth[found.reference] - case.margin - 1e-12)
    return Judged(
        source=source,
        questions=case.scores.shape[1],
        margin=case.margin,
        method=method,
        evaluations=found.evaluations / case.scores.size,
        joules=found.joules / float(case.joules.sum()),
        sound=within and bool(costs[found.pick] <= CHEAP_ENOUGH * cheapest),
        exact=within and abs(float(costs[found.pick] / of_grid) - 1) <= _SAME_COST,
        outside=not within,
        certified=found.certified,
        false=None if found.certified is None else found.certified and not within,
        confirmed=found.confirmed,
        false_new=false_new,
        new_outside=new_outside,
    )


# -------------------------------------------------------------------------------------------------- what is replayed


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One seed of one source: a landscape or a worst case by name, or a matrix."""

    source: str | Matrix
    questions: int
    margins: tuple[float, ...]
    confidence: float
    seed: int


def replay(task: Task) -> list[Judged]:
    """Every method on every margin of a task."""
    if isinstance(task.source, Matrix):
        cases = cases_of(task.source, task.margins, task.confidence, task.seed)
        return [judge(case, method, task.source.name) for case in cases for method in METHODS]
    if task.source in WORST_CASES:
        return list(_worst(task))
    drawn = draw(task.source, 2 * task.questions, task.seed)
    half, everything = task.questions, np.arange(2 * task.questions)
    cases = _cases(drawn.matrix, everything[:half], everything[half:], task.margins, task.confidence, task.seed)
    return [judge(case, method, task.source, drawn.means) for case in cases for method in METHODS]


def _worst(task: Task) -> Iterator[Judged]:
    """The claims on these questions where all but one configuration are just outside the margin, and cheaper."""
    for margin in task.margins:
        matrix = worst_case(str(task.source), margin, task.questions, task.seed)
        order = np.random.default_rng([task.seed, 2]).permutation(task.questions)
        for case in _cases(matrix, order, order[:0], [margin], task.confidence, task.seed):
            for method in (EVERY, EXACT, REFERENCE, SCREEN):
                yield judge(case, method, str(task.source))

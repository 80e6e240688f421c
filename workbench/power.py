"""What questions can decide: how many a comparison takes, the margin a number of them can show, and what a race will ask.

Before anything ran, nothing is known of how far apart configurations lie; ``LANDSCAPES`` holds what grids of real and
simulated setups looked like, and figures are given over all of them.
"""

from __future__ import annotations

from math import inf, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from workbench.racing import Terms

PAIRED_SD = (0.25, 0.37, 0.45)
"""Standard deviation of the difference of two configurations' scores on a question: low, central, high of what was measured."""

LANDSCAPES = ((1.29, 0.28), (1.37, 0.176), (1.66, 0.070))
"""Shape and scale of a Weibull law of the distance to the best: wide, typical, flat. Fitted to the shares of 60 simulated
configurations within .02, .05 and .10 of the best: 3, 8, 23 %; 5, 15, 37 %; 12, 38, 83 %."""

_POWER = 0.8
_WAVE = 8  # configurations that a race against a named reference starts at a time
_OVER_HINDSIGHT = {"screen": 0.9, "every": 1.05, "reference": 1.1}
"""What races asked in simulations, as a multiple of what their comparisons need for one who knows the pick: not knowing it
costs questions, luck saves some, most at a level that single chances pass."""
_DEAR_ARE_GOOD = 0.7  # rank correlation of cost and quality
_DRAWS = 20
_MANY = 2_000  # configurations, from where on a single draw says as much
_BEST_GUESS = 1  # the place of the central value among low, central, high
_ALL_BUT_NONE = 1e-9

Array = NDArray[np.float64]


def questions_for(gap: Array, level: float, questions: int, sd: float = PAIRED_SD[_BEST_GUESS]) -> Array:
    """About how many of a split's questions tell means that lie ``gap`` from a boundary, at a level, with 80 % power.

    ``n0 = (z(1 − level) + z(.8))² sd² / gap²``; ``min(N, n0 / (1 + n0/N) + 3 ln(1/level))`` for the betting e-process
    without replacement (fits simulated means within about 15 %). A gap that is not above 0 takes all of them.
    """
    normal = NormalDist()
    z = normal.inv_cdf(1 - level) + normal.inv_cdf(_POWER)
    free = (z * sd / np.maximum(gap, _ALL_BUT_NONE)) ** 2
    return np.minimum(questions, free / (1 + free / questions) + 3 * log(1 / level))


def margin_here(asked: float, questions: int, level: float, sd: float = PAIRED_SD[_BEST_GUESS]) -> float:
    """The margin that is shown of a pick as good as the best after ``asked`` of a split's questions: ``questions_for``, inverted.

    0 where all of them are asked, infinite where no margin is shown after so few.
    """
    if asked >= questions:
        return 0.0
    normal = NormalDist()
    z = normal.inv_cdf(1 - level) + normal.inv_cdf(_POWER)
    effective = asked - 3 * log(1 / level)
    return inf if effective <= 0 else z * sd / sqrt(effective / (1 - effective / questions))


def margin_of_new_questions(questions: int, confidence: float, sd: float = PAIRED_SD[_BEST_GUESS]) -> float:
    """The smallest margin that a test split shows of a pick as good as its reference, with 80 % power; infinite without any.

    For the e-process planned for n questions, ``Σ λ(X − m)`` must pass ``ln(1/α)`` with ``λ = √(2 ln(1/α) / n) / sd``, so
    that ``margin = (√(2 ln(1/α)) + z(.8)) sd / √n``: 3.3 sd / √n at 95 %.
    """
    return _planned(confidence) * sd / sqrt(questions) if questions else inf


def new_questions_for(margin: float, confidence: float, sd: float = PAIRED_SD[_BEST_GUESS]) -> float:
    """How many new questions show that margin: ``margin_of_new_questions``, inverted; infinite for a margin of 0."""
    return (_planned(confidence) * sd / margin) ** 2 if margin > 0 else inf


def _planned(confidence: float) -> float:
    return sqrt(2 * log(1 / (1 - confidence))) + NormalDist().inv_cdf(_POWER)


def race(costs: Array, questions: int, agreed: Terms, *, seed: int = 0) -> Array:
    """Questions that a race asks of each configuration with these expected costs, before anything is known of their quality.

    Shape (3, configurations): low, central and high are a wide, a typical and a flat landscape. Distances to the best are
    drawn over the configurations (dear ones are more often good), every comparison that a race on these terms needs is
    given its ``questions_for``, and all is multiplied by what not knowing its pick has cost races in simulations.
    """
    order = np.argsort(costs, kind="stable")
    count = len(costs)
    reference = None if agreed.reference is None else int(np.flatnonzero(order == agreed.reference)[0])
    draws = 1 if count > _MANY else _DRAWS
    asked = np.zeros((len(LANDSCAPES), count))
    frontier = _frontiers(questions, agreed.pilot)
    for row, landscape in enumerate(LANDSCAPES):
        generator = np.random.default_rng(seed)
        for _ in range(draws):
            distance = _distances(count, landscape, generator)
            if reference is None:
                needed = _needed(distance, questions, agreed)
            else:
                needed = _against_reference(distance, reference, questions, agreed)
            needed = np.where(
                needed > 0, np.clip(needed * _OVER_HINDSIGHT[agreed.level], min(agreed.pilot, questions), questions), 0
            )
            asked[row, order] += frontier[np.searchsorted(frontier, needed)]
    found = np.sort(asked / draws, axis=0)
    found[:, sorted(agreed.bounds)] = 0 if reference is not None else min(agreed.pilot, questions)  # they never race
    return found


def _distances(count: int, landscape: tuple[float, float], generator: np.random.Generator) -> Array:
    """Distances to the best, from the cheapest configuration to the dearest; the smallest is 0."""
    shape, scale = landscape
    farthest_first = scale * (-np.log(1 - (np.arange(count)[::-1] + 0.5) / count)) ** (1 / shape)
    by_cost = np.linspace(-sqrt(3), sqrt(3), count)
    place = _DEAR_ARE_GOOD * by_cost + sqrt(1 - _DEAR_ARE_GOOD**2) * generator.standard_normal(count)
    found = np.empty(count)
    found[np.argsort(place)] = farthest_first
    return found - found.min()


def _needed(distance: Array, questions: int, agreed: Terms) -> Array:
    """Questions that each configuration answers, cheapest first, by one who knows the pick."""
    inferior = agreed.inferior_share * agreed.margin
    best = int(np.argmin(distance))
    target = int(np.argmax(distance <= (agreed.margin + inferior) / 2))  # about where a race puts it
    spare = agreed.margin + distance - distance[target]
    within = questions_for(spare, agreed.within_level(len(distance)), questions)
    bounded = np.minimum(within, questions_for(distance, agreed.not_best_level, questions))
    if agreed.level == "screen":
        bounded = np.minimum(bounded, _let_go(spare, questions, agreed))
    excluded = questions_for(distance - inferior, agreed.inferior_level, questions)
    needed = np.where(np.arange(len(distance)) < target, excluded, bounded)
    needed[[target, best]] = 0.0
    needed[[target, best]] = max(float(needed.max()), 1.0)
    return needed


def _let_go(gap: Array, questions: int, agreed: Terms) -> Array:
    """When a screening stops asking dearer configurations because they are unlikely to lie beyond a boundary ``gap`` away.

    The first mark n where the normal says so, as ``Terms.unlikely`` asks: ``gap ≥ z sd √((1 − n/N) / n)``.
    """
    marks = _frontiers(questions, agreed.pilot)[1:]
    z = np.array([-NormalDist().inv_cdf(each) for each in agreed.unlikely(marks, questions).tolist()])
    needed = z * PAIRED_SD[_BEST_GUESS] * np.sqrt((1 - marks / questions) / marks)
    place = np.searchsorted(-needed, -np.maximum(gap, 0.0))
    return marks[np.minimum(place, len(marks) - 1)]


def _against_reference(distance: Array, reference: int, questions: int, agreed: Terms) -> Array:
    """The same where the reference was named beforehand: only cheaper ones run, in waves, until one passes; 0: never started.

    A reference is taken to be as good as the best: nobody names a poor one.
    """
    inferior = agreed.inferior_share * agreed.margin
    needed = np.zeros(len(distance))
    if reference:
        good = np.flatnonzero(distance[:reference] <= (agreed.margin + inferior) / 2)
        started = min(reference, (int(good[0]) // _WAVE + 1) * _WAVE) if len(good) else reference
        needed[:started] = questions_for(distance[:started] - inferior, agreed.inferior_level, questions)
        if len(good):
            level = agreed.alpha / (2 * reference)
            shown = float(questions_for(agreed.margin - distance[good[:1]], level, questions)[0])
            needed[good[0] : started] = np.minimum(needed[good[0] : started], shown)
            needed[good[0]] = shown
    needed[reference] = max(float(needed.max()), 1.0)
    return needed


def _frontiers(questions: int, pilot: int) -> Array:
    """Where a race lets its configurations catch up: the pilot, then a fifth more in steps of five."""
    found = [min(pilot, questions)]
    while found[-1] < questions:
        found.append(min(questions, found[-1] + max(5, 5 * round(found[-1] / 25))))
    return np.array([0, *found], dtype=np.float64)

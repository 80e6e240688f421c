"""What questions can decide: how many a comparison takes, the margin a number of them can show, and what a race will ask.

Before anything ran, nothing is known of how far apart configurations lie; ``LANDSCAPES`` holds what grids of real and
simulated setups looked like, and figures are given over all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, sqrt
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PAIRED_SD = (0.25, 0.37, 0.45)
"""Standard deviation of the difference of two configurations' scores on a question: low, central, high of what was measured."""

LANDSCAPES = ((1.29, 0.28), (1.37, 0.176), (1.66, 0.070))
"""Shape and scale of a Weibull law of the distance to the best: wide, typical, flat. Fitted to the shares of 60 simulated
configurations within .02, .05 and .10 of the best: 3, 8, 23 %; 5, 15, 37 %; 12, 38, 83 %."""

Level = Literal["screen", "every", "reference"]

SCREEN = 0.2
"""The uncorrected level at which a screening race drops configurations."""

_POWER = 0.8
_PILOT = 10  # questions that every configuration answers
_WAVE = 8  # configurations that a race against a named reference starts at a time
_OVER_HINDSIGHT = 1.4  # a race does not know its pick beforehand: it asked 1.2 to 1.6 times as much in simulations
_DEAR_ARE_GOOD = 0.7  # rank correlation of cost and quality
_DRAWS = 20
_MANY = 2_000  # configurations, from where on a single draw says as much
_BEST_GUESS = 1  # the place of the central value among low, central, high
_ALL_BUT_NONE = 1e-9

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Questions that a race asks of each configuration: rows low, central, high (wide, typical, flat landscape)."""

    questions: Array

    @property
    def answers(self) -> tuple[float, float, float]:
        """Answers in all."""
        low, central, high = self.questions.sum(axis=1)
        return float(low), float(central), float(high)


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


def race(
    costs: Array,
    questions: int,
    *,
    margin: float,
    confidence: float,
    level: Level = "screen",
    inferior_share: float = 0.5,
    seed: int = 0,
) -> Expected:
    """What a race asks of configurations with these expected costs, before anything is known of their quality.

    For each landscape, distances to the best are drawn over the configurations (dear ones are more often good), and
    every comparison that the race of this level needs is given its ``questions_for``; a race does not know its pick, so
    all is multiplied by what that cost in simulations.
    """
    order = np.argsort(costs, kind="stable")
    count = len(costs)
    draws = 1 if count > _MANY else _DRAWS
    asked = np.zeros((len(LANDSCAPES), count))
    frontier = _frontiers(questions)
    for row, landscape in enumerate(LANDSCAPES):
        generator = np.random.default_rng(seed)
        for _ in range(draws):
            distance = _distances(count, landscape, generator)
            needed = _needed(distance, questions, margin, 1 - confidence, level, inferior_share)
            needed = np.where(needed > 0, np.clip(needed * _OVER_HINDSIGHT, _PILOT, questions), 0)
            asked[row, order] += frontier[np.searchsorted(frontier, np.minimum(needed, questions))] / draws
    return Expected(questions=np.sort(asked, axis=0) if count == 1 else asked)


def _distances(count: int, landscape: tuple[float, float], generator: np.random.Generator) -> Array:
    """Distances to the best, from the cheapest configuration to the dearest; the smallest is 0."""
    shape, scale = landscape
    farthest_first = scale * (-np.log(1 - (np.arange(count)[::-1] + 0.5) / count)) ** (1 / shape)
    by_cost = np.linspace(-sqrt(3), sqrt(3), count)
    place = _DEAR_ARE_GOOD * by_cost + sqrt(1 - _DEAR_ARE_GOOD**2) * generator.standard_normal(count)
    found = np.empty(count)
    found[np.argsort(place)] = farthest_first
    return found - found.min()


def _needed(distance: Array, questions: int, margin: float, alpha: float, level: Level, inferior_share: float) -> Array:
    """Questions that each configuration answers, cheapest first, by one who knows the pick; 0: it is never started."""
    count = len(distance)
    inferior = inferior_share * margin
    enough = (margin + inferior) / 2  # about where a race puts its target
    best = int(np.argmin(distance))
    if level == "reference":
        return _against_reference(distance, best, questions, margin, alpha, inferior)
    target = int(np.argmax(distance <= enough))
    within, out = (SCREEN, SCREEN) if level == "screen" else (alpha / (2 * max(count - 1, 1)), alpha)
    beaten = SCREEN if level == "screen" else alpha / 2
    excluded = questions_for(distance - inferior, out, questions)
    bounded = np.minimum(
        questions_for(margin + distance - distance[target], within, questions),
        questions_for(distance, beaten, questions),
    )
    needed = np.where(np.arange(count) < target, excluded, bounded)
    needed[[target, best]] = 0.0
    needed[[target, best]] = max(float(needed.max()), float(_PILOT))
    return needed


def _against_reference(
    distance: Array, reference: int, questions: int, margin: float, alpha: float, inferior: float
) -> Array:
    """The same where the reference was named beforehand: only cheaper ones run, in waves, until one passes."""
    needed = np.zeros(len(distance))
    if reference:
        good = np.flatnonzero(distance[:reference] <= (margin + inferior) / 2)
        passing = int(good[0]) if len(good) else None
        started = reference if passing is None else min(reference, (passing // _WAVE + 1) * _WAVE)
        needed[:started] = questions_for(distance[:started] - inferior, alpha / 2, questions)
        if passing is not None:
            shown = questions_for(margin - distance[passing : passing + 1], alpha / (2 * reference), questions)
            needed[passing:started] = np.minimum(needed[passing:started], shown)
            needed[passing] = shown[0]
    needed[reference] = max(float(needed.max()), float(_PILOT))
    return needed


def _frontiers(questions: int) -> Array:
    """Where a race lets its configurations catch up: 10 questions, then a fifth more in steps of five."""
    found = [min(_PILOT, questions)]
    while found[-1] < questions:
        found.append(min(questions, found[-1] + max(5, 5 * round(found[-1] / 25))))
    return np.array([0, *found], dtype=np.float64)

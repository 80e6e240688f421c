"""What a search itself took: spent, saved by sharing work, saved by stopping early, and after how many answers it pays back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from math import inf, sqrt
from statistics import NormalDist

import numpy as np

from workbench.coefficients import restore
from workbench.comparison import COSTS, Comparison
from workbench.footprint import Estimate, exactly, plus, total
from workbench.footprint import payback as paid_back
from workbench.ledger import add, price, scale
from workbench.recommendation import Recommendation
from workbench.records import HARNESS, Coefficients, Configuration, Energy, Reading
from workbench.stats import Array
from workbench.texts import NOT_MEASURED, energy_text, range_text, significant

_BORROWED = 4  # answers; so much do all configurations' deviations count in the estimate of one's
_UNKNOWN_SPREAD = 1.0  # of a cost, as a share of its mean, where no configuration has two answers; RACE.md §7: 0.5–1.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """An amount of work, with ranges; ``answers`` are those that models gave, ``None`` is not measured."""

    joules: Energy | None
    seconds: Estimate
    answers: int
    tokens: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFootprint:
    """What a search took with all one-off work, and what it did not have to take.

    ``shared`` is what the stored answers take alone less what they took; ``stopped`` what the cells that were never
    asked would have taken alone, by what their configurations took so far. ``unknown`` counts such cells of
    configurations that never answered: nothing is known of their cost, and they are in no amount.
    """

    spent: Amount
    shared: Amount
    stopped: Amount
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Payback:
    """The number of answers after which a search has paid for itself; ``None`` for the ``reason`` given."""

    answers: Estimate | None
    reason: str = ""


def search_footprint(comparison: Comparison) -> SearchFootprint:
    """What the search took, and what sharing and stopping early spared it."""
    coefficients = restore(comparison.environment["coefficients"])
    spent = comparison.spent
    works = [reading for work, reading in spent.one_offs.items() if work != HARNESS]
    whole = [reading for reading in (spent.reading, *works) if reading is not None]
    saved = None if spent.alone is None or spent.reading is None else add([spent.alone, scale(spent.reading, -1)])
    tokens = 0 if spent.alone is None else _tokens([spent.alone]) - spent.tokens
    stopped, unknown = _stopped(comparison)
    return SearchFootprint(
        spent=Amount(
            joules=_sum([spent.answering, *([spent.one_off_joules] if spent.one_offs else [])]),
            seconds=exactly(sum(reading.seconds for reading in whole)),
            answers=spent.answers - spent.generated_before,
            tokens=exactly(spent.tokens + _tokens(spent.one_offs.values())),
        ),
        shared=Amount(
            joules=None if saved is None else _priced(saved, coefficients),
            seconds=exactly(0.0 if saved is None else saved.seconds),
            answers=spent.generated_before,
            tokens=exactly(tokens),
        ),
        stopped=stopped,
        unknown=unknown,
    )


def payback(
    comparison: Comparison, chosen: Configuration | None, reference: Configuration | None, unit: str = "joules"
) -> Payback:
    """After how many answers the chosen setup has saved, against the reference, what the search took.

    Spent, with one-off work, over the saving per answer on the questions that both answered, in ``joules``, ``tokens`` or
    ``seconds``. The range is that of the saving's mean at the goal's confidence, normal, and of coefficients that are not
    common to both; it is open at the top where the saving may be nothing.
    """
    if chosen is None or reference is None:
        return Payback(answers=None, reason="no setup was chosen")
    if chosen == reference:
        return Payback(answers=None, reason="the reference itself was chosen, so that nothing is saved")
    cheap, dear = (_row(comparison, configuration) for configuration in (chosen, reference))
    costs = comparison.matrix.costs[unit]
    both = ~np.isnan(costs[cheap]) & ~np.isnan(costs[dear])
    if not both.any():
        return Payback(answers=None, reason=f"they have no question in common whose {unit} were measured")
    saved = costs[dear][both] - costs[cheap][both]
    mean = float(saved.mean())
    if mean <= 0:
        return Payback(answers=None, reason=f"the chosen setup takes no fewer {unit} than the reference")
    found = _division(comparison, unit, dear, cheap, both, mean)
    if found is None:
        return Payback(answers=None, reason=f"what the search took was not measured in {unit}")
    error = _z(comparison) * _deviation(saved, _UNKNOWN_SPREAD) / sqrt(len(saved))
    return Payback(
        answers=Estimate(
            found.low * mean / (mean + error),
            found.central,
            found.high * mean / (mean - error) if error < mean else inf,
        )
    )


def search_sentences(comparison: Comparison, recommendation: Recommendation) -> list[str]:
    """What the search took and spared, and when it has paid for itself, in two sentences."""
    found = search_footprint(comparison)
    said = f"The search took {_amount_text(found.spent)}"
    said += f"; sharing work saved {_amount_text(found.shared)}"
    spared = _amount_text(found.stopped)
    said += f", stopping early {spared}" if comparison.state == "finished" else f"; not asked so far: {spared}"
    if found.unknown:
        said += f" and {found.unknown:,} answers of setups that never ran, whose cost is not known"
    unit = comparison.goal.minimise if comparison.goal.minimise in COSTS else "joules"
    back = payback(comparison, recommendation.chosen, recommendation.reference, unit)
    if back.answers is None:
        return [f"{said}.", f"It is not paid back: {back.reason}."]
    assert recommendation.reference is not None
    span = f"from {back.answers.low:,.0f} on" if back.answers.high == inf else _count_range(back.answers)
    against = f"{recommendation.reference.label} [{recommendation.reference.id}]"
    return [
        f"{said}.",
        f"In {unit} it has paid for itself after {back.answers.central:,.0f} answers ({span}) in place of {against}.",
    ]


# --------------------------------------------------------------------------------------------------- stopping early


def _stopped(comparison: Comparison) -> tuple[Amount, int]:
    """What was never asked, at each configuration's mean cost so far, and how much of it has no cost to go by."""
    unknown, answers = 0, 0
    seconds, tokens = exactly(0.0), exactly(0.0)
    tokens_known = True
    energies: list[Energy | None] = []
    costs = comparison.matrix.costs
    spread = {unit: _typical_spread(costs[unit]) for unit in COSTS}
    for row, figures in enumerate(comparison.figures):
        asked = comparison.spent.asked.get(figures.configuration.id, 0)
        left = len(comparison.matrix.questions) - asked
        missing = round(left * figures.answers / asked) if asked else left
        if missing <= 0:
            continue
        took = {unit: _times(_mean(costs[unit][row], spread[unit], _z(comparison)), missing) for unit in COSTS}
        if took["seconds"] is None:
            unknown += missing
            continue
        answers += missing
        seconds = total(seconds, took["seconds"])
        tokens_known = tokens_known and took["tokens"] is not None
        tokens = total(tokens, took["tokens"] or exactly(0.0))
        energies.append(_ranged(figures.joules, took["joules"]))
    amount = Amount(joules=_sum(energies), seconds=seconds, answers=answers, tokens=tokens if tokens_known else None)
    return amount, unknown


def _times(mean: Estimate | None, count: int) -> Estimate | None:
    return None if mean is None else Estimate(*(value * count for value in mean))


def _mean(costs: Array, spread: float, z: float) -> Estimate | None:
    """A configuration's mean cost with the range that so few answers leave it."""
    kept = costs[~np.isnan(costs)]
    if not len(kept):
        return None
    mean = float(kept.mean())
    error = z * _deviation(kept, spread) / sqrt(len(kept))
    return Estimate(max(mean - error, 0.0), mean, mean + error)


def _deviation(values: Array, spread: float) -> float:
    """The standard deviation of values, drawn towards ``spread`` times their mean the fewer they are."""
    squares = float(((values - values.mean()) ** 2).sum())
    return sqrt((squares + _BORROWED * (spread * values.mean()) ** 2) / (len(values) - 1 + _BORROWED))


def _typical_spread(costs: Array) -> float:
    """The typical standard deviation of a configuration's costs, as a share of their mean."""
    rows = [row[~np.isnan(row)] for row in costs]
    found = [row.std(ddof=1) / row.mean() for row in rows if len(row) > 1 and row.mean() > 0]
    return float(np.sqrt(np.mean(np.square(found)))) if found else _UNKNOWN_SPREAD


def _ranged(energy: Energy | None, joules: Estimate | None) -> Energy | None:
    """Central joules with a range of their own, widened by that of an energy's coefficients."""
    if energy is None or joules is None or not energy.central:
        return energy if joules is not None else None
    return replace(
        energy,
        low=joules.low * energy.low / energy.central,
        central=joules.central,
        high=joules.high * energy.high / energy.central,
    )


# -------------------------------------------------------------------------------------------------------- arithmetic


def _division(comparison: Comparison, unit: str, dear: int, cheap: int, both: Array, saving: float) -> Estimate | None:
    """What was spent over the mean saving, with the range of coefficients where they do not cancel."""
    spent = search_footprint(comparison).spent
    if unit != "joules":
        amount = spent.tokens if unit == "tokens" else spent.seconds
        return None if amount is None else exactly(amount.central / saving)
    costs = comparison.matrix.costs[unit]
    one, other = (
        _ranged(comparison.figures[row].joules, exactly(float(costs[row][both].mean()))) for row in (dear, cheap)
    )
    return None if spent.joules is None or one is None or other is None else paid_back(spent.joules, one, other)


def _priced(saved: Reading, coefficients: Coefficients) -> Energy | None:
    """Joules of a difference of readings; prices are linear, so its range is that of the coefficients they share."""
    found = price(saved, coefficients)
    if found is None:
        return None
    low, _, high = sorted((found.low, found.central, found.high))
    return replace(found, low=low, high=high)


def _sum(energies: Iterable[Energy | None]) -> Energy | None:
    """Energies as one; not measured where one of them was not."""
    parts = list(energies)
    known = [energy for energy in parts if energy is not None]
    if len(known) < len(parts):
        return None
    return reduce(plus, known) if known else Energy(low=0.0, central=0.0, high=0.0, source="counter")


def _tokens(readings: Iterable[Reading]) -> int:
    return sum((reading.tokens_in or 0) + (reading.tokens_out or 0) for reading in readings)


def _row(comparison: Comparison, configuration: Configuration) -> int:
    return comparison.matrix.configurations.index(configuration)


def _z(comparison: Comparison) -> float:
    return NormalDist().inv_cdf(0.5 + comparison.goal.confidence / 2)


def _amount_text(amount: Amount) -> str:
    if not amount.answers and not amount.seconds.central:
        return "nothing"
    tokens = NOT_MEASURED if amount.tokens is None else _counted(amount.tokens)
    seconds = significant(amount.seconds.central)
    if amount.seconds.low != amount.seconds.high:
        seconds += f" ({range_text(amount.seconds)})"
    return f"{energy_text(amount.joules)} J, {seconds} s, {amount.answers:,} answers and {tokens} tokens"


def _counted(count: Estimate) -> str:
    return f"{count.central:,.0f}" + ("" if count.low == count.high else f" ({_count_range(count)})")


def _count_range(count: Estimate) -> str:
    return f"{count.low:,.0f}–{count.high:,.0f}"

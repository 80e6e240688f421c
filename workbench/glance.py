"""A recommendation at a glance: the headline figures of one setup, and its claims, savings and rejections as rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from workbench.comparison import Comparison, Figures
from workbench.footprint import SHOWN_ANSWERS, Estimate
from workbench.impacts import dollars_of, footprint_of
from workbench.recommendation import Recommendation
from workbench.records import Configuration, Energy
from workbench.stats import Array, Interval, interval
from workbench.texts import NOT_ESTIMATED, NOT_MEASURED, NOT_PRICED, known_text, range_text, significant

Row = dict[str, Any]

_SOURCES = {
    "counter": "Read from the machine's energy counters",
    "cpu_time": "Estimated from CPU time",
    "utilisation": "Estimated from utilisation",
    "modelled": "Modelled, not measured",
}
_UNITS = {"joules": "J", "tokens": "tokens", "seconds": "s", "dollars": "dollars", "grams_co2e": "g CO2e"}
_SLOW = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One figure of a setup: what it is, its value with its unit, its range in words, and how it is known."""

    label: str
    value: str
    range: str
    known: str


def headlines(comparison: Comparison, configuration: Configuration) -> list[Headline]:
    """The figures of a setup that people look at first, each with its interval or range, or the words for its absence.

    Tokens and quality have bootstrap intervals over questions, the 95th percentile one by ranks, which assumes no shape;
    joules and what follows from them the range of their coefficients. ``known`` holds words of this module only.
    """
    figures = comparison.of(configuration.id)
    row = comparison.matrix.configurations.index(configuration)
    return [
        _quality(comparison, figures),
        _joules(figures),
        _tokens(comparison, row),
        _slowest(comparison, figures, row),
        _watt_hours(comparison, figures),
        _grams(comparison, figures),
        _dollars(comparison, figures),
        _joules_per_correct(comparison, figures),
    ]


def claim_rows(recommendation: Recommendation) -> list[Row]:
    """What was to be shown of the choice, one row per claim: whether it was, with which error, on how many questions.

    A race states its claims; a fixed sample has one, that the choice is within the margin of the best-scoring setup, and
    nothing in it is corrected for the number of setups.
    """
    chosen, reference, goal = recommendation.chosen, recommendation.reference, recommendation.goal
    if recommendation.level == "fixed sample" and chosen is not None and reference is not None:
        difference = recommendation.difference
        return [
            {
                "shown": _shown(chosen == recommendation.proven),
                "claim": f"Its {goal.metric} is at most {goal.margin:g} below that of the best-scoring setup.",
                "alpha": 1 - goal.confidence,
                "about": "these questions",
                "reference": "itself" if chosen == reference else _named(reference),
                "difference": "–" if difference is None or chosen == reference else _signed(difference),
                "questions": f"{recommendation.questions:,}",
            }
        ]
    return [
        {
            "shown": _shown(claim.shown),
            "claim": claim.statement,
            "alpha": claim.alpha,
            "about": claim.about,
            "reference": claim.against if claim.reference is None else _named(claim.reference),
            "difference": "–" if claim.difference is None else _signed(claim.difference),
            "questions": f"{claim.questions:,} of {claim.available:,}",
        }
        for claim in recommendation.claims
    ]


def saving_rows(comparison: Comparison, recommendation: Recommendation) -> list[Row]:
    """What the chosen setup takes beside the reference, one row per cost: both means, and the change with its interval.

    The means are over the questions that both answered, as the change is.
    """
    chosen, reference = recommendation.chosen, recommendation.reference
    if chosen is None or reference is None or chosen == reference:
        return []
    known = comparison.matrix.configurations
    found = []
    for unit, ratio in recommendation.savings.items():
        costs = comparison.matrix.costs[unit]
        one, other = costs[known.index(chosen)], costs[known.index(reference)]
        both = ~np.isnan(one) & ~np.isnan(other)
        change, low, high = (100 * (value - 1) for value in (ratio.mean, ratio.low, ratio.high))
        found.append(
            {
                "cost": f"{unit.replace('_', ' ')} per answer",
                "chosen": f"{significant(float(one[both].mean()))} {_UNITS[unit]}",
                "reference": f"{significant(float(other[both].mean()))} {_UNITS[unit]}",
                "change": change,
                "change_range": f"{low:+.0f} to {high:+.0f} %",
                "questions": ratio.n,
            }
        )
    return found


def rejection_rows(comparison: Comparison, recommendation: Recommendation) -> list[Row]:
    """Why each other setup was not chosen, beside its quality and its cost; those that are still open say so."""
    goal = recommendation.goal
    known = comparison.matrix.configurations
    found = []
    for each in recommendation.rejections:
        figures = comparison.of(each.configuration.id)
        cost = comparison.matrix.costs[goal.minimise][known.index(each.configuration)]
        found.append(
            {
                "setup": each.configuration.label,
                "why": each.reason,
                "open": "still open" if each.open else "",
                "quality": _mean(figures.scores[goal.metric]),
                "cost": None if np.isnan(cost).all() else float(np.nanmean(cost)),
                "configuration": each.configuration.id,
            }
        )
    return found


# ---------------------------------------------------------------------------------------------------------- headlines


def _quality(comparison: Comparison, figures: Figures) -> Headline:
    goal = comparison.goal
    found = figures.scores[goal.metric]
    if found is None:
        return Headline(label="Quality", value="does not apply", range=goal.metric, known="No question has this score.")
    return Headline(
        label="Quality",
        value=f"{found.mean:.3f}",
        range=f"{goal.metric} {found.low:.3f}–{found.high:.3f}",
        known=f"Mean over {found.n:,} questions with its {goal.confidence:.0%} interval.",
    )


def _joules(figures: Figures) -> Headline:
    label = "Energy per answer"
    energy = figures.joules
    if energy is None:
        return _absent(label, NOT_MEASURED, "No meter saw the work of its answers.")
    return Headline(
        label=label,
        value=f"{significant(energy.central)} J",
        range=f"{significant(energy.low)}–{significant(energy.high)} J{known_text(figures)}",
        known=f"{_SOURCES[energy.source]}, as if each answer had run alone. The range is mostly common to all setups: "
        "comparisons are tighter than it.",
    )


def _tokens(comparison: Comparison, row: int) -> Headline:
    label = "Tokens per answer"
    found = interval(comparison.matrix.costs["tokens"][row], comparison.goal.confidence)
    if found is None:
        return _absent(label, NOT_MEASURED, "Nobody counted the tokens of its answers.")
    return Headline(
        label=label,
        value=f"{found.mean:,.0f}",
        range=f"{found.low:,.0f}–{found.high:,.0f} tokens",
        known=f"Prompt and output; mean over {found.n:,} questions with its {comparison.goal.confidence:.0%} interval.",
    )


def _slowest(comparison: Comparison, figures: Figures, row: int) -> Headline:
    label = "95 % of answers within"
    latency = figures.seconds
    if latency is None:
        return _absent(label, NOT_MEASURED, "No answer was timed.")
    quiet = None if comparison.standings is None else comparison.standings.seconds[row]
    taken = comparison.matrix.costs["seconds"][row] if latency.disturbed or quiet is None else quiet
    low, high = percentile_interval(taken, _SLOW, comparison.goal.confidence)
    said = "–".join("?" if bound is None else significant(bound) for bound in (low, high))
    disturbed = " Other processes kept the machine busy: these times are disturbed." if latency.disturbed else ""
    return Headline(
        label=label,
        value=f"{significant(latency.p95)} s{'*' if latency.disturbed else ''}",
        range=f"{said} s; half within {significant(latency.p50)} s",
        known=f"The 95th percentile with its {comparison.goal.confidence:.0%} interval; “?” where so few questions set no "
        f"bound.{disturbed}",
    )


def _watt_hours(comparison: Comparison, figures: Figures) -> Headline:
    label = f"Energy per {SHOWN_ANSWERS:,} answers"
    found = footprint_of(comparison, figures)
    if found is None or figures.joules is None:
        return _absent(label, *_no_energy(figures.joules))
    hours = Estimate(*(1_000 * value for value in found.kwh))
    return Headline(
        label=label,
        value=f"{significant(hours.central)} Wh",
        range=f"{range_text(hours)} Wh, the building's share with it",
        known=f"{_SOURCES[figures.joules.source]}, with the building's share (PUE) on top.",
    )


def _grams(comparison: Comparison, figures: Figures) -> Headline:
    label = f"CO2e per {SHOWN_ANSWERS:,} answers"
    found = footprint_of(comparison, figures)
    if found is None:
        return _absent(label, *_no_energy(figures.joules))
    if found.grams_co2e is None:
        return _absent(label, NOT_ESTIMATED, "Nothing is known of the grid of the run's region.")
    return Headline(
        label=label,
        value=f"{significant(found.grams_co2e.central)} g",
        range=f"{range_text(found.grams_co2e)} g in {_where(comparison)}",
        known="Estimated: joules × PUE × grams per kWh of the region's grid. Making the electricity only.",
    )


def _where(comparison: Comparison) -> str:
    """The run's region in words, with the name it has in experiment files."""
    assert comparison.site is not None
    region = comparison.site.region
    return region.name if region.place in ("", region.name) else f"{region.place} ({region.name})"


def _dollars(comparison: Comparison, figures: Figures) -> Headline:
    label = f"Money per {SHOWN_ANSWERS:,} answers"
    found = dollars_of(comparison, figures)
    if found is None:
        why = (
            "No price is known for the tokens of its model."
            if figures.elsewhere
            else "It runs here, and no price of electricity was given with the region."
        )
        return _absent(label, NOT_PRICED, why)
    return Headline(
        label=label,
        value=f"{significant(found.central)} dollars",
        range="list price" if found.low == found.high else f"{range_text(found)} dollars",
        known="Estimated: tokens bought at list prices, or electricity at the price that was given.",
    )


def _joules_per_correct(comparison: Comparison, figures: Figures) -> Headline:
    label = "Energy per correct answer"
    energy = figures.joules
    if energy is None:
        return _absent(label, *_no_energy(energy))
    if figures.joules_per_correct is None:
        return _absent(label, "none correct", "No answer reached 0.5 of the score that decides.")
    times = figures.joules_per_correct / energy.central if energy.central else 0.0
    return Headline(
        label=label,
        value=f"{significant(figures.joules_per_correct)} J",
        range=f"{significant(times * energy.low)}–{significant(times * energy.high)} J; {figures.correct:,} of "
        f"{figures.answers:,} correct",
        known=f"{_SOURCES[energy.source]}; all of its answers over those that count as correct, which is from 0.5 on.",
    )


def _absent(label: str, value: str, why: str) -> Headline:
    return Headline(label=label, value=value, range="", known=why)


def _no_energy(energy: Energy | None) -> tuple[str, str]:
    if energy is None:
        return NOT_MEASURED, "The energy of its answers was not measured."
    return NOT_ESTIMATED, "The run does not say where it ran."


def percentile_interval(values: Array, share: float, confidence: float) -> tuple[float | None, float | None]:
    """Bounds of a percentile from ranks alone, whatever the values' distribution; ``None`` where there are too few values.

    The number of values below the percentile is binomial (n, share): the bounds are the values at the ranks that it leaves
    with at most half of the error on either side.
    """
    kept = np.sort(values[~np.isnan(values)])
    below = _binomial(len(kept), share)
    tail = (1 - confidence) / 2
    low = int((below <= tail).sum())
    high = int((below < 1 - tail).sum()) + 1
    return (float(kept[low - 1]) if low > 0 else None, float(kept[high - 1]) if high <= len(kept) else None)


def _binomial(n: int, share: float) -> Array:
    """The probability of at most so many of ``n``, for every number from 0 to n; in logarithms, which do not overflow."""
    numbers = np.arange(1, n + 1)
    ways = np.concatenate(([0.0], np.cumsum(np.log(n - numbers + 1) - np.log(numbers))))
    chances = ways + np.arange(n + 1) * np.log(share) + (n - np.arange(n + 1)) * np.log1p(-share)
    return np.cumsum(np.exp(chances))


# --------------------------------------------------------------------------------------------------------------- words


def _shown(shown: bool) -> str:
    return "shown" if shown else "not shown"


def _named(configuration: Configuration) -> str:
    return f"{configuration.label} [{configuration.id}]"


def _signed(found: Interval) -> str:
    return f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def _mean(found: Interval | None) -> float | None:
    return None if found is None else found.mean

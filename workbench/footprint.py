"""Joules → carbon, water and money at a site, and after how many answers saved joules have paid for those spent.

Pure arithmetic on what was read elsewhere. Everything before this module is energy of computers (IT level); the
building's share (PUE) is applied here, once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from workbench.grids import Site
from workbench.records import Coefficients, Energy, Triple

JOULES_PER_KWH = 3.6e6
SHOWN_ANSWERS = 1_000

_LEAST_CERTAIN_LAST = ("counter", "cpu_time", "utilisation", "modelled")


class Estimate(NamedTuple):
    """A quantity that is not negative, with its range."""

    low: float
    central: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a number of answers takes at a site: kWh with the building's share, grams of CO2e from making that electricity,
    litres of water, dollars. ``None`` is not known. ``embodied_grams`` is hardware's share, never added to the others."""

    answers: float
    region: str
    kwh: Estimate
    grams_co2e: Estimate | None
    litres: Estimate | None
    dollars: Estimate | None
    embodied_grams: Estimate | None = None


def exactly(value: float) -> Estimate:
    """A quantity without a range."""
    return Estimate(value, value, value)


def product(*factors: Estimate) -> Estimate:
    """The product of independent quantities, by interval arithmetic (none is negative)."""
    low, central, high = (math.prod(parts) for parts in zip(*factors, strict=True))
    return Estimate(low, central, high)


def total(*parts: Estimate) -> Estimate:
    """The sum of quantities, by interval arithmetic."""
    low, central, high = (sum(values) for values in zip(*parts, strict=True))
    return Estimate(low, central, high)


def joules(energy: Energy) -> Estimate:
    """The joules of an energy as a quantity."""
    return Estimate(energy.low, energy.central, energy.high)


def plus(one: Energy, other: Energy) -> Energy:
    """Two energies as one; what is known in different ways is as certain as the less certain of them."""
    return Energy(
        low=one.low + other.low,
        central=one.central + other.central,
        high=one.high + other.high,
        source=max(one.source, other.source, key=_LEAST_CERTAIN_LAST.index),
        shared=one.shared or other.shared,
        includes="; ".join(dict.fromkeys((one.includes, other.includes))),
    )


def share_coefficients(*energies: Energy) -> bool:
    """Whether energies are known in the same way on the same machine, so that what is uncertain is common to all.

    True for CPU time, utilisation and counters; two models elsewhere are modelled with parameters of their own.
    """
    return len({energy.source for energy in energies}) == 1 and energies[0].source != "modelled"


def ratio(one: Energy, other: Energy) -> Estimate:
    """How many times the other's energy the one's is; a factor common to both cancels, so the range may be far narrower.

    With common coefficients the ratio is taken level by level, otherwise between opposite ends of the ranges. A
    division by nothing is infinite.
    """
    a, b = joules(one), joules(other)
    if share_coefficients(one, other):
        found = sorted((_divided(a.low, b.low), _divided(a.central, b.central), _divided(a.high, b.high)))
        return Estimate(found[0], _divided(a.central, b.central), found[2])
    return Estimate(_divided(a.low, b.high), _divided(a.central, b.central), _divided(a.high, b.low))


def footprint(
    energy: Energy,
    site: Site,
    *,
    answers: float = 1,
    dollars_per_answer: float | None = None,
    runs_elsewhere: bool = False,
    embodied_grams: Estimate | None = None,
) -> Footprint:
    """What so many answers of this energy each take at a site.

    ``energy`` is one answer's at IT level, in joules. kWh = joules / 3.6e6 × PUE; grams = kWh × the grid's g/kWh; litres =
    IT kWh × (WUE of the site + PUE × litres per kWh of the grid), the form of EcoLogits and ISO/IEC 30134-9, where WUE is per
    kWh of the computers. ``dollars_per_answer`` is what providers ask for its tokens; electricity is added where the user
    gave its price and nothing ran elsewhere, whose price contains it. ``embodied_grams`` is one answer's, where known.
    """
    it_kwh = product(joules(energy), exactly(answers / JOULES_PER_KWH))
    pue = Estimate(*site.facility.pue)
    kwh = product(it_kwh, pue)
    grid = site.grid
    litres = None
    if grid is not None and grid.litres_per_kwh is not None:
        per_it_kwh = total(Estimate(*site.facility.litres_per_kwh), product(pue, Estimate(*grid.litres_per_kwh)))
        litres = product(it_kwh, per_it_kwh)
    dollars = None if dollars_per_answer is None else exactly(dollars_per_answer * answers)
    if not runs_elsewhere and site.dollars_per_kwh is not None:
        electricity = product(kwh, exactly(site.dollars_per_kwh))
        dollars = electricity if dollars is None else total(dollars, electricity)
    return Footprint(
        answers=answers,
        region=site.region.name,
        kwh=kwh,
        grams_co2e=None if grid is None else product(kwh, Estimate(*grid.grams_per_kwh)),
        litres=litres,
        dollars=dollars,
        embodied_grams=None if embodied_grams is None else product(embodied_grams, exactly(answers)),
    )


def embodied(elsewhere: Mapping[str, Triple], coefficients: Coefficients) -> Estimate | None:
    """Grams of CO2e of making the hardware behind the tokens of models elsewhere; ``None`` where any of it is not known.

    Output tokens × EcoLogits' grams per output token. Nothing is known of the hardware here.
    """
    found = []
    for model, (_, _, tokens_out) in elsewhere.items():
        known = coefficients.hosted.get(model)
        grams = None if known is None else known.embodied_grams_per_output_token
        if grams is None:
            return None
        found.append(Estimate(tokens_out * grams[0], tokens_out * (grams[0] + grams[1]) / 2, tokens_out * grams[1]))
    return total(*found) if found else None


def scaled(found: Footprint, factor: float) -> Footprint:
    """The footprint of so many times the answers; of one *correct* answer by the number of answers per correct one."""

    def each(part: Estimate | None) -> Estimate | None:
        return None if part is None else product(part, exactly(factor))

    return replace(
        found,
        answers=found.answers * factor,
        kwh=product(found.kwh, exactly(factor)),
        grams_co2e=each(found.grams_co2e),
        litres=each(found.litres),
        dollars=each(found.dollars),
        embodied_grams=each(found.embodied_grams),
    )


def payback(spent: Energy, dear: Energy, cheap: Energy) -> Estimate | None:
    """After how many answers the joules saved per answer make up for joules spent once; ``None``: never, nothing is saved.

    N = spent / (dear − cheap), in answers. With common coefficients the division is made level by level, so that they
    cancel; otherwise the range runs between opposite ends, and is infinite where the saving may be nothing.
    """
    saved = dear.central - cheap.central
    if saved <= 0:
        return None
    central = spent.central / saved
    if share_coefficients(spent, dear, cheap):
        levels = [
            _divided(spent.low, dear.low - cheap.low),
            central,
            _divided(spent.high, dear.high - cheap.high),
        ]
        return Estimate(min(levels), central, max(levels))
    return Estimate(
        _divided(spent.low, dear.high - cheap.low), central, _divided(spent.high, max(dear.low - cheap.high, 0.0))
    )


def rank(
    energy: Energy,
    sites: Iterable[Site],
    *,
    answers: float = SHOWN_ANSWERS,
    dollars_per_answer: float | None = None,
    runs_elsewhere: bool = False,
) -> list[tuple[Site, Footprint]]:
    """Sites with what the same answers would take there, least CO2e first; those without grid data are left out."""
    found = [
        (
            each,
            footprint(
                energy,
                each,
                answers=answers,
                dollars_per_answer=dollars_per_answer,
                runs_elsewhere=runs_elsewhere,
            ),
        )
        for each in sites
        if each.grid is not None
    ]
    return sorted(found, key=lambda pair: (_central(pair[1].grams_co2e), pair[0].region.name))


def _central(estimate: Estimate | None) -> float:
    return math.inf if estimate is None else estimate.central


def _divided(one: float, other: float) -> float:
    return one / other if other > 0 else math.inf

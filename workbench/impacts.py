"""The footprint of a run's configurations: at the run's own site, and ranked over every region there are data for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench import geography, grids
from workbench.coefficients import restore
from workbench.comparison import Comparison, Figures
from workbench.errors import InputError, MissingLibrary
from workbench.footprint import SHOWN_ANSWERS, Estimate, Footprint, embodied, exactly, footprint, rank, scaled
from workbench.geography import PROVIDERS, Region
from workbench.grid_data import Sources, installed
from workbench.grids import Facility, Site
from workbench.prices import dollars
from workbench.records import Configuration, Energy

RANKED = (*PROVIDERS, "country", "zone")
"""Whose regions can be ranked: those of a cloud, whole countries, or the zones of some countries' grids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRanking:
    """What 1,000 answers of one configuration would take in each region, least CO2e first; ``joules`` are one answer's."""

    run: str
    configuration: Configuration
    joules: Energy
    regions: tuple[tuple[Site, Footprint], ...]


def site_of(choice: str | Mapping[str, Any]) -> Site:
    """The site of a stored experiment; one whose region is not known any more is a site without data."""
    try:
        choice = grids.checked(choice)
    except InputError as error:
        name = str(choice if isinstance(choice, str) else choice.get("name", ""))
        nowhere = Region(name=name, provider="", country="", zone="", place=name)
        unknown: Facility = grids.facilities()["unknown"]
        return Site(region=nowhere, facility=unknown, grid=None, lacking=str(error))
    return grids.site(choice)


def footprint_of(comparison: Comparison, figures: Figures) -> Footprint | None:
    """What 1,000 answers of a configuration take at the run's site; ``None`` where their energy was not measured."""
    if figures.joules is None or comparison.site is None:
        return None
    return footprint(
        figures.joules,
        comparison.site,
        answers=SHOWN_ANSWERS,
        dollars_per_answer=dollars(figures.elsewhere, comparison.prices),
        runs_elsewhere=bool(figures.elsewhere),
        embodied_grams=embodied(figures.elsewhere, restore(comparison.environment["coefficients"])),
    )


def footprint_of_correct(comparison: Comparison, figures: Figures) -> Footprint | None:
    """What 1,000 correct answers take, with the wrong ones that come with them; ``None`` where none is correct, too."""
    found = footprint_of(comparison, figures)
    if found is None or figures.joules is None or figures.joules_per_correct is None or not figures.joules.central:
        return None
    return scaled(found, figures.joules_per_correct / figures.joules.central)


def dollars_of(comparison: Comparison, figures: Figures) -> Estimate | None:
    """Dollars for 1,000 answers; tokens bought have a price where their energy is not known, too."""
    found = footprint_of(comparison, figures)
    if found is not None:
        return found.dollars
    bought = dollars(figures.elsewhere, comparison.prices)
    return None if bought is None else exactly(bought * SHOWN_ANSWERS)


def has_prices(comparison: Comparison) -> bool:
    """Whether anything of a run costs money that can be told: tokens bought, or electricity whose price was given."""
    bought = any(figures.elsewhere for figures in comparison.figures)
    return bought or (comparison.site is not None and comparison.site.dollars_per_kwh is not None)


def rank_regions(
    comparison: Comparison, configuration: str, provider: str | None = None, sources: Sources | None = None
) -> RegionRanking:
    """Rank regions for a configuration by its id: those of one provider of ``RANKED``, or of all clouds, with the figures of
    ``sources`` (default: the packages installed).

    Raises ``InputError`` where its energy was not measured, ``MissingLibrary`` without grid data.
    """
    figures = comparison.of(configuration)
    if figures.joules is None:
        raise InputError(f"the energy of {configuration} was not measured, so no region can be ranked for it")
    if provider is not None and provider not in RANKED:
        raise InputError(f"provider is {provider!r}; expected one of {', '.join(RANKED)}")
    sources = sources or installed()
    if sources.codecarbon is None:
        raise MissingLibrary("codecarbon, which holds the regions' grids,", "energy")
    wanted = PROVIDERS if provider is None else (provider,)
    sites = [grids.site(each.name, sources) for each in geography.regions() if each.provider in wanted]
    ranked = rank(
        figures.joules,
        sites,
        dollars_per_answer=dollars(figures.elsewhere, comparison.prices),
        runs_elsewhere=bool(figures.elsewhere),
    )
    return RegionRanking(
        run=comparison.run, configuration=figures.configuration, joules=figures.joules, regions=tuple(ranked)
    )

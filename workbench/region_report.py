"""A ranking of regions as rows of text, CSV or JSON."""

from __future__ import annotations

from typing import Any

from workbench.exports import csv_text
from workbench.footprint import SHOWN_ANSWERS, Estimate
from workbench.impacts import RegionRanking
from workbench.mappings import energy_mapping, estimate_mapping, site_mapping
from workbench.texts import NOT_ESTIMATED, energy_text, range_text, significant

REGION_COLUMNS = (
    "region",
    "place",
    "g CO2e per 1,000 answers",
    "litres per 1,000 answers",
    "g CO2e per kWh",
    "year",
    "PUE",
    "grid",
)


def region_rows(ranking: RegionRanking) -> list[list[str]]:
    """One row of text per region, least CO2e first."""
    table = []
    for site, found in ranking.regions:
        grid, grams, litres = site.grid, found.grams_co2e, found.litres
        if grid is None or grams is None:
            continue
        table.append(
            [
                site.region.name,
                site.region.place,
                f"{significant(grams.central)} ({range_text(grams)})",
                NOT_ESTIMATED if litres is None else f"{significant(litres.central)} ({range_text(litres)})",
                significant(grid.grams_per_kwh[1]),
                "not stated" if grid.year is None else str(grid.year),
                f"{site.facility.pue[1]:.2f}",
                grid.source.partition(", in ")[0],
            ]
        )
    return table


def regions_mapping(ranking: RegionRanking) -> dict[str, Any]:
    """A ranking of regions as plain data."""
    return {
        "run": ranking.run,
        "configuration": {"id": ranking.configuration.id, "label": ranking.configuration.label},
        "joules_per_answer": energy_mapping(ranking.joules),
        "answers": SHOWN_ANSWERS,
        "regions": [
            {
                **site_mapping(site),
                "provider": site.region.provider,
                "grams_co2e": estimate_mapping(found.grams_co2e),
                "litres": estimate_mapping(found.litres),
                "dollars": estimate_mapping(found.dollars),
            }
            for site, found in ranking.regions
        ],
    }


def regions_csv(ranking: RegionRanking) -> str:
    """A ranking of regions as CSV, numbers in columns of their own."""
    columns = ["provider", "region", "place", "country"]
    columns += [f"grams_co2e_per_{SHOWN_ANSWERS}_{level}" for level in Estimate._fields]
    columns += [f"litres_per_{SHOWN_ANSWERS}_{level}" for level in Estimate._fields]
    columns += [f"dollars_per_{SHOWN_ANSWERS}", "grams_per_kwh", "year", "pue", "source"]
    table = [
        [
            site.region.provider,
            site.region.name,
            site.region.place,
            site.region.country,
            *(found.grams_co2e or [None] * 3),
            *(found.litres or [None] * 3),
            found.dollars and found.dollars.central,
            site.grid and site.grid.grams_per_kwh[1],
            site.grid and site.grid.year,
            site.facility.pue[1],
            site.grid and site.grid.source,
        ]
        for site, found in ranking.regions
    ]
    return csv_text(columns, table)


def region_notes(ranking: RegionRanking) -> list[str]:
    """How a ranking of regions is known."""
    return [
        f"For {ranking.configuration.label} [{ranking.configuration.id}]: {energy_text(ranking.joules)} J per answer, "
        "without the building.",
        "g CO2e = kWh × PUE × the grid's yearly average, by location and not by contract; ±30 % for the grid, half to twice "
        "below 60 g/kWh. Of joules and PUE the range is common to a provider's regions: ranks differ by their grids.",
        "Litres = kWh × (the building's own + PUE × those of making the electricity); both known to about a factor of two.",
        "What is emitted at the stack or in operation leaves out mines and building power stations, which a life cycle "
        "holds: between such grids, small differences and ranks below 60 g/kWh say little. A state's or zone's generation "
        f"is not all that a data centre there draws from. Read from {_packages(ranking)}.",
    ]


def _packages(ranking: RegionRanking) -> str:
    named = {site.grid.source.rpartition(", in ")[2] for site, _ in ranking.regions if site.grid is not None}
    return ", ".join(sorted(named)) or "nowhere"

"""Regions by name: a provider's region, a country or a zone of a country's grid, and where it lies. Geography, no figures."""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workbench.errors import InputError

WORLD = "WOR"
PROVIDERS = ("aws", "azure", "gcp")

_TABLE = Path(__file__).parent / "tables" / "regions.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A place on the map: a provider's region, a country or the zone of a grid. ``country`` is its ISO 3166 alpha-3 code."""

    name: str
    provider: str
    country: str
    zone: str
    place: str


@cache
def regions() -> tuple[Region, ...]:
    """Every region that can be named, clouds first, then countries, then zones of a country's grid."""
    with _TABLE.open(newline="", encoding="utf-8") as file:
        return tuple(
            Region(
                name=f"{row['provider']}:{row['region']}" if row["provider"] in PROVIDERS else row["region"],
                provider=row["provider"],
                country=row["country"],
                zone=row["zone"],
                place=row["place"],
            )
            for row in csv.DictReader(file)
        )


def region(name: str) -> Region:
    """The region of a name: ``aws:eu-north-1``, ``eu-north-1``, ``SWE``, ``SWE/SE3``, ``USA/virginia`` or ``WOR``, the world.

    Raises ``InputError`` with the nearest names for any other.
    """
    found = _by_name().get(name.strip().lower())
    if found is not None:
        return found
    near = difflib.get_close_matches(name.strip().lower(), [*_by_name(), *_by_place()], n=4, cutoff=0.5)
    meant = dict.fromkeys(_by_name().get(each) or _by_place()[each] for each in near)
    said = ", ".join(f"{each.name} ({each.place})" for each in meant)
    raise InputError(
        f"region is {name!r}, which is not known; "
        + (f"near it: {said}" if said else "expected a provider's region (aws:eu-north-1), a country (SWE) or WOR")
    )


@cache
def _by_name() -> dict[str, Region]:
    found = {each.name.lower(): each for each in regions()}
    for each in regions():
        found.setdefault(each.name.lower().partition(":")[2] or each.name.lower(), each)
    return found


@cache
def _by_place() -> dict[str, Region]:
    return {each.place.lower(): each for each in regions() if each.provider in ("country", "zone")}

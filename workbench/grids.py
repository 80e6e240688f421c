"""What a kilowatt-hour means where it is used: grams of CO2e, litres of water and what the building adds, by region.

The user's figures come first, then those that ``grid_data`` finds for the region; the building's are the provider's fleet
averages. All are yearly averages of the place (location-based), never what a contract says.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.geography import PROVIDERS, WORLD, Region, region
from workbench.grid_data import Sources, grams, installed, litres
from workbench.records import Triple

GRAMS_OVERRIDE = "WORKBENCH_GRAMS_PER_KWH"
DOLLARS_OVERRIDE = "WORKBENCH_DOLLARS_PER_KWH"
INSTALL = "pip install 'rag-workbench[energy]'"

_FACILITIES = Path(__file__).parent / "tables" / "facilities.csv"
_KEYS = ("name", "grams_per_kwh", "pue", "facility", "dollars_per_kwh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Electricity at a place, low–central–high: grams of CO2e and litres of water per kWh (``None``: not known)."""

    grams_per_kwh: Triple
    year: int | None
    source: str
    litres_per_kwh: Triple | None
    litres_source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facility:
    """What a building adds, low–central–high: ``pue`` is its energy over that of its computers, ``litres_per_kwh`` the water
    it evaporates per kWh of its computers (WUE)."""

    name: str
    place: str
    pue: Triple
    litres_per_kwh: Triple
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where the energy of a run is used. Without data ``grid`` is ``None``, and ``lacking`` says what would bring it."""

    region: Region
    facility: Facility
    grid: Grid | None
    dollars_per_kwh: float | None = None
    lacking: str = ""


@cache
def facilities() -> dict[str, Facility]:
    """Facilities by name, from ``tables/facilities.csv``: the clouds' fleet averages, one's own machine, and the unknown."""
    with _FACILITIES.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        row["facility"]: Facility(
            name=row["facility"],
            place=row["place"],
            pue=(float(row["pue_low"]), float(row["pue"]), float(row["pue_high"])),
            litres_per_kwh=(float(row["wue_low"]), float(row["wue"]), float(row["wue_high"])),
            source=row["source"],
        )
        for row in rows
    }


# ------------------------------------------------------------------------------------------------------- what is asked


def checked(choice: Any) -> str | dict[str, Any]:
    """A region as an experiment says it: a name, or ``{name: SWE, grams_per_kwh: 30, pue: 1.1, facility: own,
    dollars_per_kwh: 0.2}``; raises ``InputError`` naming everything wrong with it. Needs no data."""
    if isinstance(choice, str):
        return region(choice).name
    if not isinstance(choice, Mapping) or not isinstance(choice.get("name"), str):
        raise InputError(
            "expected a name (SWE, aws:eu-north-1), or a mapping with name and grams_per_kwh, pue, facility"
        )
    problems = [f"{key!r} is not a known key; expected one of {', '.join(_KEYS)}" for key in choice if key not in _KEYS]
    try:
        name = region(choice["name"]).name
    except InputError as error:
        name, problems = "", [*error.problems, *problems]
    for key, least in (("grams_per_kwh", 0.0), ("pue", 1.0), ("dollars_per_kwh", 0.0)):
        value = choice.get(key)
        if value is not None and not (_is_number(value) and math.isfinite(value) and value >= least and value > 0):
            problems.append(f"{key} is {value!r}; expected a number {'from 1 on' if least else 'above 0'}")
    if "facility" in choice and choice["facility"] not in facilities():
        problems.append(f"facility is {choice['facility']!r}; expected one of {', '.join(facilities())}")
    if problems:
        raise InputError(problems)
    return {**choice, "name": name}


def site(choice: str | Mapping[str, Any] = WORLD, sources: Sources | None = None) -> Site:
    """Where a run's energy is used, with the figures in force there.

    The user's come first (``WORKBENCH_GRAMS_PER_KWH``, then ``grams_per_kwh`` of the choice), then the most local that
    the installed packages hold. ``sources`` are the packages to read (default: those installed).
    """
    valid = checked(choice)
    asked: Mapping[str, Any] = {"name": valid} if isinstance(valid, str) else valid
    here = region(asked["name"])
    sources = sources or installed()
    facility = facilities()[asked.get("facility") or (here.provider if here.provider in PROVIDERS else "unknown")]
    if "pue" in asked:
        pue = float(asked["pue"])
        facility = replace(facility, pue=(pue, pue, pue), source=f"PUE: the user. {facility.source}")
    stated = _stated(os.environ.get(GRAMS_OVERRIDE))
    said_by = f"the user, by {GRAMS_OVERRIDE}"
    if stated is None and "grams_per_kwh" in asked:
        given = float(asked["grams_per_kwh"])
        stated, said_by = (given, given, given), "the user, in the experiment"
    litres_per_kwh, litres_source = litres(here, sources)
    found = (stated, None, said_by) if stated is not None else grams(here, sources)
    grid = None
    if found is not None:
        grams_per_kwh, year, source = found
        grid = Grid(
            grams_per_kwh=grams_per_kwh,
            year=year,
            source=source,
            litres_per_kwh=litres_per_kwh,
            litres_source=litres_source,
        )
    return Site(
        region=here,
        facility=facility,
        grid=grid,
        dollars_per_kwh=_dollars(asked),
        lacking="" if grid is not None else _lacking(here, sources),
    )


def _stated(text: str | None) -> Triple | None:
    if not text:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    values = values * 3 if len(values) == 1 else values
    if len(values) != 3 or not all(math.isfinite(value) and value > 0 for value in values) or sorted(values) != values:
        raise InputError(
            f"{GRAMS_OVERRIDE} is {text!r}; expected one positive number of grams, or low,central,high in that order"
        )
    return values[0], values[1], values[2]


def _dollars(asked: Mapping[str, Any]) -> float | None:
    if "dollars_per_kwh" in asked:
        return float(asked["dollars_per_kwh"])
    text = os.environ.get(DOLLARS_OVERRIDE)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise InputError(f"{DOLLARS_OVERRIDE} is {text!r}; expected a positive number of dollars per kWh")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _lacking(here: Region, sources: Sources) -> str:
    if sources.codecarbon is None and sources.ecologits is None:
        return f"no grid data are installed; run: {INSTALL}, or set {GRAMS_OVERRIDE}"
    return f"the installed packages hold no figure for {here.name}; give grams_per_kwh, or set {GRAMS_OVERRIDE}"

"""Grams of CO2e and litres of water per kWh by region, read at run time from the data files of codecarbon and EcoLogits.

Neither library is imported, and nothing of theirs is copied. A file that is missing, damaged or laid out otherwise in
another version is no figure, never a crash and never 0.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from workbench.geography import WORLD, Region
from workbench.records import Triple

GRAMS_PER_POUND = 453.59237
LOW_CARBON_GRAMS = 60.0  # below it neighbouring hours and sources differ by factors, above it by shares

_MIX_SOURCES = {
    "coal": "coal",
    "petroleum": "petroleum",
    "naturalGas": "natural_gas",
    "nuclear": "nuclear",
    "hydro": "hydroelectricity",
    "wind": "wind",
    "solar": "solar",
    "biomass": "biomass",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """The folder of an installed package whose data files are read, and its version."""

    name: str
    version: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The packages that hold figures; ``None`` where one is not installed."""

    codecarbon: Package | None = None
    ecologits: Package | None = None


def spread(grams_per_kwh: float) -> Triple:
    """The range of a yearly average: ±30 %, and half to twice below 60 g/kWh (a judgement from how sources differ)."""
    if grams_per_kwh < LOW_CARBON_GRAMS:
        return grams_per_kwh / 2, grams_per_kwh, grams_per_kwh * 2
    return grams_per_kwh * 0.7, grams_per_kwh, grams_per_kwh * 1.3


def installed() -> Sources:
    """The data packages of this environment, found without importing them."""
    return Sources(codecarbon=_package("codecarbon"), ecologits=_package("ecologits"))


@cache
def _package(name: str) -> Package | None:
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return None
    return Package(name=name, version=found.version, folder=Path(str(found.locate_file(name))))


def grams(here: Region, sources: Sources) -> tuple[Triple, int | None, str] | None:
    """Grams of CO2e per kWh at a region, with year and source: the most local that there is."""
    for look in (_google, _zone, _country, _mix_of_ecologits, _world):
        found = look(here, sources)
        if found is not None:
            central, year, source = found
            return spread(central), year, source
    return None


def _google(here: Region, sources: Sources) -> tuple[float, int | None, str] | None:
    package = sources.codecarbon
    if package is None or here.provider != "gcp":
        return None
    found = _google_grams(package).get(here.name.partition(":")[2])
    return None if found is None else (found, None, f"Google's own, emitted in operation, in {_named(package)}")


@cache
def _google_grams(package: Package) -> dict[str, float]:
    try:  # the file begins with a byte order mark, and misspells one region
        text = (package.folder / "data/cloud/impact.csv").read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(text.splitlines()))
        found = {row["region"]: float(row["impact"]) for row in rows if row["provider"] == "gcp"}
    except (OSError, ValueError, KeyError):
        return {}
    return {region.replace("cenrtal", "central"): grams for region, grams in found.items()}


def _zone(here: Region, sources: Sources) -> tuple[float, int | None, str] | None:
    package = sources.codecarbon
    if package is None or not here.zone:
        return None
    if here.country == "USA":
        pounds = _number(_json(package, "2023/usa_emissions.json"), here.zone, "emissions")
        source = f"generation of {here.zone.title()} at the stack (eGRID2023), in {_named(package)}"
        return None if pounds is None else (pounds * GRAMS_PER_POUND / 1000, 2023, source)
    if here.country == "CAN":
        grams = _of_mix(_json(package, "2023/canada_energy_mix.json"), here.zone, package)
        source = f"generation mix of {here.zone.title()}, life cycle, in {_named(package)}"
        return None if grams is None else (grams, 2023, source)
    if here.country == "CHN":
        for each in _mapping(_json(package, "2023/china_provincial_emissions.json"), "data").values():
            if here.zone in each.get("names", ()):
                source = f"{here.zone.title()}, CO2 only (MEE/NBS), in {_named(package)}"
                return float(each["emission_factor"]), 2023, source
        return None
    zones = _mapping(_json(package, "nordic_emissions.json"), "data")
    grams = _number(zones, here.zone, "emission_factor")
    source = f"generation mix of zone {here.zone}, life cycle, in {_named(package)}"
    return None if grams is None else (grams, _year(zones, here.zone), source)


def _of_mix(mixes: Mapping[str, Any], zone: str, package: Package) -> float | None:
    mix, factors = _mapping(mixes, zone), _json(package, "carbon_intensity_per_source.json")
    if not mix or not factors or not mix.get("total"):
        return None
    known = {ours: _value(factors.get(theirs)) for ours, theirs in _MIX_SOURCES.items()}
    return sum(float(mix.get(name, 0.0)) * (factor or 0.0) for name, factor in known.items()) / float(mix["total"])


def _country(here: Region, sources: Sources) -> tuple[float, int | None, str] | None:
    package = sources.codecarbon
    if package is None or here.country == WORLD:
        return None
    countries = _json(package, "global_energy_mix.json")
    grams = _number(countries, here.country, "carbon_intensity")
    source = f"average of {here.country}, life cycle, in {_named(package)}"
    return None if grams is None else (grams, _year(countries, here.country), source)


def _mix_of_ecologits(here: Region, sources: Sources) -> tuple[float, int | None, str] | None:
    package = sources.ecologits
    grams = None if package is None else _number(_mixes(package), here.country, "gwp")
    if package is None or grams is None:
        return None
    of = "the world" if here.country == WORLD else here.country
    return grams * 1000, None, f"average of {of}, in {_named(package)}"


def _world(here: Region, sources: Sources) -> tuple[float, int | None, str] | None:
    package = sources.codecarbon
    if package is None or here.country != WORLD:
        return None
    grams = _value(_json(package, "carbon_intensity_per_source.json").get("world_average"))
    return None if grams is None else (grams, None, f"average of the world (IEA), in {_named(package)}")


def litres(here: Region, sources: Sources) -> tuple[Triple | None, str]:
    """Litres of water that making a kWh at a region takes, half to twice, with the source."""
    package = sources.ecologits
    central = None if package is None else _number(_mixes(package), here.country, "wue")
    if package is None or central is None:
        return None, ""
    borrowed = "electricity-mix-wue-world" in (_mixes(package)[here.country].get("warnings") or ())
    of = "the world" if borrowed or here.country == WORLD else here.country
    source = f"water of {of}'s generation, in {_named(package)}"
    return (central / 2, central, central * 2), source


@cache
def _mixes(package: Package) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads((package.folder / "data/electricity_mixes.json").read_text(encoding="utf-8-sig"))
        return {each["name"]: each for each in content["electricity_mixes"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


@cache
def _json(package: Package, name: str) -> dict[str, Any]:
    try:
        content = json.loads((package.folder / "data/private_infra" / name).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _mapping(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = content.get(key)
    return found if isinstance(found, dict) else {}


def _number(content: Mapping[str, Any], key: str, field: str) -> float | None:
    return _value(_mapping(content, key).get(field))


def _value(found: Any) -> float | None:
    return (
        float(found)
        if isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found) and found > 0
        else None
    )


def _year(content: Mapping[str, Any], key: str) -> int | None:
    found = _mapping(content, key).get("year")
    return found if isinstance(found, int) else None


def _named(package: Package) -> str:
    return f"{package.name} {package.version}"

"""What a run's readings are priced with, as it is stored with the run, and what an answer costs by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from workbench.coefficients import restore
from workbench.errors import InputError
from workbench.grids import Site
from workbench.ledger import price, standalone
from workbench.prices import Price, dollars
from workbench.records import Answer, Coefficients, Reading, Triple, as_json, digest

UNITS = ("joules", "tokens", "seconds", "dollars", "grams_co2e")
"""What a goal can minimise."""

_JOULES_PER_KWH = 3.6e6
_SITE = TypeAdapter(Site)
_PRICES = TypeAdapter(dict[str, Price | None])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """Coefficients for joules, the site for CO2e and electricity (``None``: not known), and prices of tokens by model."""

    coefficients: Coefficients
    site: Site | None = None
    prices: Mapping[str, Price | None] = field(default_factory=dict)


def stored(site: Site, prices: Mapping[str, Price | None]) -> dict[str, Any]:
    """The part of a run's environment that keeps its site and prices, with their digest."""
    found: dict[str, Any] = {
        "site": asdict(site),
        "prices": {model: None if each is None else asdict(each) for model, each in sorted(prices.items())},
    }
    return {**found, "tariff_digest": digest(as_json(found))}


def of_environment(environment: Mapping[str, Any]) -> Tariff:
    """The tariff that a run's environment keeps; those of older versions keep neither site nor prices."""
    coefficients = restore(environment["coefficients"])
    try:
        site = _SITE.validate_python(environment["site"]) if environment.get("site") else None
        prices = _PRICES.validate_python(environment.get("prices") or {})
    except ValidationError as error:
        raise InputError(
            f"the stored site and prices cannot be read: {error.errors()[0]['msg'].lower()}; see workbench reprice"
        ) from error
    return Tariff(coefficients=coefficients, site=site, prices=prices)


def cost(answer: Answer, unit: str, tariff: Tariff) -> float | None:
    """One answer's standalone cost in a unit of ``UNITS``, by central figures; ``None`` where it is not known."""
    return costs_of(standalone(answer.ledger), tariff)[unit] if answer.ledger.stages else None


def costs_of(reading: Reading, tariff: Tariff) -> dict[str, float | None]:
    """The cost of an answer's standalone reading in every unit of ``UNITS``, by central figures; ``None``: not known.

    Dollars are those of tokens bought, or of electricity where nothing is and its price was given. Grams are those of
    making the electricity, ``joules × PUE × grid``, and of making the hardware where EcoLogits knows a model's.
    """
    found: dict[str, float | None] = dict.fromkeys(UNITS)
    found["seconds"] = reading.seconds
    if reading.tokens_in is not None and reading.tokens_out is not None:
        found["tokens"] = float(reading.tokens_in + reading.tokens_out)
    if reading.elsewhere and reading.cpu_seconds is not None:
        found["dollars"] = dollars(reading.elsewhere, tariff.prices)
    energy, site = price(reading, tariff.coefficients), tariff.site
    if energy is None:
        return found
    found["joules"] = energy.central
    if site is None:
        return found
    kwh = energy.central * site.facility.pue[1] / _JOULES_PER_KWH
    if not reading.elsewhere and site.dollars_per_kwh is not None:
        found["dollars"] = kwh * site.dollars_per_kwh
    if site.grid is not None:
        found["grams_co2e"] = kwh * site.grid.grams_per_kwh[1] + _embodied(reading, tariff.coefficients)
    return found


def _embodied(reading: Reading, coefficients: Coefficients) -> float:
    """Grams of making the hardware of models elsewhere, as far as they are known."""
    grams = 0.0
    for model, (_, _, written) in reading.elsewhere.items():
        known = coefficients.hosted.get(model)
        if known is not None and known.embodied_grams_per_output_token is not None:
            grams += written * sum(known.embodied_grams_per_output_token) / 2
    return grams


def changes(before: Tariff, after: Tariff) -> tuple[str, ...]:
    """What differs between two tariffs, figure by figure, in words; empty where nothing does."""
    return (*_energy(before.coefficients, after.coefficients), *_site(before, after), *_prices(before, after))


def _energy(before: Coefficients, after: Coefficients) -> Iterable[str]:
    for what, old, new in (
        ("watts per busy vCPU", before.watts_per_busy_vcpu, after.watts_per_busy_vcpu),
        ("watts per idle vCPU", before.watts_per_idle_vcpu, after.watts_per_idle_vcpu),
        ("watts per busy GPU", before.watts_per_busy_gpu, after.watts_per_busy_gpu),
    ):
        if old != new:
            yield f"{what}: {_triple(old)} → {_triple(new)}"
    for name in sorted({*before.hosted, *after.hosted, *before.not_estimated, *after.not_estimated}):
        old_model, new_model = before.hosted.get(name), after.hosted.get(name)
        if old_model == new_model:
            continue
        for part in ("prompt", "cached", "output"):
            old, new = (
                None if each is None else getattr(each, f"joules_per_{part}_token") for each in (old_model, new_model)
            )
            if old != new:
                yield f"{name}, joules per {part} token: {_triple(old)} → {_triple(new)}"
        if old_model and new_model and old_model.source != new_model.source:
            yield f"{name}: {old_model.source} → {new_model.source}"


def _site(before: Tariff, after: Tariff) -> Iterable[str]:
    old, new = before.site, after.site
    if new is None or old == new:
        return
    where, grid, was = new.region.name, new.grid, None if old is None else old.grid
    triples: tuple[tuple[str, Triple | None, Triple | None], ...] = (
        (f"g CO2e per kWh of {where}", was.grams_per_kwh if was else None, grid.grams_per_kwh if grid else None),
        (f"litres per kWh of {where}", was.litres_per_kwh if was else None, grid.litres_per_kwh if grid else None),
        ("PUE", old.facility.pue if old else None, new.facility.pue),
        ("litres per kWh of the building", old.facility.litres_per_kwh if old else None, new.facility.litres_per_kwh),
    )
    for what, stood, stands in triples:
        if stood != stands:
            yield f"{what}: {_triple(stood)} → {_triple(stands)}"
    for what, said, says in (
        (f"grid of {where}", was and was.source, grid and grid.source),
        ("building", old and old.facility.source, new.facility.source),
        ("dollars per kWh", old and old.dollars_per_kwh, new.dollars_per_kwh),
    ):
        if said != says:
            yield f"{what}: {_or_not_known(said)} → {_or_not_known(says)}"


def _prices(before: Tariff, after: Tariff) -> Iterable[str]:
    for model, new in sorted(after.prices.items()):
        old = before.prices.get(model)
        for part in ("in", "cached", "out"):
            was, now = (None if each is None else getattr(each, f"dollars_per_million_{part}") for each in (old, new))
            if was != now:
                yield f"{model}, dollars per million tokens {part}: {_or_not_known(was)} → {_or_not_known(now)}"
        if old and new and old.source != new.source:
            yield f"{model}: {old.source} → {new.source}"


def _triple(values: Triple | None) -> str:
    return "not known" if values is None else f"{values[1]:.4g} ({values[0]:.4g}–{values[2]:.4g})"


def _or_not_known(value: Any) -> str:
    return "not known" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

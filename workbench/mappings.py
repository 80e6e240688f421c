"""Figures as plain data, for JSON: energies and other quantities with their ranges, sites, rates, stages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from workbench.breakdown import ModelRates, amortised
from workbench.comparison import Comparison, Figures
from workbench.footprint import SHOWN_ANSWERS, Estimate
from workbench.grids import Site
from workbench.impacts import dollars_of, footprint_of, footprint_of_correct
from workbench.rates import Rates
from workbench.records import Energy


def energy_mapping(energy: Energy | None) -> dict[str, Any] | None:
    """Joules with range and source, as plain data."""
    if energy is None:
        return None
    return {
        "low": energy.low,
        "central": energy.central,
        "high": energy.high,
        "source": energy.source,
        "shared": energy.shared,
        "includes": energy.includes,
    }


def energies_mapping(comparison: Comparison, figures: Figures) -> dict[str, Any]:
    """A configuration's joules in every form: gross and net, per answer, per correct answer and per 1,000, by stage, and with
    one-off work where it is spread over answers."""
    joules, over = figures.joules, comparison.over_answers
    thousand = joules and replace(
        joules,
        low=joules.low * SHOWN_ANSWERS,
        central=joules.central * SHOWN_ANSWERS,
        high=joules.high * SHOWN_ANSWERS,
    )
    spread = {} if over is None else {"answers": over, "joules": energy_mapping(with_one_offs(comparison, figures))}
    return {
        "joules": energy_mapping(joules),
        "joules_known_of": {"answers": figures.known, "of": figures.measured},
        "net_joules": energy_mapping(figures.net_joules),
        "joules_per_correct": figures.joules_per_correct,
        f"joules_per_{SHOWN_ANSWERS}": energy_mapping(thousand),
        "with_one_off_work_over": spread or None,
        "stages": {
            stage: {"seconds": found.seconds, "joules": energy_mapping(found.joules), "rebuilt": found.rebuilt}
            for stage, found in figures.stages.items()
        },
    }


def with_one_offs(comparison: Comparison, figures: Figures) -> Energy | None:
    """Joules of an answer with its part of loading the model and building the index; ``None`` where any is not measured, or
    no number of answers was stated."""
    over = comparison.over_answers
    return None if over is None else amortised(figures.joules, figures.once_joules, over)


def footprint_mapping(comparison: Comparison, figures: Figures) -> dict[str, Any]:
    """What 1,000 answers of a configuration take: CO2e, water, money."""
    found, correct = footprint_of(comparison, figures), footprint_of_correct(comparison, figures)
    return {
        f"grams_co2e_per_{SHOWN_ANSWERS}": None
        if found is None or found.grams_co2e is None
        else {**found.grams_co2e._asdict(), "region": found.region},
        f"grams_co2e_per_{SHOWN_ANSWERS}_correct": None if correct is None else estimate_mapping(correct.grams_co2e),
        f"embodied_grams_co2e_per_{SHOWN_ANSWERS}": None if found is None else estimate_mapping(found.embodied_grams),
        f"litres_per_{SHOWN_ANSWERS}": None if found is None else estimate_mapping(found.litres),
        f"dollars_per_{SHOWN_ANSWERS}": estimate_mapping(dollars_of(comparison, figures)),
    }


def estimate_mapping(found: Estimate | None) -> dict[str, float] | None:
    """A quantity with its range, as plain data."""
    return None if found is None else found._asdict()


def rates_mapping(found: ModelRates) -> dict[str, Any]:
    """What a token takes of a model, as plain data."""
    return {
        "cpu_seconds": _rates(found.cpu_seconds),
        "seconds": _rates(found.seconds),
        "lacking": found.lacking or None,
    }


def _rates(found: Rates | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "constant": found.constant,
        "per_uncached_prompt_token": found.per_token_in,
        "per_output_token": found.per_token_out,
        "r_squared": found.r_squared,
        "residual_sd": found.residual_sd,
        "prompt_tokens_seen": list(found.seen_in),
        "output_tokens_seen": list(found.seen_out),
        "answers": found.answers,
    }


def site_mapping(site: Site) -> dict[str, Any]:
    """A site as plain data: where it is, what its electricity and its building add, and who says so."""
    grid, facility = site.grid, site.facility
    return {
        "region": site.region.name,
        "place": site.region.place,
        "country": site.region.country,
        "grams_per_kwh": None if grid is None else Estimate(*grid.grams_per_kwh)._asdict(),
        "year": None if grid is None else grid.year,
        "source": site.lacking if grid is None else grid.source,
        "litres_per_kwh": None
        if grid is None or grid.litres_per_kwh is None
        else Estimate(*grid.litres_per_kwh)._asdict(),
        "litres_source": None if grid is None else grid.litres_source,
        "facility": facility.name,
        "pue": Estimate(*facility.pue)._asdict(),
        "facility_litres_per_kwh": Estimate(*facility.litres_per_kwh)._asdict(),
        "facility_source": facility.source,
        "dollars_per_kwh": site.dollars_per_kwh,
    }

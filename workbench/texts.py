"""Figures as people read them: numbers with their ranges, or the words for what is not there."""

from __future__ import annotations

from collections.abc import Mapping

from workbench.breakdown import ModelRates
from workbench.comparison import Comparison, Figures
from workbench.footprint import Estimate
from workbench.impacts import dollars_of, footprint_of
from workbench.records import Energy, plugin_label
from workbench.stats import Interval

NOT_MEASURED = "not measured"
NOT_ESTIMATED = "not estimated"
NOT_PRICED = "not priced"
INDEX_COLUMNS = ("index (MB)", "building the index (J, low–high)", "index recall@10 against exact search")


def index_texts(figures: Figures) -> list[str]:
    """What is known of a configuration's index, as texts: size, what building it takes, and what it misses."""
    index = figures.index
    if index is None:
        return ["–", "–", "–"]
    return [
        NOT_MEASURED if index.bytes is None else f"{index.bytes / 1e6:.2f}",
        energy_text(figures.index_joules),
        "exact" if index.recall is None else f"{index.recall:.3f}",
    ]


def losses_text(losses: Mapping[str, int]) -> str:
    """Where wrong answers were lost, the commonest place first."""
    return ", ".join(f"{count} {place.replace('_', ' ')}" for place, count in _commonest(losses)) or "0"


def _commonest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def axis_text(figures: Figures, axis: str) -> str:
    """An axis's value, or a dash where it does not matter for this configuration."""
    return plugin_label(figures.configuration.axes[axis]) if axis in figures.configuration.axes else "–"


def interval_text(found: Interval | None) -> str:
    """A mean with its interval."""
    return "does not apply" if found is None else f"{found.mean:.3f} ({found.low:.3f}–{found.high:.3f})"


def change_text(found: Interval | None, digits: str) -> str | None:
    """A change with its interval, signed, in a format such as ``.3f``; ``None``: not known."""
    if found is None:
        return None
    return f"{found.mean:+{digits}} ({found.low:+{digits}} to {found.high:+{digits}})"


def energy_text(energy: Energy | None) -> str:
    """Joules with range and source."""
    if energy is None:
        return NOT_MEASURED
    return f"{significant(energy.central)} ({significant(energy.low)}–{significant(energy.high)}, {energy.source})"


def known_text(figures: Figures) -> str:
    """Of how many answers the joules are known, where that is not all of them."""
    return "" if figures.known in (0, figures.measured) else f" of {figures.known:,} of {figures.measured:,} answers"


def rates_text(model: str, found: ModelRates) -> str:
    """What a token takes of a model: constant, per uncached prompt token, per output token, and how well that fits."""
    rates = found.cpu_seconds
    if rates is None:
        return f"{model}: no rates per token: {found.lacking}"
    terms = [f"{significant(rates.constant)}"]
    for each, name, (fewest, most) in (
        (rates.per_token_in, "in", rates.seen_in),
        (rates.per_token_out, "out", rates.seen_out),
    ):
        terms.append(
            f"{name} always {fewest:g}" if each is None else f"{significant(each)}·{name} ({fewest:g}–{most:g})"
        )
    fits = "the same for all" if rates.r_squared is None else f"R² {rates.r_squared:.2f}"
    return (
        f"{model}: {' + '.join(terms)} CPU-s, {fits} on {rates.answers:,} answers, residual sd "
        f"{significant(rates.residual_sd)}"
    )


def grams_text(comparison: Comparison, figures: Figures) -> str:
    """Grams of CO2e per 1,000 answers with range and region."""
    if figures.joules is None:
        return NOT_MEASURED
    found = footprint_of(comparison, figures)
    if found is None or found.grams_co2e is None:
        return NOT_ESTIMATED
    return f"{significant(found.grams_co2e.central)} ({range_text(found.grams_co2e)}, {found.region})"


def dollars_text(comparison: Comparison, figures: Figures) -> str:
    """Dollars per 1,000 answers."""
    found = dollars_of(comparison, figures)
    return (
        NOT_PRICED
        if found is None
        else f"{significant(found.central)}" + ("" if found.low == found.high else f" ({range_text(found)})")
    )


def range_text(estimate: Estimate) -> str:
    """A range, low to high."""
    return f"{significant(estimate.low)}–{significant(estimate.high)}"


def failures_text(failures: dict[str, int]) -> str:
    """Failures by code."""
    return ", ".join(f"{count} {code}" for code, count in sorted(failures.items())) or "0"


def number(value: float | None, digits: int) -> str:
    """A number, or that it was not measured."""
    return NOT_MEASURED if value is None else f"{value:,.{digits}f}"


def significant(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    for bound, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3)):
        if abs(value) >= bound:
            return f"{value:.{digits}f}"
    return f"{value:.2g}"

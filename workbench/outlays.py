"""What so many answers of one configuration take where they are given: energy, CO2e, water, money, with one-off work or not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workbench.breakdown import amortised
from workbench.comparison import Comparison
from workbench.errors import InputError
from workbench.footprint import JOULES_PER_KWH, Estimate, exactly, footprint, scaled
from workbench.impacts import footprint_of
from workbench.prices import dollars
from workbench.recommendation import Recommendation
from workbench.records import Energy
from workbench.texts import NOT_ESTIMATED, NOT_MEASURED, NOT_PRICED, range_text, significant

_WORDS = {
    "counter": "read from the machine's energy counters",
    "cpu_time": "estimated from CPU time",
    "utilisation": "estimated from utilisation",
    "modelled": "modelled from tokens",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlay:
    """One quantity that a number of answers takes; ``amount`` is ``None`` where it is not known, ``absent`` says how."""

    what: str
    unit: str
    amount: Estimate | None
    absent: str
    known: str

    @property
    def text(self) -> str:
        """The central figure, or the word for what is not there."""
        return self.absent if self.amount is None else f"{significant(self.amount.central)} {self.unit}"

    @property
    def range(self) -> str:
        """The range, low to high; empty without one."""
        if self.amount is None or self.amount.low == self.amount.high:
            return ""
        return f"{range_text(self.amount)} {self.unit}"


def setup_of(comparison: Comparison, recommendation: Recommendation) -> str | None:
    """The id of the configuration that a footprint is first of: the choice, else the cheapest whose energy is known."""
    if recommendation.chosen is not None:
        return recommendation.chosen.id
    known = [each for each in comparison.figures if each.joules is not None]
    return min(known, key=lambda each: each.joules.central).configuration.id if known else None  # type: ignore[union-attr]


def footprint_of_setup(
    comparison: Comparison, configuration: str, answers: int, *, over_answers: int | None = None
) -> tuple[Outlay, ...]:
    """Watt hours, grams of CO2e, litres and dollars of so many answers of a configuration at the run's site.

    With ``over_answers``, one loading of the model and one building of the index are spread over so many answers and added.
    """
    if answers < 1 or (over_answers is not None and over_answers < 1):
        raise InputError(f"answers is {answers}, over {over_answers}; expected numbers from 1 on")
    figures = comparison.of(configuration)
    joules = figures.joules
    if over_answers is not None:
        joules = amortised(joules, figures.once_joules, over_answers)
    found = None
    if joules is not None and comparison.site is not None:
        found = footprint(
            joules,
            comparison.site,
            answers=answers,
            dollars_per_answer=dollars(figures.elsewhere, comparison.prices),
            runs_elsewhere=bool(figures.elsewhere),
        )
        declared = footprint_of(comparison, figures)
        if declared is not None:
            embodied = scaled(declared, answers / declared.answers).embodied_grams
            found = replace(found, embodied_grams=embodied)
    bought = dollars(figures.elsewhere, comparison.prices) if figures.elsewhere else None
    return (
        Outlay(
            what="Energy of the computers",
            unit="Wh",
            amount=None if joules is None else _watt_hours(joules, answers),
            absent=NOT_MEASURED,
            known="" if joules is None else _WORDS[joules.source],
        ),
        Outlay(
            what="CO2e",
            unit="g",
            amount=None if found is None else found.grams_co2e,
            absent=NOT_MEASURED if joules is None else NOT_ESTIMATED,
            known="energy × what the building adds × the grid's yearly average, by location",
        ),
        Outlay(
            what="Water",
            unit="litres",
            amount=None if found is None else found.litres,
            absent=NOT_MEASURED if joules is None else NOT_ESTIMATED,
            known="evaporated by the building and in making the electricity, to about a factor of two",
        ),
        Outlay(
            what="Money",
            unit="dollars",
            amount=found.dollars if found is not None else None if bought is None else exactly(bought * answers),
            absent=NOT_PRICED,
            known="tokens bought" if figures.elsewhere else "electricity, where its price was given",
        ),
    )


def _watt_hours(joules: Energy, answers: int) -> Estimate:
    factor = answers * 1000 / JOULES_PER_KWH
    return Estimate(joules.low * factor, joules.central * factor, joules.high * factor)

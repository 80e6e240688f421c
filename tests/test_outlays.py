"""What so many answers take: linear in their number, one-off work on top of it, absence as absence."""

from __future__ import annotations

from pathlib import Path

import pytest

import workbench
from tests.stores import filled_store
from workbench.errors import InputError
from workbench.impacts import footprint_of
from workbench.outlays import footprint_of_setup, setup_of


def test_a_thousand_answers_are_those_of_the_other_tables(own_folder: Path) -> None:
    comparison = workbench.compare(store=filled_store(own_folder / "store.db"))
    figures = comparison.figures[4]
    energy, co2e, water, money = footprint_of_setup(comparison, figures.configuration.id, 1000)
    known = footprint_of(comparison, figures)
    assert known is not None
    assert figures.joules is not None
    assert energy.amount is not None
    assert energy.amount.central == pytest.approx(figures.joules.central / 3.6)
    assert (co2e.amount, water.amount) == (known.grams_co2e, known.litres)
    assert money.text == "not priced"
    assert "–" in energy.range


def test_more_answers_take_as_much_more_and_one_off_work_fades(own_folder: Path) -> None:
    comparison = workbench.compare(store=filled_store(own_folder / "store.db"))
    configuration = comparison.figures[0].configuration.id
    amounts = [footprint_of_setup(comparison, configuration, count)[0].amount for count in (1000, 1_000_000)]
    assert amounts[0] is not None
    assert amounts[1] is not None
    assert amounts[1].central == pytest.approx(1000 * amounts[0].central)
    with pytest.raises(InputError, match="answers is 0"):
        footprint_of_setup(comparison, configuration, 0)


def test_what_was_not_measured_is_said(own_folder: Path) -> None:
    comparison = workbench.compare(store=filled_store(own_folder / "store.db", metered=False))
    configuration = setup_of(comparison, workbench.recommend(comparison)) or comparison.figures[0].configuration.id
    found = footprint_of_setup(comparison, configuration, 1000, over_answers=1000)
    assert [each.text for each in found] == ["not measured", "not measured", "not measured", "not priced"]
    assert {each.range for each in found} == {""}

"""What a run is priced with is stored with it: the same figures come back, and what has changed since is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench
from tests.conftest import KEY, experiment, hosted
from tests.fake_provider import FakeProvider, Reply
from workbench.coefficients import coefficients
from workbench.errors import InputError
from workbench.footprint import footprint
from workbench.geography import region
from workbench.grids import Facility, Grid, Site
from workbench.ledger import price
from workbench.prices import Price
from workbench.records import Answer, Coefficients, HostedCoefficients, Ledger, Reading, StageCost, as_json
from workbench.store import Store
from workbench.tariffs import UNITS, Tariff, changes, cost, of_environment, stored

WATTS = Coefficients(processor="p", watts_per_busy_vcpu=(1.0, 2.0, 4.0), source="s", includes="i")
MODEL = HostedCoefficients(
    model="m",
    joules_per_prompt_token=(0.1, 0.2, 0.4),
    joules_per_cached_token=(0.0, 0.01, 0.02),
    joules_per_output_token=(1.0, 2.0, 4.0),
    active_billion=8,
    total_billion=8,
    embodied_grams_per_output_token=(0.001, 0.003),
    source="s",
    includes="i",
)
BUILDING = Facility(name="own", place="here", pue=(1.0, 1.5, 2.0), litres_per_kwh=(0.0, 0.0, 0.0), source="s")
GRID = Grid(grams_per_kwh=(200.0, 400.0, 800.0), year=2024, source="s", litres_per_kwh=None, litres_source="")
SITE = Site(region=region("SWE"), facility=BUILDING, grid=GRID, dollars_per_kwh=0.5)
PRICE = Price(
    model="m",
    dollars_per_million_in=1.0,
    dollars_per_million_cached=0.1,
    dollars_per_million_out=4.0,
    source="s",
)
TARIFF = Tariff(coefficients=replace(WATTS, hosted={"m": MODEL}), site=SITE, prices={"m": PRICE})


def answer(reading: Reading) -> Answer:
    return Answer(
        configuration="c", question="q", ledger=Ledger(stages=(StageCost(stage="generate", reading=reading),))
    )


HERE = answer(Reading(seconds=1.0, cpu_seconds=3600.0, tokens_in=10, tokens_out=2))
THERE = answer(Reading(seconds=1.0, cpu_seconds=1.0, tokens_in=10, tokens_out=2, elsewhere={"m": (1000, 200, 100)}))


def test_an_answer_made_here_costs_electricity_where_its_price_is_known():
    kwh = 3600 * 2 / 3.6e6 * 1.5
    assert cost(HERE, "dollars", TARIFF) == pytest.approx(kwh * 0.5)
    assert cost(HERE, "grams_co2e", TARIFF) == pytest.approx(kwh * 400)
    assert cost(HERE, "dollars", replace(TARIFF, site=replace(SITE, dollars_per_kwh=None))) is None


def test_an_answer_from_elsewhere_costs_its_tokens_and_its_share_of_the_hardware():
    assert cost(THERE, "dollars", TARIFF) == pytest.approx((800 * 1 + 200 * 0.1 + 100 * 4) / 1e6)
    joules = 2 + 800 * 0.2 + 200 * 0.01 + 100 * 2
    assert cost(THERE, "grams_co2e", TARIFF) == pytest.approx(joules * 1.5 / 3.6e6 * 400 + 100 * 0.002)
    bare = {"m": replace(MODEL, embodied_grams_per_output_token=None)}
    alone = replace(TARIFF, coefficients=replace(WATTS, hosted=bare))
    assert cost(THERE, "grams_co2e", alone) == pytest.approx(joules * 1.5 / 3.6e6 * 400)


@pytest.mark.parametrize(
    ("unit", "tariff"),
    [
        ("dollars", replace(TARIFF, prices={})),
        ("dollars", replace(TARIFF, prices={"m": None})),
        ("grams_co2e", replace(TARIFF, site=None)),
        ("grams_co2e", replace(TARIFF, site=replace(SITE, grid=None))),
        ("grams_co2e", replace(TARIFF, coefficients=WATTS)),
    ],
)
def test_what_is_not_known_has_no_cost(unit, tariff):
    assert cost(THERE, unit, tariff) is None


@pytest.mark.parametrize("unit", UNITS)
def test_an_answer_that_nobody_saw_costs_nothing_that_is_known(unit):
    assert cost(replace(THERE, ledger=Ledger()), unit, TARIFF) is None


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_grams_and_electricity_are_those_of_the_footprint(cpu_seconds, more):
    one, two = (
        answer(Reading(seconds=1.0, cpu_seconds=value, tokens_in=1, tokens_out=1))
        for value in (cpu_seconds, cpu_seconds + more)
    )
    found = footprint(price(one.ledger.stages[0].reading, WATTS), SITE)
    assert cost(one, "grams_co2e", TARIFF) == pytest.approx(found.grams_co2e.central)
    assert cost(one, "dollars", TARIFF) == pytest.approx(found.dollars.central)
    assert cost(one, "grams_co2e", TARIFF) <= cost(two, "grams_co2e", TARIFF)


@pytest.mark.parametrize("site", [SITE, replace(SITE, grid=None, dollars_per_kwh=None, lacking="why")])
def test_a_tariff_comes_back_from_the_environment_it_was_stored_in(site):
    prices = {"m": PRICE, "n": None}
    kept = json.loads(as_json({"coefficients": coefficients(), **stored(site, prices)}))
    assert of_environment(kept) == Tariff(coefficients=coefficients(), site=site, prices=prices)
    assert len(kept["tariff_digest"]) == 32
    dearer = stored(site, {"m": replace(PRICE, dollars_per_million_in=2.0), "n": None})
    assert dearer["tariff_digest"] != kept["tariff_digest"]


def test_a_stored_site_that_cannot_be_read_is_said():
    with pytest.raises(InputError, match="the stored site and prices cannot be read"):
        of_environment({"coefficients": json.loads(as_json(WATTS)), "site": {"grid": 3}})


def test_what_changed_is_said_figure_by_figure():
    assert changes(TARIFF, TARIFF) == ()
    grid = replace(GRID, grams_per_kwh=(20.0, 40.0, 80.0), source="t")
    after = Tariff(
        coefficients=replace(TARIFF.coefficients, watts_per_busy_vcpu=(1.0, 3.0, 4.0)),
        site=replace(SITE, grid=grid, facility=replace(BUILDING, pue=(1.0, 1.1, 1.2)), dollars_per_kwh=None),
        prices={"m": replace(PRICE, dollars_per_million_out=5.0), "new": PRICE},
    )
    assert changes(TARIFF, after) == (
        "watts per busy vCPU: 2 (1–4) → 3 (1–4)",
        "g CO2e per kWh of SWE: 400 (200–800) → 40 (20–80)",
        "PUE: 1.5 (1–2) → 1.1 (1–1.2)",
        "grid of SWE: s → t",
        "dollars per kWh: 0.5 → not known",
        "m, dollars per million tokens out: 4 → 5",
        "new, dollars per million tokens in: not known → 1",
        "new, dollars per million tokens cached: not known → 0.1",
        "new, dollars per million tokens out: not known → 4",
    )


def test_a_run_keeps_its_prices_and_its_grid_until_it_is_repriced(provider: FakeProvider, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    provider.script = Reply(text="forty days", tokens_in=1000)
    table = "model,dollars_per_million_in,dollars_per_million_cached,dollars_per_million_out\nopenai:fake,1,0,{}\n"
    Path("prices.csv").write_text(table.format(2), encoding="utf-8")
    space = {"model": [hosted(provider, active_billion=8, total_billion=8)], "retriever": ["bm25"], "passages": [1]}
    here = {"name": "SWE", "grams_per_kwh": 30}
    goal = {"minimise": "dollars"}
    workbench.run(experiment(space=space, region=here, goal=goal, questions={"limit": 2}))
    before = workbench.compare()
    dollars = (1000 * 1 + 2 * 2) / 1e6
    assert before.matrix.costs["dollars"][0] == pytest.approx(dollars)
    Path("prices.csv").write_text(table.format(4), encoding="utf-8")
    monkeypatch.setenv("WORKBENCH_GRAMS_PER_KWH", "60")
    assert workbench.compare().matrix.costs["dollars"][0] == pytest.approx(dollars)
    assert workbench.compare().matrix.costs["grams_co2e"] == pytest.approx(before.matrix.costs["grams_co2e"])
    said = workbench.reprice().changes
    assert "openai:fake (8 of 8 billion), dollars per million tokens out: 2 → 4" in said
    assert "g CO2e per kWh of SWE: 30 (30–30) → 60 (60–60)" in said
    after = workbench.compare()
    assert after.matrix.costs["dollars"][0] == pytest.approx(dollars + 2 * 2 / 1e6)
    assert after.site is not None
    assert after.site.grid.grams_per_kwh == (60.0, 60.0, 60.0)
    [was] = Store(create=False).get("latest").environment["repriced_from"]
    assert of_environment(was).prices == before.prices
    assert workbench.reprice().changes == ()

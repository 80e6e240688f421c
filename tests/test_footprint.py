"""Joules to carbon, water and money: each factor once, ranges that hold, and what is common cancels."""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import workbench
from tests.conftest import ROOT, experiment
from tests.test_recommendation import comparison
from workbench.__main__ import cli, main
from workbench.comparison import Comparison
from workbench.errors import InputError, MissingLibrary
from workbench.explanations import notes
from workbench.exports import export
from workbench.footprint import (
    Estimate,
    embodied,
    footprint,
    payback,
    plus,
    product,
    rank,
    ratio,
    scaled,
    total,
)
from workbench.geography import Region
from workbench.grid_data import Sources
from workbench.grids import Facility, Grid, Site
from workbench.impacts import rank_regions, site_of
from workbench.prices import Price
from workbench.records import Coefficients, Energy, HostedCoefficients
from workbench.specification import read_experiment
from workbench.store import Store
from workbench.texts import NOT_ESTIMATED, NOT_MEASURED, NOT_PRICED

HERE = Region(name="HERE", provider="country", country="HER", zone="", place="here")
HALL = Facility(name="hall", place="a hall", pue=(1.1, 1.2, 1.4), litres_per_kwh=(0.1, 0.2, 0.4), source="test")
GRID = Grid(
    grams_per_kwh=(70.0, 100.0, 130.0),
    year=2024,
    source="test",
    litres_per_kwh=(1.0, 2.0, 4.0),
    litres_source="test",
)
SITE = Site(region=HERE, facility=HALL, grid=GRID)
NOWHERE = Site(region=HERE, facility=HALL, grid=None, lacking="nothing is installed")

amounts = st.floats(1e-6, 1e6)
triples = st.lists(amounts, min_size=3, max_size=3).map(lambda values: Estimate(*sorted(values)))


def energy(low: float, central: float, high: float, source: Any = "cpu_time") -> Energy:
    return Energy(low=low, central=central, high=high, source=source)


energies = triples.map(lambda values: energy(*values))


def ordered(found: Estimate) -> bool:
    return 0 <= found.low <= found.central * (1 + 1e-12) and found.central <= found.high * (1 + 1e-12)


# --------------------------------------------------------------------------------------------------------- arithmetic


def test_a_kilowatt_hour_by_hand():
    found = footprint(energy(1.8e6, 3.6e6, 7.2e6), SITE)
    assert found.kwh == pytest.approx((0.5 * 1.1, 1.2, 2 * 1.4))
    assert found.grams_co2e == pytest.approx((0.5 * 1.1 * 70, 120.0, 2 * 1.4 * 130))
    assert found.litres == pytest.approx((0.5 * (0.1 + 1.1 * 1), 0.2 + 1.2 * 2, 2 * (0.4 + 1.4 * 4)))
    assert (found.dollars, found.embodied_grams, found.region) == (None, None, "HERE")


@given(energies, st.floats(1, 1e6))
def test_ranges_stay_in_order_and_answers_only_multiply(each, answers):
    one, many = footprint(each, SITE), footprint(each, SITE, answers=answers)
    assert one.grams_co2e is not None
    assert one.litres is not None
    for name in ("kwh", "grams_co2e", "litres"):
        assert ordered(getattr(one, name))
        assert getattr(many, name) == pytest.approx(tuple(value * answers for value in getattr(one, name)))


@given(energies, energies)
def test_more_energy_never_emits_less_and_sums_are_sums(one, other):
    whole = footprint(plus(one, other), SITE).grams_co2e
    parts = footprint(one, SITE).grams_co2e, footprint(other, SITE).grams_co2e
    assert whole is not None
    assert parts[0] is not None
    assert parts[1] is not None
    assert whole == pytest.approx(total(parts[0], parts[1]))
    assert all(more >= less for more, less in zip(whole, parts[0], strict=True))


@given(energies, st.floats(1, 1.9))
def test_pue_is_applied_exactly_once(each, pue):
    bare = replace(SITE, facility=replace(HALL, pue=(1.0, 1.0, 1.0)))
    housed = replace(SITE, facility=replace(HALL, pue=(pue, pue, pue)))
    without, within = footprint(each, bare), footprint(each, housed)
    assert without.grams_co2e is not None
    assert within.grams_co2e == pytest.approx(tuple(value * pue for value in without.grams_co2e))
    # Water of the building goes with the computers' energy, water of the power station with all of it.
    site_share = product(Estimate(each.low, each.central, each.high), Estimate(*HALL.litres_per_kwh))
    assert within.litres is not None
    assert without.litres is not None
    for have, bare_litres, share in zip(within.litres, without.litres, site_share, strict=True):
        assert have == pytest.approx(share / 3.6e6 + (bare_litres - share / 3.6e6) * pue)


def test_what_is_not_known_is_none():
    found = footprint(energy(1, 2, 3), NOWHERE)
    assert (found.grams_co2e, found.litres, found.dollars) == (None, None, None)
    dry = footprint(energy(1, 2, 3), replace(SITE, grid=replace(GRID, litres_per_kwh=None)))
    assert dry.litres is None
    assert dry.grams_co2e is not None


def test_electricity_is_paid_by_whoever_runs_the_computer():
    paid = replace(SITE, dollars_per_kwh=0.5)
    one = energy(3.6e6, 3.6e6, 3.6e6)
    here = footprint(one, paid)
    assert here.dollars == pytest.approx((0.55, 0.6, 0.7))
    elsewhere = footprint(one, paid, answers=10, dollars_per_answer=0.02, runs_elsewhere=True)
    assert elsewhere.dollars == pytest.approx((0.2, 0.2, 0.2))
    assert footprint(one, SITE, runs_elsewhere=True).dollars is None


@given(energies, st.floats(1, 1e6))
def test_a_footprint_of_more_answers_is_so_many_times_as_much(each, factor):
    one = footprint(each, SITE, dollars_per_answer=0.1, embodied_grams=Estimate(1, 2, 3))
    found = scaled(one, factor)
    assert found.answers == factor
    assert found.kwh == pytest.approx(footprint(each, SITE, answers=factor).kwh)
    for name in ("grams_co2e", "litres", "dollars", "embodied_grams"):
        assert getattr(found, name) == pytest.approx(tuple(value * factor for value in getattr(one, name)))
    assert scaled(footprint(each, NOWHERE), factor).grams_co2e is None


# ------------------------------------------------------------------------------------------------- ratios and payback


@given(triples, st.floats(0.01, 100), st.floats(0.01, 100))
def test_a_common_factor_cancels_in_a_ratio(watts, cpu_seconds, others):
    one, other = (energy(*(level * seconds for level in watts)) for seconds in (cpu_seconds, others))
    assert ratio(one, other) == pytest.approx((cpu_seconds / others,) * 3)
    unlike = ratio(one, replace(other, source="modelled"))
    assert unlike.low <= ratio(one, other).central * (1 + 1e-9)
    assert unlike.high >= ratio(one, other).central * (1 - 1e-9)


def test_models_elsewhere_do_not_share_their_parameters():
    one, other = energy(1, 2, 4, "modelled"), energy(1, 2, 4, "modelled")
    assert ratio(one, other) == (0.25, 1.0, 4.0)


@given(triples, st.floats(1, 1000), st.floats(1, 100), st.floats(0.1, 0.9))
def test_payback_is_the_division_where_coefficients_are_common(watts, spent, dear, share):
    def of(seconds: float) -> Energy:
        return energy(*(level * seconds for level in watts))

    found = payback(of(spent), of(dear), of(dear * share))
    assert found is not None
    assert found == pytest.approx((spent / (dear - dear * share),) * 3)


def test_payback_never_comes_where_nothing_is_saved():
    assert payback(energy(1, 2, 3), energy(1, 2, 3), energy(1, 2, 3)) is None
    assert payback(energy(1, 2, 3), energy(1, 2, 3), energy(2, 3, 4)) is None


def test_payback_may_be_open_at_the_top():
    found = payback(energy(10, 10, 10), energy(2, 4, 8, "modelled"), energy(1, 2, 3))
    assert found is not None
    assert found.low == pytest.approx(10 / 7)
    assert found.central == 5
    assert found.high == math.inf


def test_a_sum_is_as_certain_as_its_less_certain_part():
    assert plus(energy(1, 1, 1, "counter"), energy(1, 1, 1, "modelled")).source == "modelled"
    assert plus(energy(1, 1, 1, "utilisation"), energy(1, 1, 1, "cpu_time")).source == "utilisation"


def test_hardware_elsewhere_is_known_for_all_of_it_or_not_at_all():
    known = HostedCoefficients(
        model="m",
        joules_per_prompt_token=(1, 1, 1),
        joules_per_cached_token=(1, 1, 1),
        joules_per_output_token=(1, 1, 1),
        active_billion=1,
        total_billion=1,
        embodied_grams_per_output_token=(0.1, 0.3),
        source="test",
        includes="test",
    )
    having = Coefficients(processor="", watts_per_busy_vcpu=(1, 1, 1), source="", includes="", hosted={"m": known})
    assert embodied({"m": (5, 0, 10)}, having) == pytest.approx((1.0, 2.0, 3.0))
    assert embodied({"m": (5, 0, 10), "n": (1, 0, 1)}, having) is None
    assert embodied({}, having) is None


def test_regions_are_ranked_by_what_they_emit():
    dirty = replace(SITE, grid=replace(GRID, grams_per_kwh=(300.0, 400.0, 500.0)))
    found = rank(energy(1, 2, 3), [dirty, NOWHERE, SITE])
    assert [site for site, _ in found] == [SITE, dirty]
    assert found[0][1].answers == 1000


# --------------------------------------------------------------------------------------------------------------- shown


def located(site: Site | None = SITE, **cpu: Any) -> Comparison:
    costs = cpu or {"dear": 3.0, "cheap": 1.0}
    return replace(comparison({name: [1.0, 0.0, 1.0, 0.5] for name in costs}, costs), site=site)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_comparison_shows_grams_with_range_and_region():
    built = located()
    grams = 2.0 * 1000 / 3.6e6 * 1.2 * 100  # cheap: 1 CPU-second × 2 W
    found = json.loads(export(built, "json"))
    shown = found["configurations"][0]["grams_co2e_per_1000"]
    assert shown["central"] == pytest.approx(grams)
    assert shown["low"] < shown["central"] < shown["high"]
    assert shown["region"] == "HERE"
    correct = found["configurations"][0]["grams_co2e_per_1000_correct"]  # three of four are
    assert correct["central"] == pytest.approx(grams * 4 / 3)
    assert found["site"]["grams_per_kwh"]["central"] == 100
    assert found["site"]["year"] == 2024
    row = rows_of(export(built, "csv"))[0]
    assert float(row["grams_co2e_per_1000_central"]) == pytest.approx(grams)
    assert row["region"] == "HERE"
    assert "HERE)" in export(built, "markdown")
    assert any("PUE 1.20" in note and "2024" in note and "100 g/kWh" in note for note in notes(built))


def test_what_is_absent_is_named_and_never_zero():
    unmeasured = located(known=1.0, unknown=None)
    found = json.loads(export(unmeasured, "json"))["configurations"][-1]
    assert (found["joules"], found["grams_co2e_per_1000"], found["dollars_per_1000"]) == (None, None, None)
    assert rows_of(export(unmeasured, "csv"))[-1]["grams_co2e_per_1000_central"] == ""
    assert NOT_MEASURED in export(unmeasured, "markdown")
    nowhere = located(NOWHERE)
    assert NOT_ESTIMATED in export(nowhere, "markdown")
    assert any("nothing is installed" in note for note in notes(nowhere))
    assert json.loads(export(located(None), "json"))["site"] is None


def test_the_choice_says_what_it_saves_and_when_that_has_paid_for_the_run():
    scores = {"dear": [1.0, 1.0, 1.0, 1.0] * 50, "cheap": [1.0, 1.0, 1.0, 0.98] * 50}
    built = replace(comparison(scores, {"dear": 3.0, "cheap": 1.0}), site=SITE)
    [said] = [note for note in notes(built) if "This run took" in note]
    assert "takes 0.333 times the joules of" in said  # both are known in the same way: no range
    assert "saved again after 400 answers" in said  # 200 answers of 3 and 200 of 1 CPU-second; 2 saved by each
    unlike = tuple(
        replace(each, joules=replace(each.joules, source="modelled"))
        for each in built.figures
        if each.joules is not None
    )
    [said] = [note for note in notes(replace(built, figures=unlike)) if "This run took" in note]
    assert "0.333 times the joules (0.083–1.33)" in said
    assert "saved again after 400 (from 73 on) answers" in said


def bought(price: Price | None) -> Comparison:
    built = located()
    figures = tuple(replace(each, elsewhere={"openai:x": (100.0, 0.0, 10.0)}) for each in built.figures)
    return replace(built, figures=figures, prices={"openai:x": price})


def test_tokens_that_are_bought_have_a_column_of_money():
    price = Price(
        model="openai:x",
        dollars_per_million_in=1,
        dollars_per_million_cached=0.5,
        dollars_per_million_out=2,
        source="test",
    )
    found = json.loads(export(bought(price), "json"))["configurations"][0]["dollars_per_1000"]
    assert found["central"] == pytest.approx((100 * 1 + 10 * 2) / 1e6 * 1000)
    assert "dollars per 1,000 answers" in export(bought(price), "markdown")
    assert NOT_PRICED in export(bought(None), "markdown")
    assert any("not priced" in note for note in notes(bought(None)))
    assert "dollars" not in export(located(), "markdown")


def test_a_stored_region_that_is_not_known_any_more_is_no_obstacle():
    found = site_of("atlantis")
    assert found.grid is None
    assert "atlantis" in found.lacking


# ------------------------------------------------------------------------------------------------------------ regions


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    workbench.run(experiment(region={"name": "eu-north-1", "grams_per_kwh": 30}))
    return "tiny"


def test_a_run_is_located_by_its_experiment(tiny, monkeypatch):
    grams = {
        each["id"]: each["grams_co2e_per_1000"]["central"]
        for each in json.loads(export(workbench.compare(tiny), "json"))["configurations"]
    }
    monkeypatch.setenv("WORKBENCH_GRAMS_PER_KWH", "60")
    assert any(change.startswith("g CO2e per kWh of aws:eu-north-1: 30") for change in workbench.reprice(tiny).changes)
    for each in json.loads(export(workbench.compare(tiny), "json"))["configurations"]:
        assert each["grams_co2e_per_1000"]["central"] == pytest.approx(2 * grams[each["id"]])
        assert each["grams_co2e_per_1000"]["region"] == "aws:eu-north-1"


def test_the_command_ranks_regions(tiny, capsys):
    from_code = workbench.compare(tiny)
    best = from_code.figures[0].configuration.id
    if site_of("SWE").grid is None:
        with pytest.raises(SystemExit) as stopped:
            main(["regions", tiny, "--configuration", best])
        assert stopped.value.code == 4
        return
    for format_ in ("json", "csv", "table"):
        with pytest.raises(SystemExit) as ended:
            main(["regions", tiny, "--provider", "aws", "--configuration", best[:6], "--format", format_])
        assert ended.value.code in (0, None)
        text = capsys.readouterr().out
        if format_ == "json":
            found = json.loads(text)["regions"]
            grams = [each["grams_co2e"]["central"] for each in found]
            assert grams == sorted(grams)
            assert {each["provider"] for each in found} == {"aws"}
            assert all(each["source"] and each["litres"]["low"] < each["litres"]["high"] for each in found)
        elif format_ == "csv":
            assert [float(row["grams_co2e_per_1000_central"]) for row in rows_of(text)] == pytest.approx(grams)
        else:
            assert "aws:eu-north-1" in text


def test_without_grid_data_there_is_nothing_to_rank_and_it_says_what_to_install():
    with pytest.raises(MissingLibrary, match=r"rag-workbench\[energy\]"):
        rank_regions(located(), "cheap", None, Sources())
    with pytest.raises(InputError, match="not measured"):
        rank_regions(located(known=1.0, unknown=None), "unknown")


def test_regions_of_nobody_are_refused(tiny):
    configuration = workbench.compare(tiny).figures[0].configuration.id
    with pytest.raises(InputError, match="expected one of aws, azure, gcp, country, zone"):
        workbench.regions(tiny, provider="ovh", configuration=configuration)
    with pytest.raises(InputError, match="no configurations"):
        workbench.regions(tiny, configuration="zz", store=Store(create=False))


# ------------------------------------------------------------------------------------------------------- documentation


def test_the_method_names_what_exists():
    text = (ROOT / "docs" / "energy.md").read_text(encoding="utf-8")
    for file in re.findall(r"`(tables/\w+\.csv)`", text):
        assert (ROOT / "workbench" / file).is_file(), file
    for module, name in re.findall(r"`(ledger|footprint)\.(\w+)`", text):
        assert hasattr(importlib.import_module(f"workbench.{module}"), name)
    for key in re.findall(r"`?(\w+_per_1000)`?", text):
        assert f'"{key}"' in export(located(), "json")
    assert set(re.findall(r"workbench ([a-z]+) RUN", text)) <= set(cli.commands)
    said = read_experiment(
        {"corpus": "x", "evalset": "x", "region": yaml.safe_load(re.findall(r"`({name:.*?})`", text)[0])}
    )
    assert said.region["name"] == "SWE"

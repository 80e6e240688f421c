"""Regions and what their electricity means: geography of ours, figures of installed packages, the user above both."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import missing, python
from workbench import grids
from workbench.errors import InputError
from workbench.geography import PROVIDERS, region, regions
from workbench.grid_data import Package, Sources, spread
from workbench.grid_data import installed as installed_packages
from workbench.grids import GRAMS_OVERRIDE, checked, facilities, site
from workbench.specification import read_experiment

NOTHING = Sources()
VIRGINIA_POUNDS = 500.0


@pytest.fixture
def fake(tmp_path: Path) -> Sources:
    """Data files in the packages' own formats: a byte order mark, pounds per MWh, kilograms per kWh, a misspelt region."""
    infra = tmp_path / "codecarbon" / "data" / "private_infra"
    (infra / "2023").mkdir(parents=True)
    (infra.parent / "cloud").mkdir()
    (infra.parent / "cloud" / "impact.csv").write_text(
        "\ufeffprovider,region,impact\ngcp,us-central1,430\ngcp,me-cenrtal1,575\n", encoding="utf-8"
    )
    files = {
        "global_energy_mix.json": {
            "SWE": {"carbon_intensity": 40.0, "year": 2023},
            "USA": {"carbon_intensity": 369.0, "year": 2023},
            "CAF": {"carbon_intensity": 0.0, "year": 2009},
        },
        "2023/usa_emissions.json": {"_unit": {"emissions": "lbs/MWh"}, "virginia": {"emissions": VIRGINIA_POUNDS}},
        "2023/canada_energy_mix.json": {"quebec": {"hydro": 94.0, "wind": 5.0, "coal": 1.0, "total": 100.0}},
        "2023/china_provincial_emissions.json": {"data": {"CN-BJ": {"names": ["beijing"], "emission_factor": 555.4}}},
        "nordic_emissions.json": {"data": {"SE3": {"emission_factor": 27.0, "year": 2025}}},
        "carbon_intensity_per_source.json": {"world_average": 475, "coal": 995, "hydroelectricity": 26, "wind": 26},
    }
    for name, content in files.items():
        (infra / name).write_text(json.dumps(content), encoding="utf-8")
    mixes = tmp_path / "ecologits" / "data"
    mixes.mkdir(parents=True)
    zones = [
        {"name": "WOR", "gwp": 0.458, "wue": 3.9, "warnings": None},
        {"name": "SWE", "gwp": 0.035, "wue": 6.0, "warnings": None},
        {"name": "CAF", "gwp": 0.05, "wue": 3.9, "warnings": ["electricity-mix-wue-world"]},
    ]
    (mixes / "electricity_mixes.json").write_text(json.dumps({"electricity_mixes": zones}), encoding="utf-8")
    return Sources(
        codecarbon=Package(name="codecarbon", version="9", folder=tmp_path / "codecarbon"),
        ecologits=Package(name="ecologits", version="8", folder=tmp_path / "ecologits"),
    )


def central(name: str, sources: Sources) -> float:
    grid = site(name, sources).grid
    assert grid is not None
    return grid.grams_per_kwh[1]


# ---------------------------------------------------------------------------------------------------------- geography


def test_every_region_is_named_once_and_lies_in_a_country_that_is_known():
    names = [each.name.lower() for each in regions()]
    assert len(names) == len(set(names))
    countries = {each.name for each in regions() if each.provider == "country"}
    assert {each.country for each in regions()} <= countries
    assert {each.provider for each in regions()} == {*PROVIDERS, "country", "zone"}
    assert all(each.place for each in regions())
    zones = {each.name for each in regions() if each.provider == "zone"}
    assert {f"{each.country}/{each.zone}" for each in regions() if each.zone} <= zones


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("eu-north-1", "aws:eu-north-1"),
        ("AWS:EU-North-1", "aws:eu-north-1"),
        ("swe", "SWE"),
        ("usa/Virginia", "USA/virginia"),
    ],
)
def test_names_are_read_in_any_case_and_clouds_may_be_left_out(said, meant):
    assert region(said).name == meant


def test_no_bare_name_stands_for_regions_of_two_clouds():
    bare = [each.name.partition(":")[2] for each in regions() if each.provider in PROVIDERS]
    assert len(bare) == len(set(bare))


@pytest.mark.parametrize(
    ("wrong", "near"), [("Sweden", "SWE"), ("us-east-9", "aws:us-east-1"), ("swedencentrall", "azure:swedencentral")]
)
def test_an_unknown_region_names_the_nearest(wrong, near):
    with pytest.raises(InputError, match=f"{wrong!r}, which is not known; near it: .*{near}"):
        region(wrong)


def test_every_facility_is_possible_and_sourced():
    for each in facilities().values():
        assert 1 <= each.pue[0] <= each.pue[1] <= each.pue[2] < 2
        assert 0 <= each.litres_per_kwh[0] <= each.litres_per_kwh[1] <= each.litres_per_kwh[2]
        assert each.source
    assert set(PROVIDERS) <= set(facilities())


# ------------------------------------------------------------------------------------------------------------ figures


def test_units_and_formats_of_the_files(fake):
    assert central("us-east-1", fake) == pytest.approx(VIRGINIA_POUNDS * 0.45359237)  # lb/MWh → g/kWh
    assert central("us-central1", fake) == 430
    assert central("gcp:me-central1", fake) == 575
    assert central("eu-north-1", fake) == 27
    assert central("SWE", fake) == 40
    assert central("WOR", fake) == 458
    assert central("ca-central-1", fake) == pytest.approx((99 * 26 + 995) / 100)
    assert central("azure:chinanorth", fake) == 555.4


def test_the_most_local_figure_that_there_is_is_taken_and_says_which(fake):
    ohio = site("us-east-2", fake).grid  # no such state in the files
    assert ohio is not None
    assert (ohio.grams_per_kwh[1], ohio.year) == (369.0, 2023)
    assert "average of USA" in ohio.source
    assert "codecarbon 9" in ohio.source
    assert central("CAF", fake) == 50  # nought is not a figure


def test_water_that_is_borrowed_from_the_world_says_so(fake):
    sweden, central_africa = site("SWE", fake).grid, site("CAF", fake).grid
    assert sweden is not None
    assert central_africa is not None
    assert sweden.litres_per_kwh == (3.0, 6.0, 12.0)
    assert "the world's" in central_africa.litres_source


def test_one_package_alone_still_answers(fake):
    only_ecologits = site("SWE", Sources(ecologits=fake.ecologits)).grid
    assert only_ecologits is not None
    assert only_ecologits.grams_per_kwh[1] == pytest.approx(35)
    only_codecarbon = site("WOR", Sources(codecarbon=fake.codecarbon)).grid
    assert only_codecarbon is not None
    assert (only_codecarbon.grams_per_kwh[1], only_codecarbon.litres_per_kwh) == (475, None)


def test_without_the_packages_nothing_is_known_and_it_says_what_to_install():
    found = site("SWE", NOTHING)
    assert found.grid is None
    assert "rag-workbench[energy]" in found.lacking


@pytest.mark.parametrize("content", ["", "{", "[]", '{"SWE": 3}', '{"SWE": {"carbon_intensity": "much"}}', "\x00"])
def test_a_damaged_file_is_no_figure_and_no_crash(tmp_path, content):
    folder = tmp_path / "data" / "private_infra"
    folder.mkdir(parents=True)
    (folder / "global_energy_mix.json").write_text(content, encoding="utf-8")
    found = site("SWE", Sources(codecarbon=Package(name="codecarbon", version="1", folder=tmp_path)))
    assert found.grid is None
    assert "no figure for SWE" in found.lacking


def test_clean_grids_have_the_wider_range():
    assert spread(100) == (70, 100, 130)
    assert spread(59) == (29.5, 59, 118)


def test_a_provider_brings_its_building_and_a_country_does_not(fake):
    assert site("aws:eu-north-1", fake).facility.name == "aws"
    assert site("SWE", fake).facility.name == "unknown"
    assert site({"name": "SWE", "facility": "own"}, fake).facility.pue == (1, 1, 1)
    assert site({"name": "SWE", "pue": 1.3}, fake).facility.pue == (1.3, 1.3, 1.3)


# ------------------------------------------------------------------------------------------------------------- the user


def test_what_the_user_says_comes_first_and_has_no_range(fake, monkeypatch):
    asked = {"name": "SWE", "grams_per_kwh": 123}
    found = site(asked, NOTHING).grid
    assert found is not None
    assert found.grams_per_kwh == (123, 123, 123)
    assert "the user" in found.source
    monkeypatch.setenv(GRAMS_OVERRIDE, "10,20,30")
    over = site(asked, fake).grid
    assert over is not None
    assert over.grams_per_kwh == (10, 20, 30)


@pytest.mark.parametrize("text", ["-3", "0", "nan", "inf", "much", "1,2", "3,2,1"])
def test_an_override_that_cannot_be_is_named(text, monkeypatch):
    monkeypatch.setenv(GRAMS_OVERRIDE, text)
    with pytest.raises(InputError, match=f"{GRAMS_OVERRIDE} is {text!r}"):
        site("SWE", NOTHING)


def test_the_price_of_electricity_is_the_users(monkeypatch):
    assert site("SWE", NOTHING).dollars_per_kwh is None
    monkeypatch.setenv(grids.DOLLARS_OVERRIDE, "0.2")
    assert site("SWE", NOTHING).dollars_per_kwh == 0.2
    assert site({"name": "SWE", "dollars_per_kwh": 0.1}, NOTHING).dollars_per_kwh == 0.1
    monkeypatch.setenv(grids.DOLLARS_OVERRIDE, "-1")
    with pytest.raises(InputError, match="-1"):
        site("SWE", NOTHING)


def test_all_that_is_wrong_with_a_region_is_said_at_once():
    with pytest.raises(InputError) as caught:
        checked({"name": "Sweden", "grams_per_kwh": -1, "pue": 0.5, "facility": "cellar", "colour": "green"})
    assert len(caught.value.problems) == 5
    for wrong in (3, None, ["SWE"], {"grams_per_kwh": 3}):
        with pytest.raises(InputError, match="expected a name"):
            checked(wrong)


def test_an_experiment_is_refused_for_its_region_when_it_is_read():
    plain = {"corpus": "x", "evalset": "x"}
    assert read_experiment(plain).region == "WOR"
    assert read_experiment({**plain, "region": "eu-north-1"}).region == "aws:eu-north-1"
    given = read_experiment({**plain, "region": {"name": "swe", "grams_per_kwh": 30}})
    assert given.region == {"name": "SWE", "grams_per_kwh": 30}
    assert read_experiment(given.model_dump(mode="json")).region == given.region
    with pytest.raises(InputError, match=r"region is 'Sweden'; which is not known; near it: SWE \(Sweden\)"):
        read_experiment({**plain, "region": "Sweden"})
    with pytest.raises(InputError, match="grams_per_kwh is -3"):
        read_experiment({**plain, "region": {"name": "SWE", "grams_per_kwh": -3}})


# ------------------------------------------------------------------------------------------------------- as installed


@pytest.fixture
def installed() -> Sources:
    found = installed_packages()
    if found.codecarbon is None or found.ecologits is None:
        missing("codecarbon and ecologits are not installed; run: pip install -e '.[all,dev]'")
    return found


@pytest.mark.parametrize(
    ("name", "grams"),
    [
        ("us-east-1", 244.8),
        ("us-west-2", 165.5),
        ("eu-west-1", 290.8),
        ("eu-north-1", 27.0),
        ("us-central1", 430.0),
        ("WOR", 458.3),
        ("FRA", 56.0),
    ],
)
def test_figures_of_the_installed_packages_as_their_own_code_gives_them(name, grams, installed):
    assert central(name, installed) == pytest.approx(grams, abs=0.06)


def test_nearly_every_region_has_a_figure_in_the_installed_packages(installed):
    without = [each.name for each in regions() if site(each.name, installed).grid is None]
    assert without in ([], ["CAF"])  # a year without any
    coarse = [
        each.name
        for each in regions()
        if each.zone
        and each.provider != "gcp"
        and (grid := site(each.name, installed).grid) is not None
        and each.zone.lower() not in grid.source.lower()
    ]
    assert coarse == []


def test_reading_the_data_imports_neither_package(installed):
    code = "import sys; from workbench.grids import site; assert site('us-east-1').grid; "
    result = python("-c", code + "print({'codecarbon', 'ecologits', 'pandas'} & set(sys.modules))")
    assert result.stdout.strip() == "set()", result.stderr

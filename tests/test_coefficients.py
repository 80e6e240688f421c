"""Watts per busy vCPU: of known processors, of unknown ones, and of a user who knows better."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.coefficients import (
    GPU_OVERRIDE,
    OVERRIDE,
    Processor,
    coefficients,
    of_today,
    processor,
    restore,
    vcpus,
)
from workbench.errors import InputError

TABLE = Path(__file__).resolve().parent.parent / "workbench" / "tables" / "cpu_power.csv"
MILAN = Processor(brand="AMD EPYC 7B13", vendor="AuthenticAMD", family=25, model=1, vcpus=2, virtual=True)


def test_every_row_of_the_table_is_possible_and_sourced():
    with TABLE.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert 0 < float(row["idle"]) < float(row["full"]) < 9, row  # ENERGY.md 6: watts per busy vCPU in 0.5..9
        assert row["unit"] == "W per vCPU"
        assert row["source"]
    assert rows[-1]["vendor"] == "*"
    assert sum(row["vendor"] == "*" for row in rows) == 1


@pytest.mark.parametrize(
    ("vendor", "family", "model", "named"),
    [
        ("AuthenticAMD", 23, 49, "Rome"),
        ("AuthenticAMD", 25, 1, "Milan"),
        ("AuthenticAMD", 25, 17, "Genoa"),
        ("AuthenticAMD", 25, 160, "Bergamo"),
        ("AuthenticAMD", 26, 2, "other"),
        ("GenuineIntel", 6, 85, "Cascade Lake"),
        ("GenuineIntel", 6, 106, "Ice Lake"),
        ("GenuineIntel", 6, 143, "Sapphire Rapids"),
        ("GenuineIntel", 25, 1, "other"),
        ("", None, None, "other"),
    ],
)
def test_processors_are_known_by_family_and_model_never_by_brand(vendor, family, model, named):
    found = coefficients(replace(MILAN, vendor=vendor, family=family, model=model))
    assert named in found.processor
    low, central, high = found.watts_per_busy_vcpu
    assert 0 < low < central < high == pytest.approx(2 * central)


def test_a_busy_vcpu_of_a_large_server_part_is_not_charged_the_whole_socket(monkeypatch):
    """With two vCPUs of 64 cores: codecarbon takes the socket's design power for the machine, half of it for one busy vCPU."""
    low, _, high = coefficients(replace(MILAN, brand="AMD EPYC 7763 64-Core Processor")).watts_per_busy_vcpu
    assert 1 <= low < high <= 9
    pytest.importorskip("codecarbon")
    from codecarbon.core import cpu  # noqa: PLC0415 - heavy, and optional

    monkeypatch.setattr(cpu, "detect_cpu_model", lambda: "AMD EPYC 7763 64-Core Processor")
    assert cpu.TDP().tdp / MILAN.vcpus > 100


def test_the_low_value_leaves_idle_power_out():
    assert coefficients(MILAN).watts_per_busy_vcpu == (1.5, 1.96, 3.92)


@pytest.mark.parametrize(("stated", "watts"), [("3", (1.5, 3, 6)), ("2,3,4", (2, 3, 4)), (" 1 , 1 , 1 ", (1, 1, 1))])
def test_the_user_knows_better(stated, watts, monkeypatch):
    monkeypatch.setenv(OVERRIDE, stated)
    found = coefficients(MILAN)
    assert found.watts_per_busy_vcpu == watts
    assert OVERRIDE in found.source


@pytest.mark.parametrize("stated", ["much", "0", "-1", "3,2,1", "1,2", "1,2,3,4", "nan", "inf", "1;2;3", ","])
def test_impossible_watts_are_refused(stated, monkeypatch):
    monkeypatch.setenv(OVERRIDE, stated)
    with pytest.raises(InputError, match=f"{OVERRIDE} is '{stated}'; expected one positive number of watts"):
        coefficients()


def test_the_processor_is_read_from_the_operating_system(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n"
        "flags\t\t: fpu hypervisor sse\n\nprocessor\t: 1\nmodel\t\t: 99\n"
    )
    assert processor(cpuinfo) == Processor(
        brand="AMD EPYC", vendor="AuthenticAMD", family=25, model=17, vcpus=vcpus(), virtual=True
    )
    cpuinfo.write_bytes(b"model: strange\nflags: hypervisor_like\n\xff\xfe")
    assert (processor(cpuinfo).model, processor(cpuinfo).virtual) == (None, False)
    assert processor(tmp_path / "none").brand
    assert coefficients(processor(tmp_path / "none")).processor == "other processor"


def test_coefficients_of_older_runs_are_read_back():
    stored = {"processor": "p", "watts_per_busy_vcpu": [1.0, 2.0, 4.0], "source": "s", "includes": "i"}
    found = restore(stored)
    assert found.watts_per_busy_vcpu == (1.0, 2.0, 4.0)
    assert (found.watts_per_busy_gpu, found.hosted, found.not_estimated) == (None, {}, {})
    assert restore({**stored, "of_a_later_version": 1}) == found
    with pytest.raises(InputError, match="the stored coefficients cannot be read: watts_per_busy_vcpu"):
        restore({**stored, "watts_per_busy_vcpu": "much"})


def test_what_applies_today_is_looked_up_by_the_processor_wherever_that_is(monkeypatch):
    monkeypatch.delenv(OVERRIDE, raising=False)
    then = replace(coefficients(MILAN), watts_per_busy_vcpu=(1.0, 1.0, 1.0), source="an older table")
    assert of_today(then) == coefficients(MILAN)
    stated = replace(then, processor="a processor of no table", source=f"the user, by {OVERRIDE}")
    assert of_today(stated) == stated
    monkeypatch.setenv(OVERRIDE, "3")
    assert of_today(then).watts_per_busy_vcpu == (1.5, 3, 6)
    assert of_today(then).processor == then.processor


def test_only_the_user_knows_what_a_busy_gpu_draws(monkeypatch):
    assert coefficients(MILAN).watts_per_busy_gpu is None
    monkeypatch.setenv(GPU_OVERRIDE, "100,200,300")
    assert coefficients(MILAN).watts_per_busy_gpu == (100, 200, 300)
    monkeypatch.setenv(GPU_OVERRIDE, "-1")
    with pytest.raises(InputError, match=f"{GPU_OVERRIDE} is '-1'; expected one positive number of watts"):
        coefficients(MILAN)

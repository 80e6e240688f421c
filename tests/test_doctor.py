"""What a machine can measure, said of machines that are not here; and the physical tests of the meter that is."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.conftest import needs_embedded, python
from workbench import doctor, self_test
from workbench.coefficients import Processor, coefficients, processor
from workbench.ledger import price
from workbench.meters import auto
from workbench.meters._fake_nvml import FakeNvml
from workbench.meters.cpu_time import CpuTime
from workbench.records import Reading

CPUINFO = """processor\t: 0
vendor_id\t: {vendor}
cpu family\t: {family}
model\t\t: {model}
model name\t: {brand}
flags\t\t: fpu hypervisor sse
"""
SERVERS = [
    ("AuthenticAMD", 25, 1, "AMD EPYC 7763 64-Core Processor"),
    ("AuthenticAMD", 25, 17, "AMD EPYC 9654 96-Core Processor"),
    ("AuthenticAMD", 26, 2, "AMD EPYC 9965 192-Core Processor"),
    ("GenuineIntel", 6, 106, "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz"),
    ("GenuineIntel", 6, 143, "Intel(R) Xeon(R) Platinum 8481C"),
    ("", "", "", "a processor nobody knows"),
]


@pytest.mark.parametrize(("vendor", "family", "model", "brand"), SERVERS)
def test_one_busy_vcpu_of_a_virtual_machine_is_not_the_whole_socket(vendor, family, model, brand, tmp_path):
    """A rival that takes the socket's power from the brand says over 100 W of the first of these."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(CPUINFO.format(vendor=vendor, family=family, model=model, brand=brand))
    here = processor(cpuinfo)
    assert here.virtual
    meter, prices = CpuTime(), coefficients(here)
    mark = meter.start()
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        sum(range(200))
    reading = meter.stop(mark)
    joules = price(reading, prices)
    watts = [value / reading.cpu_seconds for value in (joules.low, joules.central, joules.high)]
    assert 1 <= watts[0] < watts[1] < watts[2] <= 9


def test_the_machine_is_described_with_every_way_to_measure_and_what_to_do():
    found = {finding.what: finding for finding in doctor.machine()}
    assert {"machine", "energy", "best meter here", "engine", "OMP_WAIT_POLICY"} <= set(found)
    ways = [what for what in found if what.startswith("meter ")]
    assert len(ways) == 5
    for what in ways:
        assert found[what].state == "ok" or found[what].advice, what


@pytest.mark.parametrize(
    ("virtual", "system", "said"),
    [
        (True, "Linux", "virtual machine's host"),
        (False, "Windows", "Linux and on Apple silicon only"),
        (False, "Linux", "modprobe"),
    ],
)
def test_without_counters_the_advice_fits_the_machine(virtual, system, said, tmp_path):
    here = Processor(brand="x", vendor="", family=None, model=None, vcpus=2, virtual=virtual)
    [counters, *_] = auto.tiers(root=str(tmp_path), here=here, nvml=FakeNvml(), system=system)
    assert said in counters.advice


def test_the_hypervisor_is_named_by_its_firmware(tmp_path):
    here = processor()
    (tmp_path / "sys_vendor").write_text("QEMU\n")
    (tmp_path / "product_name").write_text("Standard PC\n")
    assert doctor.hypervisor(replace(here, virtual=True), tmp_path) == "virtual machine (QEMU Standard PC)"
    assert doctor.hypervisor(replace(here, virtual=True), tmp_path / "none") == "virtual machine (unnamed hypervisor)"
    assert doctor.hypervisor(replace(here, virtual=False), tmp_path) == "no hypervisor seen"


# --------------------------------------------------------------------------------------------------------- self-test


@dataclass
class Broken:
    """A meter that says the same whatever happens, or nothing."""

    reading: Reading | None
    name: str = "broken"

    def start(self) -> Any:
        return 0

    def stop(self, mark: Any) -> Reading | None:
        return self.reading


TALKER = {"name": "scripted", "style": "text", "replies": {"Once": "word " * 99}, "seconds_per_token": 0.001}


def by_name(meter: Any, **options: Any) -> dict[str, doctor.Finding]:
    found = self_test.self_test(meter, seconds=0.1, **options)
    return {finding.what.removeprefix("self-test: "): finding for finding in found}


@needs_embedded
def test_the_meter_of_this_machine_passes_what_time_cannot_disturb():
    found = by_name(CpuTime(), steps=12, pairs=1)
    assert len(found) == 5
    for what in ("asleep against busy", "watts per busy vCPU"):
        assert found[what].state == "ok", found[what]
    assert all(finding.state != "missing" for finding in found.values())


@pytest.mark.parametrize(
    ("reading", "state"),
    [(Reading(seconds=1.0, cpu_seconds=1.0), "bad"), (Reading(seconds=1.0), "missing"), (None, "missing")],
)
def test_a_meter_that_always_says_the_same_or_nothing_is_found_out(reading, state):
    found = by_name(Broken(reading), model=TALKER)
    assert found["asleep against busy"].state == state
    assert found["twice the output"].state == state
    assert found["conservation"].state == state


def test_without_a_model_two_of_the_five_are_skipped_and_say_why():
    found = by_name(CpuTime(), model="embedded:no-such-model")
    assert {what for what, finding in found.items() if finding.detail == "skipped"} == {
        "twice the output",
        "joules per token",
    }
    assert all(finding.advice for finding in found.values() if finding.state == "missing")


def test_a_text_that_ended_early_is_not_taken_for_twice_the_output():
    found = by_name(CpuTime(), model={**TALKER, "replies": {"Once": "word " * 30}})
    assert found["twice the output"].state == "missing"


def test_a_counter_that_says_hundreds_of_watts_is_found_out():
    reading = Reading(seconds=1.0, cpu_seconds=1.0, counter_joules={"package-0": 280.0, "package-0-idle": 1.0})
    found = self_test._watts(reading, coefficients())
    assert found.state == "bad"
    assert found.detail.startswith("280.00 W (by counters)")


def test_the_self_test_is_of_the_machine_not_of_files():
    done = python("-m", "workbench", "check", "--self-test", "experiment.yaml")
    assert done.returncode == 2
    assert "it takes no files" in done.stderr


def test_published_joules_per_token_grow_with_parameters():
    low, high = self_test.published_joules_per_token(8)
    assert 0 < low < high
    assert self_test.published_joules_per_token(16) == pytest.approx((2 * low, 2 * high))

"""Energy counters, GPUs and servers: what they say is divided exactly, and what they do not say is never 0."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench
from tests.conftest import KEY, ROOT, experiment
from workbench import registry
from workbench.booking import Recorder, stage
from workbench.coefficients import coefficients
from workbench.ledger import add, net, price, spent
from workbench.meters import amd_gpu, apple, auto, gpu, rapl, server_process
from workbench.meters._counters import library
from workbench.meters._fake_amdsmi import FakeAmdGpu, FakeAmdSmi
from workbench.meters._fake_apple import FakeApple, FakeMetrics
from workbench.meters._fake_nvml import FakeGpu, FakeNvml
from workbench.meters._windows import Clocks, Windows
from workbench.records import IDLE, Reading

RANGE = 262_143_328_850  # µJ; one turn of a counter, as Intel's have it


class Hands:
    """Clocks that are turned by hand; sleeping advances the wall, and lets others work."""

    def __init__(self) -> None:
        self.wall = 100.0
        self.own = 5.0
        self.busy = 50.0
        self.others = 0.0  # busy vCPUs of other processes
        self.threads: dict[str, float] = {}
        self.thread = ""  # who opens the next window; nobody has no clock
        self._clocks: dict[str, Callable[[], float]] = {}

    def advance(self, seconds: float, own: float = 0.0) -> None:
        self.wall += seconds
        self.own += own
        self.busy += own + self.others * seconds

    @property
    def clocks(self) -> Clocks:
        return Clocks(
            wall=lambda: self.wall,
            own=lambda: self.own,
            busy=lambda: self.busy,
            sleep=lambda s: self.advance(s),
            thread=self.clock,
            kept_seconds=0,
        )

    def clock(self) -> Callable[[], float] | None:
        if not self.thread:
            return None
        self.threads.setdefault(self.thread, 0.0)
        return self._clocks.setdefault(self.thread, partial(self.threads.__getitem__, self.thread))


class Files:
    """A powercap folder whose counters tests turn."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.denied: set[str] = set()

    def zone(self, folder: str, name: str, microjoules: int = 0, turn: int | None = RANGE) -> Path:
        path = self.root / folder
        path.mkdir(parents=True)
        (path / "name").write_text(name + "\n")
        (path / "energy_uj").write_text(f"{microjoules}\n")
        if turn is not None:
            (path / "max_energy_range_uj").write_text(f"{turn}\n")
        return path / "energy_uj"

    def read(self, path: Path) -> str:
        if path.parent.name in self.denied:
            raise PermissionError(13, "Permission denied", str(path))
        return path.read_text()


def turn(counter: Path, microjoules: int) -> None:
    """Set a counter at one stroke: a meter may read it meanwhile."""
    fresh = counter.with_suffix(".new")
    fresh.write_text(str(microjoules))
    fresh.replace(counter)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "powercap")


@pytest.fixture
def hands() -> Hands:
    return Hands()


class Script:
    """A source that tests move."""

    quantity = "joules"
    whole_machine = False
    may_rest = False
    period_seconds = 0.0
    longest_seconds = 1e9

    def __init__(self, **amounts: float | None) -> None:
        self.amounts = amounts
        self.domains = tuple(amounts)
        self.problems: dict[str, str] = {}

    def read(self) -> dict[str, float]:
        return {name: value for name, value in self.amounts.items() if value is not None}


# ----------------------------------------------------------------------------------------------------------- windows


@settings(max_examples=60)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["start", "stop", "work"]), st.integers(0, 9), st.floats(0.001, 5), st.floats(0, 50)),
        max_size=30,
    )
)
def test_overlapping_windows_sum_to_the_counter_and_to_the_clock(steps):
    hands, source = Hands(), Script(x=1000.0)
    meter = Windows("test", [source], clocks=hands.clocks)
    marks, readings = [meter.start()], []
    seconds = joules = 0.0
    for action, number, duration, grown in steps:
        hands.advance(duration, own=duration / 2)
        source.amounts["x"] += grown
        seconds, joules = seconds + duration / 2, joules + grown
        if action == "start":
            marks.append(meter.start())
        elif action == "stop" and len(marks) > 1:
            readings.append(meter.stop(marks.pop(1 + number % (len(marks) - 1))))
    hands.advance(1)
    source.amounts["x"] += 1
    readings += [meter.stop(mark) for mark in marks]
    known = [reading for reading in readings if reading is not None]  # those of no length have nothing
    assert sum(reading.cpu_seconds for reading in known) == pytest.approx(seconds)
    stuck = "x" in meter.problems
    if not stuck:
        assert sum(reading.counter_joules["x"] for reading in known) == pytest.approx(joules + 1)
    assert any(reading.shared for reading in known) == (len(marks) > 1 or len(readings) > len(marks))


@settings(max_examples=60)
@given(
    steps=st.lists(st.tuples(st.floats(0.1, 2), st.floats(0, 2), st.floats(0, 100)), min_size=1, max_size=10),
    others=st.just(0.0) | st.floats(0.02, 8),
)
def test_this_process_never_gets_more_than_the_machine_drew(steps, others):
    hands, source = Hands(), Script(x=0.0)
    source.whole_machine = True
    hands.others = 0.0
    meter = Windows("test", [source], clocks=hands.clocks, vcpus=4)
    hands.others = others
    mark, drawn = meter.start(), 0.0
    for seconds, own, grown in steps:
        hands.advance(seconds, own)
        source.amounts["x"] += grown
        drawn += grown
        meter.settle()
    reading = meter.stop(mark)
    assert reading is not None
    if reading.counter_joules is not None:
        assert 0 <= reading.counter_joules["x"] <= drawn * (1 + 1e-9)
        assert others or reading.counter_joules["x"] == pytest.approx(drawn)


def test_above_idle_goes_by_cpu_time_and_idle_by_the_vcpus_that_others_leave(hands):
    source = Script(x=0.0)
    source.whole_machine = True
    hands_sleep = hands.advance

    def sleep(seconds: float) -> None:
        hands_sleep(seconds)
        source.amounts["x"] += 10 * seconds  # idle: 10 W

    clocks = Clocks(
        wall=lambda: hands.wall, own=lambda: hands.own, busy=lambda: hands.busy, sleep=sleep, kept_seconds=0
    )
    meter = Windows("test", [source], idle_seconds=2.0, clocks=clocks, vcpus=4)
    assert meter.idle_watts == {"x": pytest.approx(10)}
    hands.others = 1.0
    hands.advance(2.0, own=2.0)  # the others' load is seen
    source.amounts["x"] += 50
    mark = meter.start()
    hands.advance(4.0, own=4.0)
    source.amounts["x"] += 100  # 40 J idle, 60 J above, of which we were half
    reading = meter.stop(mark)
    assert reading.foreign_load == pytest.approx(1.0)
    assert reading.counter_joules == {"x": pytest.approx(30), "x" + IDLE: pytest.approx(40 * 3 / 4)}
    assert reading.shared


def test_overlapping_windows_get_joules_by_their_work_a_servers_by_who_waits_and_a_gpus_equally(hands):
    counter, server, device = Script(x=0.0), Script(server=0.0), Script(y=0.0)
    counter.whole_machine, server.quantity = True, "cpu_seconds"
    meter = Windows("test", [counter, server, device], clocks=hands.clocks, vcpus=4)
    hands.thread = "searches"
    searches = meter.start()
    hands.thread = "asks"
    asks = meter.start()
    hands.advance(4.0, own=4.0)
    hands.busy += 2.0
    hands.threads["searches"] += 4.0
    server.amounts["server"] += 2.0
    counter.amounts["x"] += 60.0
    device.amounts["y"] += 10.0
    first, second = meter.stop(searches), meter.stop(asks)
    assert (first.cpu_seconds, second.cpu_seconds) == (pytest.approx(4.0), pytest.approx(2.0))
    assert first.counter_joules == {"x": pytest.approx(40.0), "y": pytest.approx(5.0)}
    assert second.counter_joules == {"x": pytest.approx(20.0), "y": pytest.approx(5.0)}
    assert first.shared
    assert second.shared


def test_idle_power_is_not_measured_on_a_busy_machine(hands):
    source = Script(x=0.0)
    hands.others = 3.0
    meter = Windows("test", [source], idle_seconds=1.0, clocks=hands.clocks, vcpus=4)
    assert meter.idle_watts == {}
    assert meter.problems["idle"].startswith("3.0 of 4 vCPUs were busy")


def test_what_cannot_be_read_is_unknown_in_the_windows_open_then_and_only_there(hands):
    source = Script(x=0.0, y=0.0)
    meter = Windows("test", [source], clocks=hands.clocks)

    def window(**changes: float | None):
        mark = meter.start()
        hands.advance(1.0, own=0.5)
        for name, value in changes.items():
            source.amounts[name] = value
        return meter.stop(mark)

    assert window(x=3.0, y=1.0).counter_joules == {"x": 3.0, "y": 1.0}
    assert window(x=None, y=2.0).counter_joules == {"y": 1.0}
    assert window(x=9.0, y=3.0).counter_joules == {"y": 1.0}  # it came back in the middle
    assert window(x=10.0, y=4.0).counter_joules == {"x": 1.0, "y": 1.0}
    lost = window(x=None, y=None)
    assert lost.counter_joules is None
    assert (lost.seconds, lost.cpu_seconds) == (1.0, 0.5)


def test_a_counter_that_stands_still_is_unknown_not_free(hands):
    source = Script(x=5.0)
    meter = Windows("test", [source], clocks=hands.clocks)
    mark = meter.start()
    hands.advance(5.0, own=1.0)
    assert meter.stop(mark).counter_joules is None
    assert meter.problems == {"x": "the counter stands still"}


def test_windows_of_no_length_and_clocks_that_go_back_are_named_and_never_zero(hands):
    source = Script(x=0.0)
    meter = Windows("test", [source], clocks=hands.clocks)
    assert meter.stop(meter.start()) is None
    assert "no length" in meter.problems["window"]
    mark = meter.start()
    hands.advance(2.0)
    hands.own -= 1.0
    source.amounts["x"] = 4.0
    assert meter.stop(mark).cpu_seconds is None
    assert "went back by 1 s" in meter.problems["this process"]
    mark = meter.start()
    hands.wall -= 7.0
    assert meter.stop(mark) is None
    assert meter.problems["clock"] == "the clock went back by 7 s"
    mark = meter.start()
    hands.advance(1.0, own=0.25)
    source.amounts["x"] += 2.0
    reading = meter.stop(mark)
    assert (reading.seconds, reading.cpu_seconds, reading.counter_joules) == (1.0, 0.25, {"x": 2.0})
    assert meter.stop(99) is None


def test_a_counter_read_too_seldom_may_have_lost_a_turn(hands):
    source = Script(x=0.0)
    source.longest_seconds = 60.0
    meter = Windows("test", [source], clocks=hands.clocks)
    mark = meter.start()
    hands.advance(61.0)
    source.amounts["x"] += 10
    assert meter.stop(mark).counter_joules is None
    assert "gone round more than once" in meter.problems["x"]


def test_a_living_meter_settles_open_windows_by_itself_and_dies_with_its_last_user(files):
    counter = files.zone("intel-rapl:0", "package-0")
    meter = Windows("kept", [rapl.Rapl(rapl.zones(files.root))], clocks=Clocks(kept_seconds=0.05))
    mark = meter.start()
    assert "kept keeper" in running()
    turn(counter, 7_000_000)
    deadline = time.monotonic() + 5
    while meter._windows[mark].amounts["package-0"] == 0 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert meter._windows[mark].amounts["package-0"] > 0
    del meter
    deadline = time.monotonic() + 5
    while "kept keeper" in running() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "kept keeper" not in running()


def running() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


# -------------------------------------------------------------------------------------------------------------- RAPL


def test_each_joule_has_one_owner(files):
    """psys holds the packages, core and uncore are in theirs, mmio is the same counter, folders are linked twice."""
    files.zone("intel-rapl:0", "package-0")
    files.zone("intel-rapl:0/intel-rapl:0:0", "core")
    files.zone("intel-rapl:0/intel-rapl:0:1", "uncore")
    files.zone("intel-rapl:0/intel-rapl:0:2", "dram")
    files.zone("intel-rapl:1", "package-1")
    files.zone("intel-rapl:2", "psys")
    files.zone("intel-rapl-mmio:0", "package-0")
    (files.root / "intel-rapl").mkdir()
    (files.root / "intel-rapl" / "intel-rapl:0").symlink_to(files.root / "intel-rapl:0")
    (files.root / "intel-rapl:0:2").symlink_to(files.root / "intel-rapl:0" / "intel-rapl:0:2")
    (files.root / "dtpm").mkdir()
    found = {zone.domain: zone for zone in rapl.zones(files.root)}
    assert set(found) == {"package-0", "package-1", "dram-0"}
    assert "mmio" not in str(found["package-0"].path)
    assert found["dram-0"].range_microjoules == RANGE


def test_the_nested_layout_alone_is_enough(files):
    files.zone("intel-rapl/intel-rapl:0", "package-0")
    files.zone("intel-rapl/intel-rapl:0/intel-rapl:0:0", "dram")
    assert [zone.domain for zone in rapl.zones(files.root)] == ["package-0", "dram-0"]


def test_a_container_reads_the_counters_where_they_are_mounted(files, tmp_path):
    files.zone("intel-rapl:0", "package-0")
    [zone] = rapl.find(roots=(tmp_path / "hidden", files.root))
    assert zone.path.is_relative_to(files.root)
    assert rapl.find(roots=(tmp_path / "hidden",)) == []


@pytest.mark.parametrize(("second", "domains"), [(500_000_123, 1), (900_000_000, 2)])
def test_dies_that_mirror_one_counter_count_once(files, second, domains):
    files.zone("intel-rapl:0", "package-0-die-0", 500_000_000)
    files.zone("intel-rapl:1", "package-0-die-1", second)
    files.zone("intel-rapl:2", "package-1-die-0", 500_000_000)
    assert len(rapl.Rapl(rapl.zones(files.root)).domains) == domains + 1


@settings(max_examples=100)
@given(
    start=st.integers(0, RANGE - 1), grown=st.lists(st.integers(0, RANGE - 1), min_size=1, max_size=20), data=st.data()
)
def test_turns_of_a_counter_lose_nothing(start, grown, data, tmp_path_factory):
    files = Files(tmp_path_factory.mktemp("rapl") / "powercap")
    counter = files.zone("intel-rapl:0", "package-0", start)
    source = rapl.Rapl(rapl.zones(files.root))
    first, value = source.read()["package-0"], start
    for each in grown:
        value = (value + each) % RANGE
        counter.write_text(str(value))
        found = source.read()["package-0"]
    assert found - first == pytest.approx(sum(grown) / 1e6, abs=1e-3)
    assert source.problems == {}


def test_a_memory_counter_that_dies_is_absent_once_and_the_rest_goes_on(files, hands):
    package = files.zone("intel-rapl:0", "package-0")
    memory = files.zone("intel-rapl:0/intel-rapl:0:0", "dram")
    source = rapl.Rapl(rapl.zones(files.root), files.read)
    meter = Windows("rapl", [source], clocks=hands.clocks)

    def window(joules: int):
        mark = meter.start()
        hands.advance(1.0, own=1.0)
        for counter in (package, memory):
            if counter.exists():
                counter.write_text(str(int(counter.read_text()) + joules * 1_000_000))
        return meter.stop(mark)

    assert window(5).counter_joules == {"package-0": 5.0, "dram-0": 5.0}
    memory.unlink()
    for _ in range(3):
        assert window(2).counter_joules == {"package-0": 2.0}
    assert list(meter.problems) == ["dram-0"]


def test_a_package_that_may_not_be_read_leaves_the_machine_uncounted_and_the_clocks_running(files, hands):
    """Half the sockets must not pass for all of them."""
    counters = [files.zone(f"intel-rapl:{number}", f"package-{number}") for number in (0, 1)]
    meter = Windows("rapl", [rapl.Rapl(rapl.zones(files.root), files.read)], clocks=hands.clocks)
    for denied in (False, True, True):
        files.denied = {"intel-rapl:1"} if denied else set()
        mark = meter.start()
        hands.advance(1.0, own=0.5)
        for counter in counters:
            counter.write_text(str(int(counter.read_text()) + 1_000_000))
        reading = meter.stop(mark)
        assert reading.counter_joules == (None if denied else {"package-0": 1.0, "package-1": 1.0})
        assert price(reading, coefficients()).source == ("cpu_time" if denied else "counter")
    assert meter.problems == {"package-1": f"{counters[1]} may not be read by this user; see: workbench check"}


@pytest.mark.parametrize("text", ["", "much", "12.5", "0x10"])
def test_a_counter_that_says_nonsense_is_unreadable(files, text):
    files.zone("intel-rapl:0", "package-0").write_text(text)
    source = rapl.Rapl(rapl.zones(files.root))
    assert source.read() == {}
    assert "cannot be read" in source.problems["package-0"]


def test_a_counter_that_goes_back_without_a_turn_is_left_out_once(files):
    counter = files.zone("intel-rapl:0", "package-0", 50, turn=None)
    source = rapl.Rapl(rapl.zones(files.root))
    source.read()
    counter.write_text("20")
    assert source.read() == {}
    assert "went back from 50 to 20" in source.problems["package-0"]
    assert source.read() == {"package-0": 0.0}


def test_the_plugin_takes_a_folder_and_says_when_there_is_none(files, tmp_path):
    counter = files.zone("intel-rapl:0", "package-0")
    meter = registry.build("meters", {"name": "rapl", "root": str(files.root), "idle_seconds": 0})
    mark = meter.start()
    time.sleep(0.002)
    turn(counter, 3_000_000)
    time.sleep(0.002)
    joules = meter.stop(mark).counter_joules["package-0"]
    assert 0 <= joules <= 3.0
    without = registry.build("meters", {"name": "rapl", "root": str(tmp_path / "none")})
    assert without.stop(without.start()).counter_joules is None
    assert "no counter in" in without.problems["package"]


def test_stages_of_an_answer_sum_to_the_counter(files, hands):
    counter = files.zone("intel-rapl:0", "package-0")
    meter = Windows("rapl", [rapl.Rapl(rapl.zones(files.root))], clocks=hands.clocks)

    def work(joules: float) -> None:
        hands.advance(joules, own=joules / 2)
        counter.write_text(str(int(counter.read_text()) + int(joules * 1e6)))

    with Recorder(meter) as recorder:
        work(0.5)
        with stage("search"):
            work(0.25)
            with stage("embed"):
                work(1.0)
    total = add(recorder.stages().values())
    assert total.counter_joules == {"package-0": pytest.approx(1.75)}
    assert total.cpu_seconds == pytest.approx(0.875)
    assert price(total, coefficients()).source == "counter"


# -------------------------------------------------------------------------------------------------------------- GPUs


def test_gpus_with_a_counter_are_read_in_joules_and_the_others_by_utilisation(hands):
    nvml = FakeNvml(
        [
            FakeGpu(name="new", millijoules=[1000, 1000, 1000, 61_000]),
            FakeGpu(name="old", utilisation_percent=[0, 0, 0, 50], limit_watts=200),
        ]
    )
    found, problems = gpu.sources(nvml, lambda: hands.wall)
    meter = Windows("gpu", found, clocks=hands.clocks, problems=problems)
    hands.advance(1.0)
    mark = meter.start()
    hands.advance(0.4)
    reading = meter.stop(mark)
    assert reading.counter_joules == {"gpu-0": pytest.approx(60)}
    assert reading.gpu_busy_seconds == pytest.approx(0.2)
    assert meter.problems == {}


def test_overlapping_windows_divide_a_gpu(hands):
    nvml = FakeNvml([FakeGpu(millijoules=[0, 0, 0, 10_000, 40_000])])
    meter = Windows("gpu", gpu.sources(nvml)[0], clocks=hands.clocks)
    hands.advance(1)
    one = meter.start()  # 0
    hands.advance(1)
    two = meter.start()  # 10 J
    hands.advance(1)
    first = meter.stop(one)  # 40 J
    hands.advance(0.01)
    second = meter.stop(two)
    assert first.counter_joules["gpu-0"] == pytest.approx(25)
    assert second.counter_joules["gpu-0"] == pytest.approx(15)
    assert first.shared
    assert second.shared


def test_a_gpu_that_falls_silent_is_unknown_from_then_on(hands):
    nvml = FakeNvml(
        [
            FakeGpu(millijoules=[0, 0, 1000, 2000, None]),
            FakeGpu(utilisation_percent=[10, 10, 10, 10, None]),
        ]
    )
    meter = Windows("gpu", gpu.sources(nvml, lambda: hands.wall)[0], clocks=hands.clocks)
    readings = []
    for _ in range(3):
        hands.advance(1)
        mark = meter.start()
        hands.advance(1, own=0.5)
        readings.append(meter.stop(mark))
    assert readings[0].counter_joules == {"gpu-0": pytest.approx(1.0)}
    assert readings[0].gpu_busy_seconds == pytest.approx(0.1)
    for reading in readings[1:]:
        assert reading.counter_joules is None
        assert reading.gpu_busy_seconds is None
        assert reading.cpu_seconds is None
        assert price(reading, coefficients()) is None  # the processor's part must not pass for the whole
    assert set(meter.problems) == {"gpu-0", "gpu-1"}


def test_a_gpu_counter_that_goes_back_is_left_out(hands):
    nvml = FakeNvml([FakeGpu(millijoules=[5000, 5000, 5000, 3000])])
    meter = Windows("gpu", gpu.sources(nvml)[0], clocks=hands.clocks)
    hands.advance(1)
    mark = meter.start()
    hands.advance(1)
    assert meter.stop(mark).counter_joules is None
    assert "went back" in meter.problems["gpu-0"]


@pytest.mark.parametrize(
    ("nvml", "reason"),
    [
        (FakeNvml(driver=False), "no NVIDIA driver: NVML Shared Library Not Found"),
        (FakeNvml(), "the driver knows no GPU"),
    ],
)
def test_without_a_gpu_it_says_why(nvml, reason):
    assert gpu.sources(nvml) == ([], {"gpu": reason})


def test_a_gpu_that_tells_nothing_is_not_idle():
    sources, problems = gpu.sources(FakeNvml([FakeGpu()]))
    assert sources == []
    assert "in no figure" in problems["gpu-0"]
    [_, way, *_] = auto.tiers(nvml=FakeNvml([FakeGpu()]))
    assert not way.works
    assert "neither energy nor utilisation" in way.detail


# ---------------------------------------------------------------------------------------------------------- AMD GPUs

COUNTS = 65_535  # of 15.259 µJ: one joule, nearly
JOULE = COUNTS * 15.259e-6


def amd(hands: Hands, *gpus: FakeAmdGpu, first: int = 0) -> Windows:
    found, problems = amd_gpu.sources(
        FakeAmdSmi(gpus), first=first, wall=lambda: hands.wall, sleep=lambda s: hands.advance(s)
    )
    return Windows("amd_gpu", found, clocks=hands.clocks, problems=problems)


def window(meter: Windows, hands: Hands) -> Reading:
    hands.advance(1.0)
    mark = meter.start()
    hands.advance(1.0, own=0.5)
    reading = meter.stop(mark)
    assert reading is not None
    return reading


def counting(*joules: int | None, watts: int = 20, **more: Any) -> FakeAmdGpu:
    """One whose counter is right while it is checked (10 J in half a second), and then goes on as told."""
    counts = [None if value is None else value * COUNTS for value in joules]
    return FakeAmdGpu(counts=[0, 10 * COUNTS, *counts], watts=[watts], **more)


def test_amd_gpus_are_read_in_joules_and_those_without_a_counter_by_utilisation(hands):
    meter = amd(
        hands,
        counting(10, 10, 70),
        counting(10, 15, 18),
        FakeAmdGpu(watts=["N/A"], utilisation_percent=[0, 0, 0, 50]),
        first=2,
    )
    reading = window(meter, hands)
    assert reading.counter_joules == {"gpu-2": pytest.approx(60 * JOULE), "gpu-3": pytest.approx(3 * JOULE)}
    assert reading.gpu_busy_seconds == pytest.approx(0.5)
    assert reading.cpu_seconds == pytest.approx(0.5)
    assert meter.problems == {}


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        (FakeAmdGpu(counts=[500], watts=[90]), "grew by 0 J in 0.5 s at 90 W"),  # ROCm/amdsmi 22: it never moves
        (FakeAmdGpu(counts=[0, COUNTS], watts=[90]), "grew by 1 J in 0.5 s at 90 W"),
        (FakeAmdGpu(counts=[0, 9999 * COUNTS], watts=[90]), "grew by 1e+04 J in 0.5 s at 90 W"),
        (FakeAmdGpu(counts=[10 * COUNTS, 0], watts=["N/A"]), "grew by -10 J in 0.5 s at no power"),
    ],
)
def test_a_counter_that_cannot_be_right_is_not_used(hands, gpu, said):
    gpu.utilisation_percent = [40]
    meter = amd(hands, gpu)
    reading = window(meter, hands)
    assert reading.counter_joules is None
    assert reading.gpu_busy_seconds == pytest.approx(0.4)
    assert said in meter.problems["gpu-0"]


def test_the_die_whose_energy_is_in_the_others_counter_is_not_counted_again(hands):
    two = [
        counting(10, 10, 60, name="AMD Instinct MI250X"),
        FakeAmdGpu(name="AMD Instinct MI250X", counts=[0], watts=[0], utilisation_percent=[99]),
    ]
    meter = amd(hands, *two)
    reading = window(meter, hands)
    assert reading.counter_joules == {"gpu-0": pytest.approx(50 * JOULE)}
    assert reading.gpu_busy_seconds is None
    assert meter.problems == {"gpu-1": "its energy is in the counter of its package's other die"}


def test_an_amd_gpu_that_falls_silent_or_goes_back_is_unknown_then_and_never_free(hands):
    meter = amd(hands, counting(10, 10, 20, 25, None, 30, 40, 5, 50, 70))
    readings = [window(meter, hands) for _ in range(5)]
    joules = [None if each.counter_joules is None else each.counter_joules["gpu-0"] for each in readings]
    assert joules == [pytest.approx(10 * JOULE), None, pytest.approx(10 * JOULE), None, pytest.approx(0, abs=1e-9)]
    assert [each.cpu_seconds for each in readings] == [0.5, None, 0.5, None, 0.5]
    assert price(readings[1], coefficients()) is None
    assert "NOT_SUPPORTED" in meter.problems["gpu-0"]
    assert "\n" not in meter.problems["gpu-0"]


def test_without_permission_a_driver_a_gpu_or_the_library_it_says_why(hands):
    denied = FakeAmdGpu(failure="10 | AMDSMI_STATUS_NO_PERM - Permission Denied")
    [_, _, way, *_] = auto.tiers(nvml=FakeNvml(driver=False), amdsmi=FakeAmdSmi([denied]))
    assert not way.works
    assert "render" in way.advice
    assert "in no figure" in amd(hands, denied).problems["gpu-0"]
    assert amd_gpu.sources(FakeAmdSmi()) == ([], {"AMD GPU": "AMD's driver knows no GPU"})
    [(found, reason)] = [amd_gpu.gpus(FakeAmdSmi(driver=False))]
    assert found == []
    assert "Driver not loaded" in reason
    assert library("no_such_library_of_counters") == (None, "the library no_such_library_of_counters is not installed")


def test_a_library_that_breaks_while_it_is_loaded_is_told_and_silent(tmp_path, monkeypatch, capsys):
    (tmp_path / "breaks_without_its_driver.py").write_text("print('not found')\n{}['libamd_smi.so']\n")
    monkeypatch.syspath_prepend(tmp_path)
    found, reason = library("breaks_without_its_driver")
    assert found is None
    assert "libamd_smi.so" in reason
    assert capsys.readouterr().out == ""


def test_check_names_the_amd_gpus_that_it_can_read():
    gpus = [FakeAmdGpu(name="MI300X", watts=["N/A"], counts=range(0, 10**9, COUNTS)), FakeAmdGpu(counts=[1], watts=[9])]
    [_, _, way, *_] = auto.tiers(nvml=FakeNvml(driver=False), amdsmi=FakeAmdSmi(gpus))
    assert way.works
    assert "gpu-0 MI300X (energy counter)" in way.detail
    assert way.advice.startswith("gpu-1: its energy counter grew by 0 J")


# -------------------------------------------------------------------------------------------------------- Apple's chips


def test_a_chip_is_read_by_its_parts_its_processor_as_this_processs_share(hands):
    chip = FakeApple(FakeMetrics(cpu_total_mj=9000, dram_mj=100, gpu_mj=500, gpu_sram_mj=50, ane_mj=7))
    meter = Windows("apple", apple.sources(chip)[0], clocks=hands.clocks, vcpus=8)
    hands.others = 1.0
    hands.advance(2.0, own=2.0)  # the others' load is seen: as much as ours
    window(meter, hands)
    hands.advance(1.0, own=1.0)
    mark = meter.start()
    hands.advance(2.0, own=2.0)
    chip.chip = FakeMetrics(cpu_total_mj=29_000, dram_mj=2100, gpu_mj=8500, gpu_sram_mj=1050, ane_mj=9999)
    reading = meter.stop(mark)
    assert reading.counter_joules == {
        "package-0": pytest.approx(10.0, rel=0.01),
        "dram-0": pytest.approx(1.0, rel=0.01),
        "gpu-0": pytest.approx(9.0),
    }
    assert price(reading, coefficients()).source == "counter"


def test_a_gpu_that_is_off_draws_nothing_and_a_processor_that_stands_still_is_unknown(hands):
    chip = FakeApple(FakeMetrics(cpu_total_mj=1000, gpu_mj=500))
    meter = Windows("apple", apple.sources(chip)[0], clocks=hands.clocks)
    readings = []
    for turn in range(4):
        mark = meter.start()
        hands.advance(1.0, own=0.5)
        if turn < 2:
            chip.chip = FakeMetrics(cpu_total_mj=chip.chip.cpu_total_mj + 4000, gpu_mj=500)
        readings.append(meter.stop(mark))
    assert readings[0].counter_joules == {"package-0": pytest.approx(4.0), "gpu-0": 0.0}
    assert readings[0].cpu_seconds == 0.5
    assert readings[3].counter_joules == {"gpu-0": 0.0}
    assert meter.problems == {"package-0": "the counter stands still"}


def test_a_chip_that_falls_silent_or_counts_back_leaves_the_clock_running(hands):
    whole = FakeMetrics(cpu_total_mj=1000, dram_mj=10)
    chip = FakeApple(whole)
    meter = Windows("apple", apple.sources(chip)[0], clocks=hands.clocks)
    found = []
    for now in (FakeMetrics(cpu_total_mj=3000, dram_mj=510), "IOReport is gone", FakeMetrics(cpu_total_mj=4000), whole):
        mark = meter.start()
        hands.advance(1.0, own=0.5)
        chip.chip = now
        reading = meter.stop(mark)
        found.append(reading.counter_joules)
        assert reading.cpu_seconds == 0.5
    assert found == [{"package-0": 2.0, "dram-0": 0.5}, None, None, None]
    assert set(meter.problems) == {"package-0", "dram-0"}
    assert "IOReport is gone" in meter.problems["package-0"]


@pytest.mark.parametrize(
    ("chip", "said"),
    [
        (FakeApple(FakeMetrics(), starts=False), "Failed to create IOReport subscription"),
        (FakeApple("no channel"), "no channel"),
        (FakeApple(FakeMetrics(gpu_mj=5)), "no energy of its processor"),
        (None, "zeus_apple_silicon"),
    ],
)
def test_a_chip_that_cannot_be_read_says_why(chip, said):
    [way, *_] = auto.tiers(system="Darwin", nvml=FakeNvml(), amdsmi=FakeAmdSmi(), chip=chip)
    assert (way.name, way.works) == ("apple", False)
    assert said in way.detail
    assert auto.choose([way])[0] == "cpu_time"


def test_on_a_mac_the_chips_counters_are_the_best_there_is():
    chip = FakeApple(FakeMetrics(cpu_total_mj=1, gpu_mj=1))
    [way, *_] = auto.tiers(system="Darwin", nvml=FakeNvml(), amdsmi=FakeAmdSmi(), chip=chip)
    assert auto.choose([way])[0] == "apple"
    assert "package-0, gpu-0" in way.detail


# ----------------------------------------------------------------------------------------------------------- servers

BUSY = """
import subprocess, sys, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: sum(range(1000))
print("ready", flush=True)
sys.stdin.readline()
burn(0.15)
child = "import time\\nend = time.process_time() + 0.25\\nwhile time.process_time() < end: sum(range(1000))"
subprocess.run([sys.executable, "-S", "-c", child])
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def server():
    with subprocess.Popen([sys.executable, "-S", "-c", BUSY], stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def tell(process: subprocess.Popen[str]) -> str:
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline()


def test_a_servers_clock_holds_children_that_came_and_went_and_ends_with_it(server):
    meter = registry.build("meters", {"name": "server_process", "pid": server.pid})
    mark, before = meter.start(), time.process_time()
    assert tell(server) == "done\n"
    time.sleep(0.02)
    reading, own = meter.stop(mark), time.process_time() - before
    spent = reading.cpu_seconds - own
    ticks = 3 * 0.01  # two processes' clocks, told in whole ticks of 10 ms, less our own, told exactly
    assert 0.40 - ticks <= spent <= 0.8  # 0.15 its own, 0.25 its child's, and the starting of that
    mark = meter.start()
    tell(server)
    server.wait()
    time.sleep(0.02)
    for _ in range(2):
        reading = meter.stop(mark)
        assert reading.cpu_seconds is None
        mark = meter.start()
        time.sleep(0.02)
    assert list(meter.problems.values()) == ["the server's process has ended"]


def test_a_server_that_nobody_waited_for_has_ended_too(server):
    source = server_process.source(pid=server.pid)
    assert source.read()
    server.kill()
    deadline = time.monotonic() + 5
    while source.read() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert psutil.Process(server.pid).status() == psutil.STATUS_ZOMBIE
    assert source.read() == {}
    assert source.problems


def test_a_server_is_found_by_its_port_and_by_its_name(server):
    listening = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-S", "-c", listening], stdin=-1, stdout=-1, text=True) as process:
        port = int(process.stdout.readline())
        found, reason = server_process.find(port=port)
        assert (found.pid, reason) == (process.pid, "")
        process.kill()
    named, _ = server_process.find(process=psutil.Process(server.pid).name())
    assert named is not None
    assert named.pid != os.getpid()


def test_a_server_that_is_not_there_leaves_cpu_time_unknown():
    with socket.create_server(("127.0.0.1", 0)) as mine:
        cases = [
            ({}, "no server is named"),
            ({"pid": 2**22 + 1}, "there is no process"),
            ({"process": "no-such-server"}, "there is no process named 'no-such-server'"),
            ({"port": mine.getsockname()[1]}, "this very process"),
        ]
        for options, said in cases:
            meter = registry.build("meters", {"name": "server_process", **options})
            mark = meter.start()
            time.sleep(0.001)
            reading = meter.stop(mark)
            assert reading.cpu_seconds is None
            assert reading.seconds > 0
            assert said in meter.problems["server"]


def test_a_servers_work_counts_as_ours_in_the_machines_joules(hands):
    server, counter = Script(server=0.0), Script(x=0.0)
    server.quantity = "cpu_seconds"
    counter.whole_machine = True
    meter = Windows("test", [counter, server], clocks=hands.clocks, vcpus=4)
    for _ in range(3):
        hands.advance(1.0, own=0.0)
        hands.busy += 1.0  # the server's
        server.amounts["server"] += 1.0
        counter.amounts["x"] += 20.0
        mark = meter.start()
        hands.advance(1.0, own=0.0)
        hands.busy += 1.0
        server.amounts["server"] += 1.0
        counter.amounts["x"] += 20.0
        reading = meter.stop(mark)
    assert reading.cpu_seconds == pytest.approx(1.0)
    assert reading.counter_joules == {"x": pytest.approx(20.0)}
    assert reading.foreign_load == pytest.approx(0.0)


# -------------------------------------------------------------------------------------------------------------- auto


def test_the_best_that_works_is_chosen_and_explained(files, tmp_path):
    files.zone("intel-rapl:0", "package-0")
    ways = auto.tiers(root=str(files.root), nvml=FakeNvml([FakeGpu(name="A100", millijoules=[0])]))
    assert [way.name for way in ways] == ["rapl", "gpu", "amd_gpu", "server_process", "cpu_time"]
    assert "gpu-0 A100 (energy counter, limit 300 W)" in ways[1].detail
    assert auto.choose(ways)[0] == "rapl"
    ways = auto.tiers(root=str(tmp_path / "none"), nvml=FakeNvml(driver=False))
    name, reason = auto.choose(ways)
    assert name == "cpu_time"
    assert "no readable energy counter" in reason
    assert ways[1].advice
    assert not ways[1].works


def test_unreadable_counters_say_what_to_run(files):
    (files.zone("intel-rapl:0", "package-0")).unlink()
    (files.root / "intel-rapl:0" / "energy_uj").mkdir()
    [counters, *_] = auto.tiers(root=str(files.root), nvml=FakeNvml())
    assert not counters.works
    assert "chmod" in counters.advice
    meter = registry.build("meters", {"name": "auto", "root": str(files.root)})
    assert "package-0" in meter.problems
    mark = meter.start()
    time.sleep(0.001)
    assert meter.stop(mark).counter_joules is None


def test_auto_reads_counters_and_a_server_together(files, server):
    counter = files.zone("intel-rapl:0", "package-0")
    meter = registry.build(
        "meters", {"name": "auto", "root": str(files.root), "idle_seconds": 0, "server_pid": server.pid}
    )
    mark = meter.start()
    turn(counter, 9_000_000)
    time.sleep(0.02)
    reading = meter.stop(mark)
    assert reading.cpu_seconds is not None
    assert 0 <= reading.counter_joules["package-0"] <= 9.0
    server.kill()
    server.wait()
    mark = meter.start()
    time.sleep(0.02)
    assert meter.stop(mark).cpu_seconds is None


@pytest.fixture
def model_server(monkeypatch):
    """A provider as a process of its own, busy for 50 ms an answer: its process and its address."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    command = [sys.executable, "-m", "tests.fake_provider", "0.05"]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, cwd=ROOT) as process:
        yield process, process.stdout.readline().strip()
        process.kill()


@pytest.mark.parametrize("named", ["pid", "port"])
def test_a_run_against_a_server_here_has_its_clock_and_books_no_tokens_beside_it(model_server, named):
    process, url = model_server
    port = urlsplit(url).port
    meter = {"name": "server_process", named: {"pid": process.pid, "port": port}[named]}
    space = {"model": [{"name": "openai:fake", "base_url": url}], "retriever": ["bm25"], "passages": [1]}
    before, began = psutil.Process(process.pid).cpu_times(), time.process_time()
    workbench.run(experiment(meter=meter, space=space, questions={"limit": 4}))
    after, ended = psutil.Process(process.pid).cpu_times(), time.process_time()
    comparison = workbench.compare()
    [figures] = comparison.figures
    assert figures.answers == 4
    assert figures.elsewhere == {}
    assert figures.tokens_in == 12
    assert figures.joules.source == "cpu_time"
    assert comparison.environment["server_ports"] == [port]
    assert not any("not estimated" in note and "fake" in note for note in workbench.notes(comparison))
    readings = [spent(scored.answer.ledger) for _, scored in workbench.answers()]
    assert all(reading.cpu_seconds > 0.04 for reading in readings)
    inside = add([*readings, *comparison.spent.one_offs.values()]).cpu_seconds
    server = after.user + after.system - before.user - before.system
    assert server > 0.15
    assert inside <= server + (ended - began) + 0.02  # ticks
    assert inside >= server  # and the loop around it


def test_a_server_that_nobody_named_is_not_measured(model_server):
    _, url = model_server
    space = {"model": [{"name": "openai:fake", "base_url": url}], "retriever": ["bm25"], "passages": [1]}
    workbench.run(experiment(meter="cpu_time", space=space, questions={"limit": 2}))
    comparison = workbench.compare()
    assert [figures.joules for figures in comparison.figures] == [None]
    assert any(f"server_port: {urlsplit(url).port}" in note for note in workbench.notes(comparison))


# ------------------------------------------------------------------------------------------------------ idle and net


@pytest.mark.parametrize("name", ["cpu_time", "auto", "gpu"])
def test_vcpus_that_nobody_used_are_charged_where_that_is_asked_for(name):
    meter = registry.build("meters", {"name": name, "idle": True} | ({} if name == "cpu_time" else {"idle_seconds": 0}))
    mark = meter.start()
    time.sleep(0.2)
    reading = meter.stop(mark)
    assert meter.name == f"{name if name == meter.name.partition(' ')[0] else 'cpu_time'} with idle vCPUs"
    assert 0 < reading.idle_vcpu_seconds <= reading.seconds * (os.cpu_count() or 1)
    known = coefficients()
    with_idle, without = price(reading, known), price(replace(reading, idle_vcpu_seconds=None), known)
    extra = reading.idle_vcpu_seconds * known.watts_per_idle_vcpu[1]
    assert with_idle.central == pytest.approx(without.central + extra)
    assert "nothing to do meanwhile" in with_idle.includes
    assert "idle vCPUs and cooling excluded" in without.includes
    assert price(reading, replace(known, watts_per_idle_vcpu=None)) is None


def test_windows_that_overlap_divide_the_vcpus_that_nobody_used(hands):
    meter = Windows("test", idle=True, clocks=hands.clocks, vcpus=4)
    one = meter.start()
    hands.advance(1.0, own=1.0)
    two = meter.start()
    hands.advance(1.0, own=2.0)
    first, second = meter.stop(one), meter.stop(two)
    assert first.idle_vcpu_seconds == pytest.approx(3 + 1)
    assert second.idle_vcpu_seconds == pytest.approx(1)
    assert add([first, second]).idle_vcpu_seconds + add([first, second]).cpu_seconds == pytest.approx(8)


def test_the_net_figure_leaves_the_idle_part_out_and_is_there_only_where_counters_told_it():
    known = coefficients()
    told = {"package-0": 6.0, "package-0-idle": 4.0, "dram-0": 1.0, "dram-0-idle": 0.5}
    reading = Reading(seconds=1.0, cpu_seconds=1.0, counter_joules=told)
    assert price(reading, known).central == pytest.approx(11.5)
    assert net(reading, known).central == pytest.approx(7.0)
    assert "idle power" in price(reading, known).includes
    assert "idle power" not in net(reading, known).includes
    for untold in (None, {"package-0": 6.0}, {"package-0": 6.0, "package-0-idle": 4.0, "dram-0": 1.0}, {"gpu-0": 1.0}):
        assert net(replace(reading, counter_joules=untold), known) is None


@contextmanager
def powered(counter: Path, watts: float) -> Iterator[Callable[[], float]]:
    """A machine that draws so many watts while the block runs; gives the joules drawn so far."""
    ended = threading.Event()
    started = time.perf_counter()

    def joules() -> float:
        return (time.perf_counter() - started) * watts

    def draw() -> None:
        while not ended.wait(0.002):
            turn(counter, int(joules() * 1e6) % RANGE)

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield joules
    finally:
        ended.set()
        thread.join()


def test_a_run_is_priced_by_the_counters_it_was_given(files):
    counter = files.zone("intel-rapl:0", "package-0")
    meter = {"name": "rapl", "root": str(files.root), "idle_seconds": 0}
    space = {"model": [{"name": "scripted", "seconds": 0.02}], "retriever": ["bm25"], "passages": [1]}
    with powered(counter, 50) as drawn:
        workbench.run(experiment(meter=meter, space=space))
        most = drawn()
    comparison = workbench.compare()
    [figures] = comparison.figures
    assert figures.joules is not None
    assert figures.joules.source == "counter"
    assert 0 < figures.joules.central * figures.answers < most
    assert figures.joules.high == pytest.approx(1.1 * figures.joules.central)
    assert comparison.environment["meter"] == "rapl"
    notes = workbench.notes(comparison)
    assert any(note.startswith("Joules: read from the machine's energy counters") for note in notes)
    assert not any("estimated from this process's CPU time" in note for note in notes)


def test_a_run_whose_counters_cannot_be_read_goes_on_and_says_so(files):
    files.zone("intel-rapl:0", "package-0").unlink()
    (files.root / "intel-rapl:0" / "energy_uj").mkdir()
    workbench.run(experiment(meter={"name": "rapl", "root": str(files.root), "idle_seconds": 0}))
    comparison = workbench.compare()
    sources = {figures.joules.source for figures in comparison.figures if figures.joules is not None}
    assert sources == {"cpu_time"}
    assert any(note.startswith("The meter could not read package-0") for note in workbench.notes(comparison))


def test_a_run_without_counters_uses_the_clock_by_itself():
    workbench.run(experiment())
    assert workbench.compare().environment["meter"] in (
        "cpu_time",
        "auto",
    )  # auto where this machine has counters or a GPU

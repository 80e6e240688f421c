"""Windows over what only ever grows (counters, clocks, utilisation × time), divided among those that overlap."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import psutil

from workbench.meters._threads import ThreadClock, Window, charge, look, thread_clock
from workbench.meters.cpu_time import busy_seconds
from workbench.records import IDLE, Reading

_OWN = "this process"
_LOAD_INTERVAL = 1.0  # seconds; the system's counters tick every 10 ms, shorter spans say little
_NOBODY = 0.01  # busy vCPUs of others that are one tick of the system's clock in a second: nobody
_QUIET = 0.1  # of all vCPUs: a machine busier than that was not idle when its idle power was measured
_FOREIGN = 0.1  # busy vCPUs of other processes from which a window counts as shared
_NOTHING = (0.0, 0.0)

Quantity = Literal["joules", "gpu_busy_seconds", "cpu_seconds"]


class Source(Protocol):
    """Something that grows, by domain; a domain that cannot be read is left out, and ``problems`` says why, once each."""

    quantity: Quantity
    domains: tuple[str, ...]
    whole_machine: bool
    """Whether it counts for every process, so that this one gets its share only."""
    may_rest: bool
    """Whether what it tells may stand still for long without anything being wrong."""
    period_seconds: float
    """It says nothing new sooner than that, and is not asked."""
    longest_seconds: float
    """Between two readings farther apart than that, something may have been lost."""
    problems: dict[str, str]

    def read(self) -> Mapping[str, float]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The clocks of a meter, in seconds: the wall's, this process's CPU, a thread's, every process's; and how it waits.

    ``kept_seconds`` is how often open windows are settled by themselves, so that long ones lose no turn of a counter and
    no utilisation; 0 is never.
    """

    wall: Callable[[], float] = time.perf_counter
    own: Callable[[], float] = time.process_time
    thread: Callable[[], ThreadClock | None] = thread_clock
    busy: Callable[[], float] = busy_seconds
    sleep: Callable[[float], None] = time.sleep
    kept_seconds: float = 0.5


@dataclass(slots=True, eq=False, kw_only=True)
class _Window(Window):
    amounts: dict[str, float]
    unknown: set[str]


@dataclass(slots=True)
class _Watched:
    """A source with what it said last and when."""

    source: Source
    read_at: float
    ours_at: float
    last: dict[str, float] = field(default_factory=dict)
    moved_at: dict[str, float] = field(default_factory=dict)
    charged: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Of the windows open then: their CPU-seconds so far, and how long they had waited."""


class Windows:
    """A meter over sources and this process's CPU clock; windows may overlap.

    At every start and stop what grew since the last one is divided among the windows open meanwhile, so that windows sum to
    what the sources said, however they overlap: this process's CPU-seconds as in ``cpu_time``, a server's to those whose
    threads waited, a machine's joules above idle by CPU-seconds, and what nobody can tell apart (a GPU's, idle power) equally.
    Of a whole machine's joules this process gets

    - the part above idle × its CPU-seconds ÷ everybody's,
    - the idle part × the share of the vCPUs that others leave,

    and the rest is nobody's. Both are kept apart (``package-0`` and ``package-0-idle``): ``ledger.price`` makes the gross
    figure of their sum, ``ledger.net`` the one without the idle part. Without an idle baseline all is in ``package-0``. A
    window shorter than a counter's period holds what was booked in it by chance: many of them sum rightly, one alone says
    little.

    What cannot be read, goes backwards or stands still is unknown (``None``) in the windows open then, never 0, and is
    noted once in ``problems``. Without its counters a processor still has its CPU time; where a GPU or a server was lost,
    ``cpu_seconds`` is unknown too, so that no price leaves it out.

    ``idle_seconds`` is how long the idle power is measured at the start, on a machine that is quiet meanwhile. With ``idle``
    the vCPU-seconds that nobody uses are charged to the open windows, for energy that is estimated from CPU time.
    """

    def __init__(
        self,
        name: str,
        sources: Sequence[Source] = (),
        *,
        idle_seconds: float = 0.0,
        idle: bool = False,
        clocks: Clocks = Clocks(),
        vcpus: int = 0,
        problems: Mapping[str, str] | None = None,
    ) -> None:
        self.name = f"{name} with idle vCPUs" if idle else name
        self._idle = idle
        self.idle_watts: dict[str, float] = {}
        self._clocks = clocks
        self._vcpus = vcpus or psutil.cpu_count() or 1
        self._problems = dict(problems or {})
        self._lock = threading.Lock()
        self._windows: dict[int, _Window] = {}
        self._next = 0
        self._wall, self._own = clocks.wall(), clocks.own()
        self._ours = 0.0  # CPU-seconds of this process and of the servers that work for it
        self._foreign: float | None = None
        self._load_wall, self._load_busy, self._load_ours = self._wall, clocks.busy(), 0.0
        self._watched = [_Watched(source, self._wall, 0.0) for source in sources]
        for watched in self._watched:
            watched.last = dict(watched.source.read())
            watched.moved_at = dict.fromkeys(watched.source.domains, self._wall)
        self._counts = any(source.quantity == "joules" for source in sources)
        self._keeper: threading.Thread | None = None
        if idle_seconds > 0 and self._counts:
            self._measure_idle(idle_seconds)

    @property
    def problems(self) -> dict[str, str]:
        """What could not be read so far, and why: domain → reason."""
        found = dict(self._problems)
        for watched in self._watched:
            found |= watched.source.problems
        return found

    @property
    def ports(self) -> frozenset[int]:
        """The ports of servers whose clocks are read, so that what models answer there is in the windows."""
        return frozenset(port for watched in self._watched for port in getattr(watched.source, "ports", ()))

    def cpu_seconds(self) -> float:
        """CPU-seconds of this process and of the servers whose clocks are read, since the meter was made."""
        with self._lock:
            self._settle()
            return self._ours

    def start(self) -> int:
        """Open a window."""
        with self._lock:
            self._settle()
            mark = self._next
            self._next += 1
            window = _Window(started=self._wall, clock=self._clocks.thread(), amounts={}, unknown=set())
            for watched in self._watched:
                for domain in watched.source.domains:
                    window.amounts[domain] = 0.0
                    if domain in self.idle_watts:
                        window.amounts[domain + IDLE] = 0.0
                window.unknown |= set(watched.source.domains) - watched.last.keys()
            self._windows[mark] = window
            if len(self._windows) > 1:
                look(self._windows.values())
            if self._keeper is None and self._watched and self._clocks.kept_seconds > 0:
                self._keeper = threading.Thread(
                    target=_keep,
                    args=(weakref.ref(self), self._clocks.kept_seconds),
                    daemon=True,
                    name=f"{self.name} keeper",
                )
                self._keeper.start()
            return mark

    def stop(self, mark: int) -> Reading | None:
        """Close a window and return its reading; ``None`` for a mark that is not open or a window of no length."""
        with self._lock:
            self._settle()
            window = self._windows.pop(mark, None)
            if window is None:
                return None
            seconds = self._wall - window.started
            if seconds <= 0:
                self._problems.setdefault("window", "a window had no length, so nothing could be observed in it")
                return None
            joules = self._known(window, "joules")
            gpu = self._known(window, "gpu_busy_seconds")
            gpu_domains = [domain for each in self._of("gpu_busy_seconds") for domain in each.domains]
            servers = [domain for each in self._of("cpu_seconds") for domain in each.domains]
            unseen = window.unknown & {_OWN, *servers} or any(domain.startswith("gpu") for domain in window.unknown)
            return Reading(
                seconds=seconds,
                cpu_seconds=None if unseen else window.cpu_seconds,
                foreign_load=self._foreign,
                shared=window.shared,
                counter_joules=joules or None,
                gpu_busy_seconds=sum(gpu.values()) if gpu and len(gpu) == len(gpu_domains) else None,
                idle_vcpu_seconds=window.unused if self._idle else None,
            )

    def settle(self) -> None:
        """Divide what grew since the last start or stop; needed in between only where a source forgets."""
        with self._lock:
            if self._windows:
                self._settle()

    # ----------------------------------------------------------------------------------------------------- division

    def _of(self, quantity: Quantity) -> list[Source]:
        return [watched.source for watched in self._watched if watched.source.quantity == quantity]

    def _known(self, window: _Window, quantity: Quantity) -> dict[str, float]:
        """The domains of a quantity that were readable all through a window."""
        domains = {domain for source in self._of(quantity) for domain in source.domains} - window.unknown
        return {name: value for name, value in window.amounts.items() if name.removesuffix(IDLE) in domains}

    def _settle(self) -> None:
        wall, own = self._clocks.wall(), self._clocks.own()
        seconds, cpu, before = wall - self._wall, own - self._own, self._ours
        self._wall, self._own = wall, own
        if seconds < 0:
            self._lose({_OWN, *(domain for each in self._watched for domain in each.source.domains)})
            self._problems.setdefault("clock", f"the clock went back by {-seconds:.3g} s")
            for watched in self._watched:
                watched.read_at = min(watched.read_at, wall)
                watched.moved_at = dict.fromkeys(watched.source.domains, wall)
            self._load_wall = wall
        if cpu < 0:
            self._lose({_OWN})
            self._problems.setdefault(_OWN, f"the process's CPU clock went back by {-cpu:.3g} s")
        self._ours += max(cpu, 0.0)
        charge(self._windows.values(), max(cpu, 0.0), max(seconds, 0.0))
        for watched in self._watched:  # the clocks of servers first: they say how much of the machine's joules is ours
            if watched.source.quantity == "cpu_seconds":
                self._advance(watched)
        self._sample_load()
        free = (self._vcpus - (self._foreign or 0.0)) * max(seconds, 0.0) - (self._ours - before)
        for window in self._windows.values():
            window.unused += max(free, 0.0) / len(self._windows)
        for watched in self._watched:
            if watched.source.quantity != "cpu_seconds":
                self._advance(watched)

    def _advance(self, watched: _Watched) -> None:
        """Ask a source again, if it can say anything new, and divide what it says."""
        source, seconds = watched.source, self._wall - watched.read_at
        if seconds < source.period_seconds:
            return
        found, before = source.read(), watched.last
        ours = self._ours - watched.ours_at
        watched.last, watched.read_at, watched.ours_at = dict(found), self._wall, self._ours
        if seconds > source.longest_seconds:
            self._lose(set(source.domains))
            self._problems.setdefault(
                source.domains[0], f"not read for {seconds:.0f} s: the counter may have gone round more than once"
            )
        for domain in source.domains:
            if domain not in found or domain not in before:
                self._lose({domain})
                continue
            grown = found[domain] - before[domain]
            if source.quantity == "joules":
                if grown > 0:
                    watched.moved_at[domain] = self._wall
                elif (
                    self._wall - watched.moved_at[domain] > max(1.0, 10 * source.period_seconds) and not source.may_rest
                ):
                    self._problems.setdefault(domain, "the counter stands still")
                    self._lose({domain})
                self._divide_joules(watched, domain, grown, seconds, ours)
            elif source.quantity == "cpu_seconds":
                self._ours += grown
                waited = [
                    window.waited - watched.charged.get(mark, _NOTHING)[1] for mark, window in self._windows.items()
                ]
                for window, part in zip(self._windows.values(), _parts(waited), strict=True):
                    window.cpu_seconds += grown * part
            else:
                self._divide(domain, grown)
        watched.charged = {mark: (window.cpu_seconds, window.waited) for mark, window in self._windows.items()}

    def _divide_joules(self, watched: _Watched, domain: str, joules: float, seconds: float, ours: float) -> None:
        idle = min(self.idle_watts.get(domain, 0.0) * seconds, joules)
        above = joules - idle
        done: list[float] = []
        if watched.source.whole_machine:
            done = [
                window.cpu_seconds - watched.charged.get(mark, _NOTHING)[0] for mark, window in self._windows.items()
            ]
            foreign = self._foreign or 0.0
            everybodys = ours + foreign * seconds
            above *= ours / everybodys if everybodys > 0 else 1.0
            idle *= 1 - min(foreign / self._vcpus, 1.0)
            if self._foreign is None or foreign > _FOREIGN:
                for window in self._windows.values():
                    window.shared = True
        self._divide(domain, above, done)
        if domain in self.idle_watts:
            self._divide(domain + IDLE, idle)

    def _divide(self, domain: str, amount: float, weights: Sequence[float] = ()) -> None:
        """By weights, one per window; equally without them."""
        parts = _parts(weights or [0.0] * len(self._windows))
        for window, part in zip(self._windows.values(), parts, strict=True):
            window.amounts[domain] += amount * part

    def _lose(self, domains: set[str]) -> None:
        for window in self._windows.values():
            window.unknown |= domains

    def _sample_load(self) -> None:
        seconds = self._wall - self._load_wall
        if seconds >= _LOAD_INTERVAL:
            busy = self._clocks.busy()
            foreign = ((busy - self._load_busy) - (self._ours - self._load_ours)) / seconds
            self._foreign = foreign if foreign > _NOBODY else 0.0
            self._load_wall, self._load_busy, self._load_ours = self._wall, busy, self._ours

    # --------------------------------------------------------------------------------------------------------- idle

    def _measure_idle(self, idle_seconds: float) -> None:
        """Keep the watts of every counter with nothing to do, unless something was done meanwhile."""
        counters = [watched for watched in self._watched if watched.source.quantity == "joules"]
        before = [dict(watched.source.read()) for watched in counters]
        began, busy = self._clocks.wall(), self._clocks.busy()
        self._clocks.sleep(idle_seconds)
        after = [dict(watched.source.read()) for watched in counters]
        seconds, load = self._clocks.wall() - began, self._clocks.busy() - busy
        if seconds <= 0:
            self._problems.setdefault("idle", "the clock did not advance while the idle power was to be measured")
            return
        self._wall, self._own = self._clocks.wall(), self._clocks.own()
        self._foreign = max(load, 0.0) / seconds
        self._load_wall, self._load_busy = self._wall, self._clocks.busy()
        for watched, now in zip(counters, after, strict=True):
            watched.last, watched.read_at = now, self._wall
        if load / seconds > _QUIET * self._vcpus:
            self._problems.setdefault(
                "idle",
                f"{load / seconds:.1f} of {self._vcpus} vCPUs were busy while the idle power was to be measured; "
                "there is no net figure",
            )
            return
        for then, now in zip(before, after, strict=True):
            self.idle_watts |= {
                domain: (now[domain] - then[domain]) / seconds
                for domain in now
                if domain in then and now[domain] > then[domain]
            }


def _parts(weights: Sequence[float]) -> list[float]:
    """What share each weight has of all; the same for all where there is nothing to weigh."""
    total = sum(weights)
    return [weight / total if total > 0 else 1 / len(weights) for weight in weights]


def _keep(reference: weakref.ref[Windows], seconds: float) -> None:
    """Settle now and then while a meter lives."""
    while (meter := reference()) is not None:
        meter.settle()
        del meter
        time.sleep(seconds)

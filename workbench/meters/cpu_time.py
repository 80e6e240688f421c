"""The CPU clock of this process, divided among the windows that are open."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import psutil

from workbench.coefficients import vcpus
from workbench.records import Reading

_LOAD_INTERVAL = 1.0  # seconds; the system's counters tick every 10 ms, shorter spans say little


@dataclass(slots=True)
class _Window:
    started: float
    cpu_seconds: float = 0.0
    unused: float = 0.0
    shared: bool = False


class CpuTime:
    """``time.process_time`` (all threads of this process, nanoseconds) over windows that may overlap.

    At every start and stop the time since the last one is settled: divided equally among the windows open meanwhile.
    So the windows sum to the process's clock exactly, however they overlap, and one that was always alone is exact.
    What other processes used meanwhile is sampled from the system's counters about once a second. With ``idle`` the
    vCPU-seconds that nobody used are divided in the same way.
    """

    def __init__(self, *, idle: bool = False) -> None:
        self.name = "cpu_time with idle vCPUs" if idle else "cpu_time"
        self._vcpus = vcpus() if idle else 0
        self._lock = threading.Lock()
        self._windows: dict[int, _Window] = {}
        self._next = 0
        self._settled = time.process_time()
        self._wall = time.perf_counter()
        self._foreign_load: float | None = None
        self._load_wall = time.monotonic()
        self._load_busy = busy_seconds()
        self._load_own = self._settled

    def start(self) -> int:
        """Open a window."""
        with self._lock:
            self._settle()
            mark = self._next
            self._next += 1
            self._windows[mark] = _Window(started=time.perf_counter())
            return mark

    def stop(self, mark: int) -> Reading | None:
        """Close a window and return its reading; ``None`` for a mark that is not open."""
        with self._lock:
            self._settle()
            window = self._windows.pop(mark, None)
            if window is None:
                return None
            return Reading(
                seconds=time.perf_counter() - window.started,
                cpu_seconds=window.cpu_seconds,
                foreign_load=self._sample_load(),
                shared=window.shared,
                idle_vcpu_seconds=window.unused if self._vcpus else None,
            )

    def _settle(self) -> None:
        now = time.process_time()
        since, self._settled = now - self._settled, now
        shared = len(self._windows) > 1
        if self._vcpus:
            self._charge_unused(since)
        for window in self._windows.values():
            window.cpu_seconds += since / len(self._windows)
            window.shared = window.shared or shared

    def _charge_unused(self, own: float) -> None:
        wall = time.perf_counter()
        seconds, self._wall = wall - self._wall, wall
        free = max((self._vcpus - (self._foreign_load or 0.0)) * seconds - own, 0.0)
        for window in self._windows.values():
            window.unused += free / len(self._windows)

    def _sample_load(self) -> float | None:
        now = time.monotonic()
        elapsed = now - self._load_wall
        if elapsed >= _LOAD_INTERVAL:
            busy, own = busy_seconds(), self._settled
            self._foreign_load = max((busy - self._load_busy) - (own - self._load_own), 0.0) / elapsed
            self._load_wall, self._load_busy, self._load_own = now, busy, own
        return self._foreign_load


def busy_seconds() -> float:
    """CPU-seconds that the whole machine has spent since it started, waiting for disks left out; it ticks every 10 ms."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def build(*, idle: bool = False) -> CpuTime:
    """CPU-seconds of this process, priced in watts per busy vCPU from a sourced table; works everywhere.

    With ``idle`` the vCPUs that nobody uses while an answer is made are charged to it, too: for a machine that is only here
    for these answers.
    """
    return CpuTime(idle=idle)

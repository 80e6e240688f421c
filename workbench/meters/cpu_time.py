"""The CPU clock of this process, divided among the windows that are open."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psutil

from workbench.coefficients import vcpus
from workbench.meters._threads import ThreadClock, Window, charge, look, thread_clock
from workbench.records import Reading

_LOAD_INTERVAL = 1.0  # seconds; the system's counters tick every 10 ms, shorter spans say little


class CpuTime:
    """``time.process_time`` (all threads of this process, nanoseconds) over windows that may overlap.

    At every start and stop the time since the last one is settled: of the windows open meanwhile each gets what its own
    thread did, and what other threads did, such as an engine's, goes to those whose threads waited (``_threads.charge``).
    So the windows sum to the process's clock exactly, however they overlap, and one that was always alone is exact.
    What other processes used meanwhile is sampled from the system's counters about once a second. With ``idle`` the
    vCPU-seconds that nobody used are divided equally.
    """

    def __init__(self, *, idle: bool = False, thread: Callable[[], ThreadClock | None] = thread_clock) -> None:
        self.name = "cpu_time with idle vCPUs" if idle else "cpu_time"
        self._vcpus = vcpus() if idle else 0
        self._lock = threading.Lock()
        self._thread = thread
        self._windows: dict[int, Window] = {}
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
            self._windows[mark] = Window(started=self._wall, clock=self._thread())
            if len(self._windows) > 1:
                look(self._windows.values())
            return mark

    def stop(self, mark: int) -> Reading | None:
        """Close a window and return its reading; ``None`` for a mark that is not open."""
        with self._lock:
            self._settle()
            window = self._windows.pop(mark, None)
            if window is None:
                return None
            return Reading(
                seconds=self._wall - window.started,
                cpu_seconds=window.cpu_seconds,
                foreign_load=self._sample_load(),
                shared=window.shared,
                idle_vcpu_seconds=window.unused if self._vcpus else None,
            )

    def _settle(self) -> None:
        now, wall = time.process_time(), time.perf_counter()
        cpu, seconds = now - self._settled, wall - self._wall
        self._settled, self._wall = now, wall
        charge(self._windows.values(), cpu, seconds)
        if self._vcpus:
            free = max((self._vcpus - (self._foreign_load or 0.0)) * seconds - cpu, 0.0)
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

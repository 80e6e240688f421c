"""Who did what of a process's CPU time, among windows that overlap: the clocks of threads, and who waited meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

ThreadClock = Callable[[], float]

_this = threading.local()
_SHARPNESS = 8  # a thread that computes is kept waiting, too, by neighbours and by the interpreter's lock: half of it is next to none


@dataclass(slots=True, eq=False)
class Window:
    """An open window: the clock of the thread that opened it, and what it has been charged with so far."""

    started: float
    clock: ThreadClock | None
    clock_at: float = 0.0
    cpu_seconds: float = 0.0
    waited: float = 0.0
    unused: float = 0.0
    shared: bool = False


def thread_clock() -> ThreadClock | None:
    """How to read, from any thread, the CPU clock of the one that asks; ``None`` where the system has no such clocks."""
    known: ThreadClock | None = getattr(_this, "clock", None)
    if known is None and (clock_of := getattr(time, "pthread_getcpuclockid", None)) is not None:
        known = _this.clock = partial(time.clock_gettime, clock_of(threading.get_ident()))
    return known


def look(windows: Collection[Window]) -> None:
    """Note what the threads' clocks say now: from here on the windows will overlap."""
    for window in windows:
        window.clock_at = _now(window)


def charge(windows: Collection[Window], cpu: float, seconds: float) -> None:
    """Divide what a process's clock grew by in so many seconds among the windows open meanwhile, so that they sum to it.

    Each gets what its own thread did. The rest was done by threads that nobody opened a window in, such as an engine's:
    it goes to those whose threads waited nearly all the time. Without clocks of threads all get the same.
    """
    if len(windows) < 2:
        for window in windows:
            window.cpu_seconds += cpu
            window.waited += seconds
        return
    done = _done(windows, cpu)
    waited = [seconds * max(1 - own / seconds, 0.0) ** _SHARPNESS if seconds > 0 else 0.0 for own in done]
    rest, waiting = max(cpu - sum(done), 0.0), sum(waited)
    for window, own, wait in zip(windows, done, waited, strict=True):
        window.cpu_seconds += own + rest * (wait / waiting if waiting > 0 else 1 / len(windows))
        window.waited += wait
        window.shared = True


def _done(windows: Collection[Window], cpu: float) -> list[float]:
    """CPU-seconds of each window's own thread since they were last looked at; windows of one thread share its."""
    grown = []
    for window in windows:
        now = _now(window)
        grown.append(max(now - window.clock_at, 0.0))
        window.clock_at = now
    if any(window.clock is None for window in windows):
        return [0.0] * len(grown)
    clocks = [window.clock for window in windows]
    done = [own / clocks.count(clock) for own, clock in zip(grown, clocks, strict=True)]  # each thread has one clock
    together = sum(done)  # read a moment after the process's clock
    return done if together <= cpu else [own * cpu / together for own in done]


def _now(window: Window) -> float:
    """What its thread's clock says; the same as before once the thread has ended."""
    try:
        return window.clock() if window.clock is not None else 0.0
    except OSError:
        return window.clock_at

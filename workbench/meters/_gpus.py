"""GPUs as sources of windows, whoever made them: by their energy counters, or where they have none by their utilisation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workbench.meters._windows import Quantity, Source

_PERIOD = 0.02  # seconds; counters change every 20 to 100 ms, depending on the GPU
_SAMPLED = 0.1  # seconds; utilisation is what the driver averaged over the last sixth of a second to a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU: how to ask for its joules and for its utilisation in percent, each ``None`` where it does not tell.

    Where neither is told, ``silent`` says why, or what else has its energy.
    """

    domain: str
    name: str
    joules: Callable[[], float] | None
    percent: Callable[[], float] | None
    limit_watts: float | None
    silent: str = "tells neither energy nor utilisation, so that it is in no figure"

    @property
    def counts(self) -> bool:
        """Whether it has an energy counter."""
        return self.joules is not None

    @property
    def usable(self) -> bool:
        """Whether it can be metered."""
        return self.counts or self.percent is not None


class GpuCounters:
    """Joules by GPU since the driver was loaded, of the whole device, memory included."""

    quantity: Quantity = "joules"
    whole_machine = False  # the CPU's load says nothing of a GPU's: all of it is charged to what ran here
    may_rest = False
    period_seconds = _PERIOD
    longest_seconds = math.inf

    def __init__(self, gpus: Sequence[Gpu], failures: type[Exception]) -> None:
        self.domains = tuple(gpu.domain for gpu in gpus)
        self.problems: dict[str, str] = {}
        self._asked = {gpu.domain: gpu.joules for gpu in gpus if gpu.joules is not None}
        self._failures = failures
        self._before: dict[str, float] = {}

    def read(self) -> Mapping[str, float]:
        """Joules by GPU; those that cannot be read now, or whose counter went back, are left out."""
        found = {}
        for domain, ask in self._asked.items():
            try:
                joules = ask()
            except self._failures as error:
                self.problems.setdefault(domain, f"its energy counter cannot be read: {error}")
                continue
            before = self._before.get(domain, joules)
            self._before[domain] = joules
            if joules < before:
                self.problems.setdefault(domain, f"its energy counter went back from {before} to {joules} J")
            else:
                found[domain] = joules
        return found


class GpuUtilisation:
    """Busy seconds by GPU since it was built: utilisation × time, sampled."""

    quantity: Quantity = "gpu_busy_seconds"
    whole_machine = False
    may_rest = True
    period_seconds = _SAMPLED
    longest_seconds = 10.0  # a sample says nothing of longer ago

    def __init__(
        self, gpus: Sequence[Gpu], failures: type[Exception], wall: Callable[[], float] = time.perf_counter
    ) -> None:
        self.domains = tuple(gpu.domain for gpu in gpus)
        self.problems: dict[str, str] = {}
        self._asked = {gpu.domain: gpu.percent for gpu in gpus if gpu.percent is not None}
        self._failures = failures
        self._wall = wall
        self._at = wall()
        self._busy = dict.fromkeys(self.domains, 0.0)

    def read(self) -> Mapping[str, float]:
        """Busy seconds by GPU; those that cannot be asked now are left out."""
        now = self._wall()
        seconds, self._at = max(now - self._at, 0.0), now
        found = {}
        for domain, ask in self._asked.items():
            try:
                percent = ask()
            except self._failures as error:
                self.problems.setdefault(domain, f"its utilisation cannot be read: {error}")
                continue
            self._busy[domain] += min(max(percent, 0), 100) / 100 * seconds
            found[domain] = self._busy[domain]
        return found


def as_sources(
    gpus: Sequence[Gpu], failures: type[Exception], wall: Callable[[], float] = time.perf_counter
) -> tuple[list[Source], dict[str, str]]:
    """What can be metered of some GPUs as sources of windows, and why the rest cannot; ``failures`` is what asking raises."""
    counting = [gpu for gpu in gpus if gpu.counts]
    sampled = [gpu for gpu in gpus if gpu.usable and not gpu.counts]
    made: list[Source] = [GpuCounters(counting, failures)] if counting else []
    if sampled:
        made.append(GpuUtilisation(sampled, failures, wall))
    return made, {gpu.domain: gpu.silent for gpu in gpus if not gpu.usable}

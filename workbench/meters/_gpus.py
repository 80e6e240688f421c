"""GPUs as sources of windows, whoever made them: by their energy counters, or where they have none by their utilisation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workbench.meters._counters import Counters
from workbench.meters._windows import Quantity, Source

_SILENT = "tells neither energy nor utilisation, so that it is in no figure"
_SAMPLED = 0.1  # seconds; utilisation is what the driver averaged over the last sixth of a second to a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU: how to ask for its joules and for its utilisation in percent, each ``None`` where it does not tell.

    ``problem`` is why not, where there is more to say than that, or what else has its energy.
    """

    domain: str
    name: str
    joules: Callable[[], float] | None
    percent: Callable[[], float] | None
    limit_watts: float | None
    problem: str = ""

    @property
    def counts(self) -> bool:
        """Whether it has an energy counter."""
        return self.joules is not None

    @property
    def usable(self) -> bool:
        """Whether it can be metered."""
        return self.counts or self.percent is not None


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
    sampled = [gpu for gpu in gpus if gpu.usable and not gpu.counts]
    asked = {gpu.domain: gpu.joules for gpu in gpus if gpu.joules is not None}
    # the CPU's load says nothing of a GPU's: all of it is charged to what ran here
    made: list[Source] = [Counters(asked, failures, whole_machine=False)] if asked else []
    if sampled:
        made.append(GpuUtilisation(sampled, failures, wall))
    return made, {gpu.domain: gpu.problem or _SILENT for gpu in gpus if gpu.problem or not gpu.usable}

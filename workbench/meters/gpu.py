"""NVIDIA GPUs by their energy counters, or where they have none by their utilisation; whole devices, never processes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pynvml

from workbench.meters._windows import Quantity, Source, Windows

_PERIOD = 0.02  # seconds; counters change every 20 to 100 ms, depending on the GPU
_SAMPLED = 0.1  # seconds; utilisation is what the driver averaged over the last sixth of a second to a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as the driver describes it; ``counts`` says whether it has an energy counter, ``usable`` if it can be metered."""

    domain: str
    name: str
    handle: Any
    counts: bool
    usable: bool
    limit_watts: float | None


class GpuCounters:
    """Joules by GPU since the driver was loaded; the driver counts millijoules of the whole device, memory included."""

    quantity: Quantity = "joules"
    whole_machine = False  # the CPU's load says nothing of a GPU's: all of it is charged to what ran here
    period_seconds = _PERIOD
    longest_seconds = math.inf

    def __init__(self, nvml: Any, gpus: Sequence[Gpu]) -> None:
        self.domains = tuple(gpu.domain for gpu in gpus)
        self.problems: dict[str, str] = {}
        self._nvml = nvml
        self._gpus = gpus
        self._before: dict[str, float] = {}

    def read(self) -> Mapping[str, float]:
        """Joules by GPU; those that cannot be read now, or whose counter went back, are left out."""
        found = {}
        for gpu in self._gpus:
            try:
                joules = self._nvml.nvmlDeviceGetTotalEnergyConsumption(gpu.handle) / 1000
            except self._nvml.NVMLError as error:
                self.problems.setdefault(gpu.domain, f"its energy counter cannot be read: {error}")
                continue
            before = self._before.get(gpu.domain, joules)
            self._before[gpu.domain] = joules
            if joules < before:
                self.problems.setdefault(gpu.domain, f"its energy counter went back from {before} to {joules} J")
            else:
                found[gpu.domain] = joules
        return found


class GpuUtilisation:
    """Busy seconds by GPU since it was built: utilisation × time, sampled."""

    quantity: Quantity = "gpu_busy_seconds"
    whole_machine = False
    period_seconds = _SAMPLED
    longest_seconds = 10.0  # a sample says nothing of longer ago

    def __init__(self, nvml: Any, gpus: Sequence[Gpu], wall: Callable[[], float] = time.perf_counter) -> None:
        self.domains = tuple(gpu.domain for gpu in gpus)
        self.problems: dict[str, str] = {}
        self._nvml = nvml
        self._gpus = gpus
        self._wall = wall
        self._at = wall()
        self._busy = dict.fromkeys(self.domains, 0.0)

    def read(self) -> Mapping[str, float]:
        """Busy seconds by GPU; those that cannot be asked now are left out."""
        now = self._wall()
        seconds, self._at = max(now - self._at, 0.0), now
        found = {}
        for gpu in self._gpus:
            try:
                percent = self._nvml.nvmlDeviceGetUtilizationRates(gpu.handle).gpu
            except self._nvml.NVMLError as error:
                self.problems.setdefault(gpu.domain, f"its utilisation cannot be read: {error}")
                continue
            self._busy[gpu.domain] += min(max(percent, 0), 100) / 100 * seconds
            found[gpu.domain] = self._busy[gpu.domain]
        return found


def gpus(nvml: Any = pynvml) -> tuple[list[Gpu], str]:
    """The GPUs that the driver knows, and why there are none."""
    try:
        nvml.nvmlInit()
        count = nvml.nvmlDeviceGetCount()
        found = [_gpu(nvml, index) for index in range(count)]
    except nvml.NVMLError as error:
        return [], f"no NVIDIA driver: {error}"
    return found, "" if found else "the driver knows no GPU"


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    counts = _or_none(nvml, lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) is not None
    milliwatts = _or_none(nvml, lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle))
    return Gpu(
        domain=f"gpu-{index}",
        name=str(_or_none(nvml, lambda: nvml.nvmlDeviceGetName(handle)) or "GPU"),
        handle=handle,
        counts=counts,
        usable=counts or _or_none(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle)) is not None,
        limit_watts=None if milliwatts is None else milliwatts / 1000,
    )


def _or_none(nvml: Any, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except nvml.NVMLError:
        return None


def sources(nvml: Any = pynvml, wall: Callable[[], float] = time.perf_counter) -> tuple[list[Source], dict[str, str]]:
    """What can be metered of the GPUs as sources of windows, and why the rest cannot."""
    found, reason = gpus(nvml)
    counting = [gpu for gpu in found if gpu.counts]
    sampled = [gpu for gpu in found if gpu.usable and not gpu.counts]
    silent = [gpu.domain for gpu in found if not gpu.usable]
    problems = dict.fromkeys(silent, "tells neither energy nor utilisation, so that it is in no figure")
    problems |= {"gpu": reason} if reason else {}
    made: list[Source] = [GpuCounters(nvml, counting)] if counting else []
    if sampled:
        made.append(GpuUtilisation(nvml, sampled, wall))
    return made, problems


def build(*, idle_seconds: float = 2.0, idle: bool = False) -> Windows:
    """Joules of NVIDIA GPUs by their energy counters, else their busy seconds by utilisation, beside this process's CPU time.

    The idle power of the GPUs is measured for ``idle_seconds`` at the start. With ``idle`` the vCPUs that nobody uses are
    charged, too.
    """
    found, problems = sources()
    return Windows("gpu", found, idle_seconds=idle_seconds, idle=idle, problems=problems)

"""NVIDIA GPUs by their energy counters, or where they have none by their utilisation; whole devices, never processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pynvml

from workbench.meters._gpus import Gpu, as_sources
from workbench.meters._windows import Source, Windows


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
    milliwatts = _or_none(nvml, partial(nvml.nvmlDeviceGetPowerManagementLimit, handle))
    return Gpu(
        domain=f"gpu-{index}",
        name=str(_or_none(nvml, partial(nvml.nvmlDeviceGetName, handle)) or "GPU"),
        joules=_if_told(nvml, lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000),
        percent=_if_told(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        limit_watts=None if milliwatts is None else milliwatts / 1000,
    )


def _if_told(nvml: Any, ask: Callable[[], float]) -> Callable[[], float] | None:
    return None if _or_none(nvml, ask) is None else ask


def _or_none(nvml: Any, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except nvml.NVMLError:
        return None


def sources(nvml: Any = pynvml, wall: Callable[[], float] = time.perf_counter) -> tuple[list[Source], dict[str, str]]:
    """What can be metered of the GPUs as sources of windows, and why the rest cannot."""
    found, reason = gpus(nvml)
    made, problems = as_sources(found, nvml.NVMLError, wall)
    return made, problems | ({"gpu": reason} if reason else {})


def build(*, idle_seconds: float = 2.0, idle: bool = False) -> Windows:
    """Joules of NVIDIA GPUs by their energy counters, else their busy seconds by utilisation, beside this process's CPU time.

    The idle power of the GPUs is measured for ``idle_seconds`` at the start. With ``idle`` the vCPUs that nobody uses are
    charged, too.
    """
    found, problems = sources()
    return Windows("gpu", found, idle_seconds=idle_seconds, idle=idle, problems=problems)

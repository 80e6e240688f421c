"""Apple's chips by their own energy counters (IOReport): processor and memory as this process's share, the GPU whole.

Tried on fakes of the library ``zeus-apple-silicon`` only, not on a Mac. The counters are Apple's own model of its chip, not a
meter; the Neural Engine's is left out, since nothing here runs on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from workbench.meters._counters import Counters, Unreadable, library
from workbench.meters._windows import Source, Windows

_PROCESSOR = {"package-0": ("cpu_total_mj",), "dram-0": ("dram_mj",)}
_GPU = {"gpu-0": ("gpu_mj", "gpu_sram_mj")}


def sources(apple: Any = None) -> tuple[list[Source], dict[str, str]]:
    """The chip's counters as sources of windows, and why there are none; ``apple`` stands in for the library."""
    if apple is None:
        apple, reason = library("zeus_apple_silicon")
        if apple is None:
            return [], {"package": reason}
    try:
        monitor = apple.AppleEnergyMonitor()
        metrics = monitor.get_cumulative_energy()
    except RuntimeError as error:
        return [], {"package": f"the chip's counters cannot be read: {error}"}
    if metrics.cpu_total_mj is None:  # the rest of a chip must not pass for all of it
        return [], {"package": "the chip tells no energy of its processor"}
    made: list[Source] = [Counters(_told(monitor, metrics, _PROCESSOR), Unreadable, whole_machine=True)]
    if gpu := _told(monitor, metrics, _GPU):
        made.append(
            Counters(gpu, Unreadable, whole_machine=False, may_rest=True)
        )  # unused, it is off and draws nothing
    return made, {} if gpu else {"gpu-0": "the chip tells no energy of its GPU, so that it is in no figure"}


def _told(monitor: Any, metrics: Any, domains: Mapping[str, tuple[str, ...]]) -> dict[str, Callable[[], float]]:
    """How to ask for the domains that this chip tells, each of the parts that it tells."""
    parts = {
        domain: tuple(field for field in fields if getattr(metrics, field) is not None)
        for domain, fields in domains.items()
    }
    return {
        domain: partial(_joules, monitor, fields) for domain, fields in parts.items() if domains[domain][0] in fields
    }


def _joules(monitor: Any, fields: tuple[str, ...]) -> float:
    try:
        metrics = monitor.get_cumulative_energy()
    except RuntimeError as error:
        raise Unreadable(str(error)) from error
    values = [getattr(metrics, field) for field in fields]
    if None in values:
        raise Unreadable(f"{fields[values.index(None)]} is not told any more")
    return float(sum(values)) / 1000


def build(*, idle_seconds: float = 2.0, idle: bool = False) -> Windows:
    """Joules of an Apple chip's own counters, this process's share of processor and memory, its GPU whole; tried on fakes only.

    Needs ``pip install 'rag-workbench[apple]'`` on a Mac with Apple silicon, and no rights. The idle power is measured for
    ``idle_seconds``. With ``idle`` the vCPUs that nobody uses are charged where the counters cannot be read.
    """
    found, problems = sources()
    return Windows("apple", found, idle_seconds=idle_seconds, idle=idle, problems=problems)

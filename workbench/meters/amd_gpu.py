"""AMD GPUs by their energy counters, or where those cannot be trusted by their utilisation; whole devices, never processes.

Tried on fakes of AMD's library ``amdsmi`` only, not on a GPU. What it heeds of real ones is known from the library's issues
(ROCm/amdsmi 22 and 38) and from Zeus, which reads the same functions: counters that never move or are wrong by orders of
magnitude, and packages of two dies of which one has the energy of both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from workbench.meters._counters import Unreadable, library
from workbench.meters._gpus import Gpu, as_sources
from workbench.meters._windows import Source, Windows

_CHECKED = 0.5  # seconds that a counter is held against the power that the GPU tells
_TIMES = 10.0  # so many times less or more than that power no counter says that is right
_POWERS = ("average_socket_power", "current_socket_power", "socket_power")  # which are told depends on the GPU
_IN_THE_OTHER = "its energy is in the counter of its package's other die"


def gpus(
    amdsmi: Any = None,
    *,
    first: int = 0,
    wall: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[list[Gpu], str]:
    """The GPUs that AMD's library knows, numbered from ``first``, and why there are none; takes half a second."""
    if amdsmi is None:
        amdsmi, reason = library("amdsmi")
        if amdsmi is None:
            return [], reason
    try:
        amdsmi.amdsmi_init()
        handles = amdsmi.amdsmi_get_processor_handles()
    except amdsmi.AmdSmiException as error:
        return [], f"no AMD driver: {_said(error)}"
    if not handles:
        return [], "AMD's driver knows no GPU"
    asked = [partial(_joules, amdsmi, handle) for handle in handles]
    before, began = [_or_none(ask) for ask in asked], wall()
    sleep(_CHECKED)
    after, seconds = [_or_none(ask) for ask in asked], wall() - began
    grown = [None if None in pair else pair[1] - pair[0] for pair in zip(before, after, strict=True)]
    return [
        _gpu(amdsmi, handle, f"gpu-{first + number}", grown[number], seconds) for number, handle in enumerate(handles)
    ], ""


def _gpu(amdsmi: Any, handle: Any, domain: str, grown: float | None, seconds: float) -> Gpu:
    """A GPU whose counter grew by so many joules in so many seconds."""
    percent = partial(_percent, amdsmi, handle)
    watts = _or_none(partial(_watts, amdsmi, handle))
    name = str(_or_none(partial(_ask, amdsmi, amdsmi.amdsmi_get_gpu_asic_info, handle, "market_name")) or "AMD GPU")
    counts, problem = False, ""
    if grown is not None:
        expected = (watts or 0.0) * seconds
        counts = grown > 0 and (watts is None or expected / _TIMES < grown < expected * _TIMES)
        if not counts:
            told = "no power" if watts is None else f"{watts:.0f} W"
            problem = f"its energy counter grew by {grown:.3g} J in {seconds:.2g} s at {told}, and is not used"
    if not counts and "MI250" in name and not watts:
        return Gpu(domain=domain, name=name, joules=None, percent=None, limit_watts=None, problem=_IN_THE_OTHER)
    return Gpu(
        domain=domain,
        name=name,
        joules=partial(_joules, amdsmi, handle) if counts else None,
        percent=None if _or_none(percent) is None else percent,
        limit_watts=None,
        problem=problem,
    )


def _joules(amdsmi: Any, handle: Any) -> float:
    told = _ask(amdsmi, amdsmi.amdsmi_get_energy_count, handle)
    amount = told.get("energy_accumulator", told.get("power"))  # so it was called before version 6.2
    return _number(amount, "energy") * _number(told.get("counter_resolution"), "resolution") / 1e6  # microjoules


def _percent(amdsmi: Any, handle: Any) -> float:
    return _number(_ask(amdsmi, amdsmi.amdsmi_get_gpu_activity, handle, "gfx_activity"), "utilisation")


def _watts(amdsmi: Any, handle: Any) -> float:
    told = _ask(amdsmi, amdsmi.amdsmi_get_power_info, handle)
    return max(_number(told.get(name, "N/A"), "power") for name in _POWERS if told.get(name, "N/A") != "N/A")


def _ask(amdsmi: Any, question: Callable[[Any], Any], handle: Any, *field: str) -> Any:
    """What the library says of a GPU, or one field of it."""
    try:
        told = question(handle)
    except amdsmi.AmdSmiException as error:
        raise Unreadable(_said(error)) from error
    return told.get(*field) if field else told


def _number(value: Any, what: str) -> float:
    """What is not told is the text ``N/A``."""
    if isinstance(value, int | float):
        return float(value)
    raise Unreadable(f"its {what} is {value!r}")


def _said(error: Exception) -> str:
    return " ".join(str(error).split())  # over several lines


def _or_none(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except (Unreadable, ValueError):  # ValueError: no power is told at all
        return None


def sources(
    amdsmi: Any = None,
    *,
    first: int = 0,
    wall: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[list[Source], dict[str, str]]:
    """What can be metered of the GPUs as sources of windows, and why the rest cannot."""
    found, reason = gpus(amdsmi, first=first, wall=wall, sleep=sleep)
    made, problems = as_sources(found, Unreadable, wall)
    return made, problems | ({"AMD GPU": reason} if reason else {})


def build(*, idle_seconds: float = 2.0, idle: bool = False) -> Windows:
    """Joules of AMD GPUs by their energy counters, else busy seconds by utilisation, beside CPU time; tried on fakes only.

    Needs the driver and ``pip install 'rag-workbench[amd]'``. A counter that is off by 10 times from the power told is not
    used. The idle power is measured for ``idle_seconds``. With ``idle`` the vCPUs that nobody uses are charged, too.
    """
    found, problems = sources()
    return Windows("amd_gpu", found, idle_seconds=idle_seconds, idle=idle, problems=problems)

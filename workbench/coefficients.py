"""Watts per busy vCPU of this machine, from a sourced table or from the user."""

from __future__ import annotations

import csv
import math
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import InputError
from workbench.records import Coefficients

OVERRIDE = "WORKBENCH_WATTS_PER_VCPU"

_TABLE = Path(__file__).parent / "tables" / "cpu_power.csv"
_INCLUDES = "busy vCPUs at full load with their share of memory and power supply; idle vCPUs and cooling excluded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """What the operating system says of the processor; on a virtual machine the brand may be blank or general."""

    brand: str
    vendor: str
    family: int | None
    model: int | None
    vcpus: int
    virtual: bool


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Processor:
    """The processor of this machine; where there is no ``/proc/cpuinfo`` only the brand and the count are known."""
    fields: dict[str, str] = {}
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    return Processor(
        brand=fields.get("model name") or platform.processor() or platform.machine(),
        vendor=fields.get("vendor_id", ""),
        family=_integer(fields.get("cpu family")),
        model=_integer(fields.get("model")),
        vcpus=vcpus(),
        virtual="hypervisor" in fields.get("flags", "").split(),
    )


def vcpus() -> int:
    """The vCPUs this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def coefficients(here: Processor | None = None) -> Coefficients:
    """The coefficients in force: the user's (``WORKBENCH_WATTS_PER_VCPU``: one number, or low,central,high), or the table's.

    The central value is the power of a fully loaded vCPU (its idle power inside), the low one leaves the idle power out,
    the high one is twice the central: the true watts per vCPU of a virtual machine are known to about a factor of two.
    """
    stated = os.environ.get(OVERRIDE)
    here = here or processor()
    if stated:
        return Coefficients(
            processor=here.brand,
            watts_per_busy_vcpu=_stated(stated),
            source=f"the user, by {OVERRIDE}",
            includes=_INCLUDES,
        )
    row = next(row for row in _rows() if _matches(row, here))
    idle, full = float(row["idle"]), float(row["full"])
    return Coefficients(
        processor=row["processor"],
        watts_per_busy_vcpu=(round(full - idle, 4), full, round(2 * full, 4)),
        source=row["source"],
        includes=_INCLUDES,
    )


def _stated(text: str) -> tuple[float, float, float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1:
        values = [values[0] / 2, values[0], values[0] * 2]
    if len(values) != 3 or not all(math.isfinite(value) and value > 0 for value in values) or sorted(values) != values:
        raise InputError(
            f"{OVERRIDE} is {text!r}; expected one positive number of watts, or low,central,high in that order"
        )
    return values[0], values[1], values[2]


def _rows() -> Iterator[dict[str, str]]:
    with _TABLE.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _matches(row: dict[str, str], here: Processor) -> bool:
    if row["vendor"] == "*":
        return True
    return row["vendor"] == here.vendor and row["family"] == str(here.family) and here.model in _models(row["models"])


def _models(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split():
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _integer(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None

"""Watts per busy vCPU of this machine, from a sourced table or from the user."""

from __future__ import annotations

import csv
import math
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from workbench.errors import InputError
from workbench.records import Coefficients, HostedCoefficients, Triple, as_json, digest

OVERRIDE = "WORKBENCH_WATTS_PER_VCPU"
GPU_OVERRIDE = "WORKBENCH_WATTS_PER_GPU"

_TABLE = Path(__file__).parent / "tables" / "cpu_power.csv"
_COEFFICIENTS = TypeAdapter(Coefficients)
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
            watts_per_busy_vcpu=_stated(stated, OVERRIDE),
            source=f"the user, by {OVERRIDE}",
            includes=_INCLUDES,
            watts_per_busy_gpu=_gpu_watts(),
            watts_per_idle_vcpu=_idle_watts(next(row for row in _rows() if _matches(row, here))),
        )
    return _of_row(next(row for row in _rows() if _matches(row, here)))


def with_hosted(
    known: Coefficients, hosted: Mapping[str, HostedCoefficients], not_estimated: Mapping[str, str]
) -> Coefficients:
    """The coefficients with those of models that run elsewhere, and the digest of it all."""
    found = replace(known, hosted=dict(hosted), not_estimated=dict(not_estimated), digest="")
    return replace(found, digest=digest(as_json(found)))


def restore(stored: Mapping[str, Any]) -> Coefficients:
    """The coefficients as a run stored them; those of older versions know nothing of hosted models and GPUs."""
    try:
        return _COEFFICIENTS.validate_python(dict(stored))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise InputError(f"the stored coefficients cannot be read: {where}: {problem['msg'].lower()}") from error


def of_today(stored: Coefficients) -> Coefficients:
    """What applies today to the processor of stored coefficients, wherever this runs; what a user once stated stays."""
    if os.environ.get(OVERRIDE):
        return replace(coefficients(), processor=stored.processor)
    row = next((row for row in _rows() if row["processor"] == stored.processor), None)
    return stored if row is None else _of_row(row)


def _of_row(row: dict[str, str]) -> Coefficients:
    idle, full = float(row["idle"]), float(row["full"])
    return Coefficients(
        processor=row["processor"],
        watts_per_busy_vcpu=(round(full - idle, 4), full, round(2 * full, 4)),
        source=row["source"],
        includes=_INCLUDES,
        watts_per_busy_gpu=_gpu_watts(),
        watts_per_idle_vcpu=_idle_watts(row),
    )


def _idle_watts(row: Mapping[str, str]) -> Triple:
    """Watts of a vCPU with nothing to do: the table's, half of it, twice of it."""
    idle = float(row["idle"])
    return round(idle / 2, 4), idle, round(2 * idle, 4)


def _gpu_watts() -> Triple | None:
    """Watts of a fully busy GPU, which only the user knows: drivers tell its limit, not what it draws."""
    stated = os.environ.get(GPU_OVERRIDE)
    return _stated(stated, GPU_OVERRIDE) if stated else None


def _stated(text: str, name: str) -> Triple:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) == 1:
        values = [values[0] / 2, values[0], values[0] * 2]
    if len(values) != 3 or not all(math.isfinite(value) and value > 0 for value in values) or sorted(values) != values:
        raise InputError(
            f"{name} is {text!r}; expected one positive number of watts, or low,central,high in that order"
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

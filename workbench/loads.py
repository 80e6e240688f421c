"""What the process of a run uses of the machine, read from outside while it is at work."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from workbench.coefficients import restore
from workbench.records import Triple
from workbench.store import AT_WORK, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run's process and its children use at a moment; ``cpu_seconds`` since they began.

    ``busy_vcpus`` is the mean since the look before, ``watts`` (low, central, high) that times what a busy vCPU draws;
    ``None`` at the first look.
    """

    at: float
    process: int
    cpu_seconds: float
    memory_bytes: int
    threads: int
    busy_vcpus: float | None = None
    watts: Triple | None = None


def process_load(run: str, before: Load | None = None, *, store: Store | None = None) -> Load | None:
    """What the process that writes a run uses now; ``None`` where none is at work on it on this machine.

    ``before`` is what this returned at an earlier look: the CPU used since then gives busy vCPUs and watts.
    """
    store = store or Store(create=False)
    record = store.find(run)
    process = store.writer(record.id) if record is not None and record.state in AT_WORK else None
    if record is None or process is None:
        return None
    try:
        family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    except psutil.Error:
        return None
    cpu, memory, threads = 0.0, 0, 0
    for each in family:
        try:
            with each.oneshot():
                times = each.cpu_times()
                cpu += times.user + times.system
                memory += each.memory_info().rss
                threads += each.num_threads()
        except psutil.Error:
            continue  # a child that ended meanwhile
    now = time.time()
    busy: float | None = None
    if before is not None and before.process == process and now > before.at:
        busy = max(cpu - before.cpu_seconds, 0.0) / (now - before.at)
    low, central, high = restore(record.environment["coefficients"]).watts_per_busy_vcpu
    return Load(
        at=now,
        process=process,
        cpu_seconds=cpu,
        memory_bytes=memory,
        threads=threads,
        busy_vcpus=busy,
        watts=None if busy is None else (busy * low, busy * central, busy * high),
    )

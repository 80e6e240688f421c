"""Tasks on the nodes of a Ray cluster: one that is there, or one that this machine starts for the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType

from workbench import registry
from workbench.contracts import Meter, WorkerFactory, Workers
from workbench.errors import InputError
from workbench.records import OneOff


class Ray:
    """The cluster of an address; without one, a cluster of this machine alone that ends with the run."""

    def __init__(self, cluster: ModuleType, address: str | None) -> None:
        self._cluster = cluster
        self._address = address

    def start(
        self,
        make: WorkerFactory,
        *,
        meter: Meter,
        record: Callable[[OneOff], None],
        report: Callable[[str], None],
    ) -> Workers:
        """A worker on every node that has CPUs; where this process is connected to a cluster already, on that one."""
        report("starting Ray on this machine" if self._address is None else f"connecting to Ray at {self._address}")
        joined = self._cluster.join(self._address)
        workers: Workers = self._cluster.RayWorkers(make, meter=meter, record=record, report=report, leave=joined)
        return workers


def build(address: str | None = None) -> Ray:
    """Runs on a Ray cluster: `ray:HOST:PORT`, `ray:auto` for the one this machine is part of, `ray` to start one here."""
    if address is not None and "://" in address:
        raise InputError(
            f"executor is 'ray:{address}'; expected ray:HOST:PORT or ray:auto, started on a machine of the cluster"
        )
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is sent to Ray's makers
    if address is None:
        # Only with this, and only if it is set before Ray is imported, does Ray listen on 127.0.0.1 and nowhere else.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    return Ray(registry.require("workbench.executors._cluster", "executor 'ray'"), address)

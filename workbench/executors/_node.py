"""A worker in a process of its own on some node: what is done there is measured there, and comes back with what was asked."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench import registry
from workbench.contracts import Meter, Worker, WorkerFactory
from workbench.environment import machine
from workbench.errors import InputError, MachineError, WorkbenchError
from workbench.ledger import spent
from workbench.pipeline import Task
from workbench.records import Configuration, IndexFacts, OneOff, Reading
from workbench.space import fingerprints

MOST_AT_ONCE = 1000
"""Calls an asynchronous actor of Ray has under way at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a worker sends back: a value or why there is none, with the one-off work that was done for it."""

    value: Any = None
    one_offs: tuple[OneOff, ...] = ()
    unusable: tuple[str, ...] = ()
    lacking: str = ""


class Remote:
    """A worker in a process of its own, on some node. Ray runs its methods; those that take long leave its loop free."""

    def __init__(self) -> None:
        self._started, self._cpu = time.monotonic(), time.process_time()
        self._booked = 0.0
        self._one_offs: list[OneOff] = []
        self._facts: dict[str, IndexFacts | None] = {}
        self._threads = ThreadPoolExecutor(max_workers=MOST_AT_ONCE)
        self._worker: Worker | None = None

    async def start(self, make: WorkerFactory, folder: str) -> Told:
        """Make the worker; tells what its machine is."""
        if Path(folder).is_dir():
            os.chdir(folder)  # prompts and plugins of a project are named from its folder
        try:
            meter: Meter = registry.build("meters", make.meter)
            self._worker = make(meter, self._one_offs.append, lambda doing: None)
        except WorkbenchError as error:
            return self._failed(error)
        return self._tell(machine(meter))

    async def prepare(self, configuration: Configuration) -> Told:
        """Load what a configuration needs; tells what is known of its index."""
        assert self._worker is not None
        try:
            if (stated := configuration.fingerprints) and (
                other := differences(stated, fingerprints(configuration.axes))
            ):
                raise MachineError(f"{configuration.label} is another configuration there: {'; '.join(other)}")
            self._worker.prepare(configuration)
            if configuration.id not in self._facts:
                self._facts[configuration.id] = self._worker.index_facts(configuration)
        except WorkbenchError as error:
            return self._failed(error)
        return self._tell(self._facts[configuration.id])

    async def answer(self, task: Task) -> Told:
        """The answer to a task."""
        assert self._worker is not None
        answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._worker.answer, task)
        self._booked += spent(answer.ledger).cpu_seconds or 0.0
        return self._tell(answer)

    async def close(self) -> Told:
        """Stop the engines, and book this process's CPU time that no answer and no one-off work accounts for."""
        if self._worker is not None:
            self._worker.close()
        told = self._tell(None)
        rest = max(time.process_time() - self._cpu - self._booked, 0.0)
        reading = Reading(seconds=time.monotonic() - self._started, cpu_seconds=rest)
        own = OneOff(work="worker", what="importing, receiving and sending on a node", reading=reading)
        return replace(told, one_offs=(*told.one_offs, own))

    def _tell(self, value: Any) -> Told:
        done = tuple(self._one_offs)
        del self._one_offs[: len(done)]
        self._booked += sum(work.reading.cpu_seconds or 0.0 for work in done)
        return Told(value=value, one_offs=done)

    def _failed(self, error: WorkbenchError) -> Told:
        told = self._tell(None)
        if isinstance(error, InputError):
            return replace(told, unusable=error.problems)
        return replace(told, lacking=str(error))


def differences(here: Mapping[str, Any], there: Mapping[str, Any], keys: Iterable[str] | None = None) -> list[str]:
    """What differs between two machines, in words: the parts of a part that is a mapping, each by itself."""
    found = []
    for key in here.keys() | there.keys() if keys is None else keys:
        mine, its = here.get(key), there.get(key)
        if isinstance(mine, Mapping) and isinstance(its, Mapping):
            found += [f"{key}: {each}" for each in differences(mine, its)]
        elif mine != its:
            found.append(f"{key} is {its}, here {mine}")
    return sorted(found)

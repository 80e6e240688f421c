"""Tasks on the nodes of a Ray cluster: one worker on each, with models and indexes of its own; this process keeps the books.

What is measured is measured where the work is done and comes back with the answer. One rule keeps that honest: every
machine that takes part must be like this one (processor, vCPUs, meter, coefficients, packages), because a run has one set of
coefficients and one standalone cost. Others are refused by name.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, NodeDiedError, ObjectLostError, RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from workbench.contracts import Meter, WorkerFactory
from workbench.environment import machine
from workbench.errors import InputError, MachineError, NotComparable, WorkbenchError
from workbench.executors._node import MOST_AT_ONCE, Remote, Told, differences
from workbench.pipeline import Task
from workbench.records import Answer, Configuration, Failure, IndexFacts, OneOff

LOST = (RayActorError, ActorUnschedulableError, NodeDiedError, ObjectLostError)
"""What a call to a worker raises that is gone, or cannot be reached."""

_START_SECONDS = 120.0  # importing libraries on a cold machine, and waiting for CPUs that another job holds
_CLOSE_SECONDS = 10.0
_MOST_STARTS = 3  # workers started on one node; one that loses more has something wrong with it
_MOST_LOSSES = 3  # workers one task may take with it before the task itself is the suspect
_LOOK_AHEAD = 4  # tasks a free place may choose from; more than these are asked for late when the run is stopped
_MUST_AGREE = ("workbench", "python", "system", "processor", "vcpus", "virtual", "packages", "meter", "coefficients")


@dataclass(slots=True, eq=False)
class _Place:
    """A worker as this process sees it."""

    node: str
    name: str
    actor: Any
    under_way: int = 0
    known: bool = False
    """Whether it told what its machine is."""
    ready: bool = False
    """Whether it is prepared for the configuration in force."""


class RayWorkers:
    """A worker on every node that has CPUs. Tasks go to whoever is free, if possible to who had their question before.

    A lost worker's tasks run again elsewhere, and another worker is started if its node is still there. A task that takes
    three workers with it becomes an infrastructure failure.
    """

    runs_here = False

    def __init__(
        self,
        make: WorkerFactory,
        *,
        meter: Meter,
        record: Callable[[OneOff], None],
        report: Callable[[str], None],
        leave: bool,
    ) -> None:
        self.hosts: list[Mapping[str, Any]] = []
        self._make = ray.put(make)
        self._mine = machine(meter)
        self._record = record
        self._report = report
        self._leave = leave
        self._places: list[_Place] = []
        self._starts: Counter[str] = Counter()
        self._facts: dict[str, IndexFacts | None] = {}
        self._homes: dict[str, _Place] = {}
        self._prepared: Configuration | None = None
        try:
            self._come_up()
        except BaseException:
            self.close()
            raise

    def prepare(self, configuration: Configuration) -> None:
        """Load what a configuration needs, on every worker."""
        self._prepared = configuration
        for place in self._places:
            place.ready = False
        asked = {place.actor.prepare.remote(configuration): place for place in self._places}
        refused: WorkbenchError | None = None
        while asked:  # to the end, so that what is done is booked
            [reference], _ = ray.wait(list(asked))
            place = asked.pop(reference)
            try:
                asked |= self._step(place, ray.get(reference))
            except LOST as error:
                asked |= self._lose(place, error)
            except WorkbenchError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    def index_facts(self, configuration: Configuration) -> IndexFacts | None:
        """What is known of the index of a prepared configuration, from the first worker that told."""
        return self._facts[configuration.id]

    def run(self, tasks: Iterable[Task], concurrency: int) -> Iterator[Answer]:
        """The answer to each task; each worker has at most ``concurrency`` under way, and none starts once closed."""
        round_ = _Round(feed=iter(tasks), concurrency=concurrency)
        try:
            while True:
                self._hand_out(round_)
                if not round_.under_way:
                    return
                [reference], _ = ray.wait(list(round_.under_way))
                place, task = round_.under_way.pop(reference)
                place.under_way -= task is not None
                try:
                    told = ray.get(reference)
                    if task is None:
                        round_.ask(self._step(place, told))
                    else:
                        yield self._heard(place, told)
                except LOST as error:
                    round_.ask(self._lose(place, error))
                    if task is not None and (given_up := round_.again(task, error)) is not None:
                        yield given_up
        finally:
            self._wait_for(round_)

    def close(self) -> None:
        """Book what the workers did besides, stop them, and leave the cluster."""
        asked = {place.actor.close.remote(): place for place in self._places if place.known}
        told, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_CLOSE_SECONDS) if asked else ([], [])
        for reference in told:
            try:
                self._heard(asked[reference], ray.get(reference))
            except RayError as error:  # it is over anyway; what a lost worker did besides nobody knows
                self._report(f"the worker on {asked[reference].name} was lost while closing: {_first_line(error)}")
        for place in self._places:
            ray.kill(place.actor)
        self._places.clear()
        if self._leave:
            ray.shutdown()

    # ------------------------------------------------------------------------------------------------------- workers

    def _come_up(self) -> None:
        asked = self._muster()
        self._report(f"starting {len(asked)} workers")
        up, late = ray.wait(list(asked), num_returns=len(asked), timeout=_START_SECONDS) if asked else ([], [])
        for reference in late:
            self._report(f"no worker came up on {asked[reference].name}: its CPUs are in use")
            self._drop(asked[reference])
        for reference in up:
            try:
                self._step(asked[reference], ray.get(reference))
            except LOST as error:
                self._drop(asked[reference])
                self._report(f"no worker came up on {asked[reference].name}: {_first_line(error)}")
        if not self._places:
            raise MachineError(
                f"no node of the Ray cluster could start a worker within {_START_SECONDS:g} s; a worker takes all CPUs of "
                "its node, so see with `ray status` what else uses them"
            )

    def _muster(self) -> dict[Any, _Place]:
        """Ask every node that is alive and has no worker to start one; reference → place."""
        asked = {}
        taken = {place.node for place in self._places}
        for node in ray.nodes():
            known, processors = node["NodeID"], node["Resources"].get("CPU", 0)
            if not node["Alive"] or known in taken or processors < 1 or self._starts[known] >= _MOST_STARTS:
                continue
            self._starts[known] += 1
            options = {
                "num_cpus": processors,
                "num_gpus": node["Resources"].get("GPU", 0),
                "scheduling_strategy": NodeAffinitySchedulingStrategy(known, soft=False),
                "max_concurrency": MOST_AT_ONCE,
            }
            actor: Any = ray.remote(Remote).options(**options).remote()
            place = _Place(node=known, name=f"{node['NodeManagerHostname']} ({known[:6]})", actor=actor)
            self._places.append(place)
            asked[actor.start.remote(self._make, os.getcwd())] = place
        return asked

    def _heard(self, place: _Place, told: Told) -> Any:
        """Book what a worker told, and return its value; raises what went wrong there."""
        for work in told.one_offs:
            self._record(work)
        if told.unusable:
            raise InputError(told.unusable)
        if told.lacking:
            raise MachineError(f"{place.name}: {told.lacking}")
        if not place.known:
            if differing := differences(self._mine, told.value, _MUST_AGREE):
                raise NotComparable(
                    f"{place.name} cannot take part, because a run has one set of coefficients and one standalone cost: "
                    f"{'; '.join(differing)}. Use nodes like this machine, with the same versions and settings"
                )
            place.known = True
            self.hosts.append(told.value)
        return told.value

    def _step(self, place: _Place, told: Told) -> dict[Any, _Place]:
        """Take a worker from starting to ready, by what it told; what it was asked next, reference → place."""
        started, value = place.known, self._heard(place, told)
        if self._prepared is None:
            return {}
        if not started:
            return {place.actor.prepare.remote(self._prepared): place}
        self._facts.setdefault(self._prepared.id, value)
        place.ready = True
        return {}

    def _lose(self, place: _Place, error: Exception) -> dict[Any, _Place]:
        """Give a worker up, and ask for others where nodes are left; reference → place."""
        if place not in self._places:
            return {}
        self._drop(place)
        lost = (
            "lost the worker on {}; its tasks run again elsewhere" if place.known else "no other worker came up on {}"
        )
        self._report(lost.format(place.name))
        asked = self._muster()
        if not self._places:
            raise MachineError(
                f"the last worker of the Ray cluster is lost ({place.name}: {_first_line(error)}); what was answered is "
                "stored. See to the cluster, then run the same command again to continue"
            )
        return asked

    def _drop(self, place: _Place) -> None:
        self._places.remove(place)
        self._homes = {question: home for question, home in self._homes.items() if home is not place}
        ray.kill(place.actor)  # one that only cannot be reached must not go on

    # --------------------------------------------------------------------------------------------------------- tasks

    def _hand_out(self, round_: _Round) -> None:
        """Fill every free place, one task a worker at a time, so that few tasks are spread over all."""
        while free := [place for place in self._places if place.ready and place.under_way < round_.concurrency]:
            place = min(free, key=lambda each: each.under_way)
            task = self._next(round_, place, len(free))
            if task is None:
                return
            place.under_way += 1
            round_.under_way[place.actor.answer.remote(task)] = place, task

    def _wait_for(self, round_: _Round) -> None:
        """Let end what is under way of a round that is given up; a worker that is still starting then is not waited for."""
        if round_.under_way:
            ray.wait(list(round_.under_way), num_returns=len(round_.under_way), timeout=_CLOSE_SECONDS)
        for place, task in round_.under_way.values():
            place.under_way -= task is not None
            if not place.ready and place in self._places:
                self._drop(place)

    def _next(self, round_: _Round, place: _Place, free: int) -> Task | None:
        """A task whose question this worker had before; else one that nobody had; else the first, if there is any."""
        waiting = round_.waiting
        waiting.extend(islice(round_.feed, max(_LOOK_AHEAD * free - len(waiting), 0)))
        if not waiting:
            return None
        homes = [self._homes.get(task.question.id) for task in waiting]
        position = next((homes.index(wanted) for wanted in (place, None) if wanted in homes), 0)
        task = waiting[position]
        del waiting[position]
        self._homes.setdefault(task.question.id, place)
        return task


@dataclass(slots=True, kw_only=True)
class _Round:
    """Tasks on their way: not yet asked for, waiting, under way (``None`` for a worker that is starting)."""

    feed: Iterator[Task]
    concurrency: int
    waiting: deque[Task] = field(default_factory=deque)
    under_way: dict[Any, tuple[_Place, Task | None]] = field(default_factory=dict)
    losses: Counter[tuple[str, int]] = field(default_factory=Counter)

    def ask(self, asked: Mapping[Any, _Place]) -> None:
        """Note what workers that are starting were asked."""
        self.under_way.update({reference: (place, None) for reference, place in asked.items()})

    def again(self, task: Task, error: Exception) -> Answer | None:
        """Put a task back that was lost with its worker; the failure it becomes where that happened too often."""
        key = task.question.id, task.repeat
        self.losses[key] += 1
        if self.losses[key] < _MOST_LOSSES:
            self.waiting.appendleft(task)
            return None
        message = f"{_MOST_LOSSES} workers were lost while they answered it; the last: {_first_line(error)}"
        return Answer(
            configuration=task.configuration.id,
            question=task.question.id,
            repeat=task.repeat,
            attempts=_MOST_LOSSES,
            failure=Failure(kind="infrastructure", code="lost_worker", message=message),
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def join(address: str | None) -> bool:
    """Connect to the cluster of an address, or start one of this machine alone; false where this process is connected."""
    if ray.is_initialized():
        return False
    here: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address or "local", log_to_driver=False, logging_level=logging.ERROR, **here)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise MachineError(
            f"Ray cannot be reached at {address or 'this machine'}: {_first_line(error)}; see `ray status`, or leave the "
            "address out to start one here"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's own would end the run without storing what is answered
    return True

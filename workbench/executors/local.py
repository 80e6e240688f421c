"""Tasks in this process, as many at a time as their configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from typing import Any

from workbench.contracts import Meter, Worker, WorkerFactory
from workbench.records import Answer, Configuration, IndexFacts, OneOff


class Local:
    """One worker, in this process, with this process's meter."""

    def start(
        self,
        make: WorkerFactory,
        *,
        meter: Meter,
        record: Callable[[OneOff], None],
        report: Callable[[str], None],
    ) -> LocalWorkers:
        """The worker, made here."""
        return LocalWorkers(make(meter, record, report))


class LocalWorkers:
    """One task after another, or ``concurrency`` threads; with threads, answers come as they are finished."""

    runs_here = True
    hosts: tuple[Mapping[str, Any], ...] = ()

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def prepare(self, configuration: Configuration) -> None:
        """Load what a configuration needs."""
        self._worker.prepare(configuration)

    def index_facts(self, configuration: Configuration) -> IndexFacts | None:
        """What is known of the index of a prepared configuration; ``None`` for closed book."""
        return self._worker.index_facts(configuration)

    def run(self, tasks: Iterable[Any], concurrency: int) -> Iterator[Answer]:
        """The answer to each task; at most ``concurrency`` run at once, and no further one starts once closed."""
        if concurrency == 1:
            yield from map(self._worker.answer, tasks)
            return
        yield from self._threaded(tasks, concurrency)

    def _threaded(self, tasks: Iterable[Any], concurrency: int) -> Iterator[Answer]:
        with ThreadPoolExecutor(max_workers=concurrency) as pool:
            running: set[Future[Answer]] = set()
            for task in tasks:
                running.add(pool.submit(self._worker.answer, task))
                if len(running) >= concurrency:
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            yield from (future.result() for future in as_completed(running))

    def close(self) -> None:
        """Stop the engines."""
        self._worker.close()


def build() -> Local:
    """Runs in this process, with threads where a configuration's concurrency asks for them."""
    return Local()

"""Tasks in this process, as many at a time as their configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Local:
    """One task after another, or ``concurrency`` threads; with threads, answers come as they are finished."""

    def run(self, work: Callable[[Task], Result], tasks: Iterable[Task], concurrency: int) -> Iterator[Result]:
        """The result of each task; at most ``concurrency`` run at once, and no further one starts once closed."""
        if concurrency == 1:
            yield from map(work, tasks)
            return
        yield from _threaded(work, tasks, concurrency)


def _threaded(work: Callable[[Task], Result], tasks: Iterable[Task], concurrency: int) -> Iterator[Result]:
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        running: set[Future[Result]] = set()
        for task in tasks:
            running.add(pool.submit(work, task))
            if len(running) >= concurrency:
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        yield from (future.result() for future in as_completed(running))


def build() -> Local:
    """Runs in this process, with threads where a configuration's concurrency asks for them."""
    return Local()

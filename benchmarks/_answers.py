"""Answers of the embedded model over the shipped corpus, one by one, for benchmarks of what they cost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from workbench import registry
from workbench.ledger import spent
from workbench.library import load_corpus, load_evalset
from workbench.pipeline import Pipeline, Task
from workbench.records import Answer, Configuration, OneOff, Question
from workbench.space import point_configuration
from workbench.specification import one_point
from workbench.weights import cache_folder

_SPINNER = "while True: pass"


class Answering:
    """A pipeline over ``python-reference`` with its questions, and how it answers them."""

    def __init__(self, meter: str = "cpu_time") -> None:
        corpus = load_corpus("python-reference")
        evalset = load_evalset("python-reference", corpus, seed=7)
        self.questions: list[Question] = sorted(evalset.questions, key=lambda question: question.id)
        self.one_offs: list[OneOff] = []
        self._pipeline = Pipeline(
            corpus,
            meter=registry.build("meters", meter),
            record=self.one_offs.append,
            cache=cache_folder(),
            questions=evalset.questions,
        )

    def prepare(self, **axes: Any) -> Configuration:
        """A configuration of the embedded model with these axes, loaded and warm."""
        asked = {"model": "embedded:smollm2-135m", "retriever": "bm25", "passages": 1, "max_tokens": 12, **axes}
        configuration = point_configuration(one_point(asked, "benchmark"))
        self._pipeline.prepare(configuration)
        return configuration

    def ask(self, configuration: Configuration, questions: Sequence[Question]) -> list[Answer]:
        """The answers, as many at once as the configuration says."""
        tasks = [Task(configuration=configuration, question=question) for question in questions]
        with ThreadPoolExecutor(max_workers=configuration["concurrency"]) as pool:
            return list(pool.map(self._pipeline.answer, tasks))

    def close(self) -> None:
        """Stop the engine."""
        self._pipeline.close()


def cpu_seconds(answer: Answer, *stages: str) -> float:
    """What an answer took as it ran, or only some of its stages did, in CPU-seconds."""
    if not stages:
        return spent(answer.ledger).cpu_seconds or 0.0
    return sum(cost.reading.cpu_seconds or 0.0 for cost in answer.ledger.stages if cost.stage in stages)


@contextmanager
def busy_neighbours(count: int) -> Iterator[None]:
    """So many processes that keep a core busy each, while the block runs."""
    started = [subprocess.Popen([sys.executable, "-S", "-c", _SPINNER]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()

"""What is booked to answers is what the operating system saw of the process, however many are under way at once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.conftest import needs_embedded
from workbench import registry
from workbench.booking import Recorder, stage
from workbench.ledger import add, spent
from workbench.pipeline import Pipeline, Task
from workbench.records import Configuration, Corpus, Document, Question, Reading


def burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(1000))


def outside() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)


@pytest.mark.parametrize(
    ("name", "concurrency"), [*(("cpu_time", count) for count in (1, 2, 4, 8)), ("auto", 1), ("auto", 4)]
)
def test_stages_of_concurrent_answers_sum_to_the_processs_clock(name, concurrency):
    meter = registry.build("meters", name if name == "cpu_time" else {"name": name, "idle_seconds": 0})
    readings: list[Reading] = []
    kept = threading.Lock()

    def answer(_: int) -> None:
        with Recorder(meter) as recorder:
            with stage("search"):
                burn(0.015)
                with stage("embed"):
                    burn(0.02)
            burn(0.015)
        with kept:
            readings.extend(recorder.stages().values())

    before = outside()
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        list(pool.map(answer, range(8)))
    seen = outside() - before
    assert add(readings).cpu_seconds == pytest.approx(seen, rel=0.03, abs=0.02)  # two ticks of the system's clock


@needs_embedded
def test_a_models_answers_sum_to_the_processs_clock():
    corpus = Corpus(name="c", documents=(Document(id="d", text="The light was lit in 1894. " * 8),), digest="c")
    pipeline = Pipeline(corpus, meter=registry.build("meters", "cpu_time"), record=lambda work: None, cache=None)
    configuration = Configuration(
        {"model": "embedded:smollm2-135m", "retriever": "bm25", "max_tokens": 4, "concurrency": 4}
    )
    pipeline.prepare(configuration)
    tasks = [
        Task(configuration=configuration, question=Question(id=f"q{number}", question=f"When was light {number} lit?"))
        for number in range(4)
    ]
    before = outside()
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = list(pool.map(pipeline.answer, tasks))
    seen = outside() - before
    pipeline.close()
    booked = add(spent(answer.ledger) for answer in answers).cpu_seconds
    assert booked == pytest.approx(seen, rel=0.03, abs=0.03)

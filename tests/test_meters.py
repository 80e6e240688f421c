"""Conservation: windows and stages sum to the process's clock, and to what the operating system saw of the process."""

from __future__ import annotations

import threading
import time

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import corpus_folder, needs_embedded
from workbench import registry
from workbench.executors.local import LocalWorkers
from workbench.ledger import Recorder, add, spent, stage
from workbench.library import load_corpus, load_evalset
from workbench.meters.cpu_time import CpuTime
from workbench.pipeline import Pipeline, Task
from workbench.records import Configuration, Reading


def burn(seconds: float) -> None:
    """Keep one thread busy for so much CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(200))


@settings(max_examples=25)
@given(steps=st.lists(st.tuples(st.sampled_from(["start", "stop", "work"]), st.integers(0, 5)), max_size=40))
def test_overlapping_windows_sum_to_the_processs_clock(steps):
    meter = CpuTime()
    before = time.process_time()
    marks, readings = [meter.start()], []
    burn(0.005)
    for action, number in steps:
        if action == "start":
            marks.append(meter.start())
        elif action == "stop" and len(marks) > 1:
            readings.append(meter.stop(marks.pop(1 + number % (len(marks) - 1))))
        else:
            burn(0.0005)
    readings += [meter.stop(mark) for mark in reversed(marks)]
    total = time.process_time() - before
    assert sum(reading.cpu_seconds for reading in readings) == pytest.approx(total, rel=0.03)
    assert all(reading.cpu_seconds >= 0 for reading in readings)
    assert any(reading.shared for reading in readings) == (len(readings) > 1)


def test_windows_of_many_threads_sum_to_the_processs_clock():
    meter = CpuTime()
    readings: list[Reading] = []

    def work(number: int) -> None:
        for turn in range(8):
            outer = meter.start()
            burn(0.004 * (number + 1))
            inner = meter.start()
            burn(0.002)
            readings.append(meter.stop(inner if turn % 2 else outer))
            readings.append(meter.stop(outer if turn % 2 else inner))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    before, root = time.process_time(), meter.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    readings.append(meter.stop(root))
    assert sum(reading.cpu_seconds for reading in readings) == pytest.approx(time.process_time() - before, rel=0.03)


def test_a_window_alone_is_exact_and_not_shared():
    meter = CpuTime()
    before = time.process_time()
    mark = meter.start()
    burn(0.05)
    reading = meter.stop(mark)
    assert not reading.shared
    assert reading.cpu_seconds == pytest.approx(time.process_time() - before, rel=0.03)
    assert meter.stop(mark) is None
    burn(0.02)  # between windows: nobody's
    assert meter.stop(meter.start()).cpu_seconds < 0.01


@pytest.mark.parametrize("name", registry.names("meters"))
def test_every_meter_reads_a_window_or_says_that_it_cannot(name):
    meter = registry.build("meters", name)
    mark = meter.start()
    burn(0.02)
    reading = meter.stop(mark)
    assert meter.name == name or (name == "auto" and isinstance(meter, CpuTime))  # where there is nothing better
    assert reading is None or reading.seconds >= 0.02


def test_nested_stages_sum_to_the_answers_window_on_the_real_clock():
    before, started = time.process_time(), time.perf_counter()
    with Recorder(CpuTime()) as recorder:
        burn(0.02)
        for _ in range(3):
            with stage("search"):
                burn(0.01)
                with stage("embed"):
                    burn(0.02)
                time.sleep(0.01)
    total = add(recorder.stages().values())
    assert total.cpu_seconds == pytest.approx(time.process_time() - before, rel=0.03)
    assert total.seconds == pytest.approx(time.perf_counter() - started, rel=0.03)
    assert list(recorder.stages()) == ["assemble", "search", "embed"]
    assert recorder.stages()["embed"].cpu_seconds == pytest.approx(0.06, rel=0.1)


@needs_embedded
@pytest.mark.parametrize("concurrency", [1, 2, 4])
def test_answers_sum_to_what_the_operating_system_saw_of_the_process(concurrency, tmp_path):
    folder = corpus_folder(tmp_path)
    corpus = load_corpus(folder)
    model = {"name": "embedded:smollm2-135m", "context_tokens": 512}
    configuration = Configuration({"model": model, "max_tokens": 8, "passages": 1, "concurrency": concurrency})
    questions = load_evalset(folder, corpus).questions[: max(concurrency, 2)]
    tasks = [Task(configuration=configuration, question=question) for question in questions]
    pipeline = Pipeline(corpus, meter=CpuTime(), record=lambda work: None, cache=None)
    pipeline.prepare(configuration)
    answers, before = [], psutil.Process().cpu_times()
    total = 0.0
    while total < 2.0:  # the system's clock ticks every 10 ms
        answers += LocalWorkers(pipeline).run(tasks, concurrency)
        now = psutil.Process().cpu_times()
        total = now.user + now.system - before.user - before.system
    pipeline.close()
    assert all(answer.failure is None for answer in answers)
    assert sum(spent(answer.ledger).cpu_seconds for answer in answers) == pytest.approx(total, rel=0.03)
    assert any(cost.reading.shared for answer in answers for cost in answer.ledger.stages) == (concurrency > 1)
    for answer in answers:
        assert spent(answer.ledger).seconds == pytest.approx(answer.seconds, rel=0.03, abs=0.002)

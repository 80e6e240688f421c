"""Conservation: windows and stages sum to the process's clock, and to what the operating system saw of the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import corpus_folder, needs_embedded
from workbench import registry
from workbench.booking import Recorder, stage
from workbench.executors.local import LocalWorkers
from workbench.ledger import add, spent
from workbench.library import load_corpus, load_evalset
from workbench.meters._threads import Window, charge
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


class Work:
    """Pieces of work at once, each in a window of its thread; what each was charged with."""

    def __init__(self, meter: CpuTime, **pieces: Callable[[], object]) -> None:
        self.readings: dict[str, Reading] = {}
        barrier = threading.Barrier(len(pieces))

        def book(name: str, piece: Callable[[], object]) -> None:
            barrier.wait()
            mark = meter.start()
            piece()
            self.readings[name] = meter.stop(mark)

        threads = [threading.Thread(target=book, args=piece) for piece in pieces.items()]
        before = time.process_time()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.total = time.process_time() - before

    def __getitem__(self, name: str) -> float:
        return self.readings[name].cpu_seconds


def test_answers_at_once_are_charged_with_what_their_own_threads_did():
    at_once = Work(CpuTime(), much=lambda: burn(0.24), little=lambda: burn(0.06), none=lambda: time.sleep(0.2))
    assert at_once["much"] == pytest.approx(0.24, rel=0.1)
    assert at_once["little"] == pytest.approx(0.06, rel=0.2)
    assert at_once["none"] < 0.02
    assert sum(each.cpu_seconds for each in at_once.readings.values()) == pytest.approx(at_once.total, abs=0.01)
    assert all(each.shared for each in at_once.readings.values())


def test_what_an_engines_threads_did_goes_to_who_waited_for_them():
    def engine() -> None:
        thread = threading.Thread(target=burn, args=(0.15,))
        thread.start()
        thread.join()

    at_once = Work(CpuTime(), writes=engine, searches=lambda: burn(0.2))
    assert at_once["writes"] == pytest.approx(0.15, abs=0.03)
    assert at_once["searches"] == pytest.approx(0.2, abs=0.03)


def test_where_threads_have_no_clocks_windows_get_the_same():
    computed = threading.Event()
    at_once = Work(CpuTime(thread=lambda: None), one=lambda: (burn(0.15), computed.set()), other=computed.wait)
    assert at_once["one"] == pytest.approx(at_once["other"], abs=0.02)
    assert sum(each.cpu_seconds for each in at_once.readings.values()) == pytest.approx(at_once.total, abs=0.01)


@given(
    threads=st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 3)), min_size=1, max_size=6),
    clocks=st.booleans(),
    cpu=st.floats(0, 10),
    seconds=st.floats(0, 5),
)
def test_whatever_is_charged_is_charged_once(threads, clocks, cpu, seconds):
    """Also where threads' clocks say more than the process's, stand still, or there was no time at all."""
    now = dict(threads)
    known = {name: (lambda name=name: now[name]) if clocks else None for name in now}
    windows = [Window(started=0.0, clock=known[name]) for name, _ in threads]
    charge(windows, cpu, seconds)
    assert sum(window.cpu_seconds for window in windows) == pytest.approx(cpu, abs=1e-12)
    assert all(window.cpu_seconds >= 0 for window in windows)
    assert all(window.shared for window in windows) == (len(windows) > 1)
    by_thread = {name: {w.cpu_seconds for w, (n, _) in zip(windows, threads, strict=True) if n == name} for name in now}
    assert all(max(each) == pytest.approx(min(each)) for each in by_thread.values())


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

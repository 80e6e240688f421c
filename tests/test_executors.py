"""Where tasks run changes what they cost to hand out, and nothing else: not the answers, not the books."""

from __future__ import annotations

import importlib
import importlib.util
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import workbench
from tests.conftest import corpus_folder, experiment, missing, python
from workbench import registry
from workbench.errors import InputError, MachineError, NotComparable
from workbench.executors.local import LocalWorkers
from workbench.ledger import spent
from workbench.library import load_corpus, load_evalset
from workbench.meters.cpu_time import CpuTime
from workbench.pipeline import Task
from workbench.records import Answer, Configuration, Corpus, EvalSet, OneOff
from workbench.space import points
from workbench.specification import read_experiment
from workbench.store import Store
from workbench.workers import PipelineFactory

CLOSED_BOOK = Configuration({"model": "scripted", "retriever": "none"})


# ----------------------------------------------------------------------------------------------------------- local


class Counting:
    """A worker that notes how many of its tasks were under way at once."""

    def __init__(self) -> None:
        self.most = self._now = 0
        self._lock = threading.Lock()

    def answer(self, task: Task) -> Answer:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.01)
        with self._lock:
            self._now -= 1
        return Answer(configuration=task.configuration.id, question=task.question.id)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_at_most_so_many_tasks_run_at_once_and_all_are_answered(concurrency: int, own_folder: Path) -> None:
    worker, tasks = Counting(), tasks_of(CLOSED_BOOK, *tiny(own_folder))
    answers = list(LocalWorkers(worker).run(tasks, concurrency))  # type: ignore[arg-type]
    assert sorted(answer.question for answer in answers) == sorted(task.question.id for task in tasks)
    assert worker.most == concurrency


def test_no_further_task_starts_once_closed(own_folder: Path) -> None:
    asked = []

    def feed() -> Iterator[Task]:
        for task in tasks_of(CLOSED_BOOK, *tiny(own_folder)):
            asked.append(task)
            yield task

    answers = LocalWorkers(Counting()).run(feed(), 2)  # type: ignore[arg-type]
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert len(asked) == 2


def test_what_makes_a_pipeline_is_of_plain_records(own_folder: Path) -> None:
    """Its parts compare equal, so nothing in it is bound to the process that made it."""
    assert factory(*tiny(own_folder)) == factory(*tiny(own_folder))


# ------------------------------------------------------------------------------------------------------ without Ray


def test_without_ray_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['ray'] = None\nfrom workbench import registry\n"
    code += "try: registry.build('executors', 'ray')\nexcept Exception as e: print(type(e).__name__, e.exit_code, e)"
    said = python("-c", code).stdout
    assert said.startswith("MissingLibrary 4 executor 'ray' needs ray")
    assert "pip install 'rag-workbench[ray]'" in said


def test_an_address_of_ray_client_is_refused() -> None:
    with pytest.raises(InputError, match=r"ray:ray://head:10001.*expected ray:HOST:PORT or ray:auto"):
        registry.build("executors", "ray:ray://head:10001")


def test_an_unknown_executor_is_refused_before_anything_runs() -> None:
    with pytest.raises(InputError, match="unknown executor 'slurm'; available: local, ray"):
        workbench.run(experiment(), executor="slurm")
    assert not Path("runs").exists()


# ------------------------------------------------------------------------------------------------------- a cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes of one vCPU each on this machine, listening on 127.0.0.1 only, that tell nobody of it."""
    if importlib.util.find_spec("ray") is None:
        missing("ray is not installed; run: pip install -e '.[all,dev]'")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        environment.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        environment.setenv("PYTHONPATH", str(Path(workbench.__file__).parent.parent))
        environment.setenv("WORKBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        environment.delenv("WORKBENCH_WATTS_PER_VCPU", raising=False)
        found = importlib.import_module("ray.cluster_utils").Cluster(
            initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "_system_config": QUICK}
        )
        found.add_node(**NODE)
        ray = importlib.import_module("ray")
        ray.init(found.address, log_to_driver=False, logging_level="ERROR")
        yield found
        ray.shutdown()
        found.shutdown()


NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1"}
QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 3}
"""A dead node refuses to be asked; one that is only slow has ten seconds all the same."""


def tiny(folder: Path) -> tuple[Corpus, EvalSet]:
    corpus = load_corpus(corpus_folder(folder))
    return corpus, load_evalset(folder / "tiny", corpus)


def factory(corpus: Corpus, evalset: EvalSet) -> PipelineFactory:
    return PipelineFactory(
        corpus=corpus,
        questions=tuple(evalset.questions),
        meter="cpu_time",
        ranking_depth=10,
        seed=7,
        timeout_seconds=60.0,
        retries=0,
    )


def tasks_of(configuration: Configuration, corpus: Corpus, evalset: EvalSet, repeats: int = 1) -> list[Task]:
    return [
        Task(configuration=configuration, question=question, repeat=repeat)
        for question in evalset.questions
        for repeat in range(repeats)
    ]


def configuration_of(**axes: Any) -> Configuration:
    space = {**{axis: [value] for axis, value in axes.items()}, "passages": [1]}
    [found] = points(read_experiment(experiment(space=space)).space).configurations
    return found


def start(folder: Path, books: list[OneOff], said: list[str]) -> Any:
    executor = registry.build("executors", "ray:auto")
    return executor.start(factory(*tiny(folder)), meter=CpuTime(), record=books.append, report=said.append)


def worker_processes(expected: int) -> list[psutil.Process]:
    """Our workers, once there are so many: those of the test before take a moment to end."""
    for _ in range(300):
        found = [each for each in psutil.Process().children(recursive=True) if is_worker(each)]
        if len(found) == expected:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{len(found)} workers are running, not {expected}")


def is_worker(process: psutil.Process) -> bool:
    try:
        return "ray::Remote" in " ".join(process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return False


def of_run(name: str) -> dict[tuple[str, str, int], tuple[Any, ...]]:
    """What was answered, without clocks."""
    store = Store()
    found = {}
    for scored in store.answers(store.get(name).id):
        answer = scored.answer
        alone = [(cost.stage, cost.standalone or cost.reading) for cost in answer.ledger.stages]
        tokens = [(stage, reading.tokens_in, reading.tokens_out) for stage, reading in alone]
        found[answer.configuration, answer.question, answer.repeat] = (
            answer.text,
            answer.prompt,
            answer.retrieved,
            tokens,
            scored.scores,
            scored.loss,
        )
    return found


def test_a_cluster_gives_the_same_answers_and_the_same_choice_as_this_process(cluster: Any) -> None:
    space = {"temperature": [0, 0.7], "top_k": [3], "concurrency": [1, 2]}
    workbench.run(experiment(name="here", space=space, repeats=2))
    workbench.run(experiment(name="there", space=space, repeats=2), executor="ray:auto")
    assert of_run("there") == of_run("here")
    here, there = (workbench.recommend(workbench.compare(name)) for name in ("here", "there"))
    assert there.chosen == here.chosen
    assert there.verdict == here.verdict

    store = Store()
    run = store.get("there")
    assert [host["processor"] for host in run.environment["workers"]] == [run.environment["processor"]] * 2
    one_offs = store.one_offs(run.id)
    works = Counter(work.work for work in one_offs)
    assert works["load"] == works["worker"] == 2, "each worker has its own models, and its own rest"
    assert works["harness"] == 1
    assert all(scored.answer.ledger.stages for scored in store.answers(run.id, texts=False))


def test_workers_readings_sum_to_what_the_operating_system_saw_of_them(cluster: Any, own_folder: Path) -> None:
    books: list[OneOff] = []
    workers = start(own_folder, books, [])
    processes = worker_processes(2)
    configuration = Configuration({"model": "scripted", "concurrency": 2})
    workers.prepare(configuration)
    answers = list(workers.run(tasks_of(configuration, *tiny(own_folder), repeats=20), 2))
    seen = sum(process.cpu_times().user + process.cpu_times().system for process in processes)
    workers.close()
    assert len(answers) == 12 * 20
    booked = sum(spent(answer.ledger).cpu_seconds or 0.0 for answer in answers)
    booked += sum(work.reading.cpu_seconds or 0.0 for work in books)
    # Starting Python is over before a worker can read its clock for the first time, and stays out of the books.
    assert 0 < booked < seen * 1.05 + 0.2
    assert [work.work for work in books if work.reading.cpu_seconds].count("worker") == 2


def test_lost_workers_cost_no_answer(cluster: Any, own_folder: Path) -> None:
    """First a process is killed, whose node gets another worker; then that one's node."""
    doomed = cluster.add_node(**NODE)
    said: list[str] = []
    workers = start(own_folder, [], said)
    assert len(workers.hosts) == 3
    configuration = Configuration({"model": {"name": "scripted", "seconds": 0.01}, "passages": 1})
    workers.prepare(configuration)
    handed: list[Task] = []
    answers: list[Answer] = []

    def losses() -> int:
        return sum("lost the worker" in line for line in said)

    def feed() -> Iterator[Task]:
        """Questions until both losses were noticed and the survivors have answered for a while."""
        deadline, more = time.monotonic() + 60, 50
        for repeat in range(100_000):
            for task in tasks_of(configuration, *tiny(own_folder)):
                more -= losses() == 2
                if not more or time.monotonic() > deadline:
                    return
                handed.append(replace(task, repeat=repeat))
                yield handed[-1]

    killed = removed = False
    for answer in workers.run(feed(), 2):
        answers.append(answer)
        if not killed:
            worker_processes(3)[0].kill()
            killed = True
        if not removed and len(workers.hosts) == 4:
            cluster.remove_node(doomed, allow_graceful=False)
            removed = True
    assert losses() == 2
    asked = Counter((task.question.id, task.repeat) for task in handed)
    assert Counter((answer.question, answer.repeat) for answer in answers) == asked
    assert all(answer.failure is None for answer in answers)
    assert workers.index_facts(configuration).chunks == 5
    workers.close()


def test_what_goes_wrong_on_a_worker_is_said_and_others_go_on(cluster: Any, own_folder: Path) -> None:
    books: list[OneOff] = []
    workers = start(own_folder, books, [])
    ours = configuration_of(model="scripted", retriever="bm25")
    with pytest.raises(MachineError, match=r"is another configuration there: model is scripted-1, here scripted-0"):
        workers.prepare(Configuration(ours.axes, {**ours.fingerprints, "model": "scripted-0"}))
    with pytest.raises(InputError, match="chunk_tokens"):
        workers.prepare(Configuration({"model": "scripted", "chunker": {"name": "tokens", "chunk_tokens": 0}}))
    workers.prepare(ours)
    assert len(list(workers.run(tasks_of(ours, *tiny(own_folder)), 1))) == 12

    Path("deadly.py").write_text(DEADLY)
    deadly = configuration_of(model="python:deadly", retriever="none")
    workers.prepare(deadly)
    answers = list(workers.run(tasks_of(deadly, *tiny(own_folder)), 1))
    workers.close()
    assert sorted(answer.question for answer in answers) == [f"q{number:02}" for number in range(1, 13)]
    failures = [answer.failure for answer in answers if answer.failure is not None]
    assert [(failure.kind, failure.code) for failure in failures] == [("infrastructure", "lost_worker")]


DEADLY = """
import os
from workbench.models.scripted import Scripted

class Deadly(Scripted):
    def generate(self, prompt, decoding):
        if "sourdough" in prompt.messages[-1].content:
            os._exit(1)
        return super().generate(prompt, decoding)

def build():
    no = {"seconds": 0, "seconds_per_token": 0, "fail": "none", "fail_every": 1, "fail_attempts": 0}
    return Deadly(style="chat", replies={}, context_tokens=4096, **no)
"""


def test_machines_that_differ_are_refused_by_what_differs(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_WATTS_PER_VCPU", "1,2,3")
    with pytest.raises(NotComparable, match=r"cannot take part.*coefficients: watts_per_busy_vcpu is .*here"):
        workbench.run(experiment(), executor="ray:auto")
    assert worker_processes(0) == []


@pytest.mark.slow
def test_a_run_may_start_a_cluster_of_its_own_which_listens_on_this_machine_only(tmp_path: Path) -> None:
    if importlib.util.find_spec("ray") is None:
        missing("ray is not installed; run: pip install -e '.[all,dev]'")
    done = python("-c", ALONE, timeout=120)
    assert done.stderr == ""
    assert done.stdout.split("\n")[:-1] == ["32 of 32", "['127.0.0.1']", "left: 0"]


ALONE = """
import psutil, workbench
from tests.conftest import experiment

def look(progress):
    if progress.done and not seen:
        tree = psutil.Process().children(recursive=True)
        sockets = [each for process in tree for each in process.net_connections(kind="inet")]
        seen.update(each.laddr.ip.removeprefix("::ffff:") for each in sockets if each.status == "LISTEN")

seen = set()
outcome = workbench.run(experiment(), executor="ray", progress=look)
print(outcome.answers, "of", outcome.total)
print(sorted(seen))
print("left:", len(psutil.Process().children(recursive=True)))
"""

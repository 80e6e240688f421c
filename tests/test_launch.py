"""Runs as processes of their own: started, watched, stopped, continued, killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

import workbench
from tests.conftest import ROOT, experiment
from tests.stores import filled_store
from workbench.errors import InputError
from workbench.launch import RunProgress
from workbench.ledger import add, price, spent
from workbench.records import Coefficients


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def started() -> Iterator[list[int]]:
    """Processes to end with the test."""
    processes: list[int] = []
    yield processes
    for process in processes:
        if psutil.pid_exists(process):
            os.kill(process, signal.SIGKILL)


def written(**changes: Any) -> Path:
    path = Path("mine.yaml")
    path.write_text(yaml.safe_dump(experiment(**changes)), encoding="utf-8")
    return path


def slow() -> Path:
    return written(space={"model": [{"name": "scripted", "seconds": 0.2}]})


def until(condition: Callable[[RunProgress], bool], run: str) -> RunProgress:
    deadline = time.monotonic() + 60
    while not condition(progress := workbench.watch(run)):
        assert time.monotonic() < deadline, progress
        time.sleep(0.1)
    return progress


def ended(progress: RunProgress) -> bool:
    return not progress.live


def test_a_run_is_started_watched_and_finishes(started: list[int]) -> None:
    process = workbench.start(written(), "mine")
    started.append(process)
    assert process != os.getpid()
    assert workbench.watch("mine").state in ("starting", "running", "finished")
    progress = until(ended, "mine")
    assert progress.state == "finished", progress.log
    assert progress.answers == progress.total == sum(trial.total for trial in progress.trials)
    assert progress.joules is not None
    assert progress.seconds is not None
    assert Path("runs/logs/mine.log").is_file()


def test_it_is_stopped_and_continued_without_asking_twice(started: list[int]) -> None:
    started.append(workbench.start(slow(), "mine"))
    until(lambda progress: progress.answers > 0, "mine")
    workbench.stop("mine")
    stopped = until(ended, "mine")
    assert stopped.state == "stopped"
    assert stopped.note == "asked to stop"
    assert stopped.answers < stopped.total
    started.append(workbench.resume("mine"))
    finished = until(ended, "mine")
    assert finished.state == "finished", finished.log
    assert finished.answers == finished.total


def test_a_killed_run_is_interrupted_and_can_be_continued(started: list[int]) -> None:
    process = workbench.start(slow(), "mine")
    started.append(process)
    until(lambda progress: progress.answers > 0, "mine")
    os.kill(process, signal.SIGKILL)
    killed = until(ended, "mine")
    assert killed.state == "interrupted"
    assert killed.seconds is None
    started.append(workbench.resume("mine"))
    assert until(ended, "mine").state == "finished"


def test_a_second_process_for_the_same_run_is_refused(started: list[int]) -> None:
    path = slow()
    started.append(workbench.start(path, "mine"))
    with pytest.raises(InputError, match="run 'mine' is under way already"):
        workbench.start(path, "mine")
    os.kill(started[0], signal.SIGKILL)


def test_what_ends_before_it_writes_has_failed_and_says_why(started: list[int]) -> None:
    started.append(workbench.start(written(corpus="nowhere"), "mine"))
    failed = until(ended, "mine")
    assert failed.state == "failed"
    assert "nowhere" in " ".join(failed.log)
    assert workbench.runs() == []
    assert workbench.launched("mine")


def test_every_problem_is_named_before_anything_starts() -> None:
    path = Path("broken.yaml")
    path.write_text(yaml.safe_dump({"corpus": "x", "space": {"retreiver": ["bm25"]}}), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        workbench.start(path, " ")
    assert len(refused.value.problems) == 3
    assert refused.value.problems[0] == "a run has no name; give it one"
    assert not workbench.launched(" ")


@pytest.mark.parametrize("name", ["latest", "x" * 201, "line\nbreak", ""])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(InputError):
        workbench.start(written(), name)


@pytest.mark.parametrize("name", ["../../outside", "--fresh", "a.b", "naïve ☃", "a/b", "a" * 200])
def test_any_other_name_stays_a_name(name: str, started: list[int]) -> None:
    started.append(workbench.start(written(), name))
    progress = until(ended, name)
    assert progress.state == "finished", progress.log
    assert [overview.record.name for overview in workbench.runs()] == [name]
    assert all(path.parent == Path("runs/logs") for path in Path().rglob("*.log"))


def test_logs_lie_beside_the_store(own_folder: Path, started: list[int]) -> None:
    store = workbench.Store(str(own_folder / "elsewhere" / "runs.db"))
    started.append(workbench.start(written(), "mine", store=store))
    while workbench.watch("mine", store=store).live:
        time.sleep(0.1)
    assert workbench.watch("mine", store=store).state == "finished"
    assert (own_folder / "elsewhere" / "logs" / "mine.log").is_file()
    assert workbench.runs() == []


def test_joules_so_far_are_those_of_answers_and_one_off_work(own_folder: Path) -> None:
    store = filled_store(own_folder / "store.db")
    record = store.get("demo")
    readings = [spent(scored.answer.ledger) for scored in store.answers(record.id, texts=False)]
    readings += [work.reading for work in store.one_offs(record.id)]
    expected = price(add(readings), Coefficients(**record.environment["coefficients"]))
    found = workbench.watch("demo", store=store).joules
    assert found is not None
    assert expected is not None
    assert found.central == pytest.approx(expected.central)


def test_a_part_without_reading_leaves_joules_unknown(own_folder: Path) -> None:
    assert workbench.watch("demo", store=filled_store(own_folder / "store.db", metered=False)).joules is None


def test_repeats_count_where_decoding_is_random(own_folder: Path) -> None:
    store = filled_store(own_folder / "store.db", experiment=experiment(repeats=3))
    trials = workbench.watch("demo", store=store).trials
    assert {trial.total for trial in trials} == {24}
    assert all(trial.configuration["temperature"] == 0 for trial in trials)


def test_free_names(own_folder: Path) -> None:
    assert workbench.free_name("demo") == "demo"
    store = filled_store(own_folder / "store.db", name="demo")
    assert workbench.free_name("demo", store=store) == "demo-2"
    filled_store(own_folder / "store.db", name="demo-2")
    assert workbench.free_name("demo", store=store) == "demo-3"


def test_a_run_that_is_not_there_is_an_input_error() -> None:
    with pytest.raises(InputError, match="there is no run 'nobody'"):
        workbench.watch("nobody")


def test_the_outline_names_goal_data_and_axes() -> None:
    described = workbench.outline(
        workbench.read_experiment(experiment(goal={"floor": 0.2, "limits": {"p95_seconds": 2}}))
    )
    assert described["goal"] == (
        "the fewest tokens per answer, token_f1 at most 0.05 below the best (95% confidence); token_f1 at least 0.2; p95 at most 2 s"
    )
    assert described["model"] == "none, scripted"
    assert described["combinations"].startswith("8,")
    assert "temperature" not in described

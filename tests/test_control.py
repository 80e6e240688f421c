"""Steering a run from another process: paused, let go on, given another budget, stopped."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml

import workbench
from tests.conftest import ROOT, experiment, hosted
from tests.fake_provider import FakeProvider
from tests.stores import filled_store
from workbench.__main__ import main
from workbench.control import Control, check_budget, go_on
from workbench.errors import InputError, Stopped
from workbench.ledger import add, spent
from workbench.records import HARNESS, Coefficients, OneOff, Reading
from workbench.schema import RUNS
from workbench.specification import Budget
from workbench.store import RunRecord, Store

IMPORTABLE = {**os.environ, "PYTHONPATH": str(ROOT)}
PLAIN = Coefficients(processor="any", watts_per_busy_vcpu=(1.0, 2.0, 3.0), source="the test", includes="all")


def slow(seconds: float = 0.1, **changes: Any) -> dict[str, Any]:
    """Thirty-two answers of a scripted model, each after some sleep."""
    space = {"model": [{"name": "scripted", "seconds": seconds}], "retriever": ["none", "bm25"], "passages": [1, 2, 3]}
    return experiment(space=space, **changes)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.05)


def state() -> str:
    found = Store().find("latest")
    return found.state if found else ""


@dataclass(kw_only=True)
class Result:
    """How a command ended, and what it said."""

    code: Any
    out: str
    err: str


def command(*arguments: str) -> Result:
    """A verb of the command line, in this process."""
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err, pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return Result(code=ended.value.code, out=out.getvalue(), err=err.getvalue())


@pytest.fixture
def started() -> Iterator[Callable[[Mapping[str, Any]], subprocess.Popen[str]]]:
    """Start a run of an experiment as a process of its own, ended with the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(plain: Mapping[str, Any]) -> subprocess.Popen[str]:
        Path("mine.yaml").write_text(yaml.safe_dump(dict(plain)), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench", "run", "mine.yaml", "--name", "mine"],
            stderr=subprocess.PIPE,
            text=True,
            env=IMPORTABLE,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def answers() -> int:
    found = Store().find("latest")
    return Store().count_answers(found.id) if found else 0


# -------------------------------------------------------------------------------------------------- another process


def test_a_process_is_paused_resumed_given_another_budget_and_stopped(started: Any) -> None:
    process = started(slow(0.15, questions={"split": "all"}))
    until(lambda: answers() > 0)
    assert command("pause").code == 0
    until(lambda: state() == "paused")
    paused_at = answers()
    store = Store()
    beats = {heartbeat(store)}
    watched = workbench.watch("mine")
    assert (watched.state, watched.live, watched.pausing, watched.stopping) == ("paused", True, False, False)
    assert [overview.record.state for overview in workbench.runs()] == ["paused"]
    until(lambda: beats.add(heartbeat(store)) or len(beats) > 1)  # the heart beats on
    assert answers() == paused_at, "a paused run asks nothing"
    waited = workbench.watch("mine").seconds
    assert waited == watched.seconds, "and its time stands still"
    assert process.poll() is None

    assert command("resume", "mine").code == 0
    until(lambda: answers() > paused_at)
    assert state() == "running"
    result = command("budget", "mine", f"calls={answers() + 5}")
    assert result.code == 0, result.err
    assert "mine stops at" in result.out
    assert process.wait(60) == 3
    assert "calls is used up (raise budget.calls to go on)" in process.stderr.read()
    assert state() == "stopped"
    assert paused_at < answers() < 48


def heartbeat(store: Store) -> Any:
    with store.reading() as connection:
        return connection.execute(RUNS.select()).mappings().one()["heartbeat"]


def test_a_stopped_run_goes_on_from_its_stored_experiment_with_a_raised_budget() -> None:
    with pytest.raises(Stopped, match="5 calls is used up"):
        workbench.run(experiment(budget={"calls": 5}))
    result = command("resume", "tiny")
    assert (result.code, answers()) == (3, 5)
    assert command("budget", "tiny", "calls=9").out == "tiny stops at 9 calls\n"
    assert command("resume").code == 3
    assert answers() == 9
    assert command("budget", "tiny", "calls=none").out == "tiny has no bound\n"
    result = command("resume", "tiny")
    assert result.code == 0, result.err
    assert state() == "finished"


def test_one_killed_while_it_is_paused_is_interrupted_and_can_be_continued(started: Any) -> None:
    process = started(slow(0.05))
    until(lambda: answers() > 0)
    workbench.pause("mine")
    until(lambda: state() == "paused")
    stored = answers()
    process.kill()
    process.wait()
    assert state() == "interrupted"
    assert not go_on("mine")
    assert command("resume", "mine").code == 0
    assert state() == "finished"
    assert answers() > stored


def test_pausing_twice_and_taking_it_back_before_it_was_seen(own_folder: Path) -> None:
    store = filled_store(own_folder / "runs" / "workbench.db")
    with store.lease(store.get("demo")):
        workbench.pause("demo")
        workbench.pause("demo")
        assert workbench.watch("demo").pausing
        assert workbench.resume("demo") is None
        assert not workbench.watch("demo").pausing
        with pytest.raises(InputError, match="run 'demo' is running already"):
            workbench.resume("demo")


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_pause_books_no_time_and_no_work_twice(concurrency: int) -> None:
    """The readings of a run that waited sum to what its process did, and their time leaves the waiting out."""
    store, waiting = Store(), threading.Event()

    def watch(progress: Any) -> None:
        if progress.doing == "paused":
            waiting.set()
        elif progress.done and not waiting.is_set():
            store.request(store.get("latest").id, "pause")

    def let_go_on() -> None:
        waiting.wait(60)
        time.sleep(1.0)
        go_on("latest")

    helper = threading.Thread(target=let_go_on)
    helper.start()
    plain = slow(0.05)
    plain["space"]["concurrency"] = concurrency
    cpu, began = time.process_time(), time.monotonic()
    outcome = workbench.run(plain, store=store, progress=watch)
    cpu, elapsed = time.process_time() - cpu, time.monotonic() - began
    helper.join()
    assert waiting.is_set()
    assert outcome.answers == outcome.total == answers()
    one_offs = store.one_offs(store.get("latest").id)
    harness = [work.reading for work in one_offs if work.work == HARNESS]
    assert len(harness) == 2
    assert sum(reading.seconds for reading in harness) <= elapsed - 1.0
    readings = [spent(scored.answer.ledger) for _, scored in workbench.answers()]
    booked = add([*readings, *(work.reading for work in one_offs)]).cpu_seconds
    assert booked is not None
    assert booked <= 1.05 * cpu


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("verb", ["pause", "stop"])
def test_what_is_over_cannot_be_asked_for_anything(verb: str, own_folder: Path) -> None:
    filled_store(own_folder / "runs" / "workbench.db")
    result = command(verb, "demo")
    assert result.code == 2
    assert "run 'demo' is finished: nothing is left to do" in result.err


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        (["minutes=0"], "budget.minutes is 0; expected greater than 0"),
        (["tokens=1.5"], "budget.tokens is 1.5; expected a valid integer"),
        (["calls=many"], "budget.calls is 'many'; expected a valid integer"),
        (["hours=2"], "budget.hours is not a known key; did you mean"),
        (["store=2"], "budget.store is not a known key"),
        (["minutes=inf", "watt_hours=nan"], "budget.watt_hours is nan; expected a finite number"),
        (["dollars=5"], "budget.dollars is 5; nothing in this run is bought by the token"),
        (["minutes"], "a bound is UNIT=AMOUNT"),
        (["=5"], "a bound is UNIT=AMOUNT"),
    ],
)
def test_bounds_that_an_experiment_could_not_have_are_refused(bounds: list[str], said: str, own_folder: Path) -> None:
    store = filled_store(own_folder / "runs" / "workbench.db", experiment=experiment(budget={"minutes": 7}))
    before = store.get("demo")
    result = command("budget", "demo", *bounds)
    assert result.code == 2
    assert said in result.err
    assert store.get("demo") == before


def test_a_budget_is_shown_and_changed_bound_by_bound(own_folder: Path) -> None:
    store = filled_store(own_folder / "runs" / "workbench.db", experiment=experiment(budget={"minutes": 7}))
    updated = store.get("demo").updated
    assert command("budget", "demo").out == "demo stops at 7 minutes\n"
    changed = workbench.budget("demo", {"watt_hours": 2.5, "tokens": 1000})
    assert changed == Budget(minutes=7, watt_hours=2.5, tokens=1000)
    assert Budget.model_validate(store.get("demo").experiment["budget"]) == changed
    assert store.get("demo").updated == updated, "from it the time a run is running is known"
    assert workbench.budget("demo", {"minutes": None}).minutes is None


# ---------------------------------------------------------------------------------------- what cannot be measured


def test_a_unit_that_cannot_be_measured_is_refused_before_the_run(provider: FakeProvider) -> None:
    space = {"model": [hosted(provider)], "retriever": ["none"]}
    with pytest.raises(InputError) as refused:
        workbench.run(experiment(space=space, budget={"dollars": 1, "watt_hours": 1}))
    first, second = refused.value.problems
    assert first.startswith("budget.watt_hours is 1; what openai:fake takes is not estimated")
    assert second.startswith("budget.dollars is 1; openai:fake is not priced: give its row in prices.csv")
    assert workbench.runs() == []
    with pytest.raises(InputError, match="nothing in this run is bought by the token"):
        workbench.run(experiment(budget={"dollars": 1}))
    assert workbench.runs() == []


def test_dollars_stop_a_run_when_they_are_spent(provider: FakeProvider) -> None:
    Path("prices.csv").write_text(
        "model,dollars_per_million_in,dollars_per_million_cached,dollars_per_million_out\nopenai:fake,1000000,0,1000000\n"
    )
    space = {"model": [hosted(provider)], "retriever": ["none"]}
    with pytest.raises(Stopped, match="the budget of 30 dollars is used up"):
        workbench.run(experiment(space=space, budget={"dollars": 30}))
    readings = [scored.answer.ledger for _, scored in workbench.answers()]
    assert 0 < len(readings) < 8
    bought = [tokens for ledger in readings for cost in ledger.stages for tokens in cost.reading.elsewhere.values()]
    assert sum(tokens_in - cached + tokens_out for tokens_in, cached, tokens_out in bought) >= 30


# --------------------------------------------------------------------------------------------- what control counts


class Steered:
    """A run in a store with one control, fed by hand."""

    def __init__(self, **bounds: Any) -> None:
        self.store = Store()
        content = {"budget": Budget(**bounds).model_dump(mode="json")}
        self.run: RunRecord = self.store.create("hand", content, {})
        self.said: list[str] = []
        self.interrupted = False
        self.meanwhile: Callable[[], None] = lambda: None
        self.control = Control(
            self.store,
            self.run,
            PLAIN,
            seconds_before=0.0,
            stop=lambda: self.interrupted,
            settle=self.settle,
            report=self.said.append,
        )

    def settle(self) -> None:
        """Called before the run waits; what happens while it waits is ``meanwhile``."""
        seconds = self.control.take_seconds()
        self.store.add_one_off(self.run.id, OneOff(work=HARNESS, what="", reading=Reading(seconds=seconds)))
        self.meanwhile()

    def paused(self, meanwhile: Callable[[], None]) -> str:
        """What comes of asking why to stop after somebody asked for a pause."""
        self.meanwhile = meanwhile
        self.store.request(self.run.id, "pause")
        time.sleep(0.6)  # the store is asked twice a second
        return self.control.why_stop()


@pytest.mark.parametrize(
    ("bounds", "reading", "calls", "stops"),
    [
        ({"calls": 3}, Reading(seconds=1, cpu_seconds=1), 2, False),
        ({"calls": 3}, Reading(seconds=1, cpu_seconds=1), 3, True),
        ({"tokens": 10}, Reading(seconds=1, cpu_seconds=1, tokens_in=6, tokens_out=3), 1, False),
        ({"tokens": 10}, Reading(seconds=1, cpu_seconds=1, tokens_in=6, tokens_out=4), 1, True),
        ({"watt_hours": 1}, Reading(seconds=1, cpu_seconds=1799), 1, False),
        ({"watt_hours": 1}, Reading(seconds=1, cpu_seconds=1800), 1, True),  # at 2 W
        ({"watt_hours": 1}, Reading(seconds=1, cpu_seconds=None), 1, False),
        ({"dollars": 1}, Reading(seconds=1, cpu_seconds=1), 1, False),  # nothing was bought
        ({"dollars": 1}, Reading(seconds=1, cpu_seconds=1, elsewhere={"a:b": (1, 0, 0)}), 1, True),  # cannot be watched
        ({}, Reading(seconds=1e9, cpu_seconds=1e9, tokens_in=10**9), 10**9, False),
    ],
)
def test_a_bound_is_held_to_the_unit(bounds: dict[str, Any], reading: Reading, calls: int, stops: bool) -> None:
    steered = Steered(**bounds)
    steered.control.spend([reading], calls=calls)
    assert bool(steered.control.why_stop()) == stops


def test_an_unknown_part_leaves_joules_unknown_and_the_budget_counts_the_rest() -> None:
    steered = Steered(watt_hours=1)
    steered.control.spend([Reading(seconds=1, cpu_seconds=None), Reading(seconds=1, cpu_seconds=1800)])
    assert steered.control.joules is None
    assert "watt hours is used up" in steered.control.why_stop()


def test_waiting_is_no_running_time() -> None:
    steered = Steered(minutes=1)
    began = time.monotonic()
    assert steered.paused(lambda: steered.store.request(steered.run.id, None)) == ""
    elapsed = time.monotonic() - began
    assert steered.said == ["paused", "going on"]
    [booked] = [work.reading.seconds for work in steered.store.one_offs(steered.run.id)]
    assert booked >= 0.6
    assert booked + steered.control.take_seconds() <= elapsed - 0.5, "one look at the store at least was waited for"
    assert steered.store.get("hand").state == "interrupted"  # running, without a process that holds it


def test_stop_and_interrupt_end_the_waiting() -> None:
    steered = Steered()
    assert steered.paused(lambda: steered.store.request(steered.run.id, "stop")) == "asked to stop"
    steered.store.delete(steered.run.id)
    steered = Steered()
    assert steered.paused(lambda: setattr(steered, "interrupted", True)) == "interrupted"


def test_a_budget_given_while_it_waits_is_the_one_in_force() -> None:
    steered = Steered(calls=1)
    steered.control.spend([], calls=2)
    assert "1 calls" in steered.control.why_stop()

    def raised() -> None:
        steered.store.set_budget(steered.run.id, Budget(calls=3).model_dump(mode="json"))
        steered.store.request(steered.run.id, None)

    assert steered.paused(raised) == ""
    steered.control.spend([], calls=1)
    assert "3 calls" in steered.control.why_stop()


def test_every_problem_of_a_budget_is_named_at_once() -> None:
    unknown = {"x:one": "not estimated: its size is not known", "x:two": "not estimated: its size is not known"}
    coefficients = replace(PLAIN, not_estimated=unknown)
    with pytest.raises(InputError) as refused:
        check_budget(Budget(watt_hours=1, dollars=1), coefficients)
    assert len(refused.value.problems) == 4
    check_budget(Budget(minutes=1, tokens=1, calls=1), coefficients)

"""Runs as processes of their own: start one, continue one, and watch it through the store.

The app never measures: a run is ``python -m workbench run …`` in its own session, its output in a log file beside the
store, and everything shown of it is read back from the store. Closing the app, or the tab, changes nothing for a run.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import psutil
import sqlalchemy as sa
import yaml

from workbench.coefficients import restore
from workbench.control import PAUSE, STOP, go_on
from workbench.errors import InputError
from workbench.ledger import price
from workbench.records import DEFAULT_AXES, HARNESS, Configuration, Energy, Trial, digest, plugin_label
from workbench.reports import compared_split
from workbench.specification import Experiment, find_experiment, read_experiment
from workbench.standing import spent_so_far, tallied
from workbench.store import AT_WORK, RunRecord, Store, default_url, problems_of_name
from workbench.tally import Tally

WatchedState = Literal["starting", "failed", "running", "paused", "finished", "stopped", "interrupted"]


_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_CONTROL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_LOG_BYTES = 8192
_LOG_LINES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialProgress:
    """How far one configuration of a run has come with the questions that setups are compared on."""

    configuration: Configuration
    state: str
    reason: str
    answers: int
    total: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """Where a run stands. ``live``: a process is at work on it; ``failed``: one was started and ended before it wrote;
    ``stopping``, ``pausing``: it was asked to, and has not done it yet.

    ``answers`` and ``total`` hold those that confirm the pick, too, as they come. ``seconds`` is the time spent running,
    ``joules`` what answers and one-off work took so far; ``None`` is not known.
    """

    run: str
    state: WatchedState
    note: str
    live: bool
    stopping: bool
    pausing: bool
    answers: int
    total: int
    failures: int
    seconds: float | None
    joules: Energy | None
    trials: tuple[TrialProgress, ...]
    log: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Launch:
    """A process that was started for a run: who it is, since when, and whether it lives."""

    started: float
    alive: bool


# ----------------------------------------------------------------------------------------------------------- before


def outline(experiment: Experiment) -> dict[str, str]:
    """What an experiment will do, in words: its data, its goal, and every axis that it sets."""
    selection, goal = experiment.questions, experiment.goal
    wanted = (
        f"the fewest {goal.minimise} per answer, {goal.metric} at most {goal.margin:g} below the best "
        f"({goal.confidence:.0%} confidence)"
    )
    bars = [] if goal.floor is None else [f"{goal.metric} at least {goal.floor:g}"]
    bars += [f"{name.removesuffix('_seconds')} at most {limit:g} s" for name, limit in goal.limits.items()]
    budget = [f"{amount:g} {unit.replace('_', ' ')}" for unit, amount in experiment.budget if amount is not None]
    axes = {axis: getattr(experiment.space, axis) for axis in DEFAULT_AXES}
    combinations = math.prod(len(values) for values in axes.values())
    return {
        "goal": "; ".join([wanted, *bars]),
        "corpus": experiment.corpus,
        "questions": f"{experiment.evalset}, {selection.split}"
        + (f", {selection.limit} of them" if selection.limit else ""),
        "metrics": ", ".join(experiment.metric_names),
        "strategy": plugin_label(experiment.strategy)
        + (f", {experiment.repeats} repeats" if experiment.repeats > 1 else ""),
        "budget": ", ".join(budget) or "no bound",
        **{
            axis: ", ".join(map(plugin_label, values))
            for axis, values in axes.items()
            if axis in experiment.space.model_fields_set
        },
        "combinations": f"{combinations:,}, before impossible and equivalent ones are left out",
    }


def free_name(beginning: str, *, store: Store | None = None) -> str:
    """A run name that begins like this and is not taken: ``demo``, ``demo-2``, …"""
    store = store or _existing_store()
    taken = {run.name for run in store.runs()} if store is not None else set()
    candidates = (beginning if number == 1 else f"{beginning}-{number}" for number in itertools.count(1))
    return next(name for name in candidates if name not in taken and not launched(name, store=store))


# -------------------------------------------------------------------------------------------------------- processes


def start(experiment: str | Path, name: str, *, store: Store | None = None, retry_failed: bool = False) -> int:
    """Run an experiment file, or continue its run, in a process of its own; returns the process's id.

    Raises ``InputError`` for everything wrong with the name or the file before any process starts.
    """
    name = name.strip()
    problems = problems_of_name(name)
    try:
        read_experiment(experiment)
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    files = _files(name, store)
    launch = _launch(files)
    if launch is not None and launch.alive:
        raise InputError(f"run {name!r} is under way already; watch it, or choose another name")
    command = [sys.executable, "-m", "workbench", "run", f"--name={name}"]
    command += ["--retry-failed"] if retry_failed else []
    command += ["--", str(find_experiment(experiment).resolve())]
    try:
        files.parent.mkdir(parents=True, exist_ok=True)
        with files.with_suffix(".log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "WORKBENCH_STORE": _url(store)},  # not an argument: a URL may hold a password
                start_new_session=True,
            )
        born = psutil.Process(process.pid).create_time()
        files.with_suffix(".json").write_text(
            json.dumps({"process": process.pid, "born": born, "started": time.time()})
        )
    except OSError as error:
        raise InputError(f"the run cannot be started: {error.strerror or error} ({files.parent})") from error
    # Somebody must take note of its end, or it would stay in the process table and pass for a living one.
    threading.Thread(target=process.wait, daemon=True).start()
    return process.pid


def resume(run: str, *, store: Store | None = None, retry_failed: bool = False) -> int | None:
    """Let a paused run go on, or continue one from the experiment stored with it, in a process of its own.

    Returns the id of the process that was started; ``None`` where one is there and goes on.
    """
    if go_on(run, store=store):
        return None
    record = (store or Store(create=False)).get(run)
    path = _files(record.name, store).with_suffix(".yaml")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(record.experiment, allow_unicode=True, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    return start(path, record.name, store=store, retry_failed=retry_failed)


def launched(run: str, *, store: Store | None = None) -> bool:
    """Whether a process was ever started here for a run of this name, even if it never came to write to the store."""
    return _launch(_files(run, store)) is not None


def watch(run: str, *, store: Store | None = None) -> RunProgress:
    """Where a run stands, cheap enough to ask every second: counts, and readings only of what is new.

    Raises ``InputError`` when there is neither such a run nor a process that was started for it.
    """
    store = store or _existing_store()
    files = _files(run, store)
    launch = _launch(files)
    record = store.find(run) if store is not None else None
    if store is None or record is None:
        if launch is None:
            raise InputError(f"there is no run {run!r} in this store")
        return RunProgress(
            run=run,
            state="starting" if launch.alive else "failed",
            note="",
            live=launch.alive,
            stopping=False,
            pausing=False,
            answers=0,
            total=0,
            failures=0,
            seconds=None,
            joules=None,
            trials=(),
            log=_log(files),
        )
    stored = store.trials(record.id)
    tallies = tallied(store, record, stored)
    questions = store.count_questions(record.id, split=compared_split(record.experiment))
    trials = tuple(_trials(record, stored, tallies, questions))
    confirming = sum(tally.unseen.answers for tally in tallies)
    asked = store.requested(record.id) if record.state in AT_WORK else None
    state = _state(record, launch)
    return RunProgress(
        run=record.name,
        state=state,
        note=record.note if state == "stopped" else "",
        live=record.state in AT_WORK or (launch is not None and launch.alive),
        stopping=asked == STOP,
        pausing=asked == PAUSE and record.state != "paused",
        answers=confirming + sum(trial.answers for trial in trials),
        total=confirming + sum(trial.total for trial in trials),
        failures=sum(trial.failures for trial in trials),
        seconds=_seconds(store, record),
        joules=_joules(store, record, tallies),
        trials=trials,
        log=_log(files),
    )


# ------------------------------------------------------------------------------------------------------------ parts


def _existing_store() -> Store | None:
    try:
        return Store(create=False)
    except InputError:
        return None


def _url(store: Store | None) -> str:
    return store.url if store is not None else default_url()


def _files(run: str, store: Store | None) -> Path:
    """Where the log of a run lies, without its suffix: beside the database's file, or in ``runs`` for a server's."""
    url = _url(store)
    file: str | None = url
    if "://" in url:
        parsed = sa.make_url(url)
        file = parsed.database if parsed.get_backend_name() == "sqlite" else None
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", run)[:60]
    name = run if _PLAIN_NAME.fullmatch(run) else f"{readable}-{digest(run)[:8]}"
    return (Path(file).parent if file else Path("runs")) / "logs" / name


def _launch(files: Path) -> _Launch | None:
    try:
        noted = json.loads(files.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return None
    try:
        process = psutil.Process(noted["process"])
        alive = process.create_time() == noted["born"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        alive = False
    return _Launch(started=noted["started"], alive=alive)


def _log(files: Path) -> tuple[str, ...]:
    try:
        with files.with_suffix(".log").open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _LOG_BYTES, 0))
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    lines = [_CONTROL_CODES.sub("", line).rstrip() for line in text.splitlines()]
    return tuple([line for line in lines if line][-_LOG_LINES:])


def _state(record: RunRecord, launch: _Launch | None) -> WatchedState:
    if record.state not in AT_WORK and launch is not None and record.updated < launch.started:
        return "starting" if launch.alive else "failed"
    return cast(WatchedState, record.state)


def _trials(
    record: RunRecord, trials: Sequence[Trial], tallies: Sequence[Tally], questions: int
) -> Iterator[TrialProgress]:
    for trial, tally in zip(trials, tallies, strict=True):
        yield TrialProgress(
            configuration=trial.configuration,
            state=trial.state,
            reason=trial.reason,
            answers=tally.asked.answers,
            total=questions * trial.configuration.repeats(record.experiment["repeats"]),
            failures=sum((*tally.asked.failures.values(), *tally.unseen.failures.values())),
        )


def _seconds(store: Store, record: RunRecord) -> float | None:
    booked = sum(work.reading.seconds for work in store.one_offs(record.id) if work.work == HARNESS)
    if record.state == "interrupted":
        return None  # the process that was killed booked nothing
    return booked + (time.time() - record.updated if record.state == "running" else 0.0)


def _joules(store: Store, record: RunRecord, tallies: Sequence[Tally]) -> Energy | None:
    total = spent_so_far(store, record, tallies)
    return None if total is None else price(total, restore(record.environment["coefficients"]))

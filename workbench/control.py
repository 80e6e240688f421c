"""What ends a run or lets it wait: its budget, and what other processes ask of it through the store."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from workbench.coefficients import restore
from workbench.errors import InputError
from workbench.ledger import add, price
from workbench.prices import INSTALL, TABLE, Price, dollars
from workbench.prices import price as price_of
from workbench.records import Coefficients, Reading
from workbench.specification import Budget, changed_budget
from workbench.store import AT_WORK, RunRecord, Store

_POLL_SECONDS = 0.5  # how often the store is asked what somebody wants of the run

PAUSE, STOP = "pause", "stop"  # what can be asked of a run at work


# ------------------------------------------------------------------------------------------------- the asking side


def stop(run: str = "latest", *, store: Store | None = None) -> None:
    """Ask the process that writes a run to stop after the answers it is making; ``resume`` continues it."""
    store = store or Store(create=False)
    store.request(_at_work(run, store).id, STOP)


def pause(run: str = "latest", *, store: Store | None = None) -> None:
    """Ask the process that writes a run to wait, models loaded, until ``resume``; answers under way are finished first."""
    store = store or Store(create=False)
    store.request(_at_work(run, store).id, PAUSE)


def go_on(run: str = "latest", *, store: Store | None = None) -> bool:
    """Let a paused process go on; false where no process is at work on the run.

    Raises ``InputError`` where one is at work and nobody asked it to pause.
    """
    store = store or Store(create=False)
    record = store.get(run)
    if record.state not in AT_WORK:
        return False
    if record.state != "paused" and store.requested(record.id) != PAUSE:
        raise InputError(f"run {record.name!r} is {record.state} already; watch it, or choose another")
    store.request(record.id, None)
    return True


def budget(run: str, bounds: Mapping[str, Any], *, store: Store | None = None) -> Budget:
    """Change where a run stops by itself, at work or not: unit → amount, ``None`` for no bound; returns the whole budget.

    A process at work reads it within a second. Raises ``InputError`` for bounds that the experiment file could not have.
    """
    store = store or Store(create=False)
    record = store.get(run)
    changed = changed_budget(Budget.model_validate(record.experiment["budget"]), bounds)
    check_budget(changed, restore(record.environment["coefficients"]))
    if bounds:
        store.set_budget(record.id, changed.model_dump(mode="json"))
    return changed


def _at_work(run: str, store: Store) -> RunRecord:
    record = store.get(run)
    if record.state not in AT_WORK:
        raise InputError(
            f"run {record.name!r} is finished: nothing is left to do"
            if record.state == "finished"
            else f"run {record.name!r} is {record.state}: no process is at work on it; go on with: "
            f"workbench resume {shlex.quote(record.name)}"
        )
    return record


# ------------------------------------------------------------------------------------------------ what can be bound


def check_budget(budget: Budget, coefficients: Coefficients) -> None:
    """Refuse a bound in a unit that nobody could measure in a run with these coefficients, which name its hosted models."""
    problems = []
    if budget.watt_hours is not None:
        for model, why in coefficients.not_estimated.items():
            problems.append(
                f"budget.watt_hours is {budget.watt_hours:g}; what {model} takes is {why}; or bound tokens, calls or minutes"
            )
    if budget.dollars is not None:
        hosted = sorted({*coefficients.hosted, *coefficients.not_estimated})
        if not hosted:
            problems.append(
                f"budget.dollars is {budget.dollars:g}; nothing in this run is bought by the token; bound watt_hours or minutes"
            )
        problems += [
            f"budget.dollars is {budget.dollars:g}; {model} is not priced: give its row in {TABLE} (0 where it is free), or {INSTALL}"
            for model in hosted
            if price_of(model) is None
        ]
    if problems:
        raise InputError(problems)


# ----------------------------------------------------------------------------------------------- the obeying side


class Control:
    """Watches one process's part of a run: what was spent against the budget in force, and what is asked meanwhile.

    ``settle`` is called before the run waits: it must store what is not stored yet. Paused time is no running time.
    """

    def __init__(
        self,
        store: Store,
        run: RunRecord,
        coefficients: Coefficients,
        *,
        seconds_before: float,
        stop: Callable[[], bool],
        settle: Callable[[], None],
        report: Callable[[str], None],
    ) -> None:
        self._store = store
        self._run_id = run.id
        self._coefficients = coefficients
        self._stop = stop
        self._settle = settle
        self._report = report
        self._seconds = seconds_before
        self._since = time.monotonic()
        self._calls = 0
        self._joules = 0.0
        self._readings: list[Reading] = []
        self._lock = threading.Lock()  # one-off work is booked by whichever thread of the run came to need it
        self._prices: dict[str, Price | None] = {}
        self._request, self._stored = store.steering(run.id)
        self._budget = Budget.model_validate(self._stored)
        self._looked = time.monotonic()

    # ------------------------------------------------------------------------------------------------------ spending

    def spend(self, readings: Iterable[Reading], *, calls: int = 0) -> None:
        """Count work towards the budget, whoever did it: answers, one-off work, judges.

        A part whose energy nobody knows (a call elsewhere that failed) takes nothing from the watt hours.
        """
        readings = list(readings)
        energies = [price(reading, self._coefficients) for reading in readings]
        with self._lock:
            self._calls += calls
            self._readings += readings
            self._joules += sum(energy.central for energy in energies if energy is not None)

    @property
    def tokens(self) -> int:
        """Prompt and output tokens so far."""
        total = self._total()
        return (total.tokens_in or 0) + (total.tokens_out or 0)

    @property
    def joules(self) -> float | None:
        """Joules so far; ``None`` where any part of them is not known."""
        energy = price(self._total(), self._coefficients)
        return None if energy is None else energy.central

    @property
    def dollars(self) -> float | None:
        """What the tokens so far cost; ``None`` where a model is not priced."""
        elsewhere = self._total().elsewhere
        for model in elsewhere.keys() - self._prices.keys():
            self._prices[model] = price_of(model)
        return dollars(elsewhere, self._prices) if elsewhere else 0.0

    def take_seconds(self) -> float:
        """The seconds of running since this was last asked, for whoever books them."""
        now = time.monotonic()
        passed, self._since = now - self._since, now
        self._seconds += passed
        return passed

    def _total(self) -> Reading:
        with self._lock:
            self._readings = [add(self._readings) if self._readings else Reading(seconds=0.0, cpu_seconds=0.0)]
            return self._readings[0]

    # -------------------------------------------------------------------------------------------------------- ending

    def why_stop(self) -> str:
        """Why nothing more is to be asked, in words, or an empty string. While the run is paused, this waits."""
        if time.monotonic() - self._looked > _POLL_SECONDS:
            self._look()
        if self._request == PAUSE:
            self._wait()
        if self._stop():
            return "interrupted"
        if self._request == STOP:
            return "asked to stop"
        return self._used_up()

    def _look(self) -> None:
        self._looked = time.monotonic()
        self._request, stored = self._store.steering(self._run_id)
        if stored != self._stored:
            self._stored, self._budget = stored, Budget.model_validate(stored)

    def _wait(self) -> None:
        self._settle()
        self._store.update(self._run_id, state="paused")
        self._report("paused")
        while self._request == PAUSE and not self._stop():
            time.sleep(_POLL_SECONDS)
            self._look()
        self._store.update(self._run_id, state="running")
        self._since = time.monotonic()
        self._report("going on")

    def _used_up(self) -> str:
        for unit, bound in self._budget:
            if bound is None:
                continue
            amount, words = self._amount(unit), unit.replace("_", " ")
            if amount is None:
                return f"the budget of {bound:g} {words} cannot be watched: a model is not priced (lift budget.{unit} to go on)"
            if amount >= bound:
                return f"the budget of {bound:g} {words} is used up (raise budget.{unit} to go on)"
        return ""

    def _amount(self, unit: str) -> float | None:
        if unit == "minutes":
            return (self._seconds + time.monotonic() - self._since) / 60
        if unit == "watt_hours":
            return self._joules / 3600
        if unit == "dollars":
            return self.dollars
        return self._calls if unit == "calls" else self.tokens

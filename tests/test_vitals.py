"""How far a run is from its end, and what its process uses: nothing is told that is not known."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import workbench
from tests.stores import EXPERIMENT, filled_store
from workbench.loads import process_load
from workbench.vitals import outlook


def test_gauges_are_those_of_the_budget_and_hold_what_was_spent(own_folder: Path) -> None:
    bounded = {**EXPERIMENT, "budget": {"watt_hours": 2, "tokens": 50_000, "calls": 400}}
    store = filled_store(own_folder / "store.db", experiment=bounded)
    progress = workbench.watch("demo", store=store)
    found = outlook(progress, store=store)
    assert found is not None
    assert progress.joules is not None
    used = {gauge.unit: gauge.used for gauge in found.gauges}
    assert set(used) == {"watt_hours", "tokens", "calls"}
    assert used["watt_hours"] == pytest.approx(progress.joules.central / 3600)
    assert used["tokens"] == workbench.compare("demo", store=store).spent.tokens
    assert used["calls"] == 192
    assert found.remaining_seconds is None
    assert not found.at_most


def test_what_is_left_shrinks_and_its_range_holds_the_middle(own_folder: Path) -> None:
    left = []
    for share in (0.5, 0.8, 1.0):
        store = filled_store(own_folder / f"{share}.db", answered=share, state="stopped")
        record = store.get("demo")
        with store.lease(record):
            progress = workbench.watch("demo", store=store)
            found = outlook(progress, store=store)
        assert found is not None
        if found.remaining_seconds is not None:
            low, central, high = found.remaining_seconds
            assert low <= central <= high
            left.append((progress.seconds, central))
    assert len(left) == 3
    per_answer = [central / seconds for seconds, central in left if seconds]
    assert per_answer == sorted(per_answer, reverse=True)
    assert per_answer[-1] == 0


def test_the_load_is_that_of_the_process_that_holds_the_lease(own_folder: Path) -> None:
    store = filled_store(own_folder / "store.db", answered=0.5, state="stopped")
    assert process_load("demo", store=store) is None
    with store.lease(store.get("demo")):
        first = process_load("demo", store=store)
        assert first is not None
        assert (first.process, first.busy_vcpus, first.watts) == (os.getpid(), None, None)
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        second = process_load("demo", first, store=store)
    assert second is not None
    assert second.busy_vcpus is not None
    assert second.watts is not None
    assert second.busy_vcpus > 0
    low, central, high = second.watts
    assert (low, central, high) == tuple(pytest.approx(second.busy_vcpus * watts) for watts in (1.1, 2.2, 4.4))
    assert process_load("nobody", store=store) is None

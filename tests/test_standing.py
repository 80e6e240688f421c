"""Where configurations stand while a run is going on: intervals close, new answers are read once, marks are the race's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import workbench
from tests.stores import EXPERIMENT, SETUPS, filled_store
from workbench.bundle import opened
from workbench.recommendation import choose
from workbench.schema import ANSWERS
from workbench.showcase import BUNDLE, NAME
from workbench.standing import Lane, lanes, spent_so_far, tallied
from workbench.store import Store

RACED = {**EXPERIMENT, "strategy": {"name": "race", "level": "every"}, "goal": {"metric": "token_f1", "margin": 0.1}}


def widths(store: Store, name: str = "demo") -> list[float]:
    return [lane.score.high - lane.score.low for lane in lanes(name, store=store).lanes if lane.score is not None]


def test_an_interval_holds_the_mean_and_closes_when_everything_was_asked(own_folder: Path) -> None:
    part = filled_store(own_folder / "part.db", answered=0.25, state="stopped")
    for lane in lanes(store=part).lanes:
        assert lane.questions == 24
        assert (lane.score is None) == (lane.asked == 0)
    whole = filled_store(own_folder / "whole.db")
    comparison = workbench.compare(store=whole)
    for lane in lanes(store=whole).lanes:
        figures = comparison.of(lane.configuration.id)
        assert lane.score is not None
        assert figures.scores["token_f1"] is not None
        assert lane.score.mean == pytest.approx(figures.scores["token_f1"].mean)
        assert lane.score.low == pytest.approx(lane.score.high)
        assert lane.joules is not None
        assert figures.joules is not None
        assert lane.joules.central == pytest.approx(figures.joules.central)


def test_answers_that_only_confirm_the_pick_count_for_nothing(own_folder: Path) -> None:
    with opened(BUNDLE) as store:
        comparison = workbench.compare(NAME, store=store)
        assert comparison.tested is not None
        pick = comparison.tested.pick
        for lane in lanes(NAME, store=store).lanes:
            figures = comparison.of(lane.configuration.id)
            assert lane.asked == figures.answers
            assert lane.joules is not None
            assert figures.joules is not None
            assert lane.joules.central == pytest.approx(figures.joules.central)
    with opened(BUNDLE) as store:
        record = store.get(NAME)
        lost = [question.id for question in store.questions(record.id) if question.split == "dev"][-10:]
        with store.writing() as connection:
            of_pick = (ANSWERS.c.run_id == record.id) & (ANSWERS.c.configuration == pick)
            connection.execute(ANSWERS.delete().where(of_pick & ANSWERS.c.question.in_(lost)))
        lane = next(lane for lane in lanes(NAME, store=store).lanes if lane.configuration.id == pick)
    assert (lane.asked, lane.questions) == (50, 60)
    assert lane.score is not None
    assert lane.score.high - lane.score.low > 0.01


def test_new_answers_are_read_once_and_dropped_ones_are_forgotten(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled_store(own_folder / "store.db", infrastructure_failures=3)
    record = store.get("demo")
    before = lanes(store=store)
    reads: list[Any] = []
    original = Store.answers

    def counted(self: Store, *arguments: Any, **keywords: Any) -> Any:
        reads.append(keywords)
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(Store, "answers", counted)
    assert lanes(store=store) == before
    assert reads == []
    last = store.trials(record.id)[-1].configuration.id
    kept = {scored.answer.question for scored in original(store, record.id, configuration=last)}
    store.drop_failed(record.id)
    after = {lane.configuration.id: lane for lane in lanes(store=store).lanes}
    assert len(reads) == 1
    assert after[last].asked == len(kept) - 3


def test_what_was_spent_is_what_the_comparison_says(own_folder: Path) -> None:
    store = filled_store(own_folder / "store.db")
    record = store.get("demo")
    spent = spent_so_far(store, record, tallied(store, record, store.trials(record.id)))
    found = workbench.compare(store=store).spent
    assert spent is not None
    assert found.reading is not None
    one_off = sum(reading.cpu_seconds or 0.0 for reading in found.one_offs.values())
    assert spent.cpu_seconds == pytest.approx((found.reading.cpu_seconds or 0.0) + one_off)


def test_marks_are_those_of_the_recommendation(own_folder: Path) -> None:
    store = filled_store(own_folder / "store.db", experiment=RACED)
    found = lanes(store=store)
    recommendation = choose(workbench.compare(store=store))
    assert recommendation.chosen is not None
    assert found.raced
    by_mark = {lane.mark: lane for lane in found.lanes if lane.mark}
    picked = next(lane for mark, lane in by_mark.items() if mark.startswith("pick"))
    assert picked.configuration == recommendation.chosen


def test_what_is_out_stands_last_with_its_reason(own_folder: Path) -> None:
    store = filled_store(own_folder / "store.db", experiment=RACED, answered=0.5, state="stopped")
    record = store.get("demo")
    first = store.trials(record.id)[0].configuration.id
    store.set_trial(record.id, first, "eliminated", "worse than the best by more than 0.05")
    found = lanes(store=store).lanes
    assert (found[-1].configuration.id, found[-1].reason) == (first, "worse than the best by more than 0.05")
    assert [lane.state for lane in found].count("eliminated") == 1


def test_a_run_without_answers_has_empty_lanes(own_folder: Path) -> None:
    for name, experiment in (("plain", EXPERIMENT), ("raced", RACED)):
        store = filled_store(own_folder / "store.db", name=name, answered=0.0, state="stopped", experiment=experiment)
        found: tuple[Lane, ...] = lanes(name, store=store).lanes
        assert len(found) == len(SETUPS)
        assert all(lane.score is None and lane.joules is None and lane.asked == 0 for lane in found)
    assert widths(store, "raced") == []

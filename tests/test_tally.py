"""Tallies: what was kept and what is made anew are the same, and what was kept is never older than the answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

import workbench
from tests.stores import SETUPS, filled_store
from workbench.ledger import add, spent, standalone
from workbench.records import Answer, Ledger, Question, Reading, Score, ScoredAnswer, StageCost, as_json
from workbench.reports import tariff_of
from workbench.schema import TALLIES, TRIALS
from workbench.stats import Array
from workbench.store import RunRecord, Store
from workbench.tally import Tally, tallies, tally_of
from workbench.tariffs import Tariff, cost, of_environment

QUESTIONS = [Question(id=f"q{number}", question="?", answers=("a",), split="ab"[number % 2]) for number in range(8)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = filled_store(tmp_path / "store.db", setups=SETUPS[:6], model_failures=2, infrastructure_failures=3)
    yield found
    found.close()


@pytest.fixture
def record(store: Store) -> RunRecord:
    return store.get("demo")


def of(store: Store, record: RunRecord, **changes: Any) -> list[Tally]:
    return tallies(
        store, record, store.trials(record.id), store.questions(record.id), None, tariff_of(record), **changes
    )


def same(one: Array, other: Array) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))


def test_what_was_kept_is_what_is_made_anew_to_the_last_bit(store: Store, record: RunRecord) -> None:
    made, kept, anew = of(store, record), of(store, record), of(store, record, anew=True)
    for first, second, third in zip(made, kept, anew, strict=True):
        assert same(first.numbers, second.numbers)
        assert same(first.numbers, third.numbers)
        assert as_json([first.asked, first.unseen]) == as_json([second.asked, second.unseen])
        assert as_json([first.asked, first.unseen]) == as_json([third.asked, third.unseen])


def test_the_second_comparison_reads_no_answer_and_says_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = workbench.export(workbench.compare(store=store), "json")
    monkeypatch.setattr(Store, "answers", None)
    assert workbench.export(workbench.compare(store=store), "json") == first


def test_a_change_of_answers_is_never_missed(store: Store, record: RunRecord) -> None:
    before = workbench.compare(store=store)
    trial = store.trials(record.id)[-1].configuration
    lost = {code for figures in before.figures for code in figures.failures}
    dropped = store.drop_failed(record.id)
    after = workbench.compare(store=store)
    assert dropped == 3
    assert sum(figures.answers for figures in after.figures) == sum(each.answers for each in before.figures) - 3
    assert lost - {code for figures in after.figures for code in figures.failures}
    free = {question.id for question in store.questions(record.id)} - {
        question for question, _ in store.keys(record.id, trial.id)
    }
    store.add_answers(record.id, [answered(trial.id, free.pop(), 1.0)])
    assert workbench.compare(store=store).of(trial.id).answers == after.of(trial.id).answers + 1


def test_a_tally_that_was_made_while_answers_came_is_made_again(store: Store, record: RunRecord) -> None:
    whole = of(store, record)
    with store.writing() as connection:  # as if a writer had come between reading the stand and the answers
        connection.execute(TRIALS.update().values(stand=TRIALS.c.stand + 1))
        connection.execute(TALLIES.update().values(numbers=b"", sums="[]"))
    assert [len(tally) for tally in of(store, record)] == [len(tally) for tally in whole]


def test_a_tally_that_cannot_be_read_is_made_anew(store: Store, record: RunRecord) -> None:
    whole = of(store, record)
    with store.writing() as connection:
        connection.execute(TALLIES.update().values(numbers=b"no numbers"))
    assert [len(tally) for tally in of(store, record)] == [len(tally) for tally in whole]


def test_other_prices_make_other_tallies(store: Store, record: RunRecord) -> None:
    before = workbench.compare(store=store)
    coefficients = {**record.environment["coefficients"], "watts_per_busy_vcpu": [10.0, 20.0, 40.0]}
    store.update(record.id, environment={**record.environment, "coefficients": coefficients})
    after = workbench.compare(store=store)
    factor = 20.0 / record.environment["coefficients"]["watts_per_busy_vcpu"][1]
    assert np.nansum(after.matrix.costs["joules"]) == pytest.approx(np.nansum(before.matrix.costs["joules"]) * factor)
    with store.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(TALLIES)).scalar() == len(before.figures)


def test_a_deleted_run_takes_its_tallies_with_it(store: Store, record: RunRecord) -> None:
    of(store, record)
    store.delete(record.id)
    with store.reading() as connection:
        assert connection.execute(sa.select(TALLIES)).all() == []


def test_numbers_and_sums_are_those_of_the_answers(store: Store, record: RunRecord) -> None:
    tariff = tariff_of(record)
    for trial, tally in zip(store.trials(record.id), of(store, record), strict=True):
        answers = [each.answer for each in store.answers(record.id, configuration=trial.configuration.id)]
        worked = [each for each in answers if each.ledger.stages]
        assert len(tally) == len(answers)
        assert tally.asked.spent == (add(spent(each.ledger) for each in worked) if worked else None)
        assert tally.asked.alone == (add(standalone(each.ledger) for each in worked) if worked else None)
        lost = [each.failure is not None and each.failure.kind == "infrastructure" for each in answers]
        joules = [None if gone else cost(each, "joules", tariff) for each, gone in zip(answers, lost, strict=True)]
        assert same(tally.cost("joules"), np.array([np.nan if value is None else value for value in joules]))


def answered(configuration: str, question: str, cpu: float, repeat: int = 0) -> ScoredAnswer:
    stages = (
        StageCost(stage="search", reading=Reading(seconds=0.25, cpu_seconds=0.125)),
        StageCost(stage="generate", reading=Reading(seconds=cpu, cpu_seconds=cpu, tokens_in=7, tokens_out=3)),
    )
    answer = Answer(configuration=configuration, question=question, repeat=repeat, ledger=Ledger(stages=stages))
    return ScoredAnswer(answer=answer, scores=(Score(metric="token_f1", value=cpu / 8),))


@given(st.lists(st.integers(1, 8), min_size=1, max_size=8), st.integers(0, 8))
def test_answers_may_be_added_in_two_parts(costs: list[int], cut: int) -> None:
    from_quarters = [answered("c", QUESTIONS[at].id, value / 4) for at, value in enumerate(costs)]  # exact in binary
    tariff = tariff_of_watts()
    whole = tally_of(from_quarters, QUESTIONS, "a", ["token_f1"], tariff)
    parts = [
        tally_of(part, QUESTIONS, "a", ["token_f1"], tariff) for part in (from_quarters[:cut], from_quarters[cut:])
    ]
    joined = parts[0].joined(parts[1])
    assert same(joined.numbers, whole.numbers)
    assert as_json([joined.asked, joined.unseen]) == as_json([whole.asked, whole.unseen])
    assert whole.unseen.answers == len(costs) // 2
    assert whole.asked.answers == len(costs) - len(costs) // 2


def tariff_of_watts() -> Tariff:
    coefficients = {"processor": "p", "watts_per_busy_vcpu": [1.0, 2.0, 4.0], "source": "s", "includes": "i"}
    return of_environment({"coefficients": coefficients})

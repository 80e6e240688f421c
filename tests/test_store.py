"""The store: one row per answer, texts once, leases that end with their process, migrations."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

import workbench
from tests.conftest import experiment, passages
from workbench import schema
from workbench.errors import StoreError
from workbench.leases import LEASE_SECONDS
from workbench.records import (
    Answer,
    Configuration,
    Failure,
    IndexFacts,
    Ledger,
    Question,
    Reading,
    Score,
    ScoredAnswer,
    Span,
    StageCost,
)
from workbench.schema import RUNS, TEXTS
from workbench.store import RunRecord, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store.db"))


@pytest.fixture
def run(store: Store) -> RunRecord:
    record = store.create("r", {"goal": {}}, {})
    store.add_trials(record.id, [Configuration({"model": "scripted"}, id="c")])
    store.add_questions(record.id, [Question(id=f"q{number}", question="?") for number in range(5)])
    return record


def scored(question: str, text: str = "answer", failure: Failure | None = None) -> ScoredAnswer:
    reading = Reading(seconds=0.5, cpu_seconds=0.25, tokens_in=10, tokens_cached=2, foreign_load=0.1, shared=True)
    answer = Answer(
        configuration="c",
        question=question,
        text=text,
        citations=(1,),
        passages=passages("One passage.", "Another ✓ passage."),
        retrieved=(Span("d1", 0, 12), Span("d2", 3, 9)),
        prompt="<user>\nOne passage. Why?",
        finish_reason="stop",
        seconds=0.5,
        seconds_to_first_token=0.1,
        ledger=Ledger(stages=(StageCost(stage="prefill", reading=reading, standalone=reading),)),
        reused=("prefill: something",),
        undisturbed=False,
        attempts=2,
        failure=failure,
    )
    return ScoredAnswer(
        answer=answer, scores=(Score(metric="m", value=0.5), Score(metric="n", value=None, reason="why"))
    )


def test_an_answer_comes_back_as_it_went_in(store: Store, run: RunRecord) -> None:
    failure = Failure(kind="model", code="refused", message="no")
    written = [scored("q0"), scored("q1", failure=failure)]
    store.add_answers(run.id, written)
    assert list(store.answers(run.id)) == written
    assert [each.answer.prompt for each in store.answers(run.id, texts=False)] == ["", ""]
    assert store.answered(run.id) == {("c", "q0", 0): None, ("c", "q1", 0): "model"}


def test_a_second_answer_under_the_same_key_is_refused_with_its_whole_batch(store: Store, run: RunRecord) -> None:
    store.add_answers(run.id, [scored("q0", "first")])
    with pytest.raises(StoreError):
        store.add_answers(run.id, [scored("q1"), scored("q0", "second")])
    assert [each.answer.text for each in store.answers(run.id)] == ["first"]


def test_prompts_and_passages_are_stored_once_each(store: Store, run: RunRecord) -> None:
    store.add_answers(run.id, [scored(f"q{number}") for number in range(3)])
    Store(store.url).add_answers(run.id, [scored("q3")])
    with store.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(TEXTS)).scalar() == 3


def test_deleting_a_run_leaves_nothing_of_it(store: Store, run: RunRecord) -> None:
    store.add_answers(run.id, [scored("q0")])
    store.delete(run.id)
    assert store.runs() == []
    with store.reading() as connection:
        for table in schema.SCHEMA.sorted_tables:
            if table.name != "workbench_meta":
                assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0, table.name


@pytest.mark.parametrize(
    ("owner", "age", "state"),
    [
        (f"{socket.gethostname()}|process {os.getpid()}|{psutil.Process().create_time():.2f}", 1e6, "running"),
        (
            f"{socket.gethostname()}|process {os.getpid()}|0.00",
            0,
            "interrupted",
        ),  # the number was given to another process
        (f"{socket.gethostname()}|process 99999999|0.00", 0, "interrupted"),
        ("elsewhere|process 1|0.00", LEASE_SECONDS / 2, "running"),
        ("elsewhere|process 1|0.00", LEASE_SECONDS * 2, "interrupted"),
    ],
    ids=["here", "number-reused", "gone", "elsewhere-beating", "elsewhere-silent"],
)
def test_a_lease_holds_as_long_as_its_process_or_its_heartbeat(
    store: Store, run: RunRecord, owner: str, age: float, state: str
) -> None:
    with store.writing() as connection:
        connection.execute(RUNS.update().values(state="running", owner=owner, heartbeat=time.time() - age))
    assert store.get("r").state == state
    if state == "running":
        with pytest.raises(StoreError, match="another process"), store.lease(run):
            pass
    else:
        with store.lease(run):
            assert store.get("r").state == "running"


def test_an_older_store_is_migrated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "old.db")
    Store(path).create("kept", {}, {})
    done: list[int] = []

    def migrate(connection: sa.Connection) -> None:
        done.append(1)
        connection.execute(sa.text("alter table runs add column colour text default 'green'"))

    monkeypatch.setitem(schema.MIGRATIONS, schema.SCHEMA_VERSION, migrate)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", schema.SCHEMA_VERSION + 1)
    assert [run.name for run in Store(path).runs()] == ["kept"]
    Store(path)
    assert done == [1]


def test_a_store_of_version_1_keeps_its_answers(store: Store, run: RunRecord) -> None:
    store.add_answers(run.id, [scored("q0"), scored("q1")])
    with store.writing() as connection:
        connection.exec_driver_sql("DROP TABLE claims")
        connection.exec_driver_sql("DROP TABLE tallies")
        for table, column in (
            ("trials", "index_facts"),
            ("trials", "expected_cost"),
            ("trials", "stand"),
            ("answers", "completion"),
            ("answers", "loss"),
        ):
            connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.exec_driver_sql("UPDATE answers SET retrieved = '[\"d1\", \"d2\"]' WHERE question = 'q0'")
        connection.exec_driver_sql("UPDATE answers SET retrieved = NULL WHERE question = 'q1'")
        connection.exec_driver_sql("UPDATE workbench_meta SET value = '1' WHERE key = 'schema'")
    store.close()
    first, second = Store(store.url).answers(run.id)
    assert first.answer.retrieved == (Span("d1", 0, 0), Span("d2", 0, 0))
    assert second.answer.retrieved is None
    assert first.answer.text == "answer"
    assert [trial.expected_cost for trial in Store(store.url).trials(run.id)] == [0.0] * len(store.trials(run.id))
    assert Store(store.url).claims("e", "test") == []
    assert [trial.index for trial in Store(store.url).trials(run.id)] == [None]


def test_what_is_known_of_an_index_is_kept_with_its_trial(store: Store, run: RunRecord) -> None:
    facts = IndexFacts(chunks=7, bytes=1234, recall=0.9, build=Reading(seconds=1.5, cpu_seconds=2.0))
    store.set_index_facts(run.id, "c", facts)
    assert [trial.index for trial in store.trials(run.id)] == [facts]


def test_any_database_url_of_sqlalchemy_is_taken(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'by-url.db'}"
    workbench.run(experiment(), store=url)
    assert [each.record.name for each in workbench.runs(store=Store(url))] == ["tiny"]

"""The run loop: resumable, one writer, honest about failures, stopped by budgets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

import workbench
from tests.conftest import ROOT, experiment
from workbench.comparison import winners
from workbench.errors import InputError, NotComparable, Stopped, StoreError
from workbench.schema import ANSWERS
from workbench.store import Store

IMPORTABLE = {**os.environ, "PYTHONPATH": str(ROOT)}
REPORTING_RUN = """
import sys, workbench
workbench.run(sys.argv[1], store=workbench.Store(sys.argv[2]), progress=lambda p: print(p.done, flush=True))
"""


def slow(seconds: float) -> dict[str, Any]:
    return experiment(
        space={
            "model": [{"name": "scripted", "seconds": seconds}],
            "retriever": ["none", "bm25"],
            "prompt": ["terse", "fewshot"],
        }
    )


def keys(store: Store) -> list[tuple[Any, ...]]:
    columns = (ANSWERS.c.run_id, ANSWERS.c.configuration, ANSWERS.c.question, ANSWERS.c.repeat)
    with store.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns))]


def test_a_run_answers_every_question_with_every_configuration() -> None:
    outcome = workbench.run(experiment())
    assert outcome.answers == outcome.total > 0
    assert {figures.state for figures in workbench.compare().figures} == {"finished"}


def test_running_again_adds_nothing() -> None:
    workbench.run(experiment())
    before = sorted(keys(Store()))
    workbench.run(experiment())
    assert sorted(keys(Store())) == before


def test_a_finished_run_that_is_run_again_does_and_books_nothing() -> None:
    workbench.run(experiment(strategy={"name": "race", "pilot": 2}, goal={"margin": 0.3}))
    store = Store()
    record = store.get("latest")
    before = store.one_offs(record.id), workbench.compare().spent
    prepared: list[str] = []
    workbench.run(
        experiment(strategy={"name": "race", "pilot": 2}, goal={"margin": 0.3}),
        progress=lambda progress: prepared.append(progress.doing),
    )
    assert (store.one_offs(record.id), workbench.compare().spent) == before
    assert not any("preparing" in each for each in prepared)


def test_a_fresh_run_that_comes_to_nothing_leaves_the_one_it_would_replace() -> None:
    workbench.run(experiment())
    before = keys(Store())
    unusable = experiment(space={"model": ["none"], "retriever": [{"name": "hybrid", "weight": 2}]})
    with pytest.raises(InputError, match="weight is 2"):
        workbench.run(unusable, fresh=True)
    assert [run.name for run in Store().runs()] == ["tiny"]
    assert keys(Store()) == before
    workbench.run(experiment(questions={"limit": 2}), fresh=True)
    assert [run.name for run in Store().runs()] == ["tiny"]
    assert 0 < len(keys(Store())) < len(before)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"seconds": -1}, "seconds is -1"),
        ({"fail": "crash"}, "fail is 'crash'"),
        ({"context_tokens": 0}, "context_tokens"),
    ],
)
def test_parameters_that_a_plugin_cannot_use_are_refused_before_anything_is_written(parameters, said) -> None:
    with pytest.raises(InputError, match=said):
        workbench.run(experiment(space={"model": [{"name": "scripted", **parameters}]}))
    assert Store().runs() == []


def test_a_run_may_grow_in_space_and_questions() -> None:
    workbench.run(experiment(questions={"limit": 2}))
    workbench.run(
        experiment(questions={"limit": 4}, space={"model": ["none", "scripted"], "retriever": ["none", "bm25"]})
    )
    comparison = workbench.compare()
    assert len(comparison.matrix.questions) == 4
    assert all(figures.answers == 4 for figures in comparison.figures)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"goal": {"margin": 0.2}}, "goal"),
        ({"seed": 99}, "seed"),
        ({"metrics": ["token_f1"]}, "metrics"),
        ({"questions": {"split": "test"}}, "split"),
    ],
)
def test_what_must_not_change_is_refused_with_a_way_out(change: dict[str, Any], named: str) -> None:
    workbench.run(experiment())
    with pytest.raises(NotComparable, match=f"{named}.*--fresh.*--name"):
        workbench.run(experiment(**change))
    workbench.run(experiment(**change), fresh=True)


def test_changed_data_under_the_same_name_is_refused() -> None:
    small = experiment()
    workbench.run(small)
    documents = Path("tiny/documents.jsonl")
    documents.write_text(documents.read_text() + json.dumps({"id": "new", "title": "", "text": "One more."}) + "\n")
    with pytest.raises(NotComparable, match="corpus changed"):
        workbench.run(small)


def test_kill_dash_nine_loses_nothing_that_was_reported_and_stores_nothing_twice(tmp_path: Path) -> None:
    file, store = tmp_path / "slow.yaml", tmp_path / "killed.db"
    file.write_text(yaml.safe_dump(slow(0.03)))
    for _ in range(2):  # twice, so that a resumed run is killed too
        process = subprocess.Popen(
            [sys.executable, "-c", REPORTING_RUN, str(file), str(store)],
            stdout=subprocess.PIPE,
            text=True,
            env=IMPORTABLE,
        )
        reported = before = None
        assert process.stdout is not None
        for line in process.stdout:
            reported = int(line)
            before = reported if before is None else before
            if reported >= before + 6:
                break
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert reported is not None
        assert len(keys(Store(str(store)))) >= reported
        assert Store(str(store)).get("latest").state == "interrupted"
    outcome = workbench.run(file, store=Store(str(store)))
    stored = keys(Store(str(store)))
    assert len(stored) == len(set(stored)) == outcome.total
    assert Store(str(store)).get("latest").state == "finished"


def test_two_runs_at_once_on_one_store(tmp_path: Path) -> None:
    file, store = tmp_path / "slow.yaml", tmp_path / "shared.db"
    file.write_text(yaml.safe_dump(slow(0.05)))

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "workbench", "run", str(file), "--store", str(store), "--name", name]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, env=IMPORTABLE)

    began = time.monotonic()
    assert start("alone").wait() == 0
    alone = time.monotonic() - began
    began = time.monotonic()
    both = [start("first"), start("second")]
    assert [process.wait() for process in both] == [0, 0]
    assert time.monotonic() - began <= 2.5 * alone
    counts = {run.record.name: run.answers for run in workbench.runs(store=Store(str(store)))}
    assert len(set(counts.values())) == 1
    assert set(counts) == {"alone", "first", "second"}


def test_only_one_process_writes_a_run() -> None:
    workbench.run(experiment())
    store = Store()
    with store.lease(store.get("latest")), pytest.raises(StoreError, match="another process"):
        workbench.run(experiment())


def test_a_request_stops_a_run_and_running_again_finishes_it() -> None:
    done: list[int] = []
    store = Store()

    def ask_for_a_stop(progress: Any) -> None:
        done.append(progress.done)
        if progress.done:
            store.request(store.get("latest").id, "stop")

    with pytest.raises(Stopped, match="asked to stop"):
        workbench.run(slow(0.1), store=store, progress=ask_for_a_stop)
    assert store.get("latest").state == "stopped"
    outcome = workbench.run(slow(0.1), store=store)
    assert done[-1] < outcome.total == outcome.answers


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        ({"calls": 5}, "5 calls"),
        ({"tokens": 40}, "40 tokens"),
        ({"watt_hours": 1e-9}, "watt hours"),
        ({"minutes": 1e-6}, "minutes"),
    ],
)
def test_a_budget_stops_a_run_and_a_larger_one_continues_it(budget: dict[str, float], named: str) -> None:
    with pytest.raises(Stopped, match=f"{named} is used up .raise budget"):
        workbench.run(experiment(budget=budget))
    with pytest.raises(Stopped):
        workbench.run(experiment(budget=budget))
    outcome = workbench.run(experiment())
    assert outcome.answers == outcome.total


# --------------------------------------------------------------------------------------------------------- failures


def failing(**fault: Any) -> dict[str, Any]:
    return experiment(retries=0, space={"model": ["none", {"name": "scripted", **fault}], "retriever": ["bm25"]})


def figures_of(label: str) -> Any:
    return next(figures for figures in workbench.compare().figures if figures.configuration.label.startswith(label))


@pytest.mark.parametrize("fault", ["context_overflow", "refused", "empty_output"])
def test_a_models_failure_scores_zero_and_keeps_its_cost(fault: str) -> None:
    workbench.run(failing(fail=fault))
    figures = figures_of("scripted")
    assert figures.state == "finished"
    assert figures.failures == {fault: figures.answers}
    assert figures.scores["token_f1"].mean == 0
    assert figures.joules is not None
    assert figures.scores["recall@3"].mean > 0  # what was retrieved is not the model's doing


@pytest.mark.parametrize("fault", ["timeout", "rate_limit", "server_error", "lost_connection", "authentication"])
def test_an_infrastructure_failure_leaves_the_trial_incomplete_until_mended(fault: str) -> None:
    workbench.run(failing(fail=fault, fail_every=3))
    figures = figures_of("scripted")
    assert figures.state == "incomplete"
    assert set(figures.failures) == {fault}
    recommendation = workbench.recommend()
    assert recommendation.chosen is not None
    assert recommendation.chosen["model"] == "none"
    assert any("--retry-failed" in rejection.reason for rejection in recommendation.rejections)


def test_retry_failed_mends_only_what_failed() -> None:
    fault = {"fail": "server_error", "fail_every": 3}
    workbench.run(failing(**fault))
    kept = {key for key, kind in Store().answered(1).items() if kind is None}
    workbench.run(failing(**fault))  # running again alone does not try failed answers once more
    assert {key for key, kind in Store().answered(1).items() if kind is None} == kept
    workbench.run(failing(**fault), retry_failed=True)
    assert len(Store().answered(1)) == workbench.runs()[0].answers


def test_retries_succeed_without_a_trace_but_the_count() -> None:
    workbench.run(
        experiment(
            retries=2,
            space={"model": [{"name": "scripted", "fail": "rate_limit", "fail_attempts": 2}], "retriever": ["none"]},
        )
    )
    stored = [scored.answer for _, scored in workbench.answers()]
    assert {answer.attempts for answer in stored} == {3}
    assert all(answer.failure is None for answer in stored)


def test_ten_identical_failures_in_a_row_stop_the_trial() -> None:
    workbench.run(failing(fail="server_error") | {"questions": {"split": "all"}})
    figures = figures_of("scripted")
    assert figures.answers == 10
    assert "10 failures in a row: server_error" in figures.reason


# --------------------------------------------------------------------------------------------------- bad surroundings


def test_a_full_disk_is_one_clear_message_and_loses_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "small.db"))

    @sa.event.listens_for(store.engine, "connect")
    def limit(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA max_page_count=30")

    store.engine.dispose()
    with pytest.raises(StoreError, match="disk is full; free some space and run the same command again"):
        workbench.run(slow(0.0) | {"questions": {"split": "all"}}, store=store)
    store.close()
    outcome = workbench.run(slow(0.0) | {"questions": {"split": "all"}}, store=Store(str(tmp_path / "small.db")))
    assert outcome.answers == outcome.total


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"this is no database, just text that goes on for a while" * 40, "damaged or not a database"),
        (None, "something else"),
    ],
)
def test_a_corrupt_or_foreign_database_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "other.db"
    if content is None:
        engine = sa.create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            connection.execute(sa.text("create table customers (id integer)"))
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=said):
        Store(str(path))
    assert path.read_bytes() == before


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "new.db"))
    with store.writing() as connection:
        connection.execute(sa.text("update workbench_meta set value = '99' where key = 'schema'"))
    with pytest.raises(StoreError, match="upgrade"):
        Store(str(tmp_path / "new.db"))


def test_the_word_latest_cannot_name_a_run() -> None:
    with pytest.raises(InputError, match="--name"):
        workbench.run(experiment(), name="latest")


def test_repeats_are_asked_only_where_decoding_is_stochastic() -> None:
    workbench.run(
        experiment(
            repeats=3,
            questions={"limit": 2},
            space={"model": ["scripted"], "retriever": ["bm25"], "temperature": [0, 0.8]},
        )
    )
    by_temperature = {figures.configuration["temperature"]: figures.answers for figures in workbench.compare().figures}
    assert by_temperature == {0: 2, 0.8: 6}
    seeds = {scored.answer.text for _, scored in workbench.answers() if scored.answer.repeat}
    assert len(seeds) > 1


def test_concurrent_answers_share_the_clock_and_say_so() -> None:
    workbench.run(
        experiment(space={"model": [{"name": "scripted", "seconds": 0.02}], "retriever": ["bm25"], "concurrency": [4]})
    )
    readings = [cost.reading for _, scored in workbench.answers() for cost in scored.answer.ledger.stages]
    assert any(reading.shared for reading in readings)
    assert all(reading.cpu_seconds is not None for reading in readings)


def test_a_configuration_that_cannot_run_on_this_corpus_is_left_out_with_the_reason() -> None:
    space = {"model": ["scripted"], "retriever": ["everything", "bm25"], "context_tokens": [16]}
    outcome = workbench.run(experiment(space=space))
    figures = {each.configuration["retriever"]: each for each in workbench.compare().figures}
    assert figures["everything"].state == "incomplete"
    assert figures["everything"].reason.startswith("cannot run here: everything")
    assert figures["everything"].answers == 0
    assert figures["bm25"].state == "finished"
    assert outcome.answers == 2 * 8  # one and three passages
    assert workbench.recommend().chosen in {each.configuration for each in workbench.compare().figures if each.answers}


def test_where_no_configuration_can_run_the_input_is_at_fault() -> None:
    with pytest.raises(InputError, match="no configuration can run: everything"):
        workbench.run(experiment(space={"model": ["scripted"], "retriever": ["everything"], "context_tokens": [16]}))


def test_what_a_judge_takes_is_overhead_and_never_part_of_an_answer() -> None:
    judge = {"name": "judge", "model": {"name": "scripted", "replies": {"Skerry": "4"}}}
    workbench.run(experiment(metrics=["token_f1", judge]))
    comparison = workbench.compare()
    [name] = [metric for metric in comparison.matrix.scores if metric.startswith("judge")]
    assert any(each.scores[name] is not None for each in comparison.figures)
    booked = comparison.spent.one_offs["judge"]
    assert (booked.tokens_in or 0) > 0
    stages = {cost.stage for _, scored in workbench.answers() for cost in scored.answer.ledger.stages}
    assert "judge" not in stages
    assert any("was asked: You grade the answer" in note for note in workbench.notes(comparison))


def test_the_table_knows_the_index_and_where_answers_were_lost() -> None:
    workbench.run(experiment())
    comparison = workbench.compare()
    for figures in comparison.figures:
        closed_book = figures.configuration["retriever"] == "none"
        assert (figures.index is None) == closed_book
        if figures.index is not None:
            assert figures.index.chunks == 5
            assert (figures.index.bytes or 0) > 0
            assert figures.index_joules is not None
            assert figures.index_joules.central > 0
        assert sum(figures.losses.values()) == figures.answers - figures.correct
        assert not closed_book or set(figures.losses) <= {"not_known", "badly_formed", "wrongly_answered"}


def test_an_index_from_the_cache_is_as_dear_as_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    workbench.run(experiment(space={"model": ["none"], "retriever": ["bm25"]}), name="first")
    workbench.run(experiment(space={"model": ["none"], "retriever": ["bm25"]}), name="second")
    first, second = (workbench.compare(name) for name in ("first", "second"))
    assert "index" in first.spent.one_offs
    assert "index" not in second.spent.one_offs  # nothing was built, so nothing was spent
    [build] = (json.loads(path.read_text()) for path in (tmp_path / "cache").glob("*/build.json"))
    for comparison in (first, second):
        [figures] = comparison.figures
        assert figures.index is not None
        assert figures.index.build is not None
        chunking = comparison.spent.one_offs["chunk"]
        assert figures.index.build.seconds == pytest.approx(build["seconds"] + chunking.seconds)


def test_repeats_show_how_much_sampling_moves_the_score() -> None:
    space = {"model": ["scripted"], "retriever": ["bm25"], "passages": [3], "temperature": [0, 1]}
    workbench.run(experiment(space=space, repeats=4))
    found = {each.configuration["temperature"]: each for each in workbench.compare().figures}
    assert found[0].repeat_deviation is None
    assert (found[1].repeat_deviation or 0) > 0
    said = [note for note in workbench.notes(workbench.compare()) if "between repeats of a question" in note]
    assert len(said) == 1
    assert found[1].configuration.label in said[0]
    assert found[1].answers == 4 * found[0].answers


def test_metrics_that_disagree_on_the_best_setup_are_named() -> None:
    workbench.run(experiment(metrics=["token_f1", "recall@1"], space={"model": ["scripted"], "passages": [1, 3]}))
    comparison = workbench.compare()
    best = {metric: figures.configuration for metric, figures in winners(comparison).items()}
    said = [note for note in workbench.notes(comparison) if note.startswith("Metrics disagree on the best setup")]
    assert len(said) == (len(set(best.values())) > 1)
    assert all(f"[{configuration.id}]" in note for note in said for configuration in best.values())


def test_a_bound_that_knows_the_gold_is_shown_but_never_chosen_or_measured_against() -> None:
    workbench.run(experiment(space={"model": ["scripted"], "retriever": ["oracle", "bm25"], "passages": [1]}))
    comparison = workbench.compare()
    oracle = next(each for each in comparison.figures if each.configuration["retriever"] == "oracle")
    assert oracle.state == "finished"
    assert not oracle.frontier
    found = workbench.recommend(comparison)
    assert oracle.configuration not in (found.chosen, found.reference, found.proven)
    [rejection] = [each for each in found.rejections if each.configuration == oracle.configuration]
    assert rejection.reason.startswith("a bound")
    roles = {row["configuration"]: row["role"] for row in workbench.comparison_rows(comparison, found)}
    assert roles[oracle.configuration.id] == "bound"
    assert oracle.configuration not in {each.configuration for each in winners(comparison).values()}

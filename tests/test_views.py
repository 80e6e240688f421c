"""Rows for tables: the same figures as everywhere, absence as absence."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

import workbench
from tests.stores import SETUPS, filled_store
from workbench.ledger import price, standalone
from workbench.records import Coefficients


def test_comparison_rows_are_sorted_and_name_their_role(own_folder: Path) -> None:
    comparison = workbench.compare(store=filled_store(own_folder / "store.db"))
    recommendation = workbench.recommend(comparison)
    rows = workbench.comparison_rows(comparison, recommendation)
    assert [row["joules"] for row in rows] == sorted(row["joules"] for row in rows)
    roles = {row["configuration"]: row["role"] for row in rows}
    assert recommendation.chosen is not None
    assert roles[recommendation.chosen.id] == "provisional choice"
    for figures in comparison.figures:
        if figures.frontier:
            assert roles[figures.configuration.id]


def test_no_correct_answer_is_infinitely_dear_and_unmeasured_is_none(own_folder: Path) -> None:
    store = filled_store(own_folder / "store.db", name="closed", setups=SETUPS[2:3], questions=3)
    [row] = workbench.comparison_rows(
        workbench.compare("closed", store=store), workbench.recommend("closed", store=store)
    )
    assert (row["joules_per_correct"] == inf) == (workbench.compare("closed", store=store).figures[0].correct == 0)
    filled_store(own_folder / "store.db", name="unmetered", metered=False)
    for row in workbench.comparison_rows(
        workbench.compare("unmetered", store=store), workbench.recommend("unmetered", store=store)
    ):
        assert row["joules"] is row["joules_range"] is row["energy_source"] is row["joules_per_correct"] is None


def test_rows_are_sorted_filtered_and_what_is_absent_comes_last(own_folder: Path) -> None:
    store = filled_store(own_folder / "store.db")
    rows = workbench.comparison_rows(workbench.compare(store=store), workbench.recommend(store=store))
    rows[2]["p95_seconds"] = None
    for descending in (False, True):
        found = workbench.arranged(rows, sort="p95_seconds", descending=descending)
        known = [row["p95_seconds"] for row in found[:-1]]
        assert known == sorted(known, reverse=descending)
        assert found[-1]["p95_seconds"] is None
    assert {row["setup"] for row in workbench.arranged(rows, text=" CLOSED book")} == {
        row["setup"] for row in rows if "closed book" in row["setup"]
    }
    assert all(row["role"] for row in workbench.arranged(rows, only="frontier"))
    assert workbench.arranged(rows, only="failures") == []


def test_the_ledger_sums_to_the_standalone_answer(own_folder: Path) -> None:
    store = filled_store(own_folder / "store.db")
    environment = store.get("demo").environment
    configuration = store.trials(store.get("demo").id)[4].configuration.id
    rebuilt = 0
    for _, scored in workbench.answers("demo", configuration=configuration, store=store):
        answer = scored.answer
        rows = workbench.ledger_rows(answer, environment)
        whole = price(standalone(answer.ledger), Coefficients(**environment["coefficients"]))
        assert whole is not None
        assert rows[-1]["joules"] == pytest.approx(whole.central)
        stages = sum(row["joules"] for row in rows[: len(answer.ledger.stages)])
        if answer.reused:
            rebuilt += 1
            assert rows[-2]["stage"] == "as it ran"
            assert rows[-2]["joules"] == pytest.approx(stages)
        else:
            assert rows[-1]["joules"] == pytest.approx(stages)
    assert rebuilt


def test_listing_answers_reads_no_texts(own_folder: Path) -> None:
    store = filled_store(own_folder / "store.db")
    for _, scored in workbench.answers("demo", texts=False, store=store):
        assert not scored.answer.prompt
        assert not any(passage.chunk.text for passage in scored.answer.passages)

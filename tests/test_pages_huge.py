"""Every page that reads a run, on one of 100 configurations and 6,000 answers: its figures, and what it does not read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import workbench
from benchmarks.app import fill
from tests.test_pages import heading, interpreted, opened, sound, table, texts
from workbench.store import Store

CONFIGURATIONS, QUESTIONS = 100, 60


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the huge run, as a process that ended leaves it: its comparison was made once."""
    path = tmp_path_factory.mktemp("huge") / "runs.db"
    fill(path, CONFIGURATIONS, QUESTIONS)
    store = Store(str(path))
    workbench.compare("huge", store=store)
    store.close()
    return path


@pytest.fixture
def store(filled: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A copy of it as the store in force."""
    path = own_folder / "runs.db"
    shutil.copy(filled, path)
    monkeypatch.setenv("WORKBENCH_STORE", str(path))
    return Store(str(path))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What answers are asked of the store, by the keywords of the call."""
    found: list[dict[str, Any]] = []
    original = Store.answers

    def heard(self: Store, *arguments: Any, **keywords: Any) -> Any:
        found.append(keywords)
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(Store, "answers", heard)
    return found


def test_overview_names_the_choice_of_a_hundred(store: Store, asked: list[Any]) -> None:
    app = sound(opened("overview", run="huge"))
    assert heading(app) == "Overview"
    assert workbench.sentences(workbench.recommend("huge"))[0] in texts(app)
    assert "100 setups, 6,000 answers" in texts(app)
    assert asked == []


def test_run_shows_every_configuration(store: Store, asked: list[Any]) -> None:
    app = sound(opened("run", run="huge"))
    assert "6,000 of 6,000 answers" in app.get("progress")[0].proto.text
    assert len(table(app, "progress")) == CONFIGURATIONS
    assert asked == []


def test_compare_shows_every_configuration_and_what_axes_buy(store: Store, asked: list[Any]) -> None:
    app = sound(opened("compare", run="huge"))
    rows = table(app, "joules")
    assert len(rows) == CONFIGURATIONS
    cheapest = min(figures.joules.central for figures in workbench.compare("huge").figures if figures.joules)
    assert rows["joules"].iloc[0] == pytest.approx(cheapest)
    axes = sound(opened("compare", run="huge", view="axes"))
    assert {"passages", "retriever"} <= set(table(axes, "axis")["axis"])
    assert asked == []


def test_answers_reads_one_page_of_them(store: Store, asked: list[Any]) -> None:
    app = sound(opened("answers", run="huge", show="wrong"))
    total = workbench.answer_page("huge", configuration=app.selectbox[1].value, show="wrong").total
    assert f"of {total:,}" in interpreted(app)
    assert all(keywords.get("configuration") and keywords.get("question") for keywords in asked)


def test_recommend_and_footprint_read_no_answer(store: Store, asked: list[Any]) -> None:
    found = workbench.recommend("huge")
    assert found.chosen is not None
    assert workbench.sentences(found)[0] in texts(sound(opened("recommend", run="huge")))
    app = sound(opened("footprint", run="huge"))
    assert heading(app) == "Footprint"
    assert "Wh" in " ".join(str(metric.value) for metric in app.metric)
    assert asked == []

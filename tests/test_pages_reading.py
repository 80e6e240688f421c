"""The pages that show a run in depth: its race, its footprint, what axes buy, duels, answers page by page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.dataframe_util import convert_arrow_bytes_to_pandas_df
from streamlit.testing.v1 import AppTest

import workbench
from tests.stores import EXPERIMENT, SETUPS, filled_store
from tests.test_pages import INJECTION, heading, interpreted, opened, sound, store, table, texts
from workbench.outlays import setup_of
from workbench.tariffs import UNITS

__all__ = ["store"]

RACED = {
    **EXPERIMENT,
    "strategy": {"name": "race", "level": "every"},
    "goal": {"metric": "token_f1", "margin": 0.1},
    "budget": {"minutes": 30, "watt_hours": 2},
    "region": "SWE",
}


def specifications(app: AppTest) -> str:
    return "\n".join(chart.proto.spec for chart in app.get("vega_lite_chart"))


def drawn(app: AppTest, column: str, key: str) -> dict[str, Any]:
    """One column of the data behind the charts, by another."""
    found = {}
    for chart in app.get("vega_lite_chart"):
        for data in (chart.proto.data, *(each.data for each in chart.proto.datasets)):
            if data.data:
                frame = convert_arrow_bytes_to_pandas_df(data.data)
                if {column, key} <= set(frame.columns):
                    found |= dict(zip(frame[key], frame[column], strict=True))
    return found


def bars(app: AppTest) -> str:
    return "\n".join(str(each.proto.text) for each in app.get("progress"))


# --------------------------------------------------------------------------------------------------------------- run


def test_a_race_is_shown_as_lanes_with_its_budget_and_what_is_left(store: Path) -> None:
    written = filled_store(store, experiment=RACED, answered=0.9, state="stopped")
    record = written.get("demo")
    out = written.trials(record.id)[2].configuration
    written.set_trial(record.id, out.id, "eliminated", "worse than the best by more than 0.05")
    with written.lease(record):
        app = sound(opened("run", run="demo"))
        assert "**The race**" in interpreted(app)
        assert drawn(app, "kind", "id")[out.id] == "out"
        assert "eliminated: worse than the best by more than 0.05" in set(table(app, "progress")["state"])
        assert "of 30 minutes" in bars(app)
        assert "of 2 watt hours (estimated)" in bars(app)
        assert "Time left, at most (estimated)" in [metric.label for metric in app.metric]
        load = app.session_state["loads of demo"][-1]
        assert load.memory_bytes > 1e6
    written.close()


def test_the_budget_is_changed_from_the_page(store: Path) -> None:
    written = filled_store(store, experiment=RACED, answered=0.5, state="stopped")
    app = sound(opened("run", run="demo"))
    [minutes] = [each for each in app.number_input if each.label == "Minutes"]
    [tokens] = [each for each in app.number_input if each.label == "Tokens"]
    minutes.set_value(45.5)
    tokens.set_value(9000.0)
    next(button for button in app.button if button.label == "Set the budget").click().run()
    assert written.get("demo").experiment["budget"] == {
        "minutes": 45.5, "watt_hours": 2.0, "tokens": 9000, "calls": None, "dollars": None
    }  # fmt: skip
    assert "of 9,000 tokens" in bars(sound(app))


def test_a_finished_run_without_a_race_shows_closed_intervals(store: Path) -> None:
    filled_store(store)
    app = sound(opened("run", run="demo"))
    assert "**Scores so far**" in interpreted(app)
    assert list(drawn(app, "mark", "id").values()).count("leader") == 1
    assert "Budget" not in bars(app)


# ----------------------------------------------------------------------------------------------------------- compare


def test_the_table_shows_chosen_columns_sorted_and_filtered(store: Path) -> None:
    filled_store(store)
    app = sound(opened("compare", run="demo", sort="mean", order="highest first", columns="state", only="frontier"))
    shown = table(app, "quality")
    assert list(shown["mean"]) == sorted(shown["mean"], reverse=True)
    assert all(shown["role"])
    assert set(shown["bar"].str[:26]) == {"data:image/svg+xml;base64,"}
    assert app.query_params["columns"] == "state"
    app.text_input[0].input("no such setup").run()
    assert "No setup is of this kind" in sound(app).info[0].value


def test_two_figures_of_any_kind_are_drawn_against_each_other(store: Path) -> None:
    filled_store(store)
    app = sound(opened("compare", run="demo", view="two figures", x="tokens", y="seconds", log="both"))
    assert '"text": "Seconds against tokens"' in specifications(app)
    assert '"type": "log"' in specifications(app)


@pytest.mark.parametrize("unit", UNITS)
def test_what_each_axis_buys(unit: str, store: Path) -> None:
    filled_store(store)
    app = sound(opened("compare", run="demo", view="axes", unit=unit))
    shown = table(app, "price")
    expected = workbench.axis_effects(workbench.compare("demo"), unit)
    assert list(shown["change"]) == [f"{each.before} → {each.after}" for each in expected]
    assert "retriever" in set(shown["axis"])


def test_joules_by_stage_are_stacked(store: Path) -> None:
    filled_store(store)
    app = sound(opened("compare", run="demo", view="stages"))
    assert '"text": "Where the joules go"' in specifications(app)
    assert set(drawn(app, "joules", "stage")) == {"assemble", "select", "embed", "search", "prefill", "decode"}


def test_two_setups_face_to_face(store: Path) -> None:
    filled_store(store, name="other")
    filled_store(store, name="demo")
    one, other = (workbench.watch("demo").trials[row].configuration.id for row in (4, 2))
    address = {"view": "face to face", "configuration": one, "against": "other", "other": other}
    app = sound(opened("compare", run="demo", **address))
    comparison = workbench.compare("demo")
    duel = workbench.face_to_face(comparison, one, other, other_comparison=workbench.compare("other"))
    values = {metric.label: metric.value for metric in app.metric}
    assert (values["Won"], values["Tied"], values["Lost"]) == (str(duel.wins), str(duel.ties), str(duel.losses))
    assert list(table(app, "one")["id"]) == [each.question.id for each in duel.questions]


# ----------------------------------------------------------------------------------------------------------- answers


def test_answers_come_page_by_page_and_side_by_side(store: Path) -> None:
    filled_store(store)
    address = {"configuration": "all setups", "show": "disagreements", "view": "side by side"}
    app = sound(opened("answers", run="demo", **address))
    page = workbench.answer_page("demo", show="disagreements")
    first = table(app, "accepted") if len(app.dataframe) == 1 else app.dataframe[0].value
    assert list(first["configuration"]) == [row["configuration"] for row in page.rows]
    assert f"Answers 1 to 50 of {page.total:,}" in interpreted(app)
    assert len(app.dataframe[1].value) == len(SETUPS)
    next(button for button in app.button if button.label == "Next").click().run()
    assert f"Answers 51 to {min(100, page.total)} of {page.total:,}" in interpreted(sound(app))
    assert app.query_params["page"] == "2"


# --------------------------------------------------------------------------------------------------------- footprint


def test_footprint_without_a_run_says_what_to_do(store: Path) -> None:
    app = sound(opened("footprint"))
    assert heading(app) == "Footprint"
    assert "There is no run yet" in app.info[0].value
    filled_store(store, answered=0.0, state="stopped")
    assert "This run has no answer yet" in sound(opened("footprint")).info[0].value


@pytest.mark.parametrize("answers", ["1,000", "1 million"])
def test_footprint_shows_what_answers_take_with_ranges(answers: str, store: Path) -> None:
    filled_store(store)
    app = sound(opened("footprint", run="demo", answers=answers, over="over 100,000"))
    comparison = workbench.compare("demo")
    configuration = setup_of(comparison, workbench.recommend(comparison))
    assert configuration is not None
    count = {"1,000": 1000, "1 million": 1_000_000}[answers]
    expected = workbench.footprint_of_setup(comparison, configuration, count, over_answers=100_000)
    assert {metric.label: metric.value for metric in app.metric} == {each.what: each.text for each in expected}
    for each in expected:
        assert each.range in interpreted(app)
    assert "not priced" in interpreted(app)
    regions = table(app, "region")
    assert len(regions) > 20
    assert "best meter here" in texts(app)
    for note in workbench.notes(comparison):
        assert note in texts(app)


def test_footprint_of_an_unmetered_setup_is_not_measured(store: Path) -> None:
    filled_store(store, metered=False)
    app = sound(opened("footprint", run="demo"))
    assert app.metric[0].value == "not measured"
    assert "no region can be ranked for it" in app.info[0].value


# ------------------------------------------------------------------------------------------------------------ hostile


@pytest.mark.parametrize(
    ("page", "address"),
    [
        ("footprint", {}),
        ("compare", {"view": "two figures"}),
        ("compare", {"view": "axes"}),
        ("compare", {"view": "stages"}),
        ("compare", {"view": "face to face"}),
        ("answers", {"view": "side by side", "configuration": "all setups"}),
        ("answers", {"text": INJECTION}),
    ],
)
def test_hostile_texts_stay_texts_in_every_view(page: str, address: dict[str, Any], store: Path) -> None:
    filled_store(store, name=f"run {INJECTION}", injection=INJECTION, setups=SETUPS[3:6], questions=4)
    app = sound(opened(page, run=f"run {INJECTION}", **address))
    for sign in ("<script", "evil", "**z**", "$x", ":smile"):
        assert sign not in interpreted(app)
    for drawn in app.get("html"):
        assert "<script" not in drawn.proto.body
        assert "<img" not in drawn.proto.body

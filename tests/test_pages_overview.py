"""Overview and recommend, drawn without a browser: what they say of an example, a finished, a raced and a failed run."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import workbench
from tests.conftest import experiment
from tests.stores import SETUPS, filled_store
from tests.test_pages import INJECTION, heading, interpreted, opened, sound, table, texts


@pytest.fixture(autouse=True)
def runs(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the app looks for runs; nothing is there yet."""
    path = own_folder / "runs.db"
    monkeypatch.setenv("WORKBENCH_STORE", str(path))
    return path


def values(app: AppTest) -> dict[str, str]:
    return {metric.label: str(metric.value) for metric in app.metric}


# ---------------------------------------------------------------------------------------------------------- overview


def test_without_a_run_the_overview_shows_the_example_and_says_so(runs: Path) -> None:
    app = sound(opened("overview"))
    assert heading(app) == "Overview"
    assert "Example run" in interpreted(app)
    assert "Nothing here is yours yet" in interpreted(app)
    comparison = workbench.example()
    recommendation = workbench.recommend(comparison)
    assert recommendation.chosen is not None
    for sentence in (*workbench.sentences(recommendation), *workbench.search_sentences(comparison, recommendation)):
        assert sentence in texts(app)
    expected = {each.label: each.value for each in workbench.headlines(comparison, recommendation.chosen)}
    assert values(app) == expected
    assert not runs.exists()
    button = next(each for each in app.button if each.label == "Make a run of your own")
    assert heading(sound(button.click().run())) != "Overview"


def test_the_overview_is_of_the_newest_run_with_answers(runs: Path) -> None:
    filled_store(runs, name="older", setups=SETUPS[:3], questions=6).close()
    filled_store(runs, name="newer", setups=SETUPS[:4], questions=6).close()
    filled_store(runs, name="empty", setups=SETUPS[:2], questions=6, answered=0.0, state="stopped").close()
    app = sound(opened("overview"))
    assert app.selectbox[0].value == "newer"
    assert app.query_params["run"] == "newer"
    assert "Example run" not in interpreted(app)
    recommendation = workbench.recommend("newer")
    assert workbench.sentences(recommendation)[0] in texts(app)
    assert values(app)["Money per 1,000 answers"] == "not priced"
    for name in ("older", "newer", "empty"):
        assert name in texts(app)
    app.selectbox[0].set_value("older").run()
    assert workbench.sentences(workbench.recommend("older"))[0] in texts(sound(app))


def test_an_unmeasured_run_has_no_zero_among_its_headlines(runs: Path) -> None:
    filled_store(runs, metered=False, setups=SETUPS[:4], questions=6).close()
    app = sound(opened("overview", run="demo"))
    assert "Nothing qualifies" in interpreted(app) or values(app)["Energy per answer"] == "not measured"
    assert not {"0", "0 J", "0.0"} & set(values(app).values())


def test_a_stopped_run_with_failures_says_how_far_it_is(runs: Path) -> None:
    filled_store(runs, setups=SETUPS[:4], questions=6, answered=0.8, state="stopped", model_failures=1).close()
    assert "This run is stopped" in sound(opened("overview", run="demo")).info[0].value
    assert "This run is stopped" in sound(opened("recommend", run="demo")).info[0].value


# --------------------------------------------------------------------------------------------------------- recommend


def test_without_a_run_recommend_says_what_to_do() -> None:
    app = sound(opened("recommend"))
    assert heading(app) == "Recommend"
    assert "There is no run yet" in app.info[0].value


def test_the_declared_goal_stands_first_and_is_not_exploratory(runs: Path) -> None:
    filled_store(runs).close()
    app = sound(opened("recommend", run="demo"))
    assert heading(app) == "Recommend"
    assert not app.warning
    declared = workbench.recommend("demo")
    assert not declared.exploratory
    for sentence in workbench.sentences(declared):
        assert sentence in texts(app)
    [shown] = table(app, "alpha")["shown"]
    assert shown == ("shown" if declared.chosen == declared.proven else "not shown")
    assert set(table(app, "why")["configuration"]) == {each.configuration.id for each in declared.rejections}
    assert set(app.query_params) == {"run"}


def test_moving_the_margin_moves_the_choice_and_is_exploratory(runs: Path) -> None:
    filled_store(runs).close()
    app = sound(opened("recommend", run="demo"))
    app.slider[0].set_value(0.3).run()
    assert sound(app).query_params["margin"] == "0.3"
    assert "Exploratory" in app.warning[0].value
    goal = workbench.changed_goal(workbench.compare("demo").goal, {"margin": 0.3})
    found = workbench.recommend("demo", goal)
    assert found.exploratory
    for sentence in workbench.sentences(found):
        assert sentence in texts(app)
    assert list(table(app, "change")["change"]) == pytest.approx(
        [100 * (ratio.mean - 1) for ratio in found.savings.values()]
    )
    next(each for each in app.button if each.label == "Back to the declared goal").click().run()
    assert not sound(app).warning
    assert app.slider[0].value == 0.05
    assert "margin" not in app.query_params


def test_a_link_reopens_the_same_question(runs: Path) -> None:
    filled_store(runs).close()
    app = sound(opened("recommend", run="demo", minimise="tokens", p95_seconds="0.3", floor="0.2", confidence="0.9"))
    changes = {"minimise": "tokens", "limits": {"p95_seconds": 0.3}, "floor": 0.2, "confidence": 0.9}
    found = workbench.recommend("demo", workbench.changed_goal(workbench.compare("demo").goal, changes))
    for sentence in workbench.sentences(found):
        assert sentence in texts(app)
    assert {each.label: each.value for each in app.number_input} == {
        "Floor": 0.2,
        "p95 at most (s)": 0.3,
        "p50 at most (s)": None,
    }


@pytest.mark.parametrize("asked", ["hot", "-1", "nan", "1e9", "none<script>"])
def test_a_link_with_nonsense_falls_back_and_says_so(asked: str, runs: Path) -> None:
    filled_store(runs, setups=SETUPS[:3], questions=6).close()
    app = sound(opened("recommend", run="demo", margin=asked, p95_seconds=asked))
    assert "The link names a margin that is no number from 0 to 0.3." in [each.value for each in app.warning]
    assert app.slider[0].value == 0.05


def test_where_nothing_qualifies_there_is_no_setup_to_take(runs: Path) -> None:
    filled_store(runs, setups=SETUPS[:3], questions=6).close()
    app = sound(opened("recommend", run="demo", floor="1"))
    assert "Nothing qualifies" in interpreted(app)
    offered = [each.label for each in app.get("download_button")]
    assert "setup.yaml" not in offered
    assert {"certificate.json", "certificate.html", "csv", "json", "markdown", "html", "xlsx"} <= set(offered)


def test_a_race_shows_its_claims_with_their_errors(runs: Path) -> None:
    space = {"model": ["none", "scripted"], "retriever": ["none", "bm25"], "passages": [1, 3]}
    workbench.run(experiment(strategy={"name": "race", "pilot": 2}, space=space, goal={"margin": 0.3}), store=str(runs))
    found = workbench.recommend("tiny")
    assert found.claims
    app = sound(opened("recommend", run="tiny"))
    assert not app.warning
    rows = table(app, "alpha")
    assert list(rows["claim"]) == [claim.statement for claim in found.claims]
    assert list(rows["alpha"]) == pytest.approx([claim.alpha for claim in found.claims])
    assert workbench.sentences(found)[0] in texts(sound(opened("overview", run="tiny")))


@pytest.mark.parametrize("page", ["overview", "recommend"])
def test_hostile_texts_stay_texts(page: str, runs: Path) -> None:
    name = f"run {INJECTION}"
    filled_store(runs, name=name, injection=INJECTION, setups=SETUPS[:4], questions=4, model_failures=1).close()
    app = sound(opened(page, run=name))
    assert INJECTION in texts(app)
    helps = [str(each.help) for each in (*app.metric, *app.number_input, *app.selectbox, *app.slider)]
    for sign in ("<script", "evil", "**z**", "$x", ":smile"):
        assert sign not in interpreted(app)
        assert sign not in " ".join(helps)


# --------------------------------------------------------------------------------------------------------- downloads


def test_what_is_handed_over_loads_again(runs: Path, own_folder: Path) -> None:
    space = {"model": ["scripted"], "retriever": ["bm25"]}
    workbench.run(experiment(goal={"margin": 1.0}, space=space), store=str(runs))
    comparison = workbench.compare("tiny")
    recommendation = workbench.recommend(comparison)
    Path("setup.yaml").write_text(workbench.setup_file(recommendation, comparison), encoding="utf-8")
    assert workbench.ask("setup.yaml", "When does the ferry leave?").answer.text
    assert 'setup = workbench.load_setup("it\'s.yaml")  #' in workbench.snippet("it's.yaml")  # quoted by Python itself

"""Every page of the app, drawn without a browser: its heading, its figures, and what it does when something is wrong."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from streamlit.testing.v1 import AppTest

import workbench
from tests.conftest import ROOT, experiment
from tests.stores import SETUPS, filled_store

PAGES = ("run", "compare", "answers")
INJECTION = "<script>alert(1)</script> ![x](http://evil.example/x.png) [y](http://evil.example/) **z** $x^2$ :smile:"


@pytest.fixture
def store(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the app looks for runs; nothing is there yet."""
    path = own_folder / "runs.db"
    monkeypatch.setenv("WORKBENCH_STORE", str(path))
    return path


def opened(page: str, **address: str) -> AppTest:
    """A page as a link opens it, within the whole app."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
    app.query_params.update(address)
    return app.switch_page(f"pages/{page}.py").run()


def sound(app: AppTest) -> AppTest:
    """The app, after making sure that it shows no error."""
    assert not app.exception
    assert not app.error, texts(app)
    return app


def heading(app: AppTest) -> str:
    return str(app.title[0].value)


def texts(app: AppTest) -> str:
    """Everything that the page shows as plain text or as code."""
    return "\n".join(str(each.value) for each in (*app.text, *app.code))


def interpreted(app: AppTest) -> str:
    """Everything that the page lets Streamlit read as Markdown."""
    elements = (
        *app.markdown,
        *app.caption,
        *app.title,
        *app.subheader,
        *app.info,
        *app.warning,
        *app.error,
        *app.success,
    )
    labels = [each.label for each in (*app.button, *app.selectbox, *app.text_input, *app.metric, *app.expander)]
    return "\n".join([*(str(each.value) for each in elements), *labels, *(str(each.value) for each in app.metric)])


def table(app: AppTest, column: str) -> Any:
    """The table that has a column of that name."""
    [found] = [each.value for each in app.dataframe if column in each.value.columns]
    return found


# ------------------------------------------------------------------------------------------------------- no run yet


@pytest.mark.parametrize("page", PAGES)
def test_without_a_store_the_page_says_what_to_do(page: str, store: Path) -> None:
    app = sound(opened(page))
    assert heading(app) == page.title()
    assert not store.exists()
    if page == "run":
        assert "Start" in [button.label for button in app.button]
    else:
        assert "There is no run yet" in app.info[0].value


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_store_is_like_none(page: str, store: Path) -> None:
    workbench.Store(str(store)).close()
    app = sound(opened(page))
    assert heading(app) == page.title()
    assert page == "run" or "There is no run yet" in app.info[0].value


def test_the_root_leads_to_the_first_page(store: Path) -> None:
    app = sound(AppTest.from_file(str(ROOT / "app.py"), default_timeout=30).run())
    assert heading(app) == "Overview"


# ----------------------------------------------------------------------------------------------------- finished run


def test_run_shows_a_finished_run(store: Path) -> None:
    filled_store(store)
    app = sound(opened("run", run="demo"))
    progress = workbench.watch("demo")
    assert progress.joules is not None
    values = {metric.label: metric.value for metric in app.metric}
    assert values == {
        "Energy so far (estimated)": f"{progress.joules.central:,.1f} J",
        "Time running": "0:00:02",
        "Failed answers": "0",
    }
    trials = table(app, "progress")
    assert list(trials["answers"]) == ["24 of 24"] * len(SETUPS)
    assert list(trials["configuration"]) == [trial.configuration.id for trial in progress.trials]
    assert "Stop the run" not in [button.label for button in app.button]


def test_run_shows_what_an_experiment_will_do(store: Path) -> None:
    app = sound(opened("run", experiment="demo"))
    described = dict(table(app, "what").itertuples(index=False))
    assert described["goal"].startswith("the fewest joules per answer, token_f1 at most 0.05 below the best")
    assert described["corpus"] == "python-reference"
    assert "retriever" in described


def test_compare_shows_recommendation_table_and_chart(store: Path) -> None:
    filled_store(store)
    comparison = workbench.compare("demo")
    recommendation = workbench.recommend(comparison)
    app = sound(opened("compare", run="demo"))
    for sentence in (*workbench.sentences(recommendation), *workbench.notes(comparison)):
        assert sentence in texts(app)
    shown = table(app, "quality")
    assert list(shown["joules"]) == sorted(shown["joules"])
    for row in shown.to_dict("records"):
        figures = comparison.of(row["configuration"])
        quality = figures.scores["token_f1"]
        assert figures.joules is not None
        assert quality is not None
        assert row["joules"] == pytest.approx(figures.joules.central)
        assert row["quality"] == f"{quality.mean:.3f} ({quality.low:.3f}–{quality.high:.3f})"
        assert row["energy_source"] == "cpu time"
    assert [button.label for button in app.download_button] == ["PNG", "SVG", "csv", "json", "markdown", "html"]
    assert len(app.get("vega_lite_chart")) == 1


@pytest.mark.parametrize("cost", ["joules", "tokens", "seconds"])
def test_the_cost_axis_lives_in_the_address(cost: str, store: Path) -> None:
    filled_store(store)
    app = sound(opened("compare", run="demo", cost=cost))
    [chart] = app.get("vega_lite_chart")
    assert f'"text": "Quality against {cost}"' in chart.proto.spec
    assert app.query_params.get("cost", "joules") == cost


def test_answers_shows_one_answer_in_full(store: Path) -> None:
    filled_store(store)
    configuration = workbench.watch("demo").trials[4].configuration
    app = sound(opened("answers", run="demo", configuration=configuration.id, question="q-003"))
    [(question, scored)] = workbench.answers("demo", configuration=configuration.id, question="q-003")
    answer = scored.answer
    assert question.question in texts(app)
    assert question.answers[0] in texts(app)
    assert answer.text in texts(app)
    assert answer.prompt in texts(app)
    for passage in answer.passages:
        assert workbench.highlighted(passage.chunk.text, question.answers) in [
            each.proto.body for each in app.get("html")
        ]
        assert f"{passage.chunk.document_id}, characters {passage.chunk.start:,} to {passage.chunk.end:,}" in texts(app)
    assert "gold document" in interpreted(app)
    assert list(table(app, "Metric")["Metric"]) == [score.metric for score in scored.scores]
    stages = table(app, "stage")
    assert list(stages["stage"])[: len(answer.ledger.stages)] == [cost.stage for cost in answer.ledger.stages]
    assert stages["joules_low"].lt(stages["joules"]).all()
    assert app.query_params["question"] == "q-003"


@pytest.mark.parametrize("show", ["all", "wrong", "failures", "disagreements"])
def test_answers_are_filtered_by_the_address(show: str, store: Path) -> None:
    filled_store(store, model_failures=3)
    configuration = workbench.watch("demo").trials[-1].configuration.id
    app = sound(opened("answers", run="demo", configuration=configuration, show=show))
    shown = table(app, "accepted")
    expected = workbench.answer_page("demo", configuration=configuration, show=show)
    assert list(shown["id"]) == [row["id"] for row in expected.rows]
    assert {"all": 24, "failures": 3}.get(show, expected.total) == len(shown)


def test_choosing_on_the_page_changes_the_address(store: Path) -> None:
    filled_store(store, name="first")
    filled_store(store, name="second")
    app = sound(opened("compare"))
    assert app.query_params["run"] == "second"
    app.selectbox[0].select("first").run()
    assert sound(app).query_params["run"] == "first"
    assert sound(app.switch_page("pages/answers.py").run()).query_params["run"] == "first"


def test_a_link_to_what_is_not_there_says_so(store: Path) -> None:
    filled_store(store)
    app = sound(opened("compare", run="gone"))
    assert "names a run that is not here" in app.warning[0].value
    assert app.query_params["run"] == "demo"


# ---------------------------------------------------------------------------------------------------- unfinished runs


@pytest.mark.parametrize("page", PAGES)
def test_a_run_without_answers(page: str, store: Path) -> None:
    filled_store(store, answered=0.0, state="stopped")
    assert heading(sound(opened(page, run="demo"))) == page.title()


def test_a_run_that_is_going_on(store: Path) -> None:
    written = filled_store(store, answered=0.4, state="stopped")
    with written.lease(written.get("demo")):
        app = sound(opened("run", run="demo"))
        assert "running" in interpreted(app)
        app.button[0].click().run()
        assert "stopping" in interpreted(sound(app))
        assert written.requested(written.get("demo").id) == "stop"
        app = sound(opened("compare", run="demo"))
        assert "This run is running: figures are of the 77 answers stored so far." in app.info[0].value
        assert "no answer yet" in set(table(app, "quality")["quality"])
    written.close()


def test_a_paused_run_is_shown_as_such_and_goes_on(store: Path) -> None:
    written = filled_store(store, answered=0.4, state="stopped")
    record = written.get("demo")
    with written.lease(record):
        app = sound(opened("run", run="demo"))
        [pause] = [button for button in app.button if button.label == "Pause"]
        pause.click().run()
        assert "pausing" in interpreted(sound(app))
        assert written.requested(record.id) == "pause"
        written.update(record.id, state="paused")
        app = sound(opened("run", run="demo"))
        assert "paused" in interpreted(app)
        [go_on] = [button for button in app.button if button.label == "Go on"]
        go_on.click().run()
        assert written.requested(record.id) is None
    written.close()


def test_an_interrupted_run_can_be_continued(store: Path) -> None:
    filled_store(store, answered=0.4, state="running")
    app = sound(opened("run", run="demo"))
    assert "interrupted" in interpreted(app)
    assert "Continue" in [button.label for button in app.button]
    assert {metric.label: metric.value for metric in app.metric}["Time running"] == "not known"


def test_a_run_whose_process_is_still_ending_cannot_be_continued_yet(store: Path) -> None:
    before = time.time()
    filled_store(store, answered=0.4, state="stopped")
    noted = {"process": os.getpid(), "born": psutil.Process().create_time(), "started": before}
    log = store.parent / "logs" / "demo.json"
    log.parent.mkdir()
    log.write_text(json.dumps(noted), encoding="utf-8")
    assert "Continue" not in [button.label for button in sound(opened("run", run="demo")).button]
    log.unlink()
    assert "Continue" in [button.label for button in sound(opened("run", run="demo")).button]


def test_a_finished_race_is_whole_and_says_what_it_did_not_ask(store: Path) -> None:
    filled_store(store, answered=0.75)
    progress = workbench.watch("demo")
    assert 0 < progress.answers < progress.total
    bar = sound(opened("run", run="demo")).get("progress")[0].proto
    assert bar.value == 100
    assert bar.text == f"{progress.answers} answers; {progress.total - progress.answers} more were not asked"


def test_failures_are_shown_where_the_trial_is(store: Path) -> None:
    filled_store(store, model_failures=2, infrastructure_failures=3)
    configuration = workbench.watch("demo").trials[-1].configuration.id
    app = sound(opened("run", run="demo"))
    assert table(app, "progress")["failed"].iloc[-1] == 5
    assert "3 answers lost" in table(app, "progress")["state"].iloc[-1]
    assert "Try failed answers again" in [button.label for button in app.button]
    app = sound(opened("compare", run="demo"))
    assert "2 empty_output, 3 timeout" in set(table(app, "quality")["failures"])
    app = sound(opened("answers", run="demo", configuration=configuration, show="failures", question="q-004"))
    assert "timeout: no answer within 60 s" in texts(app)


@pytest.mark.parametrize("page", PAGES)
def test_what_was_not_measured_is_never_a_zero(page: str, store: Path) -> None:
    filled_store(store, metered=False)
    app = sound(opened(page, run="demo"))
    if page == "run":
        assert app.metric[0].value == "not measured"
    elif page == "compare":
        assert table(app, "quality")["joules"].isna().all()
    else:
        assert table(app, "stage")["joules"].isna().all()
        assert set(table(app, "stage")["energy_source"]) == {"not measured"}


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("page", PAGES)
def test_hostile_texts_stay_texts(page: str, store: Path) -> None:
    filled_store(store, name=f"run {INJECTION}", injection=INJECTION, setups=SETUPS[:4], questions=4, model_failures=1)
    configuration = workbench.watch(f"run {INJECTION}").trials[-1].configuration.id
    app = sound(opened(page, run=f"run {INJECTION}", configuration=configuration))
    assert f"run {INJECTION}" in app.selectbox[0].options
    for sign in ("<script", "evil", "**z**", "$x", ":smile"):
        assert sign not in interpreted(app)
    assert page == "run" or INJECTION in texts(app)


def test_a_broken_experiment_file_is_a_list_of_problems(store: Path, own_folder: Path) -> None:
    folder = own_folder / "evals" / "mine"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(
        yaml.safe_dump({"corpus": "x", "space": {"retreiver": ["bm25"], "temperature": ["hot"]}})
    )
    app = opened("run", experiment="mine")
    assert app.error[0].value == "This experiment file cannot be run as it is."
    assert "• experiment.yaml: space.retreiver is not a known key; did you mean retriever?" in texts(app)
    assert "• experiment.yaml: evalset is missing; it must be given" in texts(app)
    [start] = [button for button in app.button if button.label == "Start"]
    start.click().run()
    assert "The run was not started." in [error.value for error in app.error]
    assert not app.exception


def test_a_damaged_store_is_a_sentence(store: Path) -> None:
    store.write_bytes(b"this is no database" * 100)
    app = opened("compare")
    assert not app.exception
    assert "is damaged or not a database" in texts(app)


def test_a_mistake_of_ours_shows_details_and_no_traceback(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled_store(store)

    def mistaken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError(f"an inner matter {INJECTION}")

    monkeypatch.setattr("workbench.reports.compare", mistaken)
    app = opened("compare", run="demo")
    assert not app.exception
    assert "The app made a mistake" in app.error[0].value
    assert "ZeroDivisionError: an inner matter" in texts(app)
    assert "Traceback" not in texts(app)
    assert INJECTION not in interpreted(app)


# ---------------------------------------------------------------------------------------------------- starting a run


def test_start_runs_the_experiment_in_its_own_process(
    store: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = own_folder / "evals" / "mine"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment(name="mine")))
    app = sound(opened("run", experiment="mine"))
    app.text_input[0].input("a first try").run()
    next(button for button in app.button if button.label == "Start").click().run()
    assert sound(app).query_params["run"] == "a first try"
    deadline = time.monotonic() + 60
    while workbench.watch("a first try").live:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    progress = workbench.watch("a first try")
    assert (progress.state, progress.answers) == ("finished", progress.total), progress.log
    app = sound(opened("run", run="a first try"))
    assert f"{progress.total} of {progress.total}" in " ".join(str(each.proto.text) for each in app.get("progress"))

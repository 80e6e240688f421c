"""The page Experiment: data brought in, entries, the plan, the file that is saved, and the run that is started."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from streamlit.testing.v1 import AppTest

import workbench
from tests.conftest import DOCUMENTS, QUESTIONS, ROOT, experiment
from tests.test_pages import heading, interpreted, opened, sound, store, table, texts

__all__ = ["store"]

HOSTILE = "<script>alert(1)<script> ![x](http:evil.example) **z** $x^2$ :smile:"


def written(app: AppTest) -> Any:
    """The experiment file as the page shows it."""
    [found] = [each.value for each in app.code if each.language == "yaml"]
    return yaml.safe_load(found)


PATIENCE = 120  # seconds


def press(app: AppTest, label: str) -> AppTest:
    """The page after a button."""
    [button] = [each for each in app.button if each.label == label]
    return button.click().run(timeout=PATIENCE)


def field(app: AppTest, key: str) -> Any:
    """The widget of a key."""
    [found] = [
        each for each in (*app.multiselect, *app.selectbox, *app.number_input, *app.text_input) if each.key == key
    ]
    return found


@pytest.fixture
def mine(store: Path, own_folder: Path) -> Path:
    """A scripted experiment of this folder, named mine."""
    folder = own_folder / "evals" / "mine"
    folder.mkdir(parents=True)
    path = folder / "experiment.yaml"
    content = experiment(space={"retriever": ["none", "bm25"]})
    del content["name"]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_it_begins_with_an_experiment_and_shows_its_file(mine: Path) -> None:
    app = sound(opened("experiment", **{"from": "mine"}))
    assert heading(app) == "Experiment"
    before, after = workbench.read_experiment(mine), workbench.read_experiment(written(app))
    assert after.model_copy(update={"name": before.name}) == before
    assert field(app, "mine model").value == ["none", "scripted"]


def test_without_a_run_or_a_store_it_offers_what_ships(store: Path) -> None:
    app = sound(opened("experiment"))
    assert heading(app) == "Experiment"
    assert app.query_params["from"] == sorted(workbench.experiments())[0]


def test_entries_change_the_file(mine: Path) -> None:
    app = opened("experiment", **{"from": "mine"})
    field(app, "mine retriever").set_value(["bm25", "hybrid"]).run()
    field(app, "mine retriever hybrid fusion").set_value(["rrf", "scores"]).run()
    field(app, "mine goal margin").set_value(0.1).run()
    field(app, "mine goal limits.p95_seconds").set_value(2.0).run()
    field(app, "mine budget minutes").set_value(5.0).run()
    found = written(sound(app))
    assert found["space"]["retriever"] == ["bm25", "hybrid", {"name": "hybrid", "fusion": "scores"}]
    assert found["goal"]["margin"] == 0.1
    assert found["goal"]["limits"] == {"p95_seconds": 2.0}
    assert found["budget"] == {"minutes": 5.0}


def test_the_plan_says_what_it_takes_and_when_it_is_out_of_date(mine: Path) -> None:
    app = sound(press(opened("experiment", **{"from": "mine"}), "Plan"))
    plan = workbench.plan(mine, calibrate=False)
    shown = table(app, "quantity").set_index("quantity")["full grid"]
    assert dict(shown) == {row["quantity"]: row["full grid"] for row in workbench.plan_rows(plan)}
    assert shown["seconds"] == "not estimated"
    assert f"{plan.configurations} configurations × 8 questions" in texts(app)
    for each in plan.decidable:
        assert each.statement in texts(app)
    assert not app.warning
    field(app, "mine passages").set_value(["1"]).run()
    assert "out of date" in sound(app).warning[0].value
    press(app, "Plan")
    assert not sound(app).warning


def test_a_timed_plan_is_made_by_a_process_of_its_own(mine: Path) -> None:
    app = press(opened("experiment", **{"from": "mine"}), "Plan and time")
    shown = table(sound(app), "quantity").set_index("quantity")["full grid"]
    assert shown["seconds"] != "not estimated"
    assert "CO2e" in " ".join(shown.index)


def test_a_timed_plan_says_what_is_wrong_and_what_it_is_about(mine: Path) -> None:
    heard: list[str] = []
    content = workbench.read_experiment(mine).model_dump(mode="json", exclude_unset=True)
    plan = workbench.timed_plan(content, report=heard.append)
    assert plan.calibrated
    assert heard[0] == "making prompts ready"
    with pytest.raises(workbench.WorkbenchError, match="no-such-corpus"):
        workbench.timed_plan({**content, "corpus": "no-such-corpus"})


def test_it_is_saved_and_never_silently_over_another(mine: Path) -> None:
    app = opened("experiment", **{"from": "mine"})
    field(app, "mine passages").set_value(["2"]).run()
    press(app, "Save")
    assert workbench.read_experiment("mine-2").space.passages == [2]
    assert "evals/mine-2/experiment.yaml" in texts(sound(app))
    field(app, "name after mine").set_value("mine").run()
    press(app, "Save")
    assert app.error[0].value == "The experiment was not saved."
    assert "is there already" in texts(app)
    assert workbench.read_experiment("mine").space.passages == [1, 3]
    app.checkbox(key="replace experiment").check().run()
    press(app, "Save")
    assert workbench.read_experiment("mine").space.passages == [2]


def test_it_is_started_as_a_process_of_its_own(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    app = sound(press(opened("experiment", **{"from": "mine"}), "Save and start"))
    assert "Run mine-2 was started." in texts(app)
    deadline = time.monotonic() + 60
    while workbench.watch("mine-2").live:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    progress = workbench.watch("mine-2")
    assert (progress.state, progress.answers) == ("finished", progress.total), progress.log


def test_entries_that_cannot_be_run_are_sentences(mine: Path) -> None:
    app = opened("experiment", **{"from": "mine"})
    field(app, "mine temperature").set_value(["hot", "3"]).run()
    assert app.error[0].value == "These entries cannot be run as they are."
    assert "space.temperature[0] is 'hot'" in texts(app)
    assert "space.temperature[1] is 3" in texts(app)
    assert not app.exception
    field(app, "mine temperature").set_value([]).run()
    field(app, "mine retriever").set_value(["bm52"]).run()
    assert "unknown retriever 'bm52'" in texts(app)
    assert not app.exception


def test_data_is_uploaded_checked_and_begun_with(store: Path, own_folder: Path) -> None:
    documents = "".join(json.dumps({"id": id, "text": text}) + "\n" for id, text in DOCUMENTS.items())
    questions = "".join(json.dumps(row) + "\n" for row in QUESTIONS)
    app = opened("experiment")
    app.file_uploader(key="uploaded documents").set_value(
        [("documents.jsonl", documents.encode(), "text/plain"), ("questions.jsonl", questions.encode(), "text/plain")]
    ).run()
    field(app, "upload name").set_value("skerry").run()
    press(app, "Import")
    assert "skerry: 5 documents; questions: 8 dev, 4 test" in texts(sound(app))
    assert "Nothing is wrong with this data." in interpreted(app)
    assert app.query_params["from"] == "skerry"
    assert written(app)["corpus"] == "skerry"


def test_what_is_wrong_with_an_upload_stands_in_place(store: Path, own_folder: Path) -> None:
    app = opened("experiment")
    app.file_uploader(key="uploaded documents").set_value(
        [("documents.jsonl", b'{"id": "a", "text": "x"}\nnot json\n', "text/plain")]
    ).run()
    field(app, "upload name").set_value("broken").run()
    press(app, "Import")
    assert app.error[0].value == "These files were not imported; nothing was written."
    assert "documents.jsonl:2" in texts(app)
    assert not app.exception
    assert not (own_folder / "corpora").exists()


def test_the_data_is_checked_where_it_is_chosen(mine: Path) -> None:
    app = sound(press(opened("experiment", **{"from": "mine"}), "Check this data"))
    assert "✓ tiny (corpus): 5 documents" in texts(app)
    assert "✓ tiny (eval set): 12 questions" in texts(app)


def test_a_broken_experiment_file_is_a_list_of_problems(mine: Path) -> None:
    mine.write_text("corpus: x\nspace: {retreiver: [bm25]}\n", encoding="utf-8")
    app = opened("experiment", **{"from": "mine"})
    assert app.error[0].value == "The experiment to begin with cannot be read; choose another."
    assert "did you mean retriever?" in texts(app)
    assert not app.exception


def test_hostile_texts_stay_texts(mine: Path, own_folder: Path) -> None:
    folder = mine.parent.parent / HOSTILE
    mine.parent.rename(folder)
    corpus = own_folder / "corpora" / HOSTILE
    corpus.mkdir(parents=True)
    (corpus / "documents.jsonl").write_text(json.dumps({"id": HOSTILE, "text": HOSTILE}) * 2, encoding="utf-8")
    app = sound(press(opened("experiment", **{"from": HOSTILE}), "Plan"))
    field(app, f"{HOSTILE} corpus").set_value(HOSTILE).run()
    field(app, f"{HOSTILE} retriever").set_value(["bm25", HOSTILE]).run()
    press(app, "Check this data")
    assert not app.exception
    assert HOSTILE in texts(app)
    for sign in ("<script", "evil", "**z**", "$x", ":smile"):
        assert sign not in interpreted(app)

"""The page Playground: a question to setups, what each answer took, and the question kept for later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import workbench
from tests.conftest import DOCUMENTS, QUESTIONS, experiment
from tests.stores import SETUPS, filled_store
from tests.test_page_experiment import press
from tests.test_pages import INJECTION, heading, interpreted, opened, sound, store, texts
from workbench.experiment import run
from workbench.project import import_upload

__all__ = ["store"]

QUESTION = "When does the ferry to Skerry leave?"
SAID = "[1] The ferry to Skerry leaves at half past seven."


def upload(injection: str = "") -> None:
    """The tiny data as data of this folder, named skerry."""
    documents = ({"id": f"{id} {injection}".strip(), "text": f"{text} {injection}"} for id, text in DOCUMENTS.items())
    questions = ({key: value for key, value in row.items() if key != "evidence"} for row in QUESTIONS)
    import_upload(
        [
            ("documents.jsonl", "".join(json.dumps(row) + "\n" for row in documents).encode()),
            ("questions.jsonl", "".join(json.dumps(row) + "\n" for row in questions).encode()),
        ],
        "skerry",
    )


@pytest.fixture
def setups(store: Path) -> dict[str, str]:
    """A finished run over data of this folder; its configurations' ids by label."""
    upload()
    run(experiment(corpus="skerry", evalset="skerry", metrics=["token_f1"]))
    return {trial.configuration.label: trial.configuration.id for trial in workbench.watch("tiny").trials}


def ask(app: AppTest, question: str = QUESTION) -> AppTest:
    """The page after a question."""
    app.text_area(key="question").set_value(question).run()
    return press(app, "Ask")


def test_without_any_setup_it_says_what_to_do(store: Path) -> None:
    app = sound(opened("playground"))
    assert heading(app) == "Playground"
    assert "There is no setup to ask yet" in app.info[0].value


def test_setups_answer_with_what_it_took(setups: dict[str, str]) -> None:
    chosen = [setups["scripted · terse · bm25 3p"], setups["no model · bm25"]]
    app = opened("playground", run="tiny", setups=",".join(chosen))
    assert app.multiselect[0].value == chosen
    ask(app)
    shown = texts(sound(app))
    assert shown.count(QUESTION) == 2
    assert SAID in shown
    names = ["Tokens", "First token after", "Whole answer", "Energy"]
    captions = [each for each in app.caption if each.value in names]
    assert sorted(each.value for each in captions) == sorted(names * 2)
    assert "out" in shown
    assert " J (" in shown
    assert "ferry, characters 0 to" in shown
    assert "Estimated from cpu time" in "".join(str(each.proto.help) for each in captions)
    assert app.query_params["setups"] == ",".join(chosen)
    assert len(app.dataframe) == 2


def test_the_prompt_is_edited_for_one_question(setups: dict[str, str]) -> None:
    app = opened("playground", run="tiny", setups=setups["scripted · terse · bm25 3p"])
    app.toggle(key="edit prompt").set_value(True).run()
    [template] = [each for each in app.text_area if each.label == "Prompt template"]
    assert template.value == workbench.prompt_text("terse")
    template.set_value("[user]\n{question} AHOY\n").run()
    ask(app)
    assert "AHOY" in texts(sound(app))
    assert "the prompt was edited for this question" in texts(app)
    template.set_value("[user]\nno place\n").run()
    ask(app)
    assert app.error[0].value == "This setup could not be asked."
    assert "section [user] must hold {question}" in texts(app)
    assert not app.exception


def test_the_question_is_added_to_a_set_of_this_folder(setups: dict[str, str]) -> None:
    before = len(workbench.load_evalset("skerry").questions)
    app = ask(opened("playground", run="tiny"), "Who lit the lamp?")
    [accepted] = [each for each in app.text_area if each.label.startswith("Accepted")]
    accepted.set_value("Ada Brandt\nAda").run()
    press(app, "Add")
    added = workbench.load_evalset("skerry").questions
    assert len(added) == before + 1
    assert added[-1].answers == ("Ada Brandt", "Ada")
    assert "skerry, question added-1" in texts(sound(app))
    press(app, "Add")
    assert app.error[0].value == "The question was not added."
    assert "asks this already" in texts(app)


def test_at_first_the_recommended_setup_stands_beside_the_best_scoring_one(store: Path) -> None:
    filled_store(store)
    app = sound(opened("playground", run="demo"))
    recommendation = workbench.recommend("demo")
    assert recommendation.chosen is not None
    assert recommendation.reference is not None
    assert app.multiselect[0].value == list(dict.fromkeys([recommendation.chosen.id, recommendation.reference.id]))
    assert app.caption[-1].value.startswith("The setups answer in turn, in a process apart from this page")


def test_a_huge_or_failed_run_is_offered_all_the_same(store: Path) -> None:
    filled_store(store, answered=0.0, state="stopped")
    app = sound(opened("playground", run="demo"))
    assert len(app.multiselect[0].options) == len(SETUPS)


def test_a_setup_that_cannot_be_loaded_is_a_sentence(store: Path, own_folder: Path) -> None:
    (own_folder / "setup.yaml").write_text("setup: 1\nconfiguration: {}\n", encoding="utf-8")
    app = ask(opened("playground"))
    assert app.error[0].value == "This setup could not be asked."
    assert "corpus.name must name a corpus" in texts(app)
    assert not app.exception


def test_hostile_texts_stay_texts(store: Path) -> None:
    upload(INJECTION)
    run(experiment(corpus="skerry", evalset="skerry", metrics=["token_f1"], name=f"run {INJECTION}"))
    trials = workbench.watch(f"run {INJECTION}").trials
    app = opened("playground", run=f"run {INJECTION}", setups=",".join(each.configuration.id for each in trials[-3:]))
    ask(app, f"When does the ferry leave? {INJECTION}")
    assert not app.exception
    assert texts(app).count(INJECTION) > 5
    for sign in ("<script", "evil", "**z**", "$x", ":smile"):
        assert sign not in interpreted(app)


def test_hostile_setups_stay_texts(store: Path) -> None:
    filled_store(store, injection=INJECTION, setups=SETUPS[:4], questions=2)
    app = opened("playground", run="demo")
    ask(app)
    assert not app.exception
    for sign in ("<script", "evil", "**z**", "$x", ":smile"):
        assert sign not in interpreted(app)

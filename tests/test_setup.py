"""A setup file answers questions, by the library, and as a LangChain runnable."""

from __future__ import annotations

from pathlib import Path

import pytest

import workbench
from tests.conftest import experiment
from workbench.errors import InputError
from workbench.handover import setup_text
from workbench.setup import Setup

STORED = {"corpus": "tiny", "evalset": "tiny", "seed": 7}


@pytest.fixture
def setup_file() -> Path:
    workbench.run(
        experiment(goal={"margin": 1.0, "minimise": "seconds"}, space={"model": ["scripted"], "retriever": ["bm25"]})
    )
    comparison = workbench.compare()
    Path("setup.yaml").write_text(setup_text(workbench.recommend(comparison), comparison, STORED))
    return Path("setup.yaml")


def test_a_setup_answers_like_the_configuration_it_was_made_from(setup_file: Path) -> None:
    chosen = workbench.recommend().chosen
    assert chosen is not None
    asked = {question.question: scored.answer for question, scored in workbench.answers(configuration=chosen.id)}
    assert asked
    with Setup(setup_file) as setup:
        assert setup.configuration == chosen
        for question, answer in asked.items():
            reply = setup.ask(question)
            assert (reply.answer.text, reply.answer.passages) == (answer.text, answer.passages)
        assert setup.notes == ()


def test_a_setup_shows_the_same_worked_examples_as_the_run() -> None:
    space = {"model": ["scripted"], "retriever": ["bm25"], "passages": [1], "examples": [3]}
    workbench.run(experiment(space=space, seed=11))
    comparison = workbench.compare()
    text = setup_text(workbench.recommend(comparison), comparison, STORED | {"seed": 11})
    Path("setup.yaml").write_text(text)
    prompts = {question.question: scored.answer.prompt for question, scored in workbench.answers()}
    with Setup("setup.yaml") as setup:
        assert {question: setup.ask(question).answer.prompt for question in prompts} == prompts
        assert setup.notes == ()
    Path("setup.yaml").write_text(text.replace("examples_from", "examples_form"))
    with pytest.raises(InputError, match="examples_from must name the evalset and the seed of the 3 examples"):
        Setup("setup.yaml")


def test_a_setup_is_a_langchain_runnable(setup_file: Path) -> None:
    pytest.importorskip("langchain_core")
    chain = workbench.load_setup(setup_file)
    found = chain.invoke("When does the ferry leave?")
    assert "half past seven" in found["answer"]
    assert found["passages"][0]["document_id"] == "ferry"
    assert {stage["stage"] for stage in found["ledger"]} >= {"search", "prefill", "decode"}
    assert len(chain.batch(["Who is the captain?", "What grows along the wall?"])) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a setup file"),
        ("setup: 1\n", "configuration must map axes"),
        ("setup: 1\nconfiguration: {colour: red}\ncorpus: {name: tiny}\n", "configuration.colour is not an axis"),
        ("setup: 1\nconfiguration: {model: none}\n", "corpus.name"),
        ("setup: [", "not a readable setup file"),
    ],
)
def test_a_bad_setup_file_says_what_is_wrong(text: str, said: str) -> None:
    Path("bad.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        workbench.ask("bad.yaml", "Why?")


def test_a_bad_value_in_a_setup_is_named(setup_file: Path) -> None:
    setup_file.write_text(
        setup_file.read_text().replace("passages: 1", "passages: none").replace("passages: 3", "passages: none")
    )
    with pytest.raises(InputError, match="passages"):
        workbench.ask(setup_file, "Why?")


def test_an_empty_question_is_refused(setup_file: Path) -> None:
    with pytest.raises(InputError, match="the question is empty"):
        workbench.ask(setup_file, "  ")

"""The playground: questions to setups of a run, answered in turn by a process of its own over pipes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

import workbench
from tests.conftest import corpus_folder, experiment
from workbench.errors import InputError, MachineError
from workbench.experiment import run
from workbench.playground import LONGEST_QUESTION, Asked, Event, Playground, Told
from workbench.store import Store
from workbench.templates import prompt_text

QUESTION = "Who was the keeper of the lighthouse of Skerry?"
SAID = "[1] The lighthouse of Skerry was lit in 1894."  # the sentence that shares most words with the question
SCRIPTED = {"name": "scripted", "seconds_per_token": 0.001}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Playground, Path]]:
    """A finished run over the tiny corpus, its configurations' ids by label, a warm playground, and the store."""
    folder = tmp_path_factory.mktemp("playground")
    with pytest.MonkeyPatch.context() as surroundings:
        surroundings.chdir(folder)
        surroundings.setenv("WORKBENCH_STORE", str(folder / "runs.db"))
        run(experiment(space={"model": ["none", SCRIPTED]}))
        store = Store(create=False)
        found = {each.configuration.label: each.configuration.id for each in store.trials(store.get("tiny").id)}
        store.close()
        opened = Playground()
        list(opened.ask(QUESTION, [asked(found, "no model · bm25")]))
    yield found, opened, folder / "runs.db"
    opened.close()


@pytest.fixture
def tiny(shared: tuple[dict[str, str], Playground, Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The configurations of the run; its store is the one in force."""
    monkeypatch.setenv("WORKBENCH_STORE", str(shared[2]))
    return shared[0]


@pytest.fixture
def playground(shared: tuple[dict[str, str], Playground, Path]) -> Playground:
    """The warm one."""
    return shared[1]


def asked(tiny: dict[str, str], label: str) -> Asked:
    """The configuration whose label holds a text."""
    [found] = [id for known, id in tiny.items() if label in known]
    return Asked(run="tiny", configuration=found)


def replies(events: list[Event]) -> dict[int, Told]:
    """The answers by setup."""
    return {event.setup: event.reply for event in events if event.reply is not None}


def test_setups_answer_in_turn_in_pieces_with_what_it_took(tiny: dict[str, str], playground: Playground) -> None:
    setups = [asked(tiny, "bm25 3p"), asked(tiny, "no model · bm25"), asked(tiny, "closed book")]
    setups[2] = Asked(run="tiny", configuration=next(id for label, id in tiny.items() if label.endswith("closed book")))
    events = list(playground.ask(QUESTION, setups))
    assert [event.setup for event in events if event.kind == "answer"] == [0, 1, 2]
    told = replies(events)
    pieces = "".join(event.text for event in events if event.kind == "piece" and event.setup == 0)
    assert pieces == told[0].text == SAID
    assert sum(event.kind == "piece" for event in events if event.setup == 0) == len(pieces.split())
    for reply in told.values():
        assert reply.failure == ""
        assert reply.seconds is not None
        assert reply.joules is not None
        assert reply.joules.low < reply.joules.central < reply.joules.high
        assert reply.rows[-1]["stage"] == "whole answer, alone"
    assert told[0].tokens_in is not None
    assert told[0].tokens_in > 20
    assert told[0].tokens_out == len(SAID.split())
    assert told[0].seconds_to_first_token is not None
    assert told[0].passages[0].chunk.document_id == "lighthouse"
    assert len(told[0].passages) == 3
    assert told[1].tokens_in == 0
    assert told[1].seconds_to_first_token is None
    assert told[2].passages == ()


def test_nothing_is_taken_from_the_setup_before(tiny: dict[str, str], playground: Playground) -> None:
    setups = [asked(tiny, "bm25 1p"), asked(tiny, "bm25 3p")]
    told = replies(list(playground.ask("When does the ferry to Skerry leave?", setups)))
    for reply in told.values():
        assert reply.notes == ()
        assert {"search", "prefill", "decode"} <= {row["stage"] for row in reply.rows}


def test_the_process_stays_warm_and_answers_the_same(tiny: dict[str, str], playground: Playground) -> None:
    first = replies(list(playground.ask(QUESTION, [asked(tiny, "bm25 3p")])))
    process = playground.process
    again = replies(list(playground.ask(QUESTION, [asked(tiny, "bm25 3p")])))
    assert playground.process == process
    assert first[0].text == again[0].text


def test_a_prompt_is_edited_for_one_question(tiny: dict[str, str], playground: Playground) -> None:
    text = prompt_text("terse").replace("Answer the question with the exact words", "SPEAK LIKE A SAILOR. Answer")
    setups = [asked(tiny, "bm25 3p"), asked(tiny, "no model · bm25")]
    told = replies(list(playground.ask(QUESTION, setups, template=text)))
    assert "SPEAK LIKE A SAILOR" in told[0].prompt
    assert told[0].notes == ("the prompt was edited for this question",)
    assert "edited prompt" in told[0].label
    assert "it has no model, so that no prompt was used" in told[1].notes
    plain = replies(list(playground.ask(QUESTION, setups[:1])))
    assert "SAILOR" not in plain[0].prompt


def test_a_broken_prompt_is_a_sentence_and_the_next_setup_is_asked(
    tiny: dict[str, str], playground: Playground
) -> None:
    setups = [asked(tiny, "bm25 3p"), asked(tiny, "no model · bm25")]
    events = list(playground.ask(QUESTION, setups, template="[user]\nno place for it\n"))
    [problem] = [event for event in events if event.kind == "problem"]
    assert problem.setup == 0
    assert problem.text == "the edited prompt: section [user] must hold {question}"
    assert set(replies(events)) == {1}


def test_a_setup_file_is_asked_and_says_what_has_changed(
    tiny: dict[str, str], playground: Playground, own_folder: Path
) -> None:
    content = {
        "setup": 1,
        "configuration": {"model": "scripted", "prompt": "terse", "retriever": "bm25", "passages": 1},
        "corpus": {"name": str(corpus_folder(own_folder)), "digest": "another"},
    }
    (own_folder / "setup.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    told = replies(list(playground.ask(QUESTION, [Asked(file=str(own_folder / "setup.yaml"))])))
    assert told[0].text == SAID
    assert "the corpus has changed since this setup was chosen" in told[0].notes[0]


def test_a_failing_model_is_a_failure_of_its_own_answer(playground: Playground, own_folder: Path) -> None:
    axes = {"model": {"name": "scripted", "fail": "rate_limit"}, "retriever": "bm25"}
    content = {"setup": 1, "configuration": axes, "corpus": {"name": str(corpus_folder(own_folder))}}
    (own_folder / "setup.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    told = replies(list(playground.ask(QUESTION, [Asked(file=str(own_folder / "setup.yaml"))])))
    assert told[0].failure == "rate limit: scripted: rate limit"
    assert told[0].text == ""


def test_what_cannot_be_asked_is_said_all_at_once() -> None:
    playground = Playground()
    with pytest.raises(InputError) as empty:
        playground.ask("  ", [])
    assert len(empty.value.problems) == 2
    with pytest.raises(InputError, match=f"at most {LONGEST_QUESTION:,}"):
        playground.ask("x" * 5000, [Asked(file="s.yaml")])
    assert playground.process is None


def test_an_unknown_setup_is_a_sentence(tiny: dict[str, str], playground: Playground) -> None:
    unknown = [Asked(run="gone", configuration="0"), Asked(run="tiny", configuration="0"), Asked(file="no.yaml")]
    problems = [event.text for event in playground.ask(QUESTION, unknown) if event.kind == "problem"]
    assert "gone" in problems[0]
    assert problems[1] == "run 'tiny' has no configuration '0'; choose another"
    assert "no such setup file" in problems[2]


def test_a_question_that_is_given_up_makes_way_for_the_next(tiny: dict[str, str], playground: Playground) -> None:
    for event in playground.ask(QUESTION, [asked(tiny, "bm25 3p"), asked(tiny, "bm25 1p")]):
        if event.kind == "piece":
            break
    told = replies(list(playground.ask("When does the bakery of Skerry open?", [asked(tiny, "bm25 1p")])))
    assert told[0].text == "[1] The bakery of Skerry opens at six."


def test_a_process_that_dies_is_a_sentence_and_another_one_takes_over(
    tiny: dict[str, str],
) -> None:
    playground = Playground()
    list(playground.ask(QUESTION, [asked(tiny, "no model · bm25")]))
    assert playground.process is not None
    worker = psutil.Process(playground.process)
    events = playground.ask(QUESTION, [asked(tiny, "bm25 3p")])
    worker.kill()
    with pytest.raises(MachineError, match="ask again to start it anew"):
        list(events)
    assert set(replies(list(playground.ask(QUESTION, [asked(tiny, "bm25 3p")])))) == {0}
    playground.close()


def test_the_process_ends_with_its_owner_and_when_nobody_asks(tiny: dict[str, str]) -> None:
    owned = Playground()
    list(owned.ask(QUESTION, [asked(tiny, "no model · bm25")]))
    worker = psutil.Process(owned.process)
    owned.close()
    assert not worker.is_running()
    idle = Playground(idle_minutes=0.001)
    list(idle.ask(QUESTION, [asked(tiny, "no model · bm25")]))
    deadline = time.monotonic() + 30
    while idle.process is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    idle.close()


def test_the_page_reaches_it_by_the_public_name() -> None:
    assert workbench.Playground is Playground

"""What every model promises, and the shipped fake."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, get_args

import pytest

from tests.conftest import answered, hosted, prompt
from tests.fake_provider import Reply
from workbench import registry
from workbench.booking import Recorder, stage
from workbench.errors import GenerationError, InfrastructureFailure, ModelFailure
from workbench.meters.cpu_time import CpuTime
from workbench.models.scripted import Fault
from workbench.records import Completion, Decoding
from workbench.space import model_facts

EMBEDDED = {"name": "embedded:smollm2-135m", "context_tokens": 512}
NAMES = [name for name in registry.names("models") if name != "none"]
SETTINGS = {field.name for field in fields(Decoding)}
GREEDY = Decoding(temperature=0, max_tokens=8)


@pytest.fixture(scope="module")
def embedded(embedded_model: object) -> Iterator[Any]:
    model = registry.build("models", EMBEDDED)
    yield model
    model.close()


# --------------------------------------------------------------------------------------------------------- every model


@pytest.fixture(params=NAMES)
def choice(request: pytest.FixtureRequest) -> Any:
    """How each model file is named in an experiment; a new file says here how it is built for tests."""
    if request.param == "embedded":
        request.getfixturevalue("embedded_model")
        return EMBEDDED
    if request.param == "langchain":
        provider = request.getfixturevalue("provider")
        provider.script = Reply(text="Hello there, how are you doing on this fine day?")
        return hosted(provider)
    return {"scripted": "scripted"}[request.param]


@pytest.fixture
def model(choice: Any, request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("embedded") if choice == EMBEDDED else registry.build("models", choice)


def test_a_model_says_what_it_is_before_it_is_loaded(model, choice):
    facts = model_facts(choice)
    assert (facts.accepts, facts.style, facts.runs_here, facts.digest) == (
        model.accepts,
        model.style,
        model.runs_here,
        model.digest,
    )
    assert "max_tokens" in model.accepts <= SETTINGS
    assert model.style in ("chat", "text")
    assert model.digest


def test_a_completion_carries_its_counts_and_times(model):
    completion = model.generate(prompt(), GREEDY)
    assert completion.text.strip()
    assert completion.tokens_in >= 1
    assert 1 <= completion.tokens_out <= 8
    assert 0 <= completion.tokens_cached <= completion.tokens_in
    assert 0 <= completion.seconds_to_first_token < 60
    assert completion.finish_reason


def test_the_pieces_of_a_stream_join_to_its_text(model):
    *pieces, last = model.stream(prompt(), GREEDY)
    assert isinstance(last, Completion)
    assert all(isinstance(piece, str) for piece in pieces)
    assert "".join(pieces) == last.text == model.generate(prompt(), GREEDY).text


@pytest.mark.parametrize("choice", ["embedded", "langchain"], indirect=True)
def test_a_model_that_writes_piece_by_piece_says_when_the_first_one_is_there(model):
    for ask in (model.generate, lambda *call: list(model.stream(*call))):
        with Recorder(CpuTime(), base=None) as recorder, stage("generate"):
            ask(prompt(), GREEDY)
        reading, writing = (recorder.stages()[name] for name in ("generate", "decode"))
        assert reading.seconds > 0
        assert writing.seconds > 0


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_tokens_than_asked_for(model, most):
    completion = model.generate(
        prompt("What is the colour of the sky on a clear day?"), Decoding(temperature=0, max_tokens=most)
    )
    assert completion.tokens_out == most
    assert completion.finish_reason == "length"


def test_temperature_0_gives_the_same_text_again_and_in_threads(model):
    alone = model.generate(prompt(), GREEDY).text
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(model.generate(prompt(), GREEDY).text)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [alone] * 3


def test_the_same_seed_draws_the_same_text(model):
    decoding = Decoding(temperature=1.0, top_k=40, max_tokens=12, seed=5)
    once, again = (model.generate(prompt("One. Two. Three. Four.\nTell me a story."), decoding).text for _ in range(2))
    assert once == again


def test_candidates_of_the_first_token_come_where_they_are_asked_for(model, provider):
    provider.script = Reply(text="No", logprobs=({"No": -0.2, "Yes": -1.9, "Well": -4.0},))
    asked = prompt("Is the sky green? Answer Yes or No.")
    completion = model.generate(asked, Decoding(temperature=0, max_tokens=1, logprobs=2))
    assert len(completion.logprobs) == 2
    assert all(value < 0 for value in completion.logprobs.values())
    assert sum(map(math.exp, completion.logprobs.values())) <= 1
    assert model.generate(asked, Decoding(temperature=0, max_tokens=1)).logprobs is None
    *_, streamed = model.stream(asked, Decoding(temperature=0, max_tokens=1, logprobs=2))
    assert streamed.logprobs == pytest.approx(completion.logprobs, abs=0.05)


def test_tokens_are_counted(model):
    assert model.count_tokens("") == 0
    assert 1 <= model.count_tokens("one") < model.count_tokens("one two three four five")


# ------------------------------------------------------------------------------------------------------------ scripted


def scripted(**parameters: Any) -> Any:
    return registry.build("models", {"name": "scripted", **parameters})


MODEL_FAULTS = {"context_overflow", "refused"}


@pytest.mark.parametrize("fault", [fault for fault in get_args(Fault) if fault not in ("none", "empty_output")])
def test_the_fake_fails_in_every_way_a_provider_can(fault):
    with pytest.raises(GenerationError) as caught:
        scripted(fail=fault).generate(prompt(), GREEDY)
    assert caught.value.code == fault
    assert isinstance(caught.value, ModelFailure if fault in MODEL_FAULTS else InfrastructureFailure)
    answer = answered({"name": "scripted", "fail": fault}, sleep=lambda seconds: None, retries=2)
    assert answer.failure.code == fault
    assert answer.attempts == (1 if fault in {*MODEL_FAULTS, "authentication"} else 3)


def test_empty_output_is_the_models_failure_and_keeps_its_cost():
    assert scripted(fail="empty_output").generate(prompt(), GREEDY).text == ""
    answer = answered({"name": "scripted", "fail": "empty_output"})
    assert (answer.failure.kind, answer.failure.code, answer.attempts) == ("model", "empty_output", 1)
    assert sum(cost.reading.tokens_in or 0 for cost in answer.ledger.stages) > 0


def test_fail_every_takes_its_share_always_of_the_same_prompts():
    model = scripted(fail="timeout", fail_every=4)
    questions = [f"Question {number}?" for number in range(200)]

    def failed() -> list[str]:
        found = []
        for question in questions:
            try:
                model.generate(prompt(question), GREEDY)
            except InfrastructureFailure:
                found.append(question)
        return found

    first = failed()
    assert 30 <= len(first) <= 70
    assert failed() == first


def test_fail_attempts_lets_a_later_attempt_succeed():
    answer = answered({"name": "scripted", "fail": "rate_limit", "fail_attempts": 2}, sleep=lambda seconds: None)
    assert (answer.attempts, answer.failure) == (3, None)
    assert answer.text


def test_latency_is_as_long_as_asked_for():
    completion = scripted(seconds=0.05, seconds_per_token=0.01).generate(prompt("Tell me of the sea."), GREEDY)
    assert completion.prefill_seconds >= 0.05
    assert completion.decode_seconds >= 0.01 * completion.tokens_out > 0


def test_the_fake_answers_with_the_sentence_closest_to_the_question():
    text = "[1] Ada keeps the light. Tom bakes.\n\nQuestion: Who keeps the light?"
    assert scripted().generate(prompt(text), Decoding(temperature=0)).text.endswith("Ada keeps the light.")
    assert scripted(replies={"keeps": "Ada"}).generate(prompt(text), GREEDY).text == "Ada"
    assert scripted(replies={"keeps": "Ada Brandt"}).generate(prompt(text), Decoding(stop=(" Br",))).text == "Ada"
    drawn = {scripted().generate(prompt(text), Decoding(temperature=1, top_k=2, seed=seed)).text for seed in range(9)}
    assert len(drawn) == 2
    narrow = {
        scripted().generate(prompt(text), Decoding(temperature=1, min_p=0.6, seed=seed)).text for seed in range(9)
    }
    assert narrow == {"[1] Ada keeps the light."}
    with pytest.raises(ModelFailure, match="the context holds 5"):
        scripted(context_tokens=5).generate(prompt(text), GREEDY)


def test_the_fake_holds_yes_as_likely_as_the_question_is_met_in_the_rest():
    def yes(passage: str, **parameters: Any) -> float:
        asked = prompt(f"Does it answer?\n\nQuestion: Who keeps the light?\n\nPassage: {passage}")
        found = scripted(**parameters).generate(asked, Decoding(max_tokens=1, logprobs=2)).logprobs
        assert sum(map(math.exp, found.values())) == pytest.approx(1)
        return math.exp(found["Yes"])

    assert 0.9 < yes("who keeps the light") < 1
    assert yes("Tom bakes.") == pytest.approx(0.02)
    assert (
        yes("Tom bakes.")
        < yes("Ada keeps it.")
        < yes("Ada keeps the light.", style="text")
        < yes("Who keeps the light?")
    )
    alone = scripted().generate(prompt("Tom bakes.\nWho keeps the light?"), Decoding(logprobs=1)).logprobs
    assert list(alone) == ["No"]

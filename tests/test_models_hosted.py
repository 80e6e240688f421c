"""Hosted models: what is sent, what is counted, how failures are told apart, and that no key is ever stored."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

import workbench
from tests.conftest import KEY, answered, experiment, hosted, prompt
from tests.fake_provider import FakeProvider, Reply
from workbench import registry
from workbench.errors import GenerationError, InfrastructureFailure, MachineError, ModelFailure
from workbench.ledger import split_generation
from workbench.pipeline import without_secrets
from workbench.records import Decoding, Reading


@pytest.fixture
def model(provider: FakeProvider) -> Any:
    provider.script = Reply()
    return registry.build("models", hosted(provider))


def test_every_accepted_setting_is_in_the_request(model, provider):
    model.generate(prompt(), Decoding(temperature=0.5, top_p=0.9, max_tokens=7, stop=("\n", "end"), seed=3))
    sent = provider.requests[-1]
    assert sent.path == "/v1/chat/completions"
    assert sent.authorization == f"Bearer {KEY}"
    wanted = {
        "model": "fake",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_completion_tokens": 7,
        "stop": ["\n", "end"],
        "seed": 3,
    }
    assert wanted.items() <= sent.body.items()
    assert [message["role"] for message in sent.body["messages"]] == ["system", "user"]
    assert model.accepts == {"temperature", "top_p", "max_tokens", "stop", "seed", "logprobs"}


def test_candidates_of_the_first_token_are_asked_for_and_read(model, provider):
    provider.script = Reply(text="Yes indeed", logprobs=({"Yes": -0.1, "No": -2.5}, {"indeed": -0.3, "No": -0.2}))
    completion = model.generate(prompt(), Decoding(logprobs=2))
    assert {"logprobs": True, "top_logprobs": 2}.items() <= provider.requests[-1].body.items()
    assert completion.logprobs == {"Yes": -0.1, "No": -2.5}
    assert model.generate(prompt(), Decoding()).logprobs is None
    assert {"logprobs", "top_logprobs"}.isdisjoint(provider.requests[-1].body)
    provider.script = Reply(text="Yes")  # a provider that ignores what it was asked for
    assert model.generate(prompt(), Decoding(logprobs=2)).logprobs is None


def test_what_is_not_asked_for_is_not_sent(model, provider):
    model.generate(prompt(), Decoding(temperature=0))
    assert {"top_p", "max_completion_tokens", "max_tokens", "stop", "seed", "top_k"}.isdisjoint(
        provider.requests[-1].body
    )
    assert provider.requests[-1].body["temperature"] == 0


def test_counts_are_the_providers_and_unknown_stays_unknown(model, provider):
    provider.script = Reply(text="one two three", tokens_in=77, tokens_cached=64)
    completion = model.generate(prompt(), Decoding())
    assert (completion.tokens_in, completion.tokens_cached, completion.tokens_out) == (77, 64, 3)
    provider.script = Reply(usage=False)
    completion = model.generate(prompt(), Decoding())
    assert (completion.tokens_in, completion.tokens_cached, completion.tokens_out) == (None, None, None)


def test_the_time_to_the_first_token_is_seen(model, provider):
    provider.script = Reply(text="one two three", silent_seconds=0.2, pause_seconds=0.05)
    completion = model.generate(prompt(), Decoding())
    assert completion.seconds_to_first_token >= 0.2
    assert completion.decode_seconds >= 0.1
    costs = split_generation(
        Reading(seconds=1.0, cpu_seconds=0.5),
        completion,
        runs_here=model.runs_here,
        static_tokens=None,
        model=model.name,
    )
    assert sum(cost.reading.cpu_seconds for cost in costs) == 0.5  # the clock here saw sending and reading
    assert [cost.reading.elsewhere for cost in costs] == [{model.name: (12, 0, 0)}, {model.name: (0, 0, 3)}]


OVERFLOW = "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens."
FILTERED = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."


@pytest.mark.parametrize(
    ("reply", "kind", "code", "retry_after", "permanent"),
    [
        (Reply(status=429, headers={"Retry-After": "7"}), InfrastructureFailure, "rate_limit", 7.0, False),
        (Reply(status=429, headers={"Retry-After": "soon"}), InfrastructureFailure, "rate_limit", None, False),
        (Reply(status=500), InfrastructureFailure, "server_error", None, False),
        (Reply(status=503, headers={"Retry-After": "1.5"}), InfrastructureFailure, "server_error", 1.5, False),
        (Reply(status=401), InfrastructureFailure, "authentication", None, True),
        (Reply(status=403), InfrastructureFailure, "authentication", None, True),
        (Reply(status=404, code="model_not_found"), InfrastructureFailure, "bad_request", None, True),
        (Reply(status=400, message="no"), InfrastructureFailure, "bad_request", None, True),
        (Reply(status=408), InfrastructureFailure, "timeout", None, False),
        (Reply(silent_seconds=3), InfrastructureFailure, "timeout", None, False),
        (Reply(pause_seconds=3), InfrastructureFailure, "timeout", None, False),
        (Reply(text="a b c d e f g h", pause_seconds=0.2), InfrastructureFailure, "timeout", None, False),
        (Reply(drop_after=0), InfrastructureFailure, "lost_connection", None, False),
        (Reply(drop_after=1), InfrastructureFailure, "lost_connection", None, False),
        (
            Reply(status=400, code="context_length_exceeded", message=OVERFLOW),
            ModelFailure,
            "context_overflow",
            None,
            None,
        ),
        (Reply(status=400, code="content_filter", message=FILTERED), ModelFailure, "refused", None, None),
        (Reply(finish_reason="content_filter"), ModelFailure, "refused", None, None),
    ],
    ids=lambda value: "" if not isinstance(value, str) else value,
)
def test_a_providers_failures_are_told_apart(provider, reply, kind, code, retry_after, permanent):
    model = registry.build("models", hosted(provider, timeout_seconds=0.6))
    provider.script = reply
    before = len(provider.requests)
    started = time.perf_counter()
    with pytest.raises(GenerationError) as caught:
        model.generate(prompt(), Decoding())
    failure = caught.value
    assert (type(failure), failure.code) == (kind, code)
    assert (getattr(failure, "retry_after", None), getattr(failure, "permanent", None)) == (retry_after, permanent)
    assert time.perf_counter() - started < 2.5
    assert len(provider.requests) == before + 1, "the library must not retry: the run does, and books what it costs"


def test_a_provider_that_cannot_be_built_says_what_is_missing(provider, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(
        MachineError, match=r"openai:fake cannot be used: .*; set the provider's key in the environment"
    ):
        registry.build("models", "openai:fake")
    with pytest.raises(MachineError, match="nosuch:thing"):
        registry.build("models", "nosuch:thing")


# ------------------------------------------------------------------------------------------------ through the pipeline


def test_the_run_waits_as_long_as_the_provider_asks(provider):
    provider.script = Reply(status=429, headers={"Retry-After": "7"})
    pauses: list[float] = []
    answer = answered(hosted(provider), sleep=pauses.append, retries=3)
    assert pauses == [7.0] * 3
    assert (answer.attempts, answer.failure.kind, answer.failure.code) == (4, "infrastructure", "rate_limit")
    provider.script = Reply(status=500)
    pauses.clear()
    answered(hosted(provider), sleep=pauses.append, retries=7)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    provider.script = Reply(status=401)
    pauses.clear()
    assert answered(hosted(provider), sleep=pauses.append).attempts == 1
    assert pauses == []


@pytest.mark.parametrize("before", [0, 560, 590])
def test_a_key_in_an_error_message_is_blanked(provider, before):
    provider.script = Reply(status=401, message=f"{'x' * before} wrong key {KEY}, mend it")
    failure = answered(hosted(provider)).failure
    assert KEY[:12] not in failure.message
    assert before or "wrong key <OPENAI_API_KEY>, mend it" in failure.message


def test_a_key_is_nowhere_in_what_a_run_stores(provider):
    provider.script = Reply(status=401, message=f"wrong key {KEY}")
    workbench.run(experiment(space={"model": [hosted(provider)], "retriever": ["bm25"]}, questions={"limit": 2}))
    with sqlite3.connect("runs/workbench.db") as store:
        assert "<OPENAI_API_KEY>" in "\n".join(store.iterdump())
        assert KEY not in "\n".join(store.iterdump())


def test_keys_that_begin_alike_are_blanked_whole(monkeypatch):
    for name, value in (
        ("A_TOKEN", "abcdefgh"),
        ("B_API_KEY", "abcdefghijklmnop"),
        ("C_PASSWORD", "short"),
        ("D_PATH", "/usr/local/bin"),
    ):
        monkeypatch.setenv(name, value)
    assert (
        without_secrets("abcdefghijklmnop abcdefgh short /usr/local/bin")
        == "<B_API_KEY> <A_TOKEN> short /usr/local/bin"
    )


def test_what_a_hosted_judge_takes_is_told_in_tokens_and_money(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    space = {"model": ["none"], "retriever": ["bm25"]}
    with FakeProvider() as provider:
        judge = {"name": "judge", "model": hosted(provider)}
        workbench.run(experiment(metrics=["token_f1", judge], space=space))
    [told] = [note for note in workbench.notes(workbench.compare()) if note.startswith("Overhead of judge")]
    assert "tokens in" in told
    assert told.endswith("not priced; in no answer's cost.")
    columns = "model,dollars_per_million_in,dollars_per_million_cached,dollars_per_million_out"
    Path("prices.csv").write_text(f"{columns}\nopenai:fake,1000,1000,1000\n")
    workbench.reprice()  # prices are kept with the run
    [told] = [note for note in workbench.notes(workbench.compare()) if note.startswith("Overhead of judge")]
    reading = workbench.compare().spent.one_offs["judge"]
    assert f"{reading.tokens_in:,} tokens in" in told
    dollars = ((reading.tokens_in or 0) + (reading.tokens_out or 0)) / 1000
    assert float(told.rpartition(" dollars")[0].rpartition(" ")[2]) == pytest.approx(dollars, rel=0.01)

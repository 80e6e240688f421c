"""The embedded models: settings reach the engine, its cache is seen, its failures harm nothing, its port is closed."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.conftest import needs_embedded, prompt, python
from workbench import registry
from workbench.errors import InfrastructureFailure, ModelFailure
from workbench.records import Decoding, Message, Prompt

pytestmark = needs_embedded

EMBEDDED = {"name": "embedded:smollm2-135m", "context_tokens": 512}
GREEDY = Decoding(temperature=0, max_tokens=8)


@pytest.fixture(scope="module")
def embedded(embedded_model: object) -> Iterator[Any]:
    model = registry.build("models", EMBEDDED)
    yield model
    model.close()


def test_every_setting_reaches_the_engine(embedded):
    decoding = Decoding(
        temperature=0.7, top_k=7, top_p=0.85, min_p=0.125, repeat_penalty=1.25, max_tokens=9, seed=1234, logprobs=3
    )
    embedded.generate(prompt(), decoding)
    wanted = {
        "top_k": 7,
        "seed": 1234,
        "n_predict": 9,
        "temperature": 0.7,
        "top_p": 0.85,
        "min_p": 0.125,
        "repeat_penalty": 1.25,
        "n_probs": 3,
    }
    [slot] = embedded.slots()
    assert {name: slot["params"][name] for name in wanted} == pytest.approx(wanted)
    embedded.generate(prompt(), Decoding(temperature=0.7, max_tokens=1))
    [slot] = embedded.slots()
    assert (slot["params"]["min_p"], slot["params"]["n_probs"]) == (0, 0)


def test_min_p_leaves_only_what_is_nearly_as_likely_as_the_best(embedded):
    def texts(min_p: float | None) -> set[str]:
        question = prompt("Name any animal.")
        settings = {"temperature": 1.5, "top_k": 0, "max_tokens": 3, "min_p": min_p}
        return {embedded.generate(question, Decoding(seed=seed, **settings)).text for seed in range(4)}

    greedy = embedded.generate(prompt("Name any animal."), Decoding(temperature=0, max_tokens=3)).text
    assert texts(1.0) == {greedy}
    assert len(texts(None)) > 1


def test_the_candidates_are_the_engines_own_first_choice_first(embedded):
    plain = embedded.generate(prompt("Is the sky blue?"), Decoding(temperature=0, max_tokens=1))
    asked = embedded.generate(prompt("Is the sky blue?"), Decoding(temperature=0, max_tokens=1, logprobs=5))
    assert asked.text == plain.text
    assert next(iter(asked.logprobs)) == plain.text
    assert len(asked.logprobs) == 5
    assert list(asked.logprobs.values()) == sorted(asked.logprobs.values(), reverse=True)
    warm = Decoding(temperature=1.5, seed=1, top_k=1, max_tokens=1, logprobs=5)
    drawn = embedded.generate(prompt("Is the sky blue?"), warm)
    assert drawn.logprobs == pytest.approx(asked.logprobs, abs=0.05)  # before any sampler


def test_stop_ends_the_text_before_it(embedded):
    free = embedded.generate(prompt(), Decoding(temperature=0, max_tokens=12))
    word = free.text.split()[2]
    stopped = embedded.generate(prompt(), Decoding(temperature=0, max_tokens=12, stop=("never said", word)))
    assert stopped.text == free.text.partition(word)[0]
    assert (stopped.finish_reason, free.finish_reason) == ("stop", "length")


def test_a_repeated_prompt_is_read_from_the_cache(embedded):
    first, again = (embedded.generate(prompt("Name a colour of the rainbow."), GREEDY) for _ in range(2))
    assert again.tokens_in == first.tokens_in
    assert first.tokens_cached < again.tokens_cached == again.tokens_in - 1
    for completion in (first, again):
        assert completion.prefill_seconds > 0
        assert completion.decode_seconds > 0


def test_a_prompt_that_does_not_fit_is_the_models_failure_and_harms_nothing(embedded):
    before = embedded.generate(prompt(), GREEDY).text
    with pytest.raises(ModelFailure, match="exceeds the available context size") as caught:
        embedded.generate(prompt("word " * 1000), GREEDY)
    assert caught.value.code == "context_overflow"
    assert embedded.generate(prompt(), GREEDY).text == before
    with pytest.raises(ModelFailure, match="exceeds the available context size"):
        list(embedded.stream(prompt("word " * 1000), GREEDY))


def test_a_base_prompt_is_continued_as_text():
    model = registry.build("models", {**EMBEDDED, "style": "text"})
    assert model.style == "text"
    text = Prompt(messages=(Message(role="user", content="Count: one, two, three, four,"),))
    with_marks = prompt("Count: one, two, three, four,")
    assert model.generate(text, GREEDY).tokens_in == model.count_tokens(text.text)
    assert model.generate(with_marks, GREEDY).tokens_in == model.count_tokens(with_marks.text)
    model.close()


def test_a_time_out_cancels_in_the_engine_and_the_next_request_is_answered():
    model = registry.build("models", {**EMBEDDED, "timeout_seconds": 1})
    model.generate(prompt(), Decoding(temperature=0, max_tokens=1))
    started = time.perf_counter()
    with pytest.raises(InfrastructureFailure, match="no answer within 1 s") as caught:
        model.generate(
            prompt("Write a very long story about a lighthouse."),
            Decoding(temperature=1, seed=1, max_tokens=480, top_k=0),
        )
    assert (caught.value.code, caught.value.permanent) == ("timeout", True)
    assert time.perf_counter() - started < 3
    while any(slot["is_processing"] for slot in model.slots()):
        assert time.perf_counter() - started < 4, "the engine goes on with what nobody waits for"
        time.sleep(0.02)
    assert model.generate(prompt(), Decoding(temperature=0, max_tokens=1)).tokens_out == 1
    model.close()


def test_the_engines_port_is_local_and_closed_to_strangers(embedded):
    listening = [
        each.laddr.ip for each in psutil.Process().net_connections("inet") if each.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}
    foreign = {"Origin": "http://foreign.example"}
    engine = http.client.HTTPConnection(urlsplit(embedded._server.listening_address).netloc)
    for path in ("/tokenize", "/slots", "/v1/chat/completions", "/v1/models", "/props"):
        for method, headers in (("GET", {}), ("POST", {"Authorization": "Bearer guess"}), ("OPTIONS", foreign)):
            engine.request(method, path, "{}", headers)
            with engine.getresponse() as reply:
                assert reply.status == 401 or method == "OPTIONS"
                assert reply.headers["Access-Control-Allow-Origin"] in (None, "http://127.0.0.1")
    engine.close()


def test_a_proxy_of_the_user_never_sees_the_engines_port():
    code = "from workbench import registry; print(registry.build('models', 'embedded:smollm2-135m').count_tokens('one two'))"
    result = python("-c", code, http_proxy="http://127.0.0.1:9", no_proxy="")
    assert result.stdout.strip() == "2", result.stderr[-500:]


@pytest.mark.parametrize(
    "ending", ["model.close()", "pass", "raise SystemExit(0)"], ids=["closed", "left open", "exit"]
)
def test_the_process_can_end(ending):
    code = f"""
import time
from workbench import registry
from workbench.records import Decoding, Message, Prompt
model = registry.build("models", "embedded:smollm2-135m")
model.generate(Prompt(messages=(Message(role="user", content="Hi"),)), Decoding(max_tokens=2))
print(time.time(), flush=True)
{ending}
"""
    result = python("-c", code)
    assert (result.returncode, result.stderr) == (0, "")
    assert time.time() - float(result.stdout) < 10

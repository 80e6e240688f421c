"""What every embedder promises: one unit vector a text, in their order, whatever the texts are."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import KEY, missing, needs_minilm
from workbench import registry, weights
from workbench.booking import Recorder
from workbench.embedders._texts import unit, whole
from workbench.errors import InfrastructureFailure, InputError, MachineError
from workbench.index import Indexes
from workbench.meters.cpu_time import CpuTime
from workbench.records import Corpus

MULTILINGUAL = "embedded:use-multilingual"


@pytest.fixture(scope="module")
def multilingual():
    try:
        weights.require("use-multilingual", "embedder")
    except MachineError as error:
        missing(str(error))
    return registry.build("embedders", MULTILINGUAL)


@pytest.fixture(scope="module")
def minilm(minilm_model):
    return registry.build("embedders", "embedded:minilm-l6")


# --------------------------------------------------------------------------------------------------- what they share


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3), min_size=1, max_size=9))
def test_vectors_are_brought_to_unit_length_or_refused(rows):
    if any(np.linalg.norm(row) == 0 for row in rows):
        with pytest.raises(ValueError, match="no direction"):
            unit(rows)
    else:
        vectors = unit(rows)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
        assert np.einsum("ij,ij->i", vectors, np.asarray(rows)) == pytest.approx(np.linalg.norm(rows, axis=1), rel=1e-5)


@given(st.lists(st.text(st.characters(codec=None))))
def test_texts_keep_their_length_and_can_be_encoded(texts):
    found = whole(texts)
    assert [len(text) for text in found] == [len(text) for text in texts]
    for before, after in zip(texts, found, strict=True):
        assert after.encode().decode() == after
        assert before == after or any("\ud800" <= character <= "\udfff" for character in before)


TEXTS = st.lists(st.text(st.characters(codec=None), max_size=60), min_size=2, max_size=6)


def check_law(embedder, texts, dimensions):
    vectors = embedder.embed(texts)
    assert (vectors.shape, vectors.dtype) == ((len(texts), dimensions), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    for text, vector in zip(texts, vectors, strict=True):
        assert embedder.embed([text])[0] == pytest.approx(vector, abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(texts=TEXTS)
def test_the_multilingual_encoder_embeds_each_text_for_itself(multilingual, texts):
    check_law(multilingual, texts, 512)


@needs_minilm
@settings(max_examples=8, deadline=None)
@given(texts=TEXTS)
def test_minilm_embeds_each_text_for_itself(minilm, texts):
    check_law(minilm, texts, 384)


# ------------------------------------------------------------------------------------------------------ multilingual


def test_the_same_in_several_languages_is_near(multilingual):
    english = ["The cat sleeps on the mat.", "The stock exchange fell on Monday.", "It will rain tomorrow."]
    german = ["Die Katze schläft auf der Matte.", "Die Börse fiel am Montag.", "Morgen wird es regnen."]
    chinese = ["猫在垫子上睡觉。", "股市周一下跌。", "明天会下雨。"]
    arabic = ["القطة تنام على الحصيرة.", "انخفضت البورصة يوم الاثنين.", "سوف تمطر غدا."]
    wanted = multilingual.embed(english)
    for texts in (german, chinese, arabic):
        assert (wanted @ multilingual.embed(texts).T).argmax(axis=1).tolist() == [0, 1, 2]


def test_the_multilingual_encoder_is_verified_and_known_by_its_weights(multilingual):
    listed = weights.find("use-multilingual", "embedder")
    assert multilingual.digest == listed.sha256
    assert multilingual.embed([]).shape == (0, 512)


def test_threads_may_share_the_multilingual_encoder(multilingual):
    texts = [f"A sentence about the number {number}." for number in range(24)]
    alone = multilingual.embed(texts)
    found = []

    def work():
        found.append(np.abs(multilingual.embed(texts) - alone).max() < 1e-5)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


# ------------------------------------------------------------------------------------------------------------ hosted


class EmbeddingsProvider(ThreadingHTTPServer):
    """A provider that speaks OpenAI's protocol for embeddings: a text's vector is made of its letters, of length 2."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.inputs = []
        self.status = 200
        self.vectors = lambda texts: [letters(text) for text in texts]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


def letters(text):
    counts = np.array([text.count(letter) for letter in "etaoinshr"] + [1.0])
    return (2 * counts / np.linalg.norm(counts)).tolist()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/embeddings"
        given = [body["input"]] if isinstance(body["input"], str) else body["input"]
        self.server.inputs += given
        if self.server.status == 200:
            found = self.server.vectors(given)
            if body.get("encoding_format") == "base64":
                found = [base64.b64encode(np.asarray(each, dtype=np.float32).tobytes()).decode() for each in found]
            data = [{"object": "embedding", "index": number, "embedding": each} for number, each in enumerate(found)]
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            answer = {"object": "list", "data": data, "model": body["model"], "usage": usage}
        else:
            answer = {"error": {"message": f"status {self.server.status}", "type": "error", "code": None}}
        content = json.dumps(answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Keep the tests' output clean."""


@pytest.fixture
def provider(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    running = EmbeddingsProvider()
    yield running
    running.shutdown()
    running.server_close()


def hosted(provider, model="fake"):
    return registry.build("embedders", {"name": f"langchain:openai:{model}", "base_url": provider.url})


def test_hosted_embeddings_come_at_unit_length_in_order(provider):
    embedder = hosted(provider)
    texts = ["a rose", "the tree", "naïve \ud800 text"]
    vectors = embedder.embed(texts)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert vectors == pytest.approx(np.array([letters(text) for text in texts]) / 2, abs=1e-6)
    assert embedder.embed(["a rose"])[0] == pytest.approx(vectors[0], abs=1e-6)
    assert provider.inputs == ["a rose", "the tree", "naïve \ufffd text", "a rose"]  # as texts, not as tokens
    assert embedder.embed([]).shape[0] == 0


def test_a_hosted_model_is_known_by_name_library_and_place(provider):
    first, second = hosted(provider, "one"), hosted(provider, "two")
    assert first.digest.startswith("openai:one+langchain_openai-")
    assert provider.url in first.digest
    assert first.digest != second.digest
    assert not first.runs_here


def test_hosted_work_is_booked_as_tokens_read_elsewhere(provider):
    embedder = hosted(provider)
    with Recorder(CpuTime()) as recorder:
        embedder.embed(["a rose"])
    reading = recorder.stages()["embed"]
    assert reading.seconds > 0
    assert reading.cpu_seconds > 0  # of every thread here, the fake provider's too, so that it may exceed the seconds
    assert (reading.elsewhere, reading.tokens_in) == ({embedder.name: (2, 0, 0)}, None)


def test_embedding_a_corpus_elsewhere_is_booked_to_that_work(provider):
    done = []
    indexes = Indexes(Corpus(name="c", documents=(), digest="c"), None, done.append, CpuTime())
    indexes.vectors(hosted(provider), "fake", ["a rose", "the tree"])
    [work] = done
    assert (work.work, work.reading.elsewhere) == ("embed", {"embedder openai:fake": (4, 0, 0)})
    assert work.reading.seconds > 0
    assert work.reading.cpu_seconds > 0


@pytest.mark.parametrize(("status", "code"), [(401, "authentication"), (400, "bad_request")])
def test_a_providers_refusal_is_a_failure_of_the_surroundings(provider, status, code):
    provider.status = status
    with pytest.raises(InfrastructureFailure) as caught:
        hosted(provider).embed(["a", "b"])
    assert (caught.value.code, caught.value.permanent) == (code, True)


@pytest.mark.parametrize(
    "vectors",
    [
        lambda texts: [[0.0, 0.0]] * len(texts),
        lambda texts: [[float("nan"), 1.0]] * len(texts),
        lambda texts: [[1.0, 0.0]] * (len(texts) + 1),
        lambda texts: [[1.0, 0.0]] * (len(texts) - 1) + [[1.0]],
    ],
)
def test_vectors_that_cannot_be_used_are_refused(provider, vectors):
    provider.vectors = vectors
    with pytest.raises(InfrastructureFailure, match=r"embeddings (cannot be used|came for 2 texts)"):
        hosted(provider).embed(["a", "b"])


@pytest.mark.parametrize("name", ["nonesuch:model", "openai", "openai:"])
def test_names_that_no_provider_answers_to_are_refused(name):
    with pytest.raises((MachineError, InputError), match=r"langchain:.*expected langchain:provider:model"):
        registry.build("embedders", f"langchain:{name}")


def test_a_missing_key_says_so(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(MachineError, match=r"langchain:openai:x cannot be used: .*key in the environment"):
        registry.build("embedders", "langchain:openai:x")


# ---------------------------------------------------------------------------------------------------------- embedded


def test_an_embedded_name_that_is_not_known_lists_those_that_are():
    with pytest.raises(InputError, match=r"unknown embedded embedder 'x'; available: minilm-l6, use-multilingual"):
        registry.build("embedders", "embedded:x")


def test_a_name_that_sentence_transformers_cannot_load_says_what_to_write(minilm_model):
    with pytest.raises(MachineError, match=r"cannot be loaded: .*langchain:provider:model"):
        registry.build("embedders", "sentence_transformers:./no/such/folder")

"""What every reranker promises, what each computes, and what is charged for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import hosted, needs_embedded, needs_minilm, passages
from tests.fake_provider import FakeProvider, Reply
from tests.test_retrievers import WordVectors
from workbench import registry
from workbench.booking import Recorder
from workbench.contracts import Tools
from workbench.errors import InputError, MachineError, ModelFailure
from workbench.meters.cpu_time import CpuTime
from workbench.records import Completion
from workbench.rerankers.likelihood import yes_share
from workbench.rerankers.mmr import MaximalMarginalRelevance

QUESTION = "Who keeps the lamp of the lighthouse?"
FOUND = passages(
    "The bakery opens at six.",
    "Ada Brandt keeps the lamp of the lighthouse.",
    "The bakery opens at six.",
    "The lighthouse has a lamp.",
)
IDS = [passage.chunk.document_id for passage in FOUND]
RERANKERS = [name for name in registry.names("rerankers") if name != "none"]


def tools(embedder: Any = None, model: Any = None) -> Tools:
    """The fake embedder and the scripted model, whatever is asked for."""
    return Tools(
        embedder=lambda choice=None: embedder or WordVectors(),
        model=lambda choice=None: model or registry.build("models", choice or "scripted"),
    )


@pytest.fixture(scope="session")
def cross_encoder(minilm_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny cross-encoder of random weights, made without a network."""
    return tiny_cross_encoder(tmp_path_factory.mktemp("cross-encoder"), labels=1)


def tiny_cross_encoder(folder: Path, labels: int) -> Path:
    transformers = pytest.importorskip("transformers")
    words = sorted({word for text in (QUESTION, *(each.chunk.text for each in FOUND)) for word in text.lower().split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *(word.strip(".?") for word in words)]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)) + "\n", encoding="utf-8")
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.BertConfig(vocab_size=len(vocabulary), num_labels=labels, initializer_range=0.3, **shape)
    transformers.set_seed(7)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    transformers.BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture(params=RERANKERS)
def reranker(request: pytest.FixtureRequest) -> Any:
    """Every reranker, as it is built for tests."""
    name = request.param
    if name == "cross_encoder":
        name = f"cross_encoder:{request.getfixturevalue('cross_encoder')}"
    return registry.build("rerankers", name, tools())


# --------------------------------------------------------------------------------------------------- every reranker


def test_the_same_passages_in_another_order_ranked_from_one(reranker):
    found = reranker.rerank(QUESTION, FOUND)
    assert [passage.rank for passage in found] == [1, 2, 3, 4]
    assert sorted(passage.chunk.id for passage in found) == sorted(passage.chunk.id for passage in FOUND)
    scores = [passage.score for passage in found]
    assert scores == sorted(scores, reverse=True)
    assert all(isinstance(score, float) for score in scores)
    assert reranker.rerank(QUESTION, FOUND) == found


def test_nothing_stays_nothing(reranker):
    assert reranker.rerank(QUESTION, ()) == []


def test_equal_passages_keep_their_order(reranker):
    found = [passage.chunk.document_id for passage in reranker.rerank(QUESTION, FOUND)]
    assert found.index("d1") < found.index("d3")


def test_its_work_is_the_answers_stage_rerank(reranker):
    with Recorder(CpuTime()) as recorder:
        reranker.rerank(QUESTION, FOUND)
    assert set(recorder.stages()) == {"assemble", "rerank"}
    assert recorder.stages()["rerank"].cpu_seconds is not None


# --------------------------------------------------------------------------------------------------- embedder and mmr


def test_the_embedders_cosines_rank():
    embedder = WordVectors()
    found = registry.build("rerankers", "embedder", tools(embedder)).rerank(QUESTION, FOUND)
    vectors = embedder.embed([passage.chunk.text for passage in FOUND])
    cosines = dict(zip(IDS, vectors @ embedder.embed([QUESTION])[0], strict=True))
    assert found[0].chunk.document_id == "d2"
    assert [passage.chunk.document_id for passage in found] == sorted(IDS, key=lambda id: -cosines[id])
    assert [passage.score for passage in found] == pytest.approx([cosines[each.chunk.document_id] for each in found])


def test_another_embedder_may_be_named():
    asked = []
    named = Tools(embedder=lambda choice=None: asked.append(choice) or WordVectors(), model=None)
    for name in ("embedder", "mmr"):
        registry.build("rerankers", name, named)
        registry.build("rerankers", {"name": name, "embedder": "other:x"}, named)
    assert asked == [None, "other:x"] * 2


class Given:
    """An embedder that gives prepared vectors, the question's first."""

    digest = "given"

    def __init__(self, vectors: Any) -> None:
        rows = np.array(vectors, dtype=np.float32)
        self.vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def embed(self, texts: Any) -> Any:
        return self.vectors[: len(texts)]


vectors = st.integers(1, 7).flatmap(
    lambda count: st.lists(st.tuples(*[st.integers(-3, 3)] * 3).filter(any), min_size=count + 1, max_size=count + 1)
)


@given(vectors, st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_mmr_is_the_published_formula(given_vectors, diversity):
    embedder = Given(given_vectors)
    rows = embedder.vectors.astype(np.float64)
    found = MaximalMarginalRelevance(embedder, diversity).rerank("?", passages(*"abcdefg"[: len(rows) - 1]))
    left, taken = list(range(1, len(rows))), []
    for passage in found:
        relevance = {
            each: (1 - diversity) * (rows[each] @ rows[0])
            - diversity * max([0.0, *(rows[each] @ rows[other] for other in taken)])
            for each in left
        }
        chosen = int(passage.chunk.document_id[1:])
        assert passage.score == pytest.approx(relevance[chosen], abs=1e-6)
        assert relevance[chosen] >= max(relevance.values()) - 1e-6
        left.remove(chosen)
        taken.append(chosen)
    assert not left
    scores = [passage.score for passage in found]
    assert all(scores[place] >= scores[place + 1] - 1e-9 for place in range(len(scores) - 1))


def test_diversity_puts_repetitions_last():
    def order(diversity: float) -> list[str]:
        choice = {"name": "mmr", "diversity": diversity}
        found = registry.build("rerankers", choice, tools()).rerank("bakery six opens", FOUND)
        return [passage.chunk.document_id for passage in found]

    plain = registry.build("rerankers", "embedder", tools()).rerank("bakery six opens", FOUND)
    assert order(0) == [passage.chunk.document_id for passage in plain]
    assert order(0)[:2] == ["d1", "d3"]
    assert (order(0.7)[0], order(0.7)[-1]) == ("d1", "d3")
    with pytest.raises(InputError, match=r"diversity is 1\.5; expected a number from 0"):
        order(1.5)


# --------------------------------------------------------------------------------------------------------- likelihood


def test_the_model_is_asked_about_every_passage_and_charged():
    reranker = registry.build("rerankers", "likelihood", tools())
    with Recorder(CpuTime()) as recorder:
        found = reranker.rerank(QUESTION, FOUND)
    assert [passage.chunk.document_id for passage in found][:2] == ["d2", "d4"]
    assert all(0 < passage.score < 1 for passage in found)
    reading = recorder.stages()["rerank"]
    assert (reading.tokens_out, reading.tokens_cached) == (len(FOUND), 0)
    assert reading.tokens_in > len(FOUND) * 20
    assert reading.cpu_seconds is not None


@pytest.mark.parametrize(
    ("logprobs", "share"),
    [
        ({"Yes": 0.5, "No": 0.25}, 2 / 3),
        ({" yes": 0.2, "YES": 0.2, "no": 0.1, "Maybe": 0.5}, 0.8),
        ({"Yes": 0.1, "The": 0.9}, 1.0),
        ({"No": 0.1}, 0.0),
        ({"The": 0.9}, 0.5),
        ({}, 0.5),
    ],
)
def test_the_score_is_yes_against_no(logprobs, share):
    assert yes_share({token: float(np.log(value)) for token, value in logprobs.items()}) == pytest.approx(share)


def test_a_model_without_probabilities_is_refused():
    class Silent:
        accepts, style, runs_here, digest = frozenset({"max_tokens"}), "chat", True, "silent-1"

    with pytest.raises(InputError, match="the model silent-1 gives no probabilities of its tokens; name one that does"):
        registry.build("rerankers", "likelihood", tools(model=Silent()))
    with pytest.raises(InputError, match="candidates is 1; expected at least 2"):
        registry.build("rerankers", {"name": "likelihood", "candidates": 1}, tools())

    class Forgetful(Silent):
        accepts = frozenset({"max_tokens", "logprobs"})

        def generate(self, prompt: Any, decoding: Any) -> Completion:
            return Completion(text="Yes")

    with pytest.raises(ModelFailure, match="silent-1 gave no probabilities") as caught:
        registry.build("rerankers", "likelihood", tools(model=Forgetful())).rerank(QUESTION, FOUND)
    assert caught.value.code == "no_logprobs"


def test_a_hosted_model_ranks_and_its_tokens_are_booked_elsewhere(provider: FakeProvider):
    provider.script = Reply(text="Yes", tokens_in=30, logprobs=({"Yes": -0.1, "No": -2.5},))
    model = registry.build("models", hosted(provider))
    with Recorder(CpuTime()) as recorder:
        found = registry.build("rerankers", "likelihood", tools(model=model)).rerank(QUESTION, FOUND[:2])
    assert [passage.score for passage in found] == pytest.approx([0.9168] * 2, abs=1e-3)
    reading = recorder.stages()["rerank"]
    assert (reading.tokens_in, reading.tokens_out) == (60, 2)
    assert reading.elsewhere == {model.name: (60, 0, 2)}


@needs_embedded
@pytest.mark.parametrize("style", ["chat", "text"])
def test_a_real_model_ranks(style):
    model = registry.build("models", {"name": "embedded:smollm2-135m", "context_tokens": 512, "style": style})
    found = registry.build("rerankers", "likelihood", tools(model=model)).rerank(QUESTION, FOUND)
    assert all(0 < passage.score < 1 for passage in found)
    by_document = {passage.chunk.document_id: passage.score for passage in found}
    # An engine's batches differ by what is cached, and with them the last digits.
    assert by_document["d1"] == pytest.approx(by_document["d3"], abs=0.02)
    assert max(by_document.values()) - min(by_document.values()) > 0.02
    model.close()


# ------------------------------------------------------------------------------------------------------ cross-encoder


@needs_minilm
def test_a_cross_encoder_of_a_folder_ranks(cross_encoder):
    found = registry.build("rerankers", f"cross_encoder:{cross_encoder}", tools()).rerank(QUESTION, FOUND)
    plain = pytest.importorskip("sentence_transformers").CrossEncoder(str(cross_encoder), device="cpu")
    pairs = [(QUESTION, passage.chunk.text) for passage in FOUND]
    wanted = dict(zip(IDS, plain.predict(pairs).tolist(), strict=True))
    assert len({round(score, 4) for score in wanted.values()}) == 3
    for passage in found:
        assert passage.score == pytest.approx(wanted[passage.chunk.document_id], abs=1e-5)


@needs_minilm
def test_a_cross_encoder_that_cannot_rank_is_refused(tmp_path, cross_encoder):
    folder = tiny_cross_encoder(tmp_path, labels=3)
    with pytest.raises(InputError, match="gives 3 scores for a pair; expected a model for ranking"):
        registry.build("rerankers", f"cross_encoder:{folder}", tools())
    with pytest.raises(MachineError, match="cannot be loaded"):
        registry.build("rerankers", f"cross_encoder:{tmp_path / 'nothing'}", tools())
    with pytest.raises(InputError, match="batch_size is 0"):
        registry.build("rerankers", {"name": f"cross_encoder:{cross_encoder}", "batch_size": 0}, tools())
    with pytest.raises(InputError, match="cross_encoder"):
        registry.build("rerankers", "cross_encoder", tools())

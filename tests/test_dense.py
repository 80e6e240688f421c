"""Dense search: exact where it says so, measured where it is not, refused with the reason where it cannot be."""

from __future__ import annotations

import json

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import needs_minilm
from workbench import registry
from workbench.contracts import Sources
from workbench.errors import InputError
from workbench.index import Indexes
from workbench.meters.cpu_time import CpuTime
from workbench.records import Chunk, Configuration, Corpus, Document
from workbench.retrievers.dense import build

KEYS = {"index_bytes", "chunks", "recall_vs_flat@10"}


class Given:
    """An embedder whose vectors are given: a text is the number of its row."""

    digest = "given"

    def __init__(self, vectors):
        self.vectors = vectors
        self.asked = 0

    def embed(self, texts):
        self.asked += len(texts)
        return self.vectors[[int(text) for text in texts]]


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(count, dimensions=32, seed=0):
    """Unit vectors around twenty centres, as passages on twenty subjects are."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(20, dimensions))
    return unit(centres[generator.integers(0, 20, count)] + 0.5 * generator.normal(size=(count, dimensions)))


def nothing(*_):
    raise AssertionError("dense asks for nothing but its embedder")


def dense(vectors, index="Flat", precision="float32", folder=None, count=None, **parameters):
    """A dense retriever over the first ``count`` vectors; a question is the number of any."""
    chunks = [
        Chunk(id=f"d#{row}", document_id="d", start=0, end=1, text=str(row))
        for row in range(len(vectors) if count is None else count)
    ]
    sources = Sources(
        corpus=Corpus(name="c", documents=(), digest="c"),
        chunks=chunks,
        index=index,
        precision=precision,
        context_tokens=1024,
        folder=folder,
        embedder=lambda choice=None: vectors if isinstance(vectors, Given) else Given(vectors),
        model=nothing,
        retriever=nothing,
        question=nothing,
    )
    return build(sources, **parameters)


def ranked(retriever, question):
    return [(int(passage.chunk.text), passage.score) for passage in retriever.search(str(question))]


VECTORS = clustered(600)

# -------------------------------------------------------------------------------------------------------- exactness


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 60),
    dimensions=st.integers(1, 40),
    depth=st.integers(1, 70),
    seed=st.integers(0, 99),
    precision=st.sampled_from(["float32", "int8", "binary"]),
)
def test_every_precision_ranks_as_its_definition_says(count, dimensions, depth, seed, precision):
    vectors = unit(np.random.default_rng(seed).normal(size=(count, dimensions)))
    if precision == "float32":
        exact = vectors @ vectors[0]
    elif precision == "int8":
        steps = 127 / np.abs(vectors).max()
        codes = np.rint(vectors * np.float32(steps)).astype(np.int64)
        exact = codes @ codes[0] / steps**2
    else:
        exact = 1 - 2 * ((vectors > 0) != (vectors[0] > 0)).sum(axis=1) / dimensions
    found = ranked(dense(vectors, precision=precision, depth=depth), 0)
    assert len(found) == min(count, depth)
    assert [score for _, score in found] == pytest.approx(sorted(exact.tolist(), reverse=True)[:depth], abs=1e-5)
    assert all(score == pytest.approx(exact[row], abs=1e-5) for row, score in found)
    scores = [(-score, row) for row, score in found]
    assert scores == sorted(scores)  # equal ones in the order of the text


@pytest.mark.parametrize(("precision", "bits", "least"), [("float32", 32, 1.0), ("int8", 8, 0.97), ("binary", 1, 0.3)])
def test_precision_sets_the_size_and_what_is_found(precision, bits, least):
    retriever = dense(VECTORS, precision=precision)
    facts = retriever.index_facts()
    assert facts.keys() == KEYS
    assert facts["chunks"] == 600
    assert 0 < facts["index_bytes"] - 600 * 32 * bits // 8 < 200
    assert least <= facts["recall_vs_flat@10"] <= 1
    assert ranked(retriever, 7)[0] == (7, pytest.approx(1, abs=0.02))


def test_vectors_that_stand_twice_are_found_in_the_order_of_the_text():
    twice = np.concatenate([VECTORS[:50], VECTORS[:50]])
    for index, precision in (("Flat", "float32"), ("Flat", "int8"), ("Flat", "binary"), ("HNSW8", "float32")):
        retriever = dense(twice, index=index, precision=precision)
        assert [row for row, _ in ranked(retriever, 7)[:2]] == [7, 57]
        assert index == "HNSW8" or precision == "binary" or retriever.index_facts()["recall_vs_flat@10"] > 0.97


# ---------------------------------------------------------------------------------------------------------- factories


@pytest.mark.parametrize(
    "index",
    ["Flat", "HNSW32", "IVF8,Flat", "IVF8,SQ8", "SQ8", "PQ8x4", "OPQ8_16,IVF4,PQ8x4", "PCA16,HNSW8", "Flat,RFlat"],
)
def test_any_factory_string_is_an_index_with_its_facts(index, tmp_path, capfd):
    vectors = VECTORS if "OPQ" not in index else VECTORS[:300]
    folder = tmp_path / "index"
    retriever = dense(vectors, index=index, folder=folder)
    facts = retriever.index_facts()
    assert facts["index_bytes"] == (folder / "index.faiss").stat().st_size
    assert json.loads((folder / "facts.json").read_text()).items() >= facts.items()
    assert 0.1 < facts["recall_vs_flat@10"] <= 1
    assert index != "Flat" or facts["recall_vs_flat@10"] == 1
    embedder = Given(vectors)
    cached = dense(embedder, index=index, folder=folder, count=len(vectors))
    assert embedder.asked == 0  # nothing is embedded anew
    assert cached.index_facts() == facts
    assert ranked(cached, 3) == ranked(retriever, 3)
    assert capfd.readouterr() == ("", "")  # FAISS warns of few vectors by the line


def test_the_measured_recall_is_the_share_of_the_exact_ten_nearest():
    retriever = dense(VECTORS, index="IVF20,Flat", depth=10)
    exact = dense(VECTORS, depth=10)
    queries = np.linspace(0, 599, 200).astype(int)
    shares = []
    for query in queries:
        nearest = {row for row, _ in ranked(exact, query)}
        shares.append(len(nearest & {row for row, _ in ranked(retriever, query)}) / 10)
    assert retriever.index_facts()["recall_vs_flat@10"] == pytest.approx(np.mean(shares), abs=0.002)


def test_an_index_that_finds_fewer_returns_fewer():
    found = ranked(dense(VECTORS, index="IVF20,Flat", depth=600), 3)
    assert 0 < len(found) < 600
    assert {row for row, _ in found} < set(range(600))


def test_searching_wider_finds_more(tmp_path):
    narrow = dense(VECTORS, index="IVF20,Flat").index_facts()["recall_vs_flat@10"]
    wide = dense(VECTORS, index="IVF20,Flat", nprobe=20, folder=tmp_path / "wide")
    assert narrow < wide.index_facts()["recall_vs_flat@10"] == 1
    cached = dense(VECTORS, index="IVF20,Flat", nprobe=20, folder=tmp_path / "wide")
    assert ranked(cached, 5) == ranked(wide, 5) == ranked(dense(VECTORS), 5)
    sparse = dense(clustered(3000, seed=3), index="HNSW4", ef_search=1).index_facts()["recall_vs_flat@10"]
    assert sparse < dense(clustered(3000, seed=3), index="HNSW4", ef_search=200).index_facts()["recall_vs_flat@10"]


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ("IVF4096,Flat", "IVF4096 has 4096 clusters and needs at least 4096; use Flat, IVF15 or fewer clusters"),
        ("IVF1024_HNSW32,Flat", "IVF1024 has 1024 clusters"),
        ("PQ8x10", "PQ8x10 needs at least 1024; use Flat, codes of fewer bits such as PQ16x4, or smaller chunks"),
        ("OPQ8,IVF8,PQ8x12", "PQ8x12 needs at least 4096"),
        ("RQ4x10", "RQ4x10 needs at least 1024"),
        ("PCA700,Flat", "PCA700 needs at least 700"),
    ],
)
def test_factories_that_need_more_vectors_are_refused_before_anything_is_embedded(index, reason):
    embedder = Given(VECTORS)
    with pytest.raises(
        InputError, match=f"index is '{index}', which cannot be trained on the 600 chunks there are"
    ) as caught:
        dense(embedder, index=index, count=600)
    assert reason in str(caught.value)
    assert embedder.asked == 0


@pytest.mark.parametrize(
    ("index", "reason"),
    [("Florence", "could not parse index string"), ("PQ7", "multiple of the number of subquantizers"), ("", "")],
)
def test_factories_that_faiss_does_not_know_are_refused_before_all_is_embedded(index, reason):
    embedder = Given(VECTORS)
    with pytest.raises(InputError, match=f"index is '{index}', which FAISS cannot build for 32 dimensions .*{reason}"):
        dense(embedder, index=index, count=600)
    assert embedder.asked == 1


def test_what_faiss_cannot_fill_is_refused_in_its_words():
    with pytest.raises(InputError, match=r"index is 'IDMap,Flat', which cannot be trained .*add_with_ids"):
        dense(VECTORS, index="IDMap,Flat")


@pytest.mark.parametrize("precision", ["int8", "binary"])
@pytest.mark.parametrize("index", ["HNSW32", "IVF8,Flat"])
def test_a_precision_belongs_to_flat(index, precision):
    with pytest.raises(
        InputError, match=f"precision is '{precision}' and index is '{index}'; expected .*Flat.* use SQ8"
    ):
        dense(VECTORS, index=index, precision=precision)


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ({"precision": "int4"}, "precision is 'int4'; expected one of float32, int8, binary"),
        ({"nprobe": 4}, "nprobe is 4, but index 'Flat' has no clusters to probe"),
        ({"nprobe": 4, "precision": "binary"}, "nprobe is 4, but index 'Flat' has no clusters to probe"),
        ({"ef_search": 4, "index": "IVF8,Flat"}, "ef_search is 4, but index 'IVF8,Flat' has no graph to follow"),
        (
            {"nprobe": 0, "ef_search": -1},
            "nprobe is 0; expected at least 1\ndense: ef_search is -1; expected at least 1",
        ),
        ({"depth": 0}, "depth is 0; expected at least 1"),
    ],
)
def test_impossible_parameters_are_refused(parameters, problem):
    with pytest.raises(InputError) as caught:
        dense(VECTORS, **parameters)
    assert problem in str(caught.value)


# -------------------------------------------------------------------------------------------------------------- cache


@pytest.mark.parametrize("precision", ["float32", "int8", "binary"])
@pytest.mark.parametrize("name", ["index.faiss", "facts.json"])
def test_a_harmed_file_is_made_anew(precision, name, tmp_path):
    folder = tmp_path / "index"
    retriever = dense(VECTORS, precision=precision, folder=folder)
    for harm in (b"", b"{}", (folder / name).read_bytes()[:-1]):
        (folder / name).write_bytes(harm)
        again = dense(VECTORS, precision=precision, folder=folder)
        assert again.index_facts() == retriever.index_facts()
        assert ranked(again, 3) == ranked(retriever, 3)


def test_an_index_of_another_corpus_is_not_taken_for_ours(tmp_path):
    dense(VECTORS, folder=tmp_path / "index", count=100)
    assert dense(VECTORS, folder=tmp_path / "index").index_facts()["chunks"] == 600


def test_a_plain_index_is_what_faiss_writes(tmp_path):
    dense(VECTORS, folder=tmp_path / "index")
    plain = faiss.read_index(str(tmp_path / "index" / "index.faiss"))
    assert plain.reconstruct_n(0, 600) == pytest.approx(VECTORS)


@needs_minilm
@pytest.mark.parametrize(
    "axes", [{}, {"precision": "int8"}, {"precision": "binary"}, {"dimensions": 128}, {"index": "HNSW8"}]
)
def test_real_embeddings_find_what_is_meant(axes):
    texts = ["The cat sat on the mat.", "Shares fell on Monday.", "Rain is expected in the north."] * 4
    documents = tuple(Document(id=f"d{number}", text=text) for number, text in enumerate(texts))
    indexes = Indexes(Corpus(name="c", documents=documents, digest="c"), None, lambda work: None, CpuTime())
    found = indexes.retriever(Configuration({"retriever": "dense", "chunker": "document", **axes}))
    assert found.search("Which animal was resting on the rug?")[0].chunk.document_id == "d0"
    assert found.search("How did the stock exchange do?")[0].chunk.document_id == "d1"


def test_needs_are_told_without_an_import():
    assert registry.needs("retrievers", "dense") >= {"chunks", "embedder", "index"}

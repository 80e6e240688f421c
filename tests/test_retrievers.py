"""What every retriever promises, what each computes, and that indexes are built once and survive any harm."""

import threading
from collections import Counter

import bm25s
import numpy as np
import pytest

from tests.conftest import needs_minilm
from workbench import registry, weights
from workbench.contracts import Sources
from workbench.errors import InputError, MachineError
from workbench.index import Indexes
from workbench.meters.cpu_time import CpuTime
from workbench.records import Chunk, Configuration, Corpus, Document, Passage, Reading, digest
from workbench.retrievers.bm25 import _best
from workbench.retrievers.hybrid import build as build_hybrid

TEXTS = [
    "The cat sat on the mat.",
    "Dogs chase cats through the garden.",
    "The moon is far from the garden.",
    "A cat and a dog look at the moon.",
    "The cat sat on the mat.",
    "Nothing here matches, except numbers: 42.",
]
QUESTIONS = ["Where did the cat sit, on the mat?", "garden moon", "42", "zebra", "", "the"]
RETRIEVERS = [name for name in registry.names("retrievers") if name != "none"]


class WordVectors:
    """An embedder without weights: every word points in a direction of its own."""

    digest = "words"

    def __init__(self):
        self.calls = Counter()

    def embed(self, texts):
        self.calls[len(texts)] += 1
        rows = []
        for text in texts:
            row = np.full(64, 1e-3)
            for word in text.lower().split():
                row[int(digest(word.strip(".,?:"))[:8], 16) % 64] += 1
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, dtype=np.float32)


@pytest.fixture
def embedder(monkeypatch):
    """The fake embedder, whatever embedder is asked for."""
    vectors = WordVectors()
    build = registry.build
    monkeypatch.setattr(
        registry, "build", lambda kind, choice, *more: vectors if kind == "embedders" else build(kind, choice, *more)
    )
    return vectors


def corpus(texts=TEXTS):
    documents = tuple(Document(id=f"d{number}", text=text) for number, text in enumerate(texts))
    return Corpus(name="small", documents=documents, digest=digest(*texts))


def indexes(folder=None, texts=TEXTS, record=lambda work: None):
    return Indexes(corpus(texts), folder, record, CpuTime())


def retriever(choice, folder=None, texts=TEXTS, **axes):
    return indexes(folder, texts).retriever(Configuration({"retriever": choice, **axes}))


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -------------------------------------------------------------------------------------------------- every retriever


@pytest.mark.parametrize("name", RETRIEVERS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_passages_are_ranked_from_one_best_first(name, question, embedder):
    passages = retriever(name).search(question)
    assert [passage.rank for passage in passages] == list(range(1, len(passages) + 1))
    scores = [passage.score for passage in passages]
    assert scores == sorted(scores, reverse=True)
    assert len({passage.chunk.id for passage in passages}) == len(passages)
    assert all(isinstance(score, float) for score in scores)


@pytest.mark.parametrize("name", RETRIEVERS)
def test_searching_twice_or_building_twice_gives_the_same(name, embedder):
    first, second = retriever(name), retriever(name)
    for question in QUESTIONS:
        assert first.search(question) == first.search(question) == second.search(question)


@pytest.mark.parametrize("name", RETRIEVERS)
def test_at_most_depth_passages(name, embedder):
    assert len(retriever({"name": name, "depth": 2}).search("cat moon garden")) == 2
    with pytest.raises(InputError, match="depth is 0; expected at least 1"):
        retriever({"name": name, "depth": 0})


@pytest.mark.parametrize("name", RETRIEVERS)
def test_equal_passages_stand_in_the_order_of_the_text(name, embedder):
    found = [passage.chunk.document_id for passage in retriever(name).search("cat mat")]
    assert found.index("d0") < found.index("d4")


@pytest.mark.parametrize("name", RETRIEVERS)
def test_threads_may_search_together(name, embedder):
    shared = indexes()
    configuration = Configuration({"retriever": name})
    alone = retriever(name).search("cat mat moon")
    found = []

    def work():
        found.extend(shared.retriever(configuration).search("cat mat moon") == alone for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80


# ------------------------------------------------------------------------------------------------------------ cache


@pytest.mark.parametrize("name", RETRIEVERS)
def test_an_index_from_the_cache_answers_as_the_one_that_was_built(name, tmp_path, embedder):
    built = retriever(name, tmp_path)
    before = files(tmp_path)
    assert before
    assert not [path for path in before if path.suffix in (".pkl", ".pickle")]
    assert not list(tmp_path.rglob(".*"))
    loaded = retriever(name, tmp_path)
    assert files(tmp_path) == before
    for question in QUESTIONS:
        assert loaded.search(question) == built.search(question)
    assert embedder.calls[len(TEXTS)] <= 1


@pytest.mark.parametrize("harm", ["cut short", "bit flipped", "emptied", "missing", "checksums lost"])
@pytest.mark.parametrize("name", RETRIEVERS)
def test_a_harmed_cache_is_built_anew(name, harm, tmp_path, embedder):
    built = retriever(name, tmp_path)
    whole = files(tmp_path)
    for path, data in whole.items():
        if harm == "checksums lost":
            if path.name == "checksums.json":
                path.write_text("[]")
        elif harm == "missing":
            path.unlink()
        elif path.name != "checksums.json":
            middle = len(data) // 2
            flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
            path.write_bytes({"cut short": data[:middle], "bit flipped": flipped, "emptied": b""}[harm])
    again = retriever(name, tmp_path)
    for question in QUESTIONS:
        assert again.search(question) == built.search(question)
    assert files(tmp_path).keys() == whole.keys()


def test_an_index_that_cannot_be_stored_says_so(tmp_path, embedder):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot write the index"):
        retriever("bm25", tmp_path / "file")


def test_another_text_is_another_index(tmp_path, embedder):
    retriever("bm25", tmp_path)
    changed = retriever("bm25", tmp_path, texts=["cat", *TEXTS[1:]])
    assert changed.search("cat")[0].chunk.text == "cat"


# -------------------------------------------------------------------------------------------------------- one-offs


def test_work_is_done_and_recorded_once(tmp_path, embedder):
    done = []
    shared = indexes(tmp_path, record=done.append)
    for axes in ({}, {"embedder": "other:x"}, {"retriever": "dense"}, {"retriever": "hybrid"}, {"passages": 5}):
        shared.retriever(Configuration(axes))
    assert [work.work for work in done] == ["chunk", "index", "load", "index"]
    assert all(work.reading.seconds >= 0 and work.reading.cpu_seconds is not None for work in done)
    assert "tokens(chunk_tokens=128, chunk_overlap=0)" in done[0].what
    again = []
    indexes(tmp_path, record=again.append).retriever(Configuration({"retriever": "hybrid"}))
    assert {work.work for work in again} == {"chunk", "load"}


def test_indexes_of_several_kinds_share_their_embeddings(tmp_path, embedder):
    for folder in (tmp_path, None):
        embedder.calls.clear()
        shared = indexes(folder)
        for index in ("Flat", "HNSW8", "IVF2,Flat"):
            assert shared.retriever(Configuration({"retriever": "dense", "index": index})).search("cat mat")
        assert embedder.calls[len(TEXTS)] == 1


def test_nested_work_is_not_counted_twice(embedder):
    class Clock:
        name = "clock"
        open = False

        def start(self):
            assert not self.open, "windows overlap"
            self.open = True

        def stop(self, mark):
            assert self.open
            self.open = False
            return Reading(seconds=1.0)

    done = []
    Indexes(corpus(), None, done.append, Clock()).retriever(Configuration({"retriever": "hybrid"}))
    assert [work.work for work in done] == ["chunk", "index", "load", "index", "index"]


def test_closed_book_has_no_retriever():
    assert indexes().retriever(Configuration({"retriever": "none"})) is None


def test_a_chunker_gets_only_what_it_accepts(embedder):
    whole = indexes().chunks(Configuration({"chunker": "document", "chunk_tokens": 5, "chunk_overlap": 9}))
    assert [chunk.text for chunk in whole] == TEXTS
    own = indexes().chunks(Configuration({"chunker": {"name": "tokens", "chunk_tokens": 4}}))
    assert len(own) > len(TEXTS)


# ------------------------------------------------------------------------------------------------------------- bm25


def test_bm25_ranks_as_plain_bm25s():
    plain = bm25s.BM25(k1=1.5, b=0.75)
    plain.index(bm25s.tokenize(TEXTS, stopwords="english", show_progress=False), show_progress=False)
    for question in ("cat mat", "garden moon", "dog looks at the moon", "cat cat cat dogs"):
        words = bm25s.tokenize([question], stopwords="english", show_progress=False)
        positions, scores = plain.retrieve(words, k=len(TEXTS), show_progress=False)
        wanted = {int(p): float(s) for p, s in zip(positions[0], scores[0], strict=True) if s > 0}
        found = {int(p.chunk.document_id[1:]): p.score for p in retriever("bm25").search(question)}
        assert found == pytest.approx(wanted)
        assert list(found.values()) == sorted(wanted.values(), reverse=True)


def test_bm25_finds_titles():
    documents = (Document(id="a", title="Zebra", text="An animal."), Document(id="b", title="", text="Something else."))
    library = Indexes(Corpus(name="c", documents=documents, digest="c"), None, lambda work: None, CpuTime())
    [passage] = library.retriever(Configuration({})).search("zebra")
    assert (passage.chunk.document_id, passage.chunk.text) == ("a", "An animal.")


def test_ties_at_the_depth_are_cut_in_order():
    scores = np.array([1, 2, 1, 0, 1, 3, 1], dtype=np.float32)
    assert _best(scores, 3).tolist() == [5, 1, 0]
    assert _best(scores, 4).tolist() == [5, 1, 0, 2]
    assert _best(scores, 99).tolist() == [5, 1, 0, 2, 4, 6]


def test_texts_without_a_word_find_nothing():
    assert retriever("bm25", texts=["!", "?"]).search("word") == []


@pytest.mark.parametrize("parameters", [{"k1": -1}, {"b": 1.5}])
def test_impossible_bm25_parameters_are_refused(parameters):
    with pytest.raises(InputError, match=r"expected"):
        retriever({"name": "bm25", **parameters})


# ------------------------------------------------------------------------------------------------------------ dense


@pytest.mark.parametrize("index", ["Flat", "HNSW16"])
def test_dense_ranks_as_brute_force(index, embedder):
    vectors = embedder.embed(TEXTS)
    for question in ("cat mat", "garden moon", "dogs"):
        cosines = vectors @ embedder.embed([question])[0]
        found = retriever("dense", index=index).search(question)
        scores = [passage.score for passage in found]
        assert scores == pytest.approx(sorted(cosines.tolist(), reverse=True), abs=1e-6)
        for passage in found:
            assert passage.score == pytest.approx(float(cosines[int(passage.chunk.document_id[1:])]), abs=1e-6)


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ("IVF4096,Flat", "cannot be trained on the 6 chunks there are"),
        ("PQ8", "cannot be trained on the 6 chunks there are"),
        ("Florence", "could not parse index string Florence"),
    ],
)
def test_indexes_that_cannot_be_built_are_refused_with_the_reason(index, reason, embedder):
    with pytest.raises(InputError, match=f"index is '{index}'.*{reason}"):
        retriever("dense", index=index)


@needs_minilm
def test_the_embedded_model_understands():
    found = retriever("dense", chunker="document").search("Which animal was resting on the rug?")
    assert found[0].chunk.document_id == "d0"
    embedder = registry.build("embedders", "embedded:minilm-l6")
    vectors = embedder.embed(["a question", "another, longer question", "a question"])
    assert (vectors.shape, vectors.dtype) == ((3, 384), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert np.abs(vectors[0] - embedder.embed(["a question"])[0]).max() < 1e-5
    assert embedder.embed([]).shape == (0, 384)
    assert len(embedder.digest) == 64


@needs_minilm
def test_a_folder_is_an_embedder_too():
    folder = weights.require("minilm-l6", "embedder").parent
    embedder = registry.build("embedders", {"name": f"sentence_transformers:{folder}", "batch_size": 2})
    assert embedder.embed(["a", "b", "c"]).shape == (3, 384)
    with pytest.raises(MachineError, match="cannot be loaded"):
        registry.build("embedders", f"sentence_transformers:{folder / 'nothing'}")
    with pytest.raises(InputError, match="batch_size is 0"):
        registry.build("embedders", {"name": f"sentence_transformers:{folder}", "batch_size": 0})


# ----------------------------------------------------------------------------------------------------------- hybrid


class Fixed:
    """A retriever that always ranks the same."""

    def __init__(self, ids):
        self.ids = ids

    def search(self, question):
        chunks = [Chunk(id=id, document_id=id, start=0, end=1, text=id) for id in self.ids]
        return [Passage(chunk=chunk, score=1.0, rank=rank) for rank, chunk in enumerate(chunks, 1)]


def fused(lexical, semantic, **parameters):
    of = {"bm25": Fixed(lexical), "dense": Fixed(semantic)}
    sources = Sources(chunks=(), index="Flat", folder=None, embedder=WordVectors, retriever=of.__getitem__)
    return [(passage.chunk.id, passage.score) for passage in build_hybrid(sources, **parameters).search("?")]


def test_ranks_are_fused_by_the_published_formula():
    assert fused("abc", "ca") == [
        ("a", pytest.approx(1 / 61 + 1 / 62)),
        ("c", pytest.approx(1 / 63 + 1 / 61)),
        ("b", pytest.approx(1 / 62)),
    ]


def test_the_weight_is_the_share_of_dense():
    assert [id for id, _ in fused("abc", "ca", weight=0)] == ["a", "b", "c"]
    assert [id for id, _ in fused("abc", "ca", weight=1)] == ["c", "a"]
    assert fused("a", "a", weight=0.25, constant=0) == [("a", pytest.approx(2.0))]


def test_equal_fusions_stand_as_the_first_retriever_ranked_them():
    assert [id for id, _ in fused("ab", "ba")] == ["a", "b"]


@pytest.mark.parametrize("parameters", [{"weight": 2}, {"constant": -1}, {"depth": 0}])
def test_impossible_hybrid_parameters_are_refused(parameters):
    with pytest.raises(InputError, match="hybrid: "):
        fused("a", "b", **parameters)

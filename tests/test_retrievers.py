"""What every retriever promises, what each computes, and that indexes are built once and survive any harm."""

import re
import threading
from collections import Counter
from dataclasses import replace

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document as LangChainDocument
from langchain_core.retrievers import BaseRetriever

from tests.conftest import needs_embedded, needs_minilm
from workbench import registry, weights
from workbench.booking import Recorder
from workbench.contracts import Sources
from workbench.errors import InfrastructureFailure, InputError, MachineError
from workbench.index import Indexes
from workbench.meters.cpu_time import CpuTime
from workbench.records import Chunk, Configuration, Corpus, Document, Passage, Question, Reading, Span, digest
from workbench.retrievers._places import Places
from workbench.retrievers._ranking import Ranking
from workbench.retrievers._terms import LANGUAGES
from workbench.retrievers.bm25 import _best

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
INDEXING = ["bm25", "dense", "hybrid"]
SPECIAL = {
    "hyde": {"name": "hyde", "retriever": "bm25", "keep_question": True},
    "multi_query": {"name": "multi_query", "retriever": "bm25"},
    "langchain": {"name": "langchain:tests.test_retrievers:by_shared_words"},
}
"""How a retriever is named here that cannot be had by its name alone; a new file of that kind says it here."""


class BySharedWords(BaseRetriever):
    """A LangChain retriever that counts the words a document has in common with the question."""

    documents: list[LangChainDocument]

    def _get_relevant_documents(self, query, *, run_manager):
        asked = set(re.findall(r"\w+", query.lower()))
        shared = [len(asked & set(re.findall(r"\w+", each.page_content.lower()))) for each in self.documents]
        order = sorted(range(len(shared)), key=lambda position: -shared[position])
        return [self.documents[position] for position in order if shared[position]]


def by_shared_words(documents):
    """What a user would write: it is given the corpus as LangChain documents."""
    return BySharedWords(documents=documents)


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


def scripted(configuration):
    return lambda choice=None: registry.build("models", choice or "scripted")


def gold(text):
    """Every question is one of the evaluation set, with the same gold."""
    return Question(id="q", question=text, evidence=("d4", "d0", "d2"))


def indexes(folder=None, texts=TEXTS, record=lambda work: None):
    return Indexes(corpus(texts), folder, record, CpuTime(), model=scripted, question=gold)


def sources(**given):
    """What a retriever is built from, nothing of it there but what is given."""
    nothing = Corpus(name="none", documents=(), digest="")
    plain = {
        "corpus": nothing,
        "chunks": (),
        "index": "Flat",
        "precision": "float32",
        "context_tokens": 100,
        "folder": None,
    }
    others = {"embedder": WordVectors, "model": scripted(None), "retriever": None, "question": lambda text: None}
    return Sources(**{**plain, **others, **given})


def chosen(name, **parameters):
    return {"name": name, **SPECIAL.get(name, {}), **parameters}


def retriever(choice, folder=None, texts=TEXTS, **axes):
    choice = chosen(choice) if isinstance(choice, str) else choice
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


# One has no depth by its nature, the other that of the retriever it asks.
@pytest.mark.parametrize("name", sorted({*RETRIEVERS} - {"everything", "hyde"}))
def test_at_most_depth_passages(name, embedder):
    choice = chosen(name)
    assert len(retriever({**choice, "depth": 2}).search("cat moon garden")) == 2
    with pytest.raises(InputError, match="depth is 0; expected at least 1"):
        retriever({**choice, "depth": 0})


@pytest.mark.parametrize("name", RETRIEVERS)
def test_equal_passages_stand_in_the_order_of_the_text(name, embedder):
    found = [passage.chunk.document_id for passage in retriever(name).search("cat mat")]
    assert found.index("d0") < found.index("d4")


@pytest.mark.parametrize("name", RETRIEVERS)
def test_threads_may_search_together(name, embedder):
    shared = indexes()
    configuration = Configuration({"retriever": chosen(name)})
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


@given(st.lists(st.floats(0, 1), max_size=8), st.slices(8))
def test_a_ranking_is_the_list_of_its_passages(scores, part):
    chunks = [Chunk(id=str(number), document_id="d", start=0, end=1, text="") for number in range(8)]
    places = list(range(8))[::-1][: len(scores)]
    wanted = [
        Passage(chunk=chunks[place], score=score, rank=rank)
        for rank, (place, score) in enumerate(zip(places, scores, strict=True), 1)
    ]
    ranking = Ranking(chunks, places, scores)
    assert (list(ranking), len(ranking), bool(ranking)) == (wanted, len(wanted), bool(wanted))
    assert ranking == wanted
    assert ranking != [*wanted, None]
    assert ranking[part] == wanted[part]
    assert [ranking[place] for place in range(-len(wanted), len(wanted))] == wanted * 2
    with pytest.raises(IndexError):
        ranking[len(wanted)]


def test_a_search_makes_only_the_passages_that_are_looked_at():
    class Watched(list):
        def __getitem__(self, position):
            self.asked.append(position)
            return super().__getitem__(position)

    chunks = Watched("abcdefgh")
    chunks.asked = []
    ranking = Ranking(chunks, [7, 3, 5, 1], [4.0, 3.0, 2.0, 1.0])
    assert chunks.asked == []
    assert [passage.chunk for passage in ranking[:2]] == ["h", "d"]
    assert chunks.asked == [7, 3]


# ------------------------------------------------------------------------------------------------------------ cache


@pytest.mark.parametrize("name", INDEXING)
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
@pytest.mark.parametrize("name", INDEXING)
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
    assert [work.work for work in done] == ["chunk", "index", "load", "embed", "index"]
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
    assert [work.work for work in done] == ["chunk", "index", "load", "embed", "index", "index"]


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


@given(st.lists(st.text("ab cd. the-42_XY\n", max_size=30), min_size=1, max_size=6), st.text("ab cdXY42_", max_size=20))
def test_ascii_text_is_searched_as_bm25s_does_it(texts, question):
    texts = [*texts, "anchor"]
    plain = bm25s.BM25(k1=1.2, b=0.6)
    plain.index(bm25s.tokenize(texts, show_progress=False), show_progress=False)
    [words] = bm25s.tokenize([question], show_progress=False, return_ids=False)
    known = [word for word in words if word in plain.vocab_dict]
    wanted = plain.get_scores(known) if known else np.zeros(len(texts))
    chunks = [Chunk(id=str(n), document_id=str(n), start=0, end=1, text=text) for n, text in enumerate(texts)]
    found = registry.build("retrievers", {"name": "bm25", "k1": 1.2, "b": 0.6}, sources(chunks=chunks)).search(question)
    scores = {int(passage.chunk.id): passage.score for passage in found}
    assert scores == pytest.approx({place: score for place, score in enumerate(wanted.tolist()) if score > 0})


MANY_SCRIPTS = {
    "zh": "北京是中华人民共和国的首都。",
    "ja": "東京タワーは港区にあります。",
    "th": "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
    "ar": "القاهرة هي عاصمة جمهورية مصر العربية",
    "hi": "नई दिल्ली भारत की राजधानी है।",
    "de": "Die Straßenbahn fährt über die Brücke.",
}


@pytest.mark.parametrize(
    ("question", "document"),
    [
        ("中国的首都在哪里?", "zh"),
        ("港区の東京タワー", "ja"),
        ("เมืองหลวง คืออะไร", "th"),
        ("ما هي عاصمة مصر؟", "ar"),
        ("भारत की राजधानी क्या है?", "hi"),
        ("STRASSENBAHN", "de"),
    ],
)
def test_any_script_is_searched(question, document):
    documents = tuple(Document(id=id, text=text) for id, text in MANY_SCRIPTS.items())
    library = Indexes(Corpus(name="c", documents=documents, digest="c"), None, lambda work: None, CpuTime())
    found = library.retriever(Configuration({})).search(question)
    assert found[0].chunk.document_id == document


def test_a_vowel_sign_does_not_part_a_word():
    texts = ["दिल में", "दल में"]  # heart, and party: the same letters with and without a vowel sign
    assert [passage.chunk.document_id for passage in retriever("bm25", texts=texts).search("दिल")] == ["d0"]


@pytest.mark.parametrize(
    ("language", "text", "question"),
    [
        ("english", "Dogs were running.", "a dog runs"),
        ("german", "Die Häuser stehen.", "das Haus steht"),
        ("arabic", "الكتب", "كتب"),
    ],
)
def test_stemming_finds_other_forms(language, text, question, tmp_path):
    texts = ["nothing of the kind", text]
    assert not retriever({"name": "bm25", "language": language}, texts=texts).search(question)
    choice = {"name": "bm25", "language": language, "stem": True}
    for _ in ("built", "from the cache"):
        found = retriever(choice, tmp_path, texts=texts).search(question)
        assert [passage.chunk.text for passage in found] == [text]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_named_is_one(language):
    terms = retriever({"name": "bm25", "language": language}, texts=["word"])
    assert [passage.chunk.text for passage in terms.search("word")] == ["word"]
    try:
        stemming = retriever({"name": "bm25", "language": language, "stem": True}, texts=["word"])
    except InputError as error:
        assert language in ("chinese", "korean"), error
    else:
        assert [passage.chunk.text for passage in stemming.search("word")] == ["word"]


def test_stop_words_are_the_languages():
    texts = ["the und", "and"]
    found = {
        language: [
            [p.chunk.text for p in retriever(choice, texts=texts).search(word)] for word in ("the", "und", "and")
        ]
        for language in ("english", "german", "none")
        for choice in [{"name": "bm25", "language": language}]
    }
    assert found["english"] == [[], ["the und"], []]
    assert found["german"] == [["the und"], [], ["and"]]
    assert found["none"] == [["the und"], ["the und"], ["and"]]


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


def test_bm25_says_how_large_its_index_is(tmp_path):
    small, large = (
        retriever("bm25"),
        retriever("bm25", tmp_path, texts=[f"{text} {n}" for n, text in enumerate(TEXTS * 9)]),
    )
    assert small.index_facts()["chunks"] == len(TEXTS)
    assert 0 < small.index_facts()["index_bytes"] < large.index_facts()["index_bytes"]
    again = retriever("bm25", tmp_path, texts=[f"{text} {n}" for n, text in enumerate(TEXTS * 9)])
    assert again.index_facts() == large.index_facts()
    assert retriever("bm25", texts=["!"]).index_facts() == {"index_bytes": 0, "chunks": 1}


def test_texts_without_a_word_find_nothing():
    assert retriever("bm25", texts=["!", "?"]).search("word") == []


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"k1": -1}, "k1 is -1"),
        ({"b": 1.5}, "b is 1.5"),
        ({"language": "klingon"}, "language is 'klingon'; expected none, arabic, .*yiddish"),
        ({"language": "chinese", "stem": True}, "stem is true, but language is chinese; expected one of arabic, "),
        ({"language": "none", "stem": True}, "stem is true, but language is none"),
    ],
)
def test_impossible_bm25_parameters_are_refused(parameters, message):
    with pytest.raises(InputError, match=message):
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
    """A retriever that always ranks the same and remembers what it was asked."""

    def __init__(self, ids, scores=None):
        self.ids = ids
        self.scores = scores or [1.0] * len(ids)
        self.asked = []

    def search(self, question):
        self.asked.append(question)
        chunks = [Chunk(id=id, document_id=id, start=0, end=1, text=id) for id in self.ids]
        pairs = zip(chunks, self.scores, strict=True)
        return [Passage(chunk=chunk, score=score, rank=rank) for rank, (chunk, score) in enumerate(pairs, 1)]


def fused(lexical, semantic, **parameters):
    of = {"bm25": Fixed(lexical), "dense": Fixed(semantic)}
    hybrid = registry.build("retrievers", {"name": "hybrid", **parameters}, sources(retriever=of.__getitem__))
    return [(passage.chunk.id, passage.score) for passage in hybrid.search("?")]


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


def test_scores_are_fused_after_stretching_each_ranking():
    of = {"bm25": Fixed("abc", [9.0, 8.0, 5.0]), "dense": Fixed("cad", [0.9, 0.8, 0.7])}

    def found(**parameters):
        choice = {"name": "hybrid", "fusion": "scores", **parameters}
        ranking = registry.build("retrievers", choice, sources(retriever=of.__getitem__)).search("?")
        return [(passage.chunk.id, pytest.approx(passage.score)) for passage in ranking]

    assert found() == [("a", 1 + 0.5), ("c", 0 + 1), ("b", 0.75), ("d", 0)]
    assert found(weight=0.25) == [("a", 1.5 + 0.25), ("b", 1.125), ("c", 0.5), ("d", 0)]
    assert found(weight=1) == [("c", 2), ("a", 1), ("d", 0)]
    of["dense"] = Fixed("ca", [0.3, 0.3])
    assert found() == [("a", 2), ("c", 1), ("b", 0.75)]
    of["dense"] = Fixed("")
    assert found() == [("a", 1), ("b", 0.75), ("c", 0)]


def test_a_part_without_weight_is_not_even_asked():
    of = {"bm25": Fixed("ab")}
    for fusion in ("rrf", "scores"):
        choice = {"name": "hybrid", "weight": 0, "fusion": fusion}
        assert len(registry.build("retrievers", choice, sources(retriever=of.__getitem__)).search("?")) == 2


def test_the_parts_of_hybrid_may_be_any_retrievers(embedder):
    plain = retriever("hybrid").search("dogs on the moon")
    stemmed = retriever({"name": "hybrid", "lexical": {"name": "bm25", "stem": True}}).search("dogs on the moon")
    assert [passage.score for passage in plain] != [passage.score for passage in stemmed]
    twice = retriever({"name": "hybrid", "dense": "bm25"}).search("dogs on the moon")
    alone = retriever("bm25").search("dogs on the moon")
    assert [passage.chunk for passage in twice] == [passage.chunk for passage in alone]
    with pytest.raises(InputError, match="unknown retriever 'nosuch'"):
        retriever({"name": "hybrid", "lexical": "nosuch"})


@pytest.mark.parametrize("parameters", [{"weight": 2}, {"constant": -1}, {"depth": 0}, {"fusion": "sum"}])
def test_impossible_hybrid_parameters_are_refused(parameters):
    with pytest.raises(InputError, match="hybrid: "):
        fused("a", "b", **parameters)


# ----------------------------------------------------------------------------------------------------------- bounds

LONG = "First part, of no use. Second part: the cat is grey. Third part, the cat is old."


def oracle(question, **axes):
    library = Indexes(corpus([LONG, *TEXTS]), None, lambda work: None, CpuTime(), question=lambda text: question)
    found = library.retriever(Configuration({"retriever": "oracle", "chunk_tokens": 8, **axes})).search("?")
    assert {passage.score for passage in found} <= {1.0}
    return [passage.chunk for passage in found]


def test_the_oracle_finds_what_touches_the_gold_spans():
    start = LONG.index("grey")
    asked = Question(id="q", question="?", evidence=("d0", "d3"), spans=(Span("d0", start, start + 4),))
    [found] = oracle(asked)
    assert (found.document_id, "grey" in found.text) == ("d0", True)
    wide = replace(asked, spans=(Span("d0", 0, len(LONG)), Span("d2", 1, 2)))
    assert [chunk.document_id for chunk in oracle(wide)] == ["d0"] * (len(oracle(wide)) - 1) + ["d2"]
    assert [chunk.start for chunk in oracle(wide)[:-1]] == sorted(chunk.start for chunk in oracle(wide)[:-1])


def test_the_oracle_finds_all_of_the_gold_documents_where_no_span_is_known():
    found = oracle(Question(id="q", question="?", evidence=("d3", "d0", "nowhere")))
    assert [chunk.document_id for chunk in found] == ["d0"] * (len(found) - 1) + ["d3"]
    assert found[0].text + " " + " ".join(chunk.text for chunk in found[1:-1]) == LONG
    outside = Question(id="q", question="?", evidence=("d3",), spans=(Span("d0", 900, 910),))
    assert [chunk.document_id for chunk in oracle(outside)] == ["d3"]


@pytest.mark.parametrize(
    "question",
    [
        None,
        Question(id="q", question="?"),
        Question(id="q", question="?", evidence=()),
        Question(id="q", question="?", evidence=("d0",), answerable=False),
    ],
    ids=["not in the evaluation set", "gold not known", "no gold", "unanswerable"],
)
def test_the_oracle_finds_nothing_where_there_is_no_gold(question):
    assert oracle(question) == []


def test_everything_is_the_whole_corpus_in_order_where_it_fits():
    found = retriever("everything", texts=[*TEXTS, " \n"], context_tokens=200, chunk_tokens=4).search("zebra")
    assert [passage.chunk.text for passage in found] == TEXTS
    with pytest.raises(
        InputError,
        match=r"the 6 documents of small take \d\d tokens; context_tokens is 40: raise it .*, or choose another",
    ):
        retriever("everything", context_tokens=40)


# -------------------------------------------------------------------------------------------- those that ask a model


def asking(choice, replies=None, found=None, **model):
    """A retriever that asks the scripted model, with what it searches with; returns both."""
    searcher = found or Fixed("abc")
    writer = registry.build("models", {"name": "scripted", "replies": replies or {}, **model})
    built = registry.build(
        "retrievers", choice, sources(retriever=lambda choice: searcher, model=lambda choice=None: writer)
    )
    return built, searcher


def test_hyde_searches_with_what_the_model_makes_up():
    hyde, searcher = asking("hyde", {"Who lit": "Ada Brandt lit the lamp in 1894."})
    assert [passage.chunk.id for passage in hyde.search("Who lit the lamp?")] == ["a", "b", "c"]
    both, _ = asking({"name": "hyde", "keep_question": True}, {"Who lit": "Ada Brandt."}, found=searcher)
    both.search("Who lit the lamp?")
    assert searcher.asked == ["Ada Brandt lit the lamp in 1894.", "Who lit the lamp?\nAda Brandt."]


def test_multi_query_searches_with_every_wording():
    class ByQuestion:
        def __init__(self):
            self.asked = []

        def search(self, question):
            self.asked.append(question)
            return Fixed({"Who lit the lamp?": "ab", "Who set the lamp alight?": "bc"}.get(question, "c")).search("")

    class Writer:
        """A model whose replies keep their lines, which the scripted one's do not."""

        accepts = frozenset({"max_tokens"})
        style, runs_here, digest = "chat", True, "writer"

        def __init__(self, text):
            self.text = text

        def generate(self, prompt, decoding):
            return replace(registry.build("models", "scripted").generate(prompt, decoding), text=self.text)

    def found(text, **parameters):
        searcher = ByQuestion()
        given = sources(retriever=lambda choice: searcher, model=lambda choice=None: Writer(text))
        ranking = registry.build("retrievers", {"name": "multi_query", **parameters}, given).search("Who lit the lamp?")
        return searcher.asked, [passage.chunk.id for passage in ranking]

    lines = "1. Who set the lamp alight?\n\n - Who lit the lamp?\n2) Lamp: who?\nQuestion 4: What for?\n***\n"
    asked, ids = found(lines)
    assert asked == ["Who lit the lamp?", "Who set the lamp alight?", "Lamp: who?", "What for?"]
    assert ids == ["c", "b", "a"]
    assert found(lines, count=1) == (["Who lit the lamp?", "Who set the lamp alight?"], ["b", "a", "c"])
    for nothing in ("", " \n-\n", "Who lit the lamp?"):
        assert found(nothing) == (["Who lit the lamp?"], ["a", "b"])


@pytest.mark.parametrize("name", ["hyde", "multi_query"])
def test_what_the_model_is_asked_is_charged_to_the_answer(name):
    built, _ = asking(name, {"lamp": "one two three"}, seconds=0.02)
    with Recorder(CpuTime()) as recorder:
        built.search("Who lit the lamp?")
    reading = recorder.stages()["rewrite"]
    assert reading.seconds >= 0.02
    assert (reading.tokens_out, reading.tokens_cached) == (3, 0)
    assert reading.tokens_in > 10
    assert reading.cpu_seconds is not None


@pytest.mark.parametrize("name", ["hyde", "multi_query"])
def test_a_model_that_writes_nothing_leaves_the_question_and_one_that_fails_fails(name):
    silent, searcher = asking(name, fail="empty_output")
    assert [passage.chunk.id for passage in silent.search("Who lit the lamp?")] == ["a", "b", "c"]
    assert searcher.asked == ["Who lit the lamp?"]
    broken, searcher = asking(name, fail="timeout")
    with pytest.raises(InfrastructureFailure, match="timeout"):
        broken.search("Who lit the lamp?")
    assert searcher.asked == []


@pytest.mark.parametrize("choice", [{"name": "hyde", "max_tokens": 0}, {"name": "multi_query", "count": 0, "depth": 0}])
def test_impossible_parameters_of_rewriting_are_refused(choice):
    with pytest.raises(InputError) as caught:
        asking(choice)
    assert len(caught.value.problems) == len(choice) - 1


@needs_embedded
@pytest.mark.parametrize("name", ["hyde", "multi_query"])
def test_a_real_model_rewrites(name):
    model = registry.build("models", {"name": "embedded:smollm2-135m", "context_tokens": 512})
    searcher = Fixed("abc")
    given = sources(retriever=lambda choice: searcher, model=lambda choice=None: model)
    built = registry.build("retrievers", {"name": name, "max_tokens": 24}, given)
    with Recorder(CpuTime()) as recorder:
        assert len(built.search("What is the capital of France?")) == 3
    reading = recorder.stages()["rewrite"]
    assert reading.tokens_in > 20
    assert 1 <= reading.tokens_out <= 24
    assert all(asked.strip() for asked in searcher.asked)
    if name == "hyde":
        assert "Paris" in searcher.asked[0]
    model.close()


# ---------------------------------------------------------------------------------------- bring your own (langchain)


def nothing():
    """Makes something that is no retriever."""
    return object()


def failing():
    """Cannot be made."""
    raise ValueError("no key")


class Odd:
    """Neither LangChain's nor right, but with an ``invoke``."""

    def invoke(self, question):
        if question == "break":
            raise ValueError("out of order")
        return "text"


ready = BySharedWords(documents=[LangChainDocument(id="d3", page_content="A cat and a dog")])


def own(name, texts=TEXTS):
    return retriever({"name": f"langchain:tests.test_retrievers:{name}"}, texts=texts)


def test_a_retriever_of_the_users_own_is_asked():
    found = own("by_shared_words").search("the cat on the mat")
    assert [passage.chunk.document_id for passage in found][:2] == ["d0", "d4"]
    assert [passage.score for passage in found] == [1 / rank for rank in range(1, len(found) + 1)]
    [found] = own("ready").search("cat")
    assert (found.chunk.document_id, found.chunk.start, found.chunk.text) == ("d3", 0, "A cat and a dog")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "has no invoke; expected a retriever"),
        ("failing", "could not be made: ValueError: no key"),
        ("TEXTS", "expected langchain:package.module:name"),
        ("nosuch", "has no 'nosuch'"),
    ],
)
def test_what_is_no_retriever_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        own(name)


def test_a_path_must_be_named():
    for choice in ("langchain", "langchain:"):
        with pytest.raises(InputError, match="langchain"):
            retriever({"name": choice})
    with pytest.raises(InputError, match=r"langchain:tests\.nosuch:x'?: there is no module 'tests\.nosuch'"):
        retriever({"name": "langchain:tests.nosuch:x"})


def test_failures_of_the_users_own_retriever_are_told():
    with pytest.raises(InfrastructureFailure, match="ValueError: out of order") as caught:
        own("Odd").search("break")
    assert caught.value.code == "retriever_error"
    with pytest.raises(InputError, match="returned str; expected a list of LangChain documents"):
        own("Odd").search("cat")


def placed(text, id=None, texts=TEXTS, **metadata):
    chunk = Places(corpus(texts)).chunk(LangChainDocument(page_content=text, id=id, metadata=metadata))
    return chunk.document_id, chunk.start, chunk.end, chunk.text


def test_what_is_found_is_placed_in_the_corpus():
    moon = ("d3", 24, 32, "the moon")
    assert placed("the moon", source="d3") == moon
    assert placed("the  moon ", doc_id="d3") == moon
    assert placed("the moon", id="d3") == moon
    assert placed("the moon", source="/home/me/files/d3") == moon
    assert placed("chase cats") == ("d1", 5, 15, "chase cats")  # without an id it is looked for everywhere
    assert placed("not a word of it", id="d3") == ("d3", 0, 0, "not a word of it")
    assert placed("not a word of it") == ("", 0, 0, "not a word of it")
    assert placed("", source="d3") == ("d3", 0, 0, "")


def test_scores_in_the_metadata_are_taken_where_they_agree_with_the_order():
    class Scored:
        scores = ()

        def invoke(self, question):
            return [
                LangChainDocument(page_content=text, metadata={"score": score})
                for text, score in zip(TEXTS[:3], self.scores, strict=False)
            ]

    build = registry.load("retrievers", "langchain:x")[0].LangChainRetriever
    scored = Scored()
    found = build("own", scored, Places(corpus()), 50)
    for scores, wanted in (
        ((0.9, 0.5, 0.5), [0.9, 0.5, 0.5]),
        ((0.1, 0.5), [1, 1 / 2]),
        ((0.9, "high"), [1, 1 / 2]),
        ((), []),
    ):
        scored.scores = scores
        assert [passage.score for passage in found.search("?")] == wanted

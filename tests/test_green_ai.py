"""The shipped corpus on sustainable generative AI and its questions: written by us, every fact with its source."""

from __future__ import annotations

from collections import Counter

import pytest

from workbench.library import check_data, load_corpus, load_evalset
from workbench.normalise import normalise

KINDS = {"single", "two-document", "numeric", "unanswerable"}
WORDING = {"lexical", "paraphrase"}


@pytest.fixture(scope="module")
def corpus():
    return load_corpus("green-ai")


@pytest.fixture(scope="module")
def evalset(corpus):
    return load_evalset("green-ai", corpus)


def test_documents_are_of_a_size_and_name_their_sources(corpus):
    assert len(corpus.documents) >= 40
    assert corpus.licence == "Apache-2.0"
    for document in corpus.documents:
        assert 200 <= len(document.text.split()) <= 500, document.id
        assert document.title
        sources = document.metadata["sources"]
        assert sources, document.id
        assert all(source["fact"].strip() and source["source"].strip() for source in sources), document.id


def test_counts_kinds_and_splits(evalset):
    assert len(evalset.questions) >= 160
    counts = Counter((question.split, question.answerable) for question in evalset.questions)
    assert set(counts) == {("dev", True), ("dev", False), ("test", True), ("test", False)}
    assert counts["dev", False] + counts["test", False] >= 25
    for split in ("dev", "test"):
        kinds = Counter(tag for question in evalset.questions if question.split == split for tag in question.tags)
        assert set(kinds) == KINDS | WORDING


def test_every_answer_and_quote_is_in_its_gold_text(corpus, evalset):
    assert check_data(corpus, evalset).problems == ()
    texts = {document.id: document.text for document in corpus.documents}
    for question in evalset.questions:
        if not question.answerable:
            assert (question.evidence, question.spans) == ((), ())
            continue
        assert {span.document_id for span in question.spans} == set(question.evidence or ())
        assert len(question.spans) == len(question.evidence or ()) == 1 + ("two-document" in question.tags)
        held = " ".join(texts[span.document_id][span.start : span.end] for span in question.spans).lower()
        assert any(answer.lower() in held for answer in question.answers), question.id


def test_answers_are_not_given_away(evalset):
    for question in evalset.questions:
        asked = f" {normalise(question.question)} "
        assert all(f" {normalise(answer)} " not in asked for answer in question.answers), question.id
    assert len({normalise(question.question) for question in evalset.questions}) == len(evalset.questions)


def test_every_document_is_asked_about(corpus, evalset):
    asked = {id for question in evalset.questions for id in question.evidence or ()}
    assert asked == {document.id for document in corpus.documents}

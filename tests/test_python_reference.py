"""The shipped evaluation set over the Python language reference, against the Python that runs."""

from collections import Counter
from pathlib import Path

import pytest

from workbench.library import check_data, load_corpus, load_evalset
from workbench.normalise import normalise

FORMS = {"name", "number", "exception", "keyword", "behaviour", "syntax", "value", "version"}
WORDING = {"lexical", "paraphrase"}
OPTIONAL = {"scenario"}


@pytest.fixture(scope="module")
def corpus():
    return load_corpus("python-reference")


@pytest.fixture(scope="module")
def evalset(corpus):
    return load_evalset("python-reference", corpus)


def test_the_corpus_is_read_from_the_running_python(corpus):
    assert len(corpus.documents) > 70
    assert corpus.title
    assert corpus.licence == "PSF-2.0"
    assert all(document.title for document in corpus.documents)
    titles = {document.id: document.title for document in corpus.documents}
    assert titles["assert"] == "The assert statement"


def test_counts_and_splits(evalset):
    counts = Counter((question.split, question.answerable) for question in evalset.questions)
    assert counts == {("dev", True): 140, ("dev", False): 20, ("test", True): 70, ("test", False): 10}
    assert [question.id for question in evalset.questions] == [f"q{number:03}" for number in range(1, 241)]


def test_the_first_questions_are_a_mix(evalset):
    first = [question for question in evalset.questions if question.split == "dev"][:60]
    assert 5 <= sum(not question.answerable for question in first) <= 10
    assert len({question.evidence for question in first}) > 25


def test_every_answer_is_in_its_gold_text_on_this_python(corpus, evalset):
    assert check_data(corpus, evalset).problems == ()


def test_answers_are_specific(evalset):
    for question in evalset.questions:
        asked = f" {normalise(question.question)} "
        for answer in question.answers:
            assert normalise(answer), f"{question.id}: {answer!r} is nothing after normalisation"
            assert f" {normalise(answer)} " not in asked, f"{question.id}: {answer!r} stands in the question"


def test_tags(evalset):
    for question in evalset.questions:
        tags = set(question.tags)
        if question.answerable:
            assert len(tags & FORMS) == 1, question.id
            assert len(tags & WORDING) == 1, question.id
            assert tags <= FORMS | WORDING | OPTIONAL, question.id
        else:
            assert tags in ({"unanswerable", "near"}, {"unanswerable", "far"}), question.id
    near = sum("near" in question.tags for question in evalset.questions)
    assert near >= 20


def test_no_question_is_asked_twice(evalset):
    assert len({normalise(question.question) for question in evalset.questions}) == len(evalset.questions)


def test_nothing_of_the_reference_is_copied_into_the_repository():
    folder = Path(__file__).parent.parent / "corpora" / "python-reference"
    assert [path.name for path in folder.iterdir()] == ["corpus.yaml"]

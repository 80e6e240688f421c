"""Our scores equal the field's: SQuAD's rules on a table of tricky cases, ir_measures on random graded runs."""

from __future__ import annotations

import ir_measures
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, nDCG

from workbench import registry
from workbench.records import Answer, Question, Span

# ------------------------------------------------------------------------------------------------------------- SQuAD

# given, accepted answers, exact match, F1: worked out by hand from the published rules (lower case, string.punctuation and
# the articles a, an, the removed, split at white space; the best of several references; no answer is the empty text).
SQUAD = [
    # articles
    ("the cat", ("cat",), 1, 1),
    ("A cat and the dog", ("cat and dog",), 1, 1),
    ("an", ("the",), 1, 1),  # both empty after normalisation: they agree
    ("the", ("cat",), 0, 0),
    ("theatre", ("atre",), 0, 0),
    ("Vitamin A", ("vitamin",), 1, 1),  # the rules cannot tell a letter from an article
    ("a-b", ("ab",), 1, 1),  # the hyphen goes first, so that no article is left alone
    ("a b", ("b",), 1, 1),
    # punctuation
    ("U.S.", ("US",), 1, 1),
    ("U. S.", ("US",), 0, 0),
    ("rock'n'roll", ("rocknroll",), 1, 1),
    ("$1,000.50", ("100050",), 1, 1),
    ("forty-two", ("forty two",), 0, 0),
    ("(42)", ("42",), 1, 1),
    ("!?", ("...",), 1, 1),
    ("!?", ("word",), 0, 0),
    ("snake_case", ("snakecase",), 1, 1),
    # unicode: only ASCII punctuation is removed, and letters are only lower-cased
    ("“cat”", ("cat",), 0, 0),
    ("1914–1918", ("19141918",), 0, 0),
    ("1914-1918", ("19141918",), 1, 1),
    ("ZÜRICH", ("zürich",), 1, 1),
    ("Zurich", ("Zürich",), 0, 0),
    ("STRASSE", ("straße",), 0, 0),
    ("cafe\u0301", ("café",), 0, 0),  # composed and decomposed differ
    ("ﬁnal", ("final",), 0, 0),
    ("a\u00a0b", ("b",), 1, 1),  # a no-break space is white space
    ("x²", ("x2",), 0, 0),
    ("5 µm — deep", ("5 µm deep",), 0, 6 / 7),
    ("naïve’s", ("naïves",), 0, 0),
    # white space and case
    ("  two\n\twords ", ("Two Words",), 1, 1),
    # shared words count as often as they stand in both
    ("cat cat dog", ("cat dog dog",), 0, 2 / 3),
    ("the cat sat on the mat", ("cat mat",), 0, 2 / 3),
    ("in 1894", ("1894",), 0, 2 / 3),
    ("one two three four", ("four five",), 0, 1 / 3),
    # several references: the best counts, for each metric by itself
    ("seven", ("half past seven", "7:30"), 0, 1 / 2),
    ("half past seven", ("seven", "Half past seven.", "noon"), 1, 1),
    ("Ada", ("Brandt", "Ada Brandt", "the keeper Ada Brandt"), 0, 2 / 3),
    # nothing given
    ("", ("cat",), 0, 0),
]


@pytest.mark.parametrize(("text", "answers", "exact", "f1"), SQUAD)
def test_exact_match_and_f1_are_squads(text, answers, exact, f1):
    question, answer = (
        Question(id="q", question="?", answers=answers),
        Answer(configuration="c", question="q", text=text),
    )
    assert registry.build("metrics", "exact_match").score(question, answer).value == exact
    assert registry.build("metrics", "token_f1").score(question, answer).value == pytest.approx(f1, abs=1e-12)


@pytest.mark.parametrize(("text", "value"), [("", 1), ("the", 1), ("...", 1), ("cat", 0), ("the cat", 0)])
def test_without_an_answer_only_the_empty_text_is_right_as_in_squad_2(text, value):
    question = Question(id="q", question="?", answerable=False)
    answer = Answer(configuration="c", question="q", text=text)
    for name in ("exact_match", "token_f1"):
        assert registry.build("metrics", name).score(question, answer).value == value


# ------------------------------------------------------------------------------------------------------- ir_measures

DOCUMENTS = [f"d{number}" for number in range(12)]
THEIRS = {"ndcg": nDCG, "recall": R, "precision": P, "map": AP, "mrr": RR}


@settings(max_examples=150)
@given(
    grades=st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(0, 4), min_size=1).filter(
        lambda all_: any(all_.values())
    ),
    ranking=st.lists(st.sampled_from(DOCUMENTS), unique=True, min_size=1),
    k=st.integers(1, 15),
    parts=st.data(),
)
def test_rankings_of_documents_equal_ir_measures(grades, ranking, k, parts):
    run = {"q": {document: float(len(ranking) - rank) for rank, document in enumerate(ranking)}}
    measures = {name: measure @ k for name, measure in THEIRS.items()}
    expected = ir_measures.calc_aggregate(list(measures.values()), {"q": grades}, run)
    question = Question(
        id="q", question="?", evidence=tuple(grades), grades=tuple(float(grade) for grade in grades.values())
    )
    places = [Span(document, 0, 9) for document in ranking]
    for again in parts.draw(st.lists(st.sampled_from(ranking), max_size=4)):  # found again further down changes nothing
        first = places.index(Span(again, 0, 9))
        places.insert(parts.draw(st.integers(first + 1, len(places))), Span(again, 9, 18))
    answer = Answer(configuration="c", question="q", retrieved=tuple(places))
    for name, measure in measures.items():
        ours = registry.build("metrics", f"{name}@{k}").score(question, answer).value
        assert ours == pytest.approx(expected[measure], abs=1e-9), name

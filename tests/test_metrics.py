"""What every metric promises, and each one's figures by hand and by brute force."""

from __future__ import annotations

from itertools import permutations
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import registry
from workbench.errors import InputError
from workbench.library import load_evalset
from workbench.normalise import declined, normalise
from workbench.records import Answer, Question

NAMES = registry.names("metrics")
EVERY = pytest.mark.parametrize("name", NAMES)
RANKING = [name for name in NAMES if registry.build("metrics", name).judges == "retrieval"]
JUDGING = [name for name in NAMES if name not in RANKING]
TEXT = st.text(max_size=30) | st.sampled_from(["the cat", "Unknown.", "a", "!", "1894", "ß", "an   Answer"])
IDS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8).map(tuple)


def value(metric: str, question: Question, answer: Answer) -> float | None:
    return registry.build("metrics", metric).score(question, answer).value


def asked(*answers: str, evidence: tuple[str, ...] | None = ("d",), answerable: bool = True) -> Question:
    return Question(id="q", question="?", answers=answers, evidence=evidence, answerable=answerable)


def said(text: str = "", retrieved: tuple[str, ...] | None = ("d",)) -> Answer:
    return Answer(configuration="c", question="q", text=text, retrieved=retrieved)


# ----------------------------------------------------------------------------------------------------- every metric


@EVERY
@given(
    text=TEXT,
    answers=st.lists(TEXT, max_size=3),
    retrieved=st.none() | IDS,
    evidence=st.none() | IDS,
    answerable=st.booleans(),
)
def test_a_score_is_from_0_to_1_or_absent_with_a_reason(name, text, answers, retrieved, evidence, answerable):
    metric = registry.build("metrics", name)
    score = metric.score(asked(*answers, evidence=evidence, answerable=answerable), said(text, retrieved))
    assert score.metric == metric.name
    if score.value is None:
        assert score.reason
    else:
        assert isinstance(score.value, float)
        assert 0 <= score.value <= 1


@EVERY
@given(answer=TEXT.filter(normalise), others=st.lists(TEXT, max_size=2), rest=IDS)
def test_a_perfect_answer_scores_1(name, answer, others, rest):
    gold = ("gold-1", "gold-2")
    assert value(name, asked(*others, answer, evidence=gold), said(answer, (*gold, *rest))) == 1


@pytest.mark.parametrize("name", JUDGING)
def test_nothing_in_common_scores_0(name):
    assert value(name, asked("Ada Brandt", "Ada"), said("Tom")) == 0
    assert value(name, asked("Ada Brandt"), said("")) == 0


@pytest.mark.parametrize("name", JUDGING)
def test_declining_is_right_exactly_where_nothing_answers(name):
    unanswerable = asked(evidence=None, answerable=False)
    for text in (
        "",
        "Unknown",
        "unknown.",
        "No answer",
        "The passages do not say.",
        "I don't know",
        "Not stated in the passages",
    ):
        assert value(name, unanswerable, said(text)) == 1
        assert value(name, asked("Ada"), said(text)) == 0
    for text in ("Ada", "None of the cars", "unknown soldier", "I do not know Ada", "It is not stated"):
        assert value(name, unanswerable, said(text)) == 0


@pytest.mark.parametrize("name", JUDGING)
def test_without_an_accepted_answer_a_text_cannot_be_judged(name):
    assert value(name, asked(), said("Ada")) is None


@pytest.mark.parametrize("name", RANKING)
def test_rankings_are_judged_only_where_something_was_searched_and_could_be_found(name):
    metric = registry.build("metrics", name)
    reasons = [
        metric.score(question, answer).reason
        for question, answer in (
            (asked("x"), said("x", None)),
            (asked("x", evidence=None), said("x")),
            (asked(evidence=(), answerable=False), said("x")),
        )
    ]
    assert reasons == [
        "closed book: nothing was searched",
        "no gold document is known",
        "nothing in the corpus answers it",
    ]
    assert value(name, asked("x"), said("x", ())) == 0


# ------------------------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The Cat", "cat"),
        ("a cat, an owl & the dog!", "cat owl dog"),
        ("theatre and", "theatre and"),
        ("U.S.A.", "usa"),
        ("  two\n\tspaces ", "two spaces"),
        ("it's", "its"),
        ("Zürich", "zürich"),
        ("the", ""),
    ],
)
def test_normalisation_is_squads(text, plain):
    assert normalise(text) == plain
    assert normalise(plain) == plain


@pytest.mark.parametrize(
    ("metric", "text", "expected"),
    [
        ("exact_match", "the Cat!", 1),
        ("exact_match", "cat sat", 0),
        ("contains", "I saw the cat, twice.", 1),
        ("contains", "concatenate", 0),
        ("token_f1", "the cat sat", 2 / 3),
        ("token_f1", "cat cat", 2 / 3),
        ("token_f1", "cat", 1),
    ],
)
def test_words_by_hand(metric, text, expected):
    assert value(metric, asked("A cat"), said(text)) == pytest.approx(expected)


def test_the_best_matching_accepted_answer_counts():
    assert value("token_f1", asked("half past seven", "7:30"), said("seven")) == pytest.approx(0.5)
    assert value("token_f1", asked("half past seven", "seven"), said("seven")) == 1


@given(text=TEXT, answer=TEXT.filter(normalise))
def test_stricter_metrics_never_score_more(text, answer):
    exact, f1, contained = (value(name, asked(answer), said(text)) for name in ("exact_match", "token_f1", "contains"))
    assert exact <= f1
    assert exact <= contained


def test_no_accepted_answer_of_the_shipped_set_is_lost_in_normalisation():
    questions = load_evalset("python-reference").questions
    lost = [(question.id, answer) for question in questions for answer in question.answers if not normalise(answer)]
    assert lost == []
    assert [question.id for question in questions if any(map(declined, question.answers))] == []


# ----------------------------------------------------------------------------------------------------------- rankings


def test_rankings_by_hand():
    question = asked("x", evidence=("a", "b"))
    answer = said("x", ("c", "a", "d", "b"))
    assert value("recall@1", question, answer) == 0
    assert value("recall@2", question, answer) == 0.5
    assert value("recall@4", question, answer) == 1
    assert value("ndcg@1", question, answer) == 0
    assert value("ndcg@2", question, answer) == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))
    assert value("ndcg@10", question, answer) == pytest.approx((1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3)))


@given(
    retrieved=st.permutations("abcde").map(tuple),
    gold=st.sets(st.sampled_from("abcde"), min_size=1),
    k=st.integers(1, 6),
)
def test_rankings_agree_with_brute_force(retrieved, gold, k):
    def gain(ranking: tuple[str, ...]) -> float:
        return sum((document in gold) / log2(rank + 2) for rank, document in enumerate(ranking[:k]))

    question, answer = asked("x", evidence=tuple(gold)), said("x", retrieved)
    best = max(gain(ranking) for ranking in permutations("abcde"))
    assert value(f"ndcg@{k}", question, answer) == pytest.approx(gain(retrieved) / best)
    assert value(f"recall@{k}", question, answer) == len(gold & set(retrieved[:k])) / len(gold)


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize("cut", ["0", "51", "-1", "1.5", "x", "", "²"])
def test_impossible_cut_offs_are_refused(name, cut):
    with pytest.raises(InputError, match=f"{name}@{cut}: the cut-off must be a whole number from 1 to 50"):
        registry.build("metrics", f"{name}@{cut}")


@pytest.mark.parametrize("name", JUDGING)
def test_metrics_of_texts_take_no_cut_off(name):
    with pytest.raises(InputError, match=f"{name} takes nothing after it"):
        registry.build("metrics", f"{name}@5")

"""Where answers are lost: every case by hand, and the law that a wrong answer has exactly one place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.losses import EXPLAINED, Loss, place_of_loss, sentence, summary
from workbench.records import Answer, Chunk, Failure, Passage, Question, Span

TEXT = "The lighthouse of Skerry was lit in 1894. Its keeper was Ada Brandt."
GOLD = Span("lighthouse", TEXT.index("Ada"), TEXT.index("Ada") + len("Ada Brandt"))
WHOLE = Span("lighthouse", 0, len(TEXT))
OTHER = Span("bakery", 0, 40)


def asked(**fields: Any) -> Question:
    known = {"id": "q", "question": "Who?", "answers": ("Ada Brandt",), "evidence": ("lighthouse",)}
    return Question(**{**known, **fields})


def passage(place: Span, text: str | None = None) -> Passage:
    source = TEXT if place.document_id == "lighthouse" else "The bakery of Skerry opens at six o'clock.".ljust(60)
    shown = source[place.start : place.end] if text is None else text
    chunk = Chunk(id=str(place), document_id=place.document_id, start=place.start, end=place.end, text=shown)
    return Passage(chunk=chunk, score=1, rank=1)


def said(
    text: str = "Tom",
    retrieved: tuple[Span, ...] | None = (WHOLE,),
    shown: tuple[Span | Passage, ...] = (WHOLE,),
    failure: str = "",
    kind: Any = "model",
) -> Answer:
    given_ = tuple(each if isinstance(each, Passage) else passage(each) for each in shown)
    failed = Failure(kind=kind, code=failure, message="") if failure else None
    return Answer(configuration="c", question="q", text=text, retrieved=retrieved, passages=given_, failure=failed)


def lost(question: Question, answer: Answer) -> Loss | None:
    return place_of_loss(question, answer, correct=False)


DOCUMENT, SPAN = asked(), asked(spans=(GOLD,))
BEFORE, AFTER = Span("lighthouse", 0, GOLD.start + 4), Span("lighthouse", GOLD.start + 4, len(TEXT))


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        # nothing to find
        (asked(evidence=None), said(shown=(OTHER,), retrieved=(OTHER,)), "unknown_evidence"),
        (asked(evidence=()), said(shown=(OTHER,), retrieved=(OTHER,)), "no_evidence"),
        (asked(evidence=None), said(), "not_used"),  # a passage holds the answer, known or not
        # not found
        (DOCUMENT, said(shown=(OTHER,), retrieved=(OTHER,)), "not_retrieved"),
        (DOCUMENT, said(shown=(), retrieved=()), "not_retrieved"),
        (SPAN, said(shown=(OTHER,), retrieved=(OTHER,)), "not_retrieved"),
        (SPAN, said(shown=(), retrieved=(Span("lighthouse", 0, 41),)), "not_retrieved"),  # the wrong chunk of it
        (DOCUMENT, said(shown=(Span("lighthouse", 0, 41),), retrieved=(Span("lighthouse", 0, 41),)), "not_retrieved"),
        (SPAN, said("Unknown", shown=(OTHER,), retrieved=(OTHER,)), "not_retrieved"),  # rightly refused
        (SPAN, said("", shown=(OTHER,), retrieved=(OTHER,), failure="empty_output"), "not_retrieved"),
        # split
        (SPAN, said(shown=(BEFORE,), retrieved=(BEFORE, OTHER)), "split_by_chunking"),
        (SPAN, said(shown=(BEFORE,), retrieved=(BEFORE, AFTER)), "split_by_chunking"),
        (SPAN, said(shown=(BEFORE, AFTER), retrieved=(BEFORE, AFTER)), "not_used"),  # put together again
        # cut
        (SPAN, said(shown=(OTHER,), retrieved=(OTHER, WHOLE)), "cut"),
        (DOCUMENT, said(shown=(OTHER,), retrieved=(OTHER, WHOLE)), "cut"),
        (SPAN, said(shown=(Span("lighthouse", 0, 41),)), "cut"),  # a passage shortened to the budget
        (DOCUMENT, said(shown=(Span("lighthouse", 0, 41),)), "cut"),
        (SPAN, said(shown=(passage(WHOLE, "The lighthouse of Skerry was lit in 1894."),)), "cut"),  # compressed away
        (SPAN, said("", failure="context_overflow"), "cut"),
        # seen
        (SPAN, said(), "not_used"),
        (DOCUMENT, said(), "not_used"),
        (SPAN, said(shown=(passage(WHOLE, "Its keeper was Ada Brandt."),)), "not_used"),  # compressed, and kept
        (asked(answers=("Brandt, Ada",)), said(), "not_used"),  # the same words in another order
        (asked(answers=("yes",)), said("no"), "not_used"),
        (asked(spans=(Span("museum", 0, 9), GOLD)), said(), "not_used"),  # one piece of evidence is enough
        (SPAN, said("The passages do not say."), "wrongly_refused"),
        (SPAN, said("", failure="refused"), "badly_formed"),
        # the form
        (SPAN, said("I believe it was Ada Brandt"), "badly_formed"),
        (SPAN, said("It was Ada Brandt", shown=(OTHER,), retrieved=(OTHER,)), "badly_formed"),
        (SPAN, said("", failure="empty_output"), "badly_formed"),
        (SPAN, said("{", failure="malformed"), "badly_formed"),
        # closed book
        (SPAN, said("Tom", None, ()), "not_known"),
        (asked(evidence=None), said("Unknown", None, ()), "not_known"),
        (SPAN, said("Maybe Ada Brandt", None, ()), "badly_formed"),
        (SPAN, said("", None, (), failure="empty_output"), "badly_formed"),
        # nothing answers it
        (asked(answers=(), evidence=None, answerable=False), said(), "wrongly_answered"),
        (asked(answers=(), evidence=(), answerable=False), said("Tom", None, ()), "wrongly_answered"),
        (asked(answers=(), evidence=(), answerable=False), said("", failure="empty_output"), "badly_formed"),
        # no answers at all
        (SPAN, said("", failure="timeout", kind="infrastructure"), None),
    ],
)
def test_every_place_by_hand(question, answer, expected):
    assert lost(question, answer) == expected


@pytest.mark.parametrize(
    ("answers", "retrieved", "shown", "expected"),
    [
        (("ada  brandt",), (WHOLE,), (WHOLE,), "not_used"),
        (("Ada Brandt",), (BEFORE, OTHER), (BEFORE,), "split_by_chunking"),
        (("Ada Brandt",), (OTHER, WHOLE), (OTHER,), "cut"),
        (("Ada Brandt",), (Span("lighthouse", 0, 41),), (Span("lighthouse", 0, 41),), "not_retrieved"),
        # said in other words: any passage of the document will do
        (("late in the 19th century",), (Span("lighthouse", 0, 41),), (Span("lighthouse", 0, 41),), "not_used"),
        (("late in the 19th century",), (OTHER, WHOLE), (OTHER,), "cut"),
        (("late in the 19th century",), (OTHER,), (OTHER,), "not_retrieved"),
        (("da Bran",), (Span("lighthouse", 0, 41),), (Span("lighthouse", 0, 41),), "not_used"),  # no whole words of it
    ],
)
def test_with_the_texts_at_hand_an_answer_in_a_gold_document_is_followed_like_a_span(
    answers, retrieved, shown, expected
):
    question, answer = asked(answers=answers), said(retrieved=retrieved, shown=shown)
    assert place_of_loss(question, answer, correct=False, texts={"lighthouse": TEXT}) == expected


def test_answers_without_spaces_are_followed_too():
    question = asked(answers=("北京大学",), evidence=("d",))
    places = (Span("d", 0, 4), Span("d", 4, 9))
    split = said(retrieved=places, shown=(passage(places[0], "他在北京"),))
    assert place_of_loss(question, split, correct=False, texts={"d": "他在北京大学学习。"}) == "split_by_chunking"


def test_a_span_is_whole_but_for_the_white_space_that_chunks_lose():
    text = TEXT[:41]
    question = asked(spans=(Span("lighthouse", 0, len(TEXT)),))
    chunks = (Span("lighthouse", 0, len(text)), Span("lighthouse", len(text) + 1, len(TEXT)))
    assert lost(question, said(shown=chunks, retrieved=chunks)) == "not_used"


PLACE = st.builds(
    lambda document, start, length: Span(document, start, min(start + length, 60)),
    st.sampled_from(["lighthouse", "bakery"]),
    st.integers(0, 59),
    st.integers(0, 60),
)


@given(
    question=st.builds(
        asked,
        answers=st.sampled_from([(), ("Ada Brandt",), ("yes",), ("", "the"), ("1894", "Ada")]),
        evidence=st.none() | st.lists(st.sampled_from(["lighthouse", "museum"]), unique=True).map(tuple),
        spans=st.lists(PLACE, max_size=2).map(tuple),
        answerable=st.booleans(),
    ),
    answer=st.builds(
        said,
        text=st.sampled_from(["", "Tom", "Unknown", "Ada Brandt", "It was Ada Brandt", "no"]),
        retrieved=st.none() | st.lists(PLACE, max_size=4).map(tuple),
        shown=st.lists(PLACE | st.builds(passage, PLACE, st.sampled_from(["", "Ada", "x" * 99])), max_size=3).map(
            tuple
        ),
        failure=st.sampled_from(["", "empty_output", "malformed", "context_overflow", "timeout"]),
        kind=st.sampled_from(["model", "infrastructure"]),
    ),
    texts=st.sampled_from([None, {}, {"lighthouse": TEXT}]),
)
def test_a_wrong_answer_is_lost_at_exactly_one_place_and_a_right_one_at_none(question, answer, texts):
    assert place_of_loss(question, answer, correct=True, texts=texts) is None
    place = place_of_loss(question, answer, correct=False, texts=texts)
    if answer.failure is not None and answer.failure.kind == "infrastructure":
        assert place is None
    else:
        assert place in EXPLAINED
        if answer.retrieved is None:
            assert place in ("not_known", "badly_formed", "wrongly_answered")
        assert (place == "wrongly_answered") <= (not question.answerable)


@given(shown=st.lists(PLACE, max_size=3).map(tuple), more=PLACE, gold=PLACE)
def test_showing_more_never_moves_a_loss_up_the_pipeline(shown, more, gold):
    order = ["not_retrieved", "split_by_chunking", "cut", "not_used"]
    question = asked(spans=(gold,), answers=("Olsen",))
    before = lost(question, said(shown=shown, retrieved=shown))
    after = lost(question, said(shown=(*shown, more), retrieved=(*shown, more)))
    assert order.index(before) <= order.index(after)


# ------------------------------------------------------------------------------------------------------------ summary


def test_counts_come_in_the_order_of_the_pipeline():
    counts = summary(["cut", None, "not_used", "not_retrieved", "cut", None])
    assert list(counts.items()) == [("not_retrieved", 1), ("cut", 2), ("not_used", 1)]


def test_the_sentence_says_what_would_recover_most():
    counts: dict[Loss, int] = {"not_retrieved": 9, "cut": 14, "not_used": 8}
    assert sentence(counts, 120) == (
        "Of 31 wrong answers (of 120) 14 had evidence retrieved but cut: "
        "more passages or a larger context budget could recover most."
    )
    assert sentence({"not_known": 3}, 8) == (
        "All 3 wrong answers (of 8) came from a model without documents: a retriever could recover them."
    )
    assert sentence({"no_evidence": 1}, 8) == (
        "The one wrong answer (of 8) had no evidence in the corpus: more documents could recover it."
    )
    assert sentence({}, 120) == "None of 120 answers is wrong."
    assert sentence({}, 0) == "There is no answer yet."
    assert "cut" in sentence({"not_used": 2, "cut": 2}, 9)  # of equals, the earlier in the pipeline


@pytest.mark.parametrize("place", EXPLAINED)
def test_every_place_has_an_explanation_and_a_remedy(place):
    assert EXPLAINED[place]
    assert sentence({place: 2}, 5).count(":") == 1

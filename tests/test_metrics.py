"""What every metric promises, and each one's figures by hand and by brute force."""

from __future__ import annotations

import math
from itertools import pairwise, permutations
from math import log2
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import needs_minilm, passages
from workbench import registry, templates
from workbench.booking import Recorder
from workbench.errors import InputError
from workbench.library import load_evalset
from workbench.meters.cpu_time import CpuTime
from workbench.metrics._judging import Judge, read_grade
from workbench.models import scripted
from workbench.normalise import declined, normalise
from workbench.records import Answer, Chunk, Passage, PluginChoice, Question, Score, Span

RANKING = ["map", "mrr", "ndcg", "precision", "recall"]
AGREEING = ["contains", "exact_match", "rouge_l", "token_f1"]  # with the best accepted answer, by rule
DEFAULT = [*RANKING, *AGREEING, "abstention", "citation", "groundedness", "length", "numeric"]
JUDGE = {"name": "judge", "model": {"name": "scripted", "replies": {"Answer to grade: right": "5"}}}
EVERY = pytest.mark.parametrize("choice", [*DEFAULT, JUDGE], ids=[*DEFAULT, "judge"])
TEXT = st.text(max_size=30) | st.sampled_from(
    ["the cat", "Unknown.", "a", "!", "1894", "ß", "an   Answer", "北京 大学"]
)
IDS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8).map(tuple)
SPAN = st.builds(
    lambda document, start, length: Span(document, start, start + length),
    st.sampled_from("ab"),
    st.integers(0, 60),
    st.integers(0, 30),
)


def score(metric: PluginChoice, question: Question, answer: Answer) -> Score:
    scored: Score = registry.build("metrics", metric).score(question, answer)
    return scored


def value(metric: PluginChoice, question: Question, answer: Answer) -> float | None:
    return score(metric, question, answer).value


def asked(*answers: str, **fields: Any) -> Question:
    return Question(**{"id": "q", "question": "?", "answers": answers, "evidence": ("d",), **fields})


def said(text: str = "", retrieved: tuple[str | Span, ...] | None = ("d",), **fields: Any) -> Answer:
    places = (
        None if retrieved is None else tuple(each if isinstance(each, Span) else Span(each, 0, 9) for each in retrieved)
    )
    return Answer(configuration="c", question="q", text=text, retrieved=places, **fields)


# ----------------------------------------------------------------------------------------------------- every metric


def test_every_metric_is_here():
    assert {*DEFAULT, "judge", "semantic"} == set(registry.names("metrics"))


@EVERY
@settings(max_examples=50)
@given(
    text=TEXT,
    answers=st.lists(TEXT, max_size=3),
    retrieved=st.none() | IDS,
    evidence=st.none() | IDS,
    spans=st.lists(SPAN, max_size=2).map(tuple),
    answerable=st.booleans(),
    citations=st.sets(st.integers(1, 2)).map(tuple),
)
def test_a_score_is_from_0_to_1_or_absent_with_a_reason(
    choice, text, answers, retrieved, evidence, spans, answerable, citations
):
    metric = registry.build("metrics", choice)
    question = asked(*answers, evidence=evidence, spans=spans, answerable=answerable)
    scored = metric.score(question, said(text, retrieved, passages=passages("one", "two"), citations=citations))
    assert scored.metric == metric.name
    if scored.value is None:
        assert scored.reason
    else:
        assert isinstance(scored.value, float)
        assert 0 <= scored.value <= (math.inf if hasattr(metric, "unit") else 1)


@pytest.mark.parametrize("name", [*RANKING, *AGREEING])
@settings(max_examples=50)
@given(answer=TEXT.filter(normalise), others=st.lists(TEXT, max_size=2), rest=IDS)
def test_a_perfect_answer_scores_1(name, answer, others, rest):
    gold = ("gold-1", "gold-2")
    choice = "precision@2" if name == "precision" else name
    assert value(choice, asked(*others, answer, evidence=gold), said(answer, (*gold, *rest))) == 1


@pytest.mark.parametrize("name", AGREEING)
def test_nothing_in_common_scores_0(name):
    assert value(name, asked("Ada Brandt", "Ada"), said("Tom")) == 0
    assert value(name, asked("Ada Brandt"), said("")) == 0


@pytest.mark.parametrize("name", [*AGREEING, "abstention"])
def test_declining_is_right_exactly_where_nothing_answers(name):
    unanswerable = asked(evidence=None, answerable=False)
    for text in ("", "Unknown", "The passages do not say."):
        assert value(name, unanswerable, said(text)) == 1
        assert value(name, asked("Ada"), said(text)) == 0
    for text in ("Ada", "None of the cars", "unknown soldier", "I do not know Ada"):
        assert value(name, unanswerable, said(text)) == 0


@pytest.mark.parametrize("name", AGREEING)
def test_without_an_accepted_answer_a_text_cannot_be_judged(name):
    assert value(name, asked(), said("Ada")) is None


@pytest.mark.parametrize("name", RANKING)
def test_rankings_are_judged_only_where_something_was_searched_and_could_be_found(name):
    reasons = [
        score(choice, question, answer).reason
        for choice, question, answer in (
            (name, asked("x"), said("x", None)),
            (name, asked("x", evidence=None), said("x")),
            (name, asked("x", grades=(0.0,)), said("x")),
            (name, asked(evidence=(), answerable=False), said("x")),
            ({"name": name, "over": "spans"}, asked("x"), said("x")),
        )
    ]
    assert reasons == [
        "closed book: nothing was searched",
        "no gold document is known",
        "no gold document is known",
        "nothing in the corpus answers it",
        "no gold span is known",
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
        ("Ελλάδα – “το”", "ελλάδα – “το”"),  # SQuAD's rules know no punctuation but ASCII's
    ],
)
def test_normalisation_is_squads(text, plain):
    assert normalise(text) == plain
    assert normalise(plain) == plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我在北京大学。", "我 在 北 京 大 学"),
        ("“北京”、《大学》", "北 京 大 学"),
        ("１９９４年", "1994 年"),  # full-width digits
        ("a北京", "北 京"),
        ("東京タワー", "東 京 タ ワ ー"),
        ("สวัสดี", "ส วั ส ดี"),  # a vowel sign stays with its consonant
        ("ما هو الجواب؟", "ما هو الجواب"),
        ("مـــرحبا،", "مرحبا"),  # tatweel only stretches
        ("नमस्ते दुनिया।", "नमस्ते दुनिया"),
        ("क्‍या", "क्या"),  # an invisible joiner
        ("서울, “대한민국”", "서울 대한민국"),
    ],
)
def test_other_scripts_lose_their_punctuation_and_those_without_spaces_are_taken_by_character(text, expected):
    assert normalise(text) == expected
    assert normalise(expected) == expected


@pytest.mark.parametrize(
    ("metric", "text", "accepted", "expected"),
    [
        ("exact_match", "北京。", "北京", 1),
        ("contains", "他在北京大学学习", "北京大学", 1),
        ("contains", "他在南京大学学习", "北京大学", 0),
        ("token_f1", "北京大学", "北京", 2 / 3),
        ("token_f1", "ในกรุงเทพ", "กรุงเทพ", 2 * 6 / 14),
        ("token_f1", "في القاهرة،", "القاهرة", 2 / 3),
        ("token_f1", "नई दिल्ली में।", "नई दिल्ली", 4 / 5),
        ("exact_match", "नई दिल्ली।", "नई दिल्ली", 1),
        ("rouge_l", "大学北京", "北京大学", 1 / 2),
    ],
)
def test_other_scripts_by_hand(metric, text, accepted, expected):
    assert value(metric, asked(accepted), said(text)) == pytest.approx(expected)


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
        ("rouge_l", "a cat", 1),
        ("rouge_l", "the cat sat", 2 / 5),  # ROUGE keeps articles
        ("rouge_l", "cat a", 1 / 2),  # in order, the longest run has one word
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


@given(ours=st.lists(st.sampled_from("abcd"), min_size=1), theirs=st.lists(st.sampled_from("abcd"), min_size=1))
def test_rouge_l_agrees_with_the_textbook_table(ours, theirs):
    table = [[0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for row, left in enumerate(ours):
        for column, right in enumerate(theirs):
            same = table[row][column] + 1
            table[row + 1][column + 1] = same if left == right else max(table[row][column + 1], table[row + 1][column])
    expected = 2 * table[-1][-1] / (len(ours) + len(theirs))
    assert value("rouge_l", asked(" ".join(theirs)), said(" ".join(ours))) == pytest.approx(expected)


def test_length_is_a_count_and_says_of_what():
    metric = registry.build("metrics", "length")
    assert metric.unit == registry.load("metrics", "length")[0].unit == "words"
    assert [value("length", asked("x"), said(text)) for text in ("", "It's lit, in 1894.", "北京大学")] == [0, 5, 4]


def test_no_accepted_answer_of_the_shipped_set_is_lost_in_normalisation():
    questions = load_evalset("python-reference").questions
    lost = [(question.id, answer) for question in questions for answer in question.answers if not normalise(answer)]
    assert lost == []
    assert [question.id for question in questions if any(map(declined, question.answers))] == []


# ---------------------------------------------------------------------------------------------------------- declining

REFUSALS = """
Unknown. | unanswerable | None | No answer | No answer found in the passages. | Not stated in the passages | Not mentioned.
Not available | cannot answer | Cannot tell | It cannot be determined | I don't know | I don’t know. | Sorry, I don't know.
I do not know who founded the museum. | We do not know that. | The passages do not say. | No, the passages do not say.
The passages do not mention the price of a ticket. | The passages don't explicitly state this. | It is not stated
It is not stated in the passages. | The text does not provide this information. | The passages do not contain the answer.
The given documents do not provide any information about it. | The document does not mention a price.
The provided documents contain no information about ticket prices. | The context has no information on that.
I cannot answer this from the passages. | I can't answer that question based on the provided context.
I'm sorry, but I cannot answer this question. | I am unable to determine the answer. | I cannot tell from the passages.
I could not find any information about the founder. | not enough information | Insufficient context.
There is not enough information to answer the question. | The provided information is not sufficient to answer.
There is no mention of a ticket price in the passages. | No information is provided about the founder.
Unfortunately, the provided context does not contain any information about that. | The answer is unknown.
Based on the passages, the answer cannot be determined. | The answer to this question is not given in the text.
The price of the ticket is not mentioned in the provided passages. | This question cannot be answered from the given passages.
The founder of the museum cannot be determined from the context. | The passages do not say; the answer is unknown.
The context does not specify who founded it. They only describe the whale.
"""
ANSWERS = """
None of the cars | unknown soldier | The Unknown Soldier | I do not know Ada | I cannot tell a lie | 1894 | No | No, it was not
not guilty | Nothing | I know | The answer is 42 | Not enough memory | There is not enough water in the lake | It was not found
There is no evidence that vitamin C prevents colds | It is not available in the US | I cannot find my keys
No answer came from the captain | It was never found | It could not be saved | None of the passages was written by Ada
Information retrieval | Unknown to the crew, the ship was sinking | He was unable to answer the phone | It was not included
not known for his patience | The document does not require a signature | The document does not include a signature
The results do not include interest income | no details of the cargo survived | no information loss occurs
The context manager does not suppress exceptions | Text does not wrap | The lamp is not given away | It was not given
It is known in the passages as Skerry | It is not described as red but as blue | Because it does not contain sugar
The text is not specified in bytes | passages through the strait | The passages do not say, but it was 1894.
I don't know, probably 1894 | The passages do not mention the year. It was lit in 1894. | I cannot say. Ada Brandt.
"""


def listed(table: str) -> list[str]:
    return [each.strip() for line in table.strip().splitlines() for each in line.split(" | ")]


@pytest.mark.parametrize("text", listed(REFUSALS))
def test_refusals_are_recognised(text):
    assert declined(text)


@pytest.mark.parametrize("text", listed(ANSWERS))
def test_answers_are_no_refusals(text):
    assert not declined(text)


def test_a_long_text_is_read_in_no_time():
    assert not declined("is not stated in the passages " * 20_000)
    assert not declined("no information provided given " * 20_000)


def test_the_four_cases_of_abstention_are_named():
    unanswerable = asked(evidence=None, answerable=False)
    cases = [
        score("abstention", question, said(text))
        for question in (asked("Ada"), unanswerable)
        for text in ("Tom", "Unknown")
    ]
    assert [(each.value, each.reason) for each in cases] == [
        (1, "rightly answered"),
        (0, "wrongly refused"),
        (0, "wrongly answered"),
        (1, "rightly refused"),
    ]
    assert value("abstention", asked("None"), said("none")) == 1  # where that is the answer


# ------------------------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize(
    ("text", "accepted", "expected"),
    [
        ("It was lit in 1894.", "1894", 1),
        ("1895", "1894", 0),
        ("about 1,234,567 people", "1234567", 1),
        ("1 234 567", "1,234,567", 1),
        ("1.234.567", "1234567", 1),
        ("1'234", "1234", 1),
        ("1.234,5", "1234.5", 1),
        ("3,14", "3.14", 1),
        ("0.1", "0.10", 1),
        ("$1,000.50", "1000.5", 1),
        ("2.5 million", "2,500,000", 1),
        ("1.5×10^6", "1500000", 1),
        ("1e3", "1000", 1),
        ("six", "6", 1),
        ("twelve steps", "12", 1),
        ("twenty-one hours", "21", 1),
        ("two hundred", "200", 1),
        ("100", "one hundred", 1),
        ("one", "1", 1),
        ("One of the 45 cars", "45", 1),
        ("-5 degrees", "-5", 1),
        ("−5", "5", 0),
        ("GPT-4 used 7 pages", "7", 1),
        ("5-10", "5", 1),
        ("5 kWh", "5,000 Wh", 1),
        ("5 kWh", "18 MJ", 1),
        ("5 kWh", "5 Wh", 0),
        ("24 hours", "1 day", 1),
        ("5 kg", "5 km", 0),
        ("5", "5 kg", 1),
        ("12 %", "12 percent", 1),
        ("somewhere in 1894", "1894 or 1895, nobody is quite sure which", None),  # too many words to be a number
        ("forty", "Ada Brandt", None),
        ("Ada", "40", 0),
        ("unknown", "40", 0),
    ],
)
def test_numbers_by_hand(text, accepted, expected):
    assert value("numeric", asked(accepted), said(text)) == expected


def test_numbers_may_be_off_by_a_tolerance():
    near = asked("100 kg")
    assert value({"name": "numeric", "relative": 0.01}, near, said("101 kg")) == 1
    assert value({"name": "numeric", "relative": 0.01}, near, said("102 kg")) == 0
    assert value({"name": "numeric", "absolute": 2}, near, said("101,900 g")) == 1
    assert value({"name": "numeric", "absolute": 2}, near, said("103 kg")) == 0
    assert value("numeric", asked(answerable=False), said("5")) is None
    with pytest.raises(InputError, match="numeric: relative is -1"):
        registry.build("metrics", {"name": "numeric", "relative": -1})


@given(st.integers(-(10**12), 10**12))
def test_a_whole_number_is_read_however_its_thousands_are_separated(number):
    for text in (f"{number}", f"{number:,}", f"{number:,}".replace(",", "\u202f"), f"{number:,}".replace(",", "'")):
        assert value("numeric", asked(str(number)), said(f"About {text} in all.")) == 1
        assert value("numeric", asked(str(number + 1)), said(text)) == (abs(number + 1) >= 1e9)  # a part in 10^9


# ----------------------------------------------------------------------------------------------------------- rankings


def test_rankings_by_hand():
    question = asked("x", evidence=("a", "b"))
    answer = said("x", ("c", "a", "d", "b"))
    assert value("recall@1", question, answer) == 0
    assert value("recall@2", question, answer) == 0.5
    assert value("recall@4", question, answer) == 1
    assert value("precision@4", question, answer) == 0.5
    assert value("precision@10", question, answer) == 0.2
    assert value("mrr@10", question, answer) == 0.5
    assert value("mrr@1", question, answer) == 0
    assert value("map@10", question, answer) == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert value("ndcg@1", question, answer) == 0
    assert value("ndcg@2", question, answer) == pytest.approx((1 / log2(3)) / (1 + 1 / log2(3)))
    assert value("ndcg@10", question, answer) == pytest.approx((1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3)))


def test_grades_are_gains():
    question = asked("x", evidence=("a", "b", "c"), grades=(1.0, 3.0, 0.0))
    assert value("ndcg@10", question, said("x", ("b", "a"))) == 1
    assert value("ndcg@10", question, said("x", ("a", "b"))) == pytest.approx((1 + 3 / log2(3)) / (3 + 1 / log2(3)))
    assert value("recall@10", question, said("x", ("c", "b"))) == 0.5


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
    assert value(f"recall@{k}", question, answer) == pytest.approx(len(gold & set(retrieved[:k])) / len(gold))


def test_places_are_judged_by_how_much_of_a_span_they_bring():
    question = asked("x", spans=(Span("d", 100, 200),))
    halves = said("x", (Span("d", 0, 150), Span("e", 0, 150), Span("d", 150, 300)))
    assert value("recall@1", question, halves) == 0.5
    assert value("recall@3", question, halves) == 1
    assert value("precision@3", question, halves) == pytest.approx(2 / 3)
    assert value("mrr@10", question, halves) == pytest.approx((1 + 1 / 3) / 2)
    assert value("map@10", question, halves) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert value("ndcg@10", question, halves) == pytest.approx(0.5 + 0.5 / 2)
    again = said("x", (Span("d", 100, 200), Span("d", 0, 300)))
    assert value("precision@2", question, again) == 0.5  # nothing new at the second place
    assert value("ndcg@10", question, again) == value("map@10", question, again) == 1


def test_over_says_what_a_ranking_is_made_of():
    question = asked("x", spans=(Span("d", 100, 200),))
    answer = said("x", (Span("d", 0, 50),))
    found = {
        over: value({"name": "recall@5", "over": over}, question, answer) for over in ("auto", "documents", "spans")
    }
    assert found == {"auto": 0, "documents": 1, "spans": 0}
    with pytest.raises(InputError, match="over is 'words'"):
        registry.build("metrics", {"name": "recall@5", "over": "words"})


@given(
    gold=st.lists(SPAN, min_size=1, max_size=4).map(tuple),
    places=st.lists(SPAN, max_size=8).map(tuple),
    k=st.integers(1, 8),
)
def test_recall_of_spans_is_the_share_of_their_characters(gold, places, k):
    def characters(spans: tuple[Span, ...]) -> set[tuple[str, int]]:
        return {(span.document_id, at) for span in spans for at in range(span.start, span.end)}

    wanted = characters(gold)
    found = value({"name": f"recall@{k}", "over": "spans"}, asked("x", spans=gold), said("x", places))
    if not wanted:
        assert found is None
    else:
        assert found == pytest.approx(len(wanted & characters(places[:k])) / len(wanted))


@pytest.mark.parametrize("name", RANKING)
@given(
    gold=st.lists(SPAN, min_size=1, max_size=3).map(tuple),
    places=st.lists(SPAN, max_size=6).map(tuple),
    at=st.integers(0, 6),
)
def test_a_place_found_again_changes_nothing_but_the_ranks_below_it(name, gold, places, at):
    question = asked("x", spans=gold)
    before = value(f"{name}@10", question, said("x", places))
    after = value(f"{name}@10", question, said("x", (*places, *places[:at])))
    assert before == after


@given(length=st.integers(2, 100), cuts=st.sets(st.integers(1, 99), max_size=5))
def test_spans_whole_in_one_chunk_are_never_worth_less_than_cut(length, cuts):
    question = asked("x", spans=(Span("d", 0, length),))
    edges = sorted({0, length, *(cut for cut in cuts if cut < length)})
    pieces = tuple(Span("d", start, end) for start, end in pairwise(edges))
    for name in ("recall@10", "ndcg@10", "mrr@10", "map@10"):
        whole, cut = (value(name, question, said("x", places)) for places in ((Span("d", 0, length),), pieces))
        assert whole == 1
        assert cut is not None
        assert cut <= 1 + 1e-12
        assert name not in ("recall@10", "map@10") or cut == pytest.approx(1)


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize("cut", ["0", "51", "-1", "1.5", "x", "", "²"])
def test_impossible_cut_offs_are_refused(name, cut):
    with pytest.raises(InputError, match=f"{name}@{cut}: the cut-off must be a whole number from 1 to 50"):
        registry.build("metrics", f"{name}@{cut}")


@pytest.mark.parametrize("name", sorted(set(registry.names("metrics")) - set(RANKING)))
def test_metrics_of_texts_take_no_cut_off(name):
    with pytest.raises(InputError, match=f"{name} takes nothing after it"):
        registry.build("metrics", f"{name}@5")


# ---------------------------------------------------------------------------------------------------------- citations

ASKS = "Name the number of the passage.\n[1] one\n[2] two\n\nQuestion: ?"


def test_citations_are_right_where_they_lead_to_gold():
    question = asked("x", evidence=("d2", "d9"))
    shown = {"passages": passages("one", "two"), "prompt": ASKS}
    assert value("citation", question, said("x", citations=(2,), **shown)) == 1
    assert value("citation", question, said("x", citations=(1, 2), **shown)) == 0.5
    assert value("citation", question, said("x", citations=(1,), **shown)) == 0
    assert score("citation", question, said("x", **shown)) == Score(
        metric="citation", value=0.0, reason="nothing was cited"
    )


def test_citations_of_spans_must_overlap_them():
    chunks = [Chunk(id=str(start), document_id="d", start=start, end=start + 3, text="abc") for start in (0, 3)]
    shown = tuple(Passage(chunk=chunk, score=1, rank=rank) for rank, chunk in enumerate(chunks, 1))
    question = asked("x", spans=(Span("d", 2, 3),))
    assert [value("citation", question, said("x", passages=shown, citations=(each,))) for each in (1, 2)] == [1, 0]


@pytest.mark.parametrize(
    ("question", "prompt", "reason"),
    [
        (asked("x"), "Answer.\n[1] cite me\n[2] two\n\nQuestion: ?", "the prompt asks for no citation"),
        (
            asked("x", question="Which source does she cite?"),
            "Question: Which source does she cite?",
            "the prompt asks for no citation",
        ),
        (asked("x", evidence=None), ASKS, "no gold document is known"),
        (asked(answerable=False), ASKS, "nothing in the corpus answers it"),
    ],
)
def test_citations_are_not_judged_where_none_is_asked_for_or_right(question, prompt, reason):
    answer = said("x", passages=passages("cite me", "two"), prompt=prompt)
    assert score("citation", question, answer) == Score(metric="citation", value=None, reason=reason)


def test_every_shipped_prompt_that_wants_citations_is_seen_to_want_them():
    for name in templates.available():
        template = templates.load(name)
        shown = passages("one", "two")
        sent = "\n".join(message.content for message in template.render("When?", shown).messages)
        found = score("citation", asked("x", question="When?"), said("x", passages=shown, prompt=sent))
        wanted = template.cites or template.form == "json"
        assert (found.reason == "nothing was cited") == wanted, name


# ------------------------------------------------------------------------------------------------------- groundedness


def test_grounded_words_stand_in_the_passages():
    shown = {"passages": passages("The lighthouse was lit in 1894.", "Its keeper was Ada Brandt.")}
    for text, expected in (
        ("Ada Brandt", 1),
        ("Ada Olsen", 1 / 2),
        ("It was Ada.", 1),
        ("Tom", 0),
        ("1894, by Tom", 1 / 2),
    ):
        assert value("groundedness", asked("x"), said(text, **shown)) == expected, text


def test_groundedness_needs_something_said_and_something_given():
    assert score("groundedness", asked("x"), said("Ada", None)).reason == "closed book: there are no passages"
    assert score("groundedness", asked("x"), said("Unknown")).reason == "declined: there is nothing to support"
    assert value("groundedness", asked("x"), said("Ada")) == 0
    with pytest.raises(InputError, match="threshold is 2"):
        registry.build("metrics", {"name": "groundedness", "by": "embedder", "threshold": 2})


@needs_minilm
def test_grounded_sentences_mean_what_a_passage_says():
    shown = {"passages": passages("The lighthouse was lit in 1894. Entry is free on Mondays.")}
    metric = {"name": "groundedness", "by": "embedder"}
    assert value(metric, asked("x"), said("The lighthouse was first lit in 1894.", **shown)) == 1
    assert value(metric, asked("x"), said("The ferry carries forty cars.", **shown)) == 0
    both = said("Entry costs nothing on Mondays. The ferry carries forty cars.", **shown)
    assert value(metric, asked("x"), both) == 0.5


# ------------------------------------------------------------------------------------------------------------ meaning


@needs_minilm
def test_likeness_in_meaning():
    metric = registry.build("metrics", "semantic")
    question = asked("Entry is free of charge", "a whale")
    near, far = (metric.score(question, said(text)).value for text in ("There is no entrance fee", "forty cars"))
    assert 0 <= far < 0.4 < near < 1
    assert metric.score(question, said("A whale!")).value == 1
    assert metric.score(question, said("Unknown")) == Score(metric="semantic", value=0.0, reason="declined")
    assert metric.score(asked(answerable=False), said("Unknown")).value == 1
    assert metric.score(asked(answerable=False), said("Ada")).value == 0
    assert metric.score(asked(), said("Ada")).value is None


@needs_minilm
def test_a_text_is_embedded_once_and_booked_to_scoring():
    question = asked("the keeper of the light")
    with Recorder(CpuTime()) as recorder:
        assert value("semantic", question, said("a text of this test alone")) is not None
    assert "score" in recorder.stages()
    with Recorder(CpuTime()) as recorder:
        assert value("semantic", question, said("a text of this test alone")) is not None
    assert "score" not in recorder.stages()


# -------------------------------------------------------------------------------------------------------------- judge


@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("5", 1),
        ("1", 0),
        ("4.5", 0.875),
        ("Grade: 3", 0.5),
        ("**4**", 0.75),
        ("4/5", 0.75),
        ("I would give it 4 out of 5.", 0.75),
        ("On a scale of 1 to 5, I give 2.", 0.25),
        ("The score is 4, since 1894 is right.", 0.75),
        ("4. The year 1894 is right.", 0.75),
        ("<think>Maybe 2, maybe 3.</think>5", 1),
        ("Yes", 1),
        ("No, it is wrong.", 0),
        ("Yes and no", None),
        ("8/10", None),
        ("Grade: 9", None),
        ("0", None),
        ("between 3 and 4", None),
        ("1. Facts: fine\n2. Form: fine", None),
        ("It is fine.", None),
        ("", None),
        ("<think>Let me see, 4", None),
    ],
)
def test_grades_are_read_from_replies_or_not_at_all(reply, grade):
    assert read_grade(reply) == grade


def judge(reply: str, **settings: Any) -> Any:
    return registry.build(
        "metrics", {"name": "judge", "model": {"name": "scripted", "replies": {"": reply}, **settings}}
    )


def test_a_judge_sees_question_answer_accepted_answers_and_passages():
    model = scripted.build(replies={"": "4"})
    metric = registry.build("metrics", JUDGE)
    seen = Judge("judge", model, metric.prompt).grade(
        question="When {answer}?", accepted="1894", answer="x", passages="[1] p"
    )
    assert seen == Score(metric="judge", value=0.75, reason="4")
    [(prompt, decoding)] = model.requests
    assert decoding.temperature == 0
    for part in ("Question: When {answer}?", "Accepted answers: 1894", "Answer to grade: x", "\n[1] p\n"):
        assert part in prompt.text


def test_a_judge_gives_its_grade_or_the_reason_why_not():
    assert judge("5").score(asked("Ada"), said("Ada")).value == 1
    assert judge("hm").score(asked("Ada"), said("Ada")) == Score(
        metric="judge", value=None, reason="no grade in the judge's reply: 'hm'"
    )
    failing = judge("5", fail="context_overflow").score(asked("Ada"), said("Ada"))
    assert failing == Score(metric="judge", value=None, reason="the judge failed: context_overflow")
    assert judge("5").score(asked("Ada"), said(" ")).value == 0  # without asking
    assert judge("5").score(asked(answerable=False), said("")).value == 1
    assert judge("5").score(asked(), said("Ada")).value == 1  # by the passages


def test_a_judge_is_asked_once_for_the_same_and_again_after_a_lost_connection():
    pauses: list[float] = []
    model = scripted.build(replies={"": "5"}, fail="lost_connection", fail_attempts=2)
    asking = Judge("judge", model, "{answer}", sleep=pauses.append)
    assert asking.grade(answer="Ada").value == 1
    assert len(pauses) == 2
    model.requests.clear()
    assert asking.grade(answer="Ada").value == 1
    assert model.requests == []
    lost = Judge("judge", scripted.build(fail="timeout"), "{answer}", sleep=pauses.append)
    assert lost.grade(answer="Ada").reason == "the judge failed: timeout"
    assert len(pauses) == 4


def test_a_judges_work_is_booked_as_its_own_stage():
    with Recorder(CpuTime()) as recorder:
        judge("5").score(asked("Ada"), said("Ada"))
    reading = recorder.stages()["judge"]
    assert reading.tokens_out == 1
    assert reading.tokens_in is not None
    assert reading.tokens_in > 50


def test_a_judges_prompt_may_be_the_users_own():
    Path("mine.txt").write_text("Is {answer} nice? yes or no", encoding="utf-8")
    assert registry.build("metrics", {**JUDGE, "prompt": "mine.txt"}).prompt == "Is {answer} nice? yes or no"
    Path("bad.txt").write_text("Is it nice?", encoding="utf-8")
    Path("odd.txt").write_bytes(b"{answer} \xff")
    for name, said_ in (
        ("bad.txt", "expected a text with {answer} in it"),
        ("odd.txt", "UTF-8"),
        ("none.txt", "UTF-8"),
    ):
        with pytest.raises(InputError, match=f"judge: prompt is '{name}'") as error:
            registry.build("metrics", {**JUDGE, "prompt": name})
        assert said_ in str(error.value)


@pytest.mark.parametrize("choice", ["judge", {"name": "groundedness", "by": "judge"}])
def test_a_judge_must_be_named(choice):
    with pytest.raises(InputError, match="model is ''; expected the model that judges"):
        registry.build("metrics", choice)


def test_groundedness_by_a_judge():
    model = {"name": "scripted", "replies": {"Answer to check: Ada": "5", "Answer to check: Tom": "2"}}
    metric = registry.build("metrics", {"name": "groundedness", "by": "judge", "model": model})
    shown = {"passages": passages("Its keeper was Ada Brandt.")}
    assert metric.score(asked("x"), said("Ada", **shown)).value == 1
    assert metric.score(asked("x"), said("Tom", **shown)).value == 0.25

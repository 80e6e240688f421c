"""Answers page by page, in SQL: pages never overlap, filters mean what they say, highlighting changes no text."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench
from tests.stores import filled_store
from workbench.browsing import ORDERS, answer_page, gold, highlighted, side_by_side
from workbench.errors import InputError
from workbench.records import Chunk, Question, Span
from workbench.store import Store

TEXTS = st.text(alphabet="ab <>&\"'İß\n.1", max_size=60)


@pytest.fixture
def store(own_folder: Path) -> Store:
    return filled_store(own_folder / "store.db", model_failures=2, infrastructure_failures=3)


@pytest.mark.parametrize("order", ORDERS)
def test_pages_hold_every_answer_once(store: Store, order: str) -> None:
    found = []
    while True:
        page = answer_page("demo", order=order, offset=len(found), limit=37, store=store)
        assert (page.total, page.offset) == (8 * 24, len(found))
        found += [(row["configuration"], row["id"], row["repeat"]) for row in page.rows]
        if len(found) >= page.total:
            break
    assert len(found) == len(set(found)) == 8 * 24


def test_answers_are_filtered(store: Store) -> None:
    configuration = store.trials(store.get("demo").id)[-1].configuration.id
    wrong = answer_page("demo", configuration=configuration, show="wrong", store=store).rows
    failures = answer_page("demo", configuration=configuration, show="failures", store=store).rows
    assert [row["id"] for row in failures] == [f"q-{number:03}" for number in range(1, 6)]
    assert all(float(row["score"]) < 0.5 for row in wrong)
    assert [row["score"] for row in failures] == ["0.000"] * 2 + ["does not apply"] * 3
    assert failures[-1]["joules"] is None
    with pytest.raises(InputError, match="show is 'right'; expected one of all, wrong, failures, disagreements"):
        answer_page("demo", show="right", store=store)
    with pytest.raises(InputError, match="1 to 500"):
        answer_page("demo", limit=501, store=store)


def test_disagreements_are_questions_that_some_answer_and_others_do_not(store: Store) -> None:
    correct: dict[str, set[bool]] = {}
    for question, scored in workbench.answers("demo", texts=False, store=store):
        value = next(score.value for score in scored.scores if score.metric == "token_f1")
        if value is not None:
            correct.setdefault(question.id, set()).add(value >= 0.5)
    expected = {question for question, found in correct.items() if len(found) == 2}
    shown = answer_page("demo", show="disagreements", limit=500, store=store)
    assert 0 < len(expected) < 24
    assert {row["id"] for row in shown.rows} == expected
    assert shown.total == 8 * len(expected)


def test_a_text_is_sought_in_questions_and_answers_as_it_stands(store: Store) -> None:
    found = answer_page("demo", text="STOPiteration", limit=500, store=store).rows
    assert found
    assert all("stopiteration" in (row["question"] + row["answer"]).lower() for row in found)
    assert answer_page("demo", text="%", store=store).total == 0
    assert answer_page("demo", text="__len__", store=store).total < 8 * 24
    beyond = answer_page("demo", offset=10_000, limit=50, store=store)
    assert beyond.offset == 150
    assert len(beyond.rows) == 8 * 24 - 150


def test_scores_are_sorted_with_those_that_do_not_apply_last(store: Store) -> None:
    rows = answer_page("demo", order="highest score", limit=500, store=store).rows
    known = [float(row["score"]) for row in rows if row["score"] != "does not apply"]
    assert known == sorted(known, reverse=True)
    assert [row["score"] for row in rows[-3:]] == ["does not apply"] * 3


def test_one_question_side_by_side(store: Store) -> None:
    rows = side_by_side("demo", "q-010", store=store)
    assert len({row["configuration"] for row in rows}) == len(rows) == 8
    assert [float(row["score"]) for row in rows] == sorted((float(row["score"]) for row in rows), reverse=True)
    with pytest.raises(InputError, match="has no question 'q-999'"):
        side_by_side("demo", "q-999", store=store)


@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_highlighting_shows_the_text_as_it_is_and_nothing_else(text: str, answers: list[str]) -> None:
    drawn = highlighted(text, answers)
    tags = re.findall(r"<[^>]*>", drawn)
    assert set(tags[1:-1]) <= {"<mark>", "</mark>"}
    assert unescape(re.sub(r"<[^>]*>", "", drawn)) == text
    for hit in re.findall(r"<mark>(.*?)</mark>", drawn, re.DOTALL):
        assert unescape(hit).lower() in {answer.strip().lower() for answer in answers} | {"i̇", "ss"} or "İ" in text


def test_answers_are_marked_as_whole_words_in_any_case() -> None:
    assert "<mark>Break</mark> it" in highlighted("Break it, breaking", ["break"])
    assert "<mark>" not in highlighted("breaking", ["break"])
    assert "<mark>" not in highlighted("anything", ["", " "])


def test_a_passage_is_gold_where_it_holds_the_place_of_the_answer() -> None:
    def chunk(document: str, start: int, end: int) -> Chunk:
        return Chunk(id="c", document_id=document, start=start, end=end, text="")

    question = Question(id="q", question="?", evidence=("d",), spans=(Span("d", 10, 20),))
    assert gold(question, chunk("d", 15, 30)) == "gold passage"
    assert gold(question, chunk("d", 20, 30)) == "gold document"
    assert gold(question, chunk("e", 10, 20)) == ""
    assert gold(Question(id="q", question="?"), chunk("d", 10, 20)) == ""

"""Packing passages into a token budget, and the best sentence where no model answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import passages
from workbench import tokens
from workbench.packing import MARK_TOKENS, best_sentence, pack
from workbench.records import Passage


def words(text: str) -> int:
    return len(text.split())


def inside(found: tuple[Passage, ...]) -> tuple[Passage, ...]:
    """The passages as if each stood a little way into its document."""
    return tuple(replace(each, chunk=replace(each.chunk, start=7, end=7 + len(each.chunk.text))) for each in found)


WORD = st.sampled_from(["one", "two", "naïve", "日本", "\n", "x" * 30, ".", "  "])
LONG = st.integers(0, 60).flatmap(lambda size: st.lists(WORD, min_size=size, max_size=size)).map(" ".join)
TEXTS = st.lists(LONG | st.text(alphabet="ab \n\t", max_size=120), max_size=6)
BUDGET = st.integers(0, 120)
COUNTERS = pytest.mark.parametrize("count", [words, tokens.count], ids=["words", "o200k"])


@COUNTERS
@given(texts=TEXTS, budget=BUDGET)
def test_the_budget_is_respected_and_offsets_stay_exact(count, texts, budget):
    found = inside(passages(*texts))
    packed = pack(found, budget, count)
    assert sum(count(passage.chunk.text) + MARK_TOKENS for passage in packed) <= budget
    assert packed[:-1] == found[: len(packed)][:-1]  # only the last may be cut
    for whole, kept in zip(found, packed, strict=False):
        chunk = kept.chunk
        assert whole.chunk.text[: len(chunk.text)] == chunk.text
        assert (chunk.start, chunk.end) == (whole.chunk.start, whole.chunk.start + len(chunk.text))
        assert (kept.rank, kept.score, chunk.document_id) == (whole.rank, whole.score, whole.chunk.document_id)
        if chunk != whole.chunk:
            assert chunk.id == f"{chunk.document_id}#{chunk.start}-{chunk.end}"
            assert chunk.text.strip()
            assert whole.chunk.text[len(chunk.text)].isspace()


@COUNTERS
@given(texts=TEXTS, budget=BUDGET)
def test_more_passages_never_shrink_what_is_packed(count, texts, budget):
    found = passages(*texts)
    before = ()
    for number in range(len(found) + 1):
        packed = pack(found[:number], budget, count)
        assert packed[: len(before)] == before
        before = packed


@COUNTERS
@given(texts=TEXTS, budget=BUDGET, more=st.integers(0, 60))
def test_a_larger_budget_never_shrinks_what_is_packed(count, texts, budget, more):
    small, large = (pack(passages(*texts), each, count) for each in (budget, budget + more))
    assert len(small) <= len(large)
    for less, enough in zip(small, large, strict=False):
        assert enough.chunk.text.startswith(less.chunk.text)


@given(number=st.integers(1, 60), budget=BUDGET)
def test_a_cut_takes_as_many_whole_words_as_fit(number, budget):
    text = " ".join(f"w{each}" for each in range(number))
    packed = pack(passages(text), budget, words)
    fit = budget - MARK_TOKENS
    if number <= fit:
        assert packed == passages(text)
    elif fit >= 16:
        [cut] = packed
        assert words(cut.chunk.text) == fit
        assert text[cut.chunk.start : cut.chunk.end] == cut.chunk.text
    else:
        assert packed == ()


def test_everything_that_fits_is_packed_unchanged():
    found = passages("one two", "three", "four five six")
    assert pack(found, 6 + 3 * MARK_TOKENS, words) == found
    assert pack(found, 5 + 3 * MARK_TOKENS, words) == found[:2]
    assert pack((), 100, words) == ()


def test_a_word_longer_than_the_budget_is_not_cut():
    assert pack(passages("x" * 4000 + " end"), 40, tokens.count) == ()


@pytest.mark.parametrize(
    ("question", "text", "best"),
    [
        ("Who keeps the light?", "The sea is wide. Ada keeps the light. Tom bakes.", "Ada keeps the light."),
        ("light", "A light here. A light there.", "A light here."),
        ("the of and", "First. Second.", "First."),
        ("Ada?", "No end\n\nAda stands\nhere\n\nLast", "Ada stands here"),
        ("anything", " \n ", ""),
        ("", "Only one", "Only one"),
    ],
)
def test_the_best_sentence_shares_most_words_with_the_question(question, text, best):
    assert best_sentence(question, text) == best

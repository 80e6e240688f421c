"""Counting and locating tokens."""

import time
from pydoc_data.topics import topics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import tokens

TEXTS = {
    "ascii": "The quick brown fox.",
    "emoji": "a family 👩‍👩‍👧‍👦 and a flag 🇸🇪!",
    "cjk": "日本語のテキスト、漢字と仮名。",
    "combining": "cafe\u0301 nai\u0308ve ज़िन्दगी",
    "rare": "𓀀𓀁𓁐 ꙮ",
    "half a character": "a\ud83db",
    "special": "<|endoftext|> is text here",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_token_starts_within_the_text(text):
    starts = tokens.offsets(text)
    assert len(starts) == tokens.count(text)
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert starts[-1] < len(text)


def test_offsets_of_plain_words():
    assert tokens.offsets("Hello world") == [0, 5]


def test_a_token_inside_a_character_counts_from_that_character():
    assert tokens.offsets("a𓀀b") == [0, 1, 1, 1, 1, 2]


def test_nothing_has_no_tokens():
    assert tokens.count("") == 0
    assert tokens.offsets("") == []


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_counts_and_offsets_agree_on_any_text(text):
    starts = tokens.offsets(text)
    assert len(starts) == tokens.count(text)
    assert starts == sorted(starts)
    assert all(0 <= start < len(text) for start in starts)


def test_long_texts_are_counted_as_one_piece_would_be():
    text = " ".join(topics.values())[:150_000]
    whole = tokens._encoding().encode_ordinary(text)
    assert tokens.count(text) == len(whole)
    assert tokens.offsets(text) == tokens._encoding().decode_with_offsets(whole)[1]


def test_long_texts_without_a_space_are_counted_too():
    text = "🇸🇪" * 600_000
    assert len(tokens.offsets(text)) == tokens.count(text) > 600_000


def test_locating_the_tokens_of_the_reference_takes_less_than_a_second():
    text = "\n".join(topics.values())
    tokens.count("load")
    started = time.process_time()
    tokens.offsets(text)
    assert time.process_time() - started < 1

"""Counting and locating tokens."""

import subprocess
import sys
import time
from pathlib import Path
from pydoc_data.topics import topics

import bpe_openai
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
    library = bpe_openai.get_encoding(tokens.VOCABULARY)
    whole = library.encode_ordinary(text)
    assert tokens.count(text) == len(whole)
    assert tokens.offsets(text) == library.decode_with_offsets(whole)[1]


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_counts_are_those_of_the_whole_library(text):
    assert tokens.count(text) == len(bpe_openai.get_encoding(tokens.VOCABULARY).encode_ordinary(text))


def test_every_token_is_as_long_as_the_whole_library_says():
    library = bpe_openai.get_encoding(tokens.VOCABULARY)
    ours = tokens._byte_lengths().tolist()
    theirs = library.token_byte_values()
    assert ours == list(map(len, theirs[: len(ours)]))
    assert {token.decode() for token in theirs[len(ours) :] if token} == library.special_tokens_set  # read in no text


def test_counting_loads_one_vocabulary_and_leaves_the_library_usable():
    program = (
        "import sys; from workbench import tokens; assert tokens.count('Hello world') == 2; "
        "assert 'bpe_openai' not in sys.modules; import bpe_openai; "
        f"print(bpe_openai.get_encoding('{tokens.VOCABULARY}').encode_ordinary('Hello world'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(tokens.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[13225, 2375]"


def test_long_texts_without_a_space_are_counted_too():
    text = "🇸🇪" * 600_000
    assert len(tokens.offsets(text)) == tokens.count(text) > 600_000


def test_locating_the_tokens_of_the_reference_takes_less_than_a_second():
    text = "\n".join(topics.values())
    tokens.count("load")
    started = time.process_time()
    tokens.offsets(text)
    assert time.process_time() - started < 1

"""Words of every script."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.words import _NOT_PLAIN, UNSPACED, fold, words


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Don't stop at 42_x, World!", ["don", "t", "stop", "at", "42_x", "world"]),
        ("Ｈello Straße ﬁne ΣΊΣΥΦΟΣ", ["hello", "strasse", "fine", "σίσυφοσ"]),  # noqa: RUF001
        ("cafe\u0301 caf\u00e9 soft\u00adware", ["caf\u00e9", "caf\u00e9", "software"]),
        ("我喜欢北京。GPT-4很好", ["我", "喜", "欢", "北", "京", "gpt", "4", "很", "好"]),
        ("東京タワー・カフェ", ["東", "京", "タ", "ワ", "ー", "カ", "フ", "ェ"]),
        ("ｶﾞ", ["ガ"]),
        ("ดีมาก ครับ", ["ดี", "ม", "า", "ก", "ค", "รั", "บ"]),
        ("ខ្មែរ", ["ខ្", "មែ", "រ"]),
        ("မြန်မာ", ["မြ", "န်", "မာ"]),
        ("हिन्दी में किताबें", ["हिन्दी", "में", "किताबें"]),
        ("مُحَمَّد في البيت", ["مُحَمَّد", "في", "البيت"]),
        ("می\u200cخواهم", ["میخواهم"]),  # noqa: RUF001
        ("한국어 물", ["한국어", "물"]),
        ("ab中c d", ["ab", "中", "c", "d"]),
        ("\u0301 … — ・ ฿", []),
    ],
)
def test_words_of_many_scripts(text, wanted):
    assert words(text) == [unicodedata.normalize("NFKC", word) for word in wanted]


def test_short_words_are_left_out_but_not_the_characters_of_scripts_without_spaces():
    assert words("a to 中文 é ду я и", shortest=2) == ["to", "中", "文", "ду"]


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_words_are_what_python_calls_words(text):
    assert words(text) == re.findall(r"\w+", text.lower())
    assert words(text, shortest=2) == re.findall(r"\b\w\w+\b", text.lower())


@given(st.text())
def test_words_are_stable(text):
    found = words(text)
    assert words(" ".join(found)) == found
    assert words(text.replace(" ", "  ")) == found
    assert [word for word in found if len(word) >= 2] == [word for word in words(text, shortest=2) if len(word) >= 2]
    assert fold(fold(text)) == fold(text)


def test_the_short_cut_for_plain_scripts_leaves_out_no_mark_and_no_script_without_spaces():
    unspaced = re.compile(f"[{UNSPACED}]")
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        if unicodedata.category(character).startswith("M") or unspaced.match(character):
            assert _NOT_PLAIN.match(character), hex(code)

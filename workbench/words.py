"""Words of any script, for searching and for comparing answers.

Scripts written without spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) are taken character by character,
as the field's multilingual evaluations do it (MLQA, Lewis et al. 2020); a character keeps its combining marks. Words of all
other scripts stay whole, vowel signs and all.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
"""The blocks of scripts without spaces (Thai to Han), as the inside of a character class of a regular expression."""

_NOT_PLAIN = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u1dff\u20d0-\u20ff\u2cef-\U0010ffff]"
)  # all marks and all of UNSPACED are here
_JOINERS = re.compile("[\u00ad\u200c\u200d\u2060\ufeff]")  # invisible, and written or left out at will


def words(text: str, shortest: int = 1) -> list[str]:
    """The words of a text in order, compatible characters made one (NFKC), case folded, without punctuation.

    ``shortest`` leaves out words of fewer characters, but never the single characters of scripts without spaces.
    """
    if text.isascii():
        return _plain(shortest).findall(text.lower())
    folded = fold(text)
    pattern = _any_script if _NOT_PLAIN.search(folded) else _plain
    return pattern(shortest).findall(folded)


def fold(text: str) -> str:
    """The text as words are compared: one form for compatible characters, no case, no invisible joiners."""
    folded = unicodedata.normalize("NFKC", _JOINERS.sub("", text).casefold())
    # What a compatible character stands for may have case again, and parts that combine.
    return unicodedata.normalize("NFKC", folded.casefold())


@cache
def _plain(shortest: int) -> re.Pattern[str]:
    return re.compile(rf"\w{{{shortest},}}")


@cache
def _any_script(shortest: int) -> re.Pattern[str]:
    # Combining marks are no word characters to Python, though in Hindi or Arabic they stand in the middle of words.
    mark = f"[{_marks(range(0x10000))}]|[{_marks(range(0x10000, 0x1F000))}{_marks(range(0xE0000, 0xE0200))}]"
    return re.compile(rf"(?=\w)(?:[{UNSPACED}](?:{mark})*|(?:(?![{UNSPACED}])\w|{mark}){{{shortest},}})")


def _marks(codes: range) -> str:
    """The combining marks among these characters, as the inside of a character class."""
    ranges: list[list[int]] = []
    for code in codes:
        if unicodedata.category(chr(code)).startswith("M"):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)

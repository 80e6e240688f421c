"""Chunks of whole sentences."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator

from workbench import tokens
from workbench.chunkers._pieces import Place, check_window, fits, piece, trimmed
from workbench.chunkers.tokens import TokenWindows
from workbench.records import Chunk, Document

_OPENING = "\"'“‘«([ \t\r\n"  # noqa: RUF001
_CLOSING = "\"'”’»)\\]"
# Runs are matched whole and only from their beginning, so that no text takes more than one pass.
_END = re.compile(
    rf"(?P<spaced>(?<![.!?…])[.!?…]++[{_CLOSING}]*+(?=\s))"  # followed by white space in scripts that have it
    rf"|[。！？｡।॥؟۔።။]++[{_CLOSING}」』）】]*+"  # noqa: RUF001  Chinese, Japanese, Hindi, Arabic, Urdu, Amharic, Burmese
    r"|(?:\r?\n[^\S\r\n]*+){2,}+"  # a blank line
    r"|\n(?=[ \t]*+(?:[-*•]|\d{1,3}[.)])[ \t])"  # an item of a list
)
_WORD_BEFORE = re.compile(r"(?:\w|\.(?=\w))+\Z")
_LONGEST_ABBREVIATION = 12
_INITIALS = re.compile(r"(?!I\Z)[^\W\d_](\.[^\W\d_])*")
_BEFORE_NAMES = frozenset(
    "mr mrs ms mx dr prof st sr jr rev hon gen col capt lt sgt gov sen rep pres messrs mme mlle mm hr fr ing dipl "  # noqa: SIM905
    "vs cf viz approx ca resp incl esp al e.g i.e z.b d.h u.a bzw ggf vgl p.ex".split()
)
_BEFORE_NUMBERS = frozenset(
    "fig figs eq eqs no nos nr vol vols pp p ch chap sec sect art ref refs tab app ex para "  # noqa: SIM905
    "jan feb mar apr jun jul aug sep sept oct nov dec".split()
)


def build(*, chunk_tokens: int = 128, chunk_overlap: int = 0) -> Sentences:
    """As many whole sentences as fit into chunk_tokens; consecutive chunks share whole sentences of at most chunk_overlap tokens.

    A sentence that is longer than a chunk is cut as the tokens chunker does it; so is text in scripts that do not mark where
    a sentence ends, such as Thai.
    """
    check_window(chunk_tokens, chunk_overlap)
    return Sentences(chunk_tokens, chunk_overlap)


class Sentences:
    """Packs a document's sentences into chunks."""

    def __init__(self, size: int, overlap: int) -> None:
        self._size = size
        self._overlap = overlap
        self._windows = TokenWindows(size, 0)

    def split(self, document: Document) -> list[Chunk]:
        """The document's chunks in order; none for a document without visible text."""
        text = document.text
        return [piece(document, place) for place in self.places(text, tokens.offsets(text), 0, len(text))]

    def places(self, text: str, starts: list[int], begin: int, finish: int) -> Iterator[Place]:
        """The chunks of a part of a text, whose tokens start at ``starts``."""
        units = list(self._units(text, starts, begin, finish))
        at = [(bisect_left(starts, start), bisect_left(starts, end)) for start, end in units]  # the same in tokens
        first = new = 0  # the first sentence of the chunk, and the first that no chunk before it holds
        while new < len(units):
            last = new
            while first < last and at[last][1] - at[first][0] > self._size:
                first += 1
            while last + 1 < len(units) and at[last + 1][1] - at[first][0] <= self._size:
                last += 1
            # A text alone can take more tokens than it did within the whole, where its first word followed a space.
            while first < last and not fits(text, (units[first][0], units[last][1]), self._size):
                first, last = (first, last - 1) if last > new else (first + 1, last)
            yield units[first][0], units[last][1]
            new = shared = last + 1
            while shared - 1 > first and fits(text, (units[shared - 1][0], units[last][1]), self._overlap):
                shared -= 1
            first = shared

    def _units(self, text: str, starts: list[int], begin: int, finish: int) -> Iterator[Place]:
        for place in sentences(text, begin, finish):
            if fits(text, place, self._size):
                yield place
            else:
                yield from self._windows.places(text, starts, *place)


def sentences(text: str, begin: int, finish: int) -> Iterator[Place]:
    """Where the sentences of a part of a text lie, without the white space around them."""
    start = begin
    for match in _END.finditer(text, begin, finish):
        if not match["spaced"] or _ends(text, match, begin):
            yield from trimmed(text, [(start, match.end())])
            start = match.end()
    yield from trimmed(text, [(start, finish)])


def _ends(text: str, match: re.Match[str], begin: int) -> bool:
    """Whether a sentence ends at a mark that white space follows: not after an abbreviation, nor where it goes on in lower case."""
    rest = text[match.end() : match.end() + _LONGEST_ABBREVIATION].lstrip(_OPENING)
    if rest[:1].islower():
        return False
    if match.group() != ".":
        return True
    before = _WORD_BEFORE.search(text, max(begin, match.start() - _LONGEST_ABBREVIATION), match.start())
    if before is None:
        return True
    word = before.group()
    if word.isdigit():  # at the beginning of a line it numbers an item
        line = text[max(begin, before.start() - 4) : before.start()].rstrip(" \t")
        return bool(line) and not line.endswith("\n")
    if word.lower() in _BEFORE_NUMBERS:
        return not rest[:1].isdigit()
    initials = word.isupper() and _INITIALS.fullmatch(word)  # p.m. is none
    return word.lower() not in _BEFORE_NAMES and not initials

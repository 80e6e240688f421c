"""Chunks of a fixed number of tokens."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from workbench import tokens
from workbench.chunkers._pieces import VISIBLE, Place, check_window, piece
from workbench.records import Chunk, Document


def build(*, chunk_tokens: int = 128, chunk_overlap: int = 0) -> TokenWindows:
    """Consecutive windows of at most so many tokens, cut between words where one ends in the window's last quarter."""
    check_window(chunk_tokens, chunk_overlap)
    return TokenWindows(chunk_tokens, chunk_overlap)


class TokenWindows:
    """Cuts a document into windows that together cover all of its visible text."""

    def __init__(self, size: int, overlap: int) -> None:
        self._size = size
        self._overlap = overlap

    def split(self, document: Document) -> list[Chunk]:
        """The document's chunks in order; none for a document without visible text."""
        text = document.text
        return [piece(document, place) for place in self.places(text, tokens.offsets(text), 0, len(text))]

    def places(self, text: str, starts: list[int], begin: int, finish: int) -> Iterator[Place]:
        """The windows of a part of a text, whose tokens start at ``starts``."""
        position = covered = begin
        while (visible := VISIBLE.search(text, position, finish)) is not None:
            start = visible.start()
            cut = self._cut(text, starts, start, finish)
            end = start + len(text[start:cut].rstrip())
            if end <= covered:  # what would be shared leaves no room for anything new
                position = covered
                continue
            yield start, end
            covered = end
            overlapping = self._overlap and VISIBLE.search(text, cut, finish)
            position = self._next(text, starts, start, cut) if overlapping else cut

    def _cut(self, text: str, starts: list[int], start: int, finish: int) -> int:
        """Where a window that begins at ``start`` ends; whitespace before that place may stay outside."""
        index = bisect_left(starts, start)
        if index == len(starts) or starts[index] > start:
            index -= 1
        index += self._size
        end = min(starts[index], finish) if index < len(starts) else finish
        end = max(end, start + 1)
        while True:
            cut = end if end == finish else _between_words(text, end - (end - start) // 4, end)
            # A window alone can take more tokens than it did within the text, where its first word followed a space.
            if tokens.count(text[start:cut].rstrip()) <= self._size:
                return cut
            end = cut - 1

    def _next(self, text: str, starts: list[int], start: int, cut: int) -> int:
        """Where the window after the one from ``start`` to ``cut`` begins: so many tokens before ``cut``, or fewer."""
        forward = bisect_right(starts, start)
        back = bisect_left(starts, cut) - self._overlap
        index = max(forward, back)
        position = min(starts[index], cut) if index < len(starts) else cut
        for candidate in range(position, position + (cut - position) // 2):
            if text[candidate - 1].isspace():
                return candidate
        return position


def _between_words(text: str, low: int, high: int) -> int:
    """The last place in ``low`` to ``high`` that cuts no word apart, else ``high``."""
    for position in range(high, low, -1):
        if text[position].isspace() or text[position - 1].isspace():
            return position
    return high

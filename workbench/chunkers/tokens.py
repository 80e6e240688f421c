"""Chunks of a fixed number of tokens."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right

from workbench import tokens
from workbench.errors import InputError
from workbench.records import Chunk, Document

_SMALLEST = 4  # tokens: one character can take as many
_VISIBLE = re.compile(r"\S")


def build(*, chunk_tokens: int = 128, chunk_overlap: int = 0) -> TokenWindows:
    """Consecutive windows of at most so many tokens, cut between words where one ends in the window's last quarter."""
    problems = []
    if chunk_tokens < _SMALLEST:
        problems.append(
            f"chunk_tokens is {chunk_tokens}; expected at least {_SMALLEST} (one character can take that many)"
        )
    if chunk_overlap < 0:
        problems.append(f"chunk_overlap is {chunk_overlap}; expected 0 or more")
    elif chunk_overlap >= chunk_tokens:
        problems.append(f"chunk_overlap is {chunk_overlap}; expected less than chunk_tokens, which is {chunk_tokens}")
    if problems:
        raise InputError(problems)
    return TokenWindows(chunk_tokens, chunk_overlap)


class TokenWindows:
    """Cuts a document into windows that together cover all of its visible text."""

    def __init__(self, size: int, overlap: int) -> None:
        self._size = size
        self._overlap = overlap

    def split(self, document: Document) -> list[Chunk]:
        """The document's chunks in order; none for a document without visible text."""
        text = document.text
        starts = tokens.offsets(text)
        chunks: list[Chunk] = []
        position = 0
        while (visible := _VISIBLE.search(text, position)) is not None:
            start = visible.start()
            cut = self._cut(text, starts, start)
            end = start + len(text[start:cut].rstrip())
            chunks.append(
                Chunk(
                    id=f"{document.id}#{start}-{end}",
                    document_id=document.id,
                    start=start,
                    end=end,
                    text=text[start:end],
                    title=document.title,
                )
            )
            overlapping = self._overlap and _VISIBLE.search(text, cut)
            position = self._next(text, starts, start, cut) if overlapping else cut
        return chunks

    def _cut(self, text: str, starts: list[int], start: int) -> int:
        """Where a window that begins at ``start`` ends; whitespace before that place may stay outside."""
        index = bisect_left(starts, start)
        if index == len(starts) or starts[index] > start:
            index -= 1
        index += self._size
        end = starts[index] if index < len(starts) else len(text)
        end = max(end, start + 1)
        while True:
            cut = _between_words(text, end - (end - start) // 4, end)
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
    if high < len(text):
        for position in range(high, low, -1):
            if text[position].isspace() or text[position - 1].isspace():
                return position
    return high

"""Small chunks to find, wider ones to read."""

from __future__ import annotations

from workbench import tokens
from workbench.chunkers._pieces import check_window, piece
from workbench.chunkers.tokens import TokenWindows
from workbench.records import Chunk, Document

_WIDER = 4


def build(*, chunk_tokens: int = 128, chunk_overlap: int = 0, parent_tokens: int | None = None) -> SmallToBig:
    """Windows of chunk_tokens to search in, each with the window of parent_tokens (four times as many) that is read in its place."""
    wide = _WIDER * chunk_tokens if parent_tokens is None else parent_tokens
    narrow = f"parent_tokens is {wide}; expected at least chunk_tokens, which is {chunk_tokens}"
    check_window(chunk_tokens, chunk_overlap, [narrow] if wide < chunk_tokens else ())
    return SmallToBig(TokenWindows(chunk_tokens, chunk_overlap), TokenWindows(wide, 0))


class SmallToBig:
    """Cuts a document into wide windows and these into small ones, so that each small one lies within one wide one."""

    def __init__(self, small: TokenWindows, wide: TokenWindows) -> None:
        self._small = small
        self._wide = wide

    def split(self, document: Document) -> list[Chunk]:
        """The small chunks in order, each with its parent."""
        text = document.text
        starts = tokens.offsets(text)
        chunks = []
        for begin, finish in self._wide.places(text, starts, 0, len(text)):
            parent = piece(document, (begin, finish))
            chunks += [
                piece(document, place, parent=parent) for place in self._small.places(text, starts, begin, finish)
            ]
        return chunks

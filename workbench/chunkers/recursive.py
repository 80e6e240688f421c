"""Chunks by LangChain's recursive splitter: paragraphs, else lines, else words."""

from __future__ import annotations

from collections.abc import Iterator

from langchain_text_splitters import RecursiveCharacterTextSplitter

from workbench import tokens
from workbench.chunkers._pieces import VISIBLE, Place, check_window, fits, piece
from workbench.chunkers.tokens import TokenWindows
from workbench.records import Chunk, Document

_SEPARATORS = ["\n\n", "\n", " "]  # what no separator parts is cut by tokens, not by characters


def build(*, chunk_tokens: int = 128, chunk_overlap: int = 0) -> Recursive:
    """Whole paragraphs where they fit into chunk_tokens, else whole lines, else whole words (langchain-text-splitters)."""
    check_window(chunk_tokens, chunk_overlap)
    return Recursive(chunk_tokens, chunk_overlap)


class Recursive:
    """Cuts with the library and finds out where each of its pieces came from."""

    def __init__(self, size: int, overlap: int) -> None:
        self._size = size
        self._lengths = _Lengths()
        # A first word can take one token more than it did after the space that is taken off it.
        self._splitter = RecursiveCharacterTextSplitter(
            separators=_SEPARATORS,
            chunk_size=size - 1,
            chunk_overlap=overlap,
            length_function=self._lengths.__getitem__,
        )
        self._windows = TokenWindows(size, overlap)

    def split(self, document: Document) -> list[Chunk]:
        """The document's chunks in order; none for a document without visible text."""
        self._lengths.clear()
        chunks = []
        covered = 0
        for start, end in sorted(self._places(document.text), key=lambda place: (place[0], -place[1])):
            if end > covered:  # else it lies within the one before
                chunks.append(piece(document, (start, end)))
                covered = end
        return chunks

    def _places(self, text: str) -> Iterator[Place]:
        starts: list[int] = []
        for place in _located(text, self._splitter.split_text(text)):
            # Pieces are counted one by one; together they can take more, and one without a separator is as long as it is.
            if fits(text, place, self._size):
                yield place
            else:
                starts = starts or tokens.offsets(text)
                yield from self._windows.places(text, starts, *place)


def _located(text: str, pieces: list[str]) -> Iterator[Place]:
    """Where pieces lie that cover a text's visible characters in order, each beginning among the earlier ones or right after.

    A piece may fit in several places of a repetitive text. The last one that leaves no gap is taken: it is never before
    the true one, so that the pieces reach the end of the text.
    """
    covered = 0
    for bare in filter(None, map(str.strip, pieces)):
        visible = VISIBLE.search(text, covered)
        latest = visible.start() if visible else covered
        start = text.rfind(bare, 0, latest + len(bare))
        yield start, start + len(bare)
        covered = max(covered, start + len(bare))


class _Lengths(dict[str, int]):
    """Text → its number of tokens. The splitter asks several times for each text of a document; none is kept for the next one,
    so that every chunking takes what it takes alone."""

    def __missing__(self, text: str) -> int:
        self[text] = number = tokens.count(text)
        return number

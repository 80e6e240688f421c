"""What retrievers have in common: the text they search and the passages they return."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workbench.errors import InputError
from workbench.records import Chunk, Passage


def searchable(chunk: Chunk) -> str:
    """A chunk's text after its document's title, as retrieval benchmarks do it."""
    return chunk.text if chunk.text.startswith(chunk.title) else f"{chunk.title}\n{chunk.text}"


def passages(chunks: Sequence[Chunk], found: Iterable[tuple[int, float]]) -> list[Passage]:
    """Positions with their scores, best first, as passages."""
    return [Passage(chunk=chunks[position], score=score, rank=rank) for rank, (position, score) in enumerate(found, 1)]


def check_depth(retriever: str, depth: int) -> None:
    """Refuse a depth that returns nothing."""
    if depth < 1:
        raise InputError(f"{retriever}: depth is {depth}; expected at least 1")

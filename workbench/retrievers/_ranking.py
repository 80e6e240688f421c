"""What retrievers have in common: the text they search, the passages they return, and the fusion of several rankings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from workbench.errors import InputError
from workbench.records import Chunk, Passage

CONSTANT = 60
"""Of reciprocal rank fusion, as published."""


def searchable(chunk: Chunk) -> str:
    """A chunk's text after its document's title, as retrieval benchmarks do it."""
    return chunk.text if chunk.text.startswith(chunk.title) else f"{chunk.title}\n{chunk.text}"


class Ranking(Sequence[Passage]):
    """Passages, best first, that are made when they are looked at: a search finds many of which few are used."""

    __slots__ = ("_chunks", "_positions", "_scores")

    def __init__(self, chunks: Sequence[Chunk], positions: Sequence[int], scores: Sequence[float]) -> None:
        self._chunks = chunks
        self._positions = positions
        self._scores = scores

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> Passage: ...
    @overload
    def __getitem__(self, index: slice) -> list[Passage]: ...
    def __getitem__(self, index: int | slice) -> Passage | list[Passage]:
        if isinstance(index, slice):
            return [self._passage(place) for place in range(*index.indices(len(self._positions)))]
        return self._passage(range(len(self._positions))[index])

    def __iter__(self) -> Iterator[Passage]:
        return map(self._passage, range(len(self._positions)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(other) == len(self) and all(map(Passage.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))

    def chunks(self, count: int) -> list[Chunk]:
        """The first chunks alone, which are there already."""
        return [self._chunks[position] for position in self._positions[:count]]

    def _passage(self, place: int) -> Passage:
        return Passage(chunk=self._chunks[self._positions[place]], score=self._scores[place], rank=place + 1)


def passages(chunks: Sequence[Chunk], positions: Sequence[int], scores: Sequence[float]) -> Ranking:
    """Positions among the chunks with their scores, both best first, as passages."""
    return Ranking(chunks, positions, scores)


def fuse(rankings: Sequence[Sequence[Passage]], weights: Sequence[float], constant: float, depth: int) -> Ranking:
    """One ranking out of several by the sum of ``weight / (constant + rank)``; equal ones as they were met first.

    The formula is that of Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
    Learning Methods", SIGIR 2009, where the weights are 1 and the constant is 60.
    """
    return best_sums(
        (
            ((passage.chunk, weight / (constant + passage.rank)) for passage in ranking)
            for ranking, weight in zip(rankings, weights, strict=True)
        ),
        depth,
    )


def best_sums(rankings: Iterable[Iterable[tuple[Chunk, float]]], depth: int) -> Ranking:
    """Chunks by the sum of what each ranking gives them, the highest sums first, equal ones as they were met first."""
    sums: dict[str, float] = {}
    chunks: dict[str, Chunk] = {}
    for ranking in rankings:
        for chunk, share in ranking:
            sums[chunk.id] = sums.get(chunk.id, 0.0) + share
            chunks.setdefault(chunk.id, chunk)
    best = sorted(sums, key=sums.__getitem__, reverse=True)[:depth]
    return Ranking([chunks[id] for id in best], range(len(best)), [sums[id] for id in best])


def check_depth(retriever: str, depth: int) -> None:
    """Refuse a depth that returns nothing."""
    if depth < 1:
        raise InputError(f"{retriever}: depth is {depth}; expected at least 1")

"""What rerankers have in common: a better order out of one score per passage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from workbench.records import Passage


def ranked(scored: Iterable[tuple[Passage, float]]) -> list[Passage]:
    """Passages by descending score, equal ones in the order they came, with the new scores and ranks."""
    best = sorted(scored, key=lambda pair: -pair[1])
    return in_order(best)


def in_order(scored: Sequence[tuple[Passage, float]]) -> list[Passage]:
    """Passages as they stand, with the new scores and ranks."""
    return [Passage(chunk=passage.chunk, score=score, rank=rank) for rank, (passage, score) in enumerate(scored, 1)]

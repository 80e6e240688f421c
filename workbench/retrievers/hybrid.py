"""Lexical and semantic search together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from workbench.booking import stage
from workbench.contracts import Retriever, Sources
from workbench.errors import InputError
from workbench.records import Chunk, Passage, PluginChoice
from workbench.retrievers._ranking import CONSTANT, Ranking, best_sums, check_depth, fuse

needs: frozenset[str] = frozenset({"chunks", "embedder", "index", "passages"})
"""What this retriever depends on."""

Fusion = Literal["rrf", "scores"]


def build(
    sources: Sources,
    *,
    fusion: Fusion = "rrf",
    weight: float = 0.5,
    constant: int = CONSTANT,
    lexical: PluginChoice = "bm25",
    dense: PluginChoice = "dense",
    depth: int = 50,
) -> Hybrid:
    """Fuse bm25 and dense by reciprocal ranks, 1 / (constant + rank), or by scores from 0 to 1; weight is dense's share.

    ``fusion: rrf`` is reciprocal rank fusion; ``fusion: scores`` adds the scores after stretching those of each ranking to
    reach from 0 to 1. ``lexical`` and ``dense`` may be any two retrievers: ``{name: bm25, stem: true}``.
    """
    problems = []
    if not 0 <= weight <= 1:
        problems.append(f"hybrid: weight is {weight}; expected a number from 0 (bm25 alone) to 1 (dense alone)")
    if constant < 0:
        problems.append(f"hybrid: constant is {constant}; expected 0 or more")
    if problems:
        raise InputError(problems)
    check_depth("hybrid", depth)
    weighed = [(choice, share) for choice, share in ((lexical, 2 - 2 * weight), (dense, 2 * weight)) if share]
    return Hybrid(
        [sources.retriever(choice) for choice, _ in weighed], [share for _, share in weighed], fusion, constant, depth
    )


class Hybrid:
    """Fuses rankings by rank alone, so that scores of different scales need no weighing, or by their scores."""

    def __init__(
        self, retrievers: Sequence[Retriever], weights: Sequence[float], fusion: Fusion, constant: int, depth: int
    ) -> None:
        self._retrievers = retrievers
        self._weights = weights  # 1 each gives the published formula of reciprocal rank fusion
        self._fusion = fusion
        self._constant = constant
        self._depth = depth

    def search(self, question: str) -> Ranking:
        """Passages that any of the retrievers found, best first, equal ones as the first retriever ranked them."""
        rankings = [retriever.search(question) for retriever in self._retrievers]
        with stage("search"):
            if self._fusion == "rrf":
                return fuse(rankings, self._weights, self._constant, self._depth)
            return best_sums(map(_stretched, rankings, self._weights), self._depth)


def _stretched(ranking: Sequence[Passage], weight: float) -> Iterator[tuple[Chunk, float]]:
    """Chunks with their scores brought to 0 … weight; all of them get the weight where they are equal."""
    found = list(ranking)
    scores = [passage.score for passage in found]
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    for passage in found:
        share = (passage.score - low) / (high - low) if high > low else 1.0
        yield passage.chunk, weight * share

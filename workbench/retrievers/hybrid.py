"""Lexical and semantic search together."""

from __future__ import annotations

from collections import defaultdict

from workbench.contracts import Retriever, Sources
from workbench.errors import InputError
from workbench.ledger import stage
from workbench.records import Chunk, Passage
from workbench.retrievers._ranking import check_depth

needs: frozenset[str] = frozenset({"embedder", "index"})
"""The axes beyond chunking that this retriever depends on."""


def build(sources: Sources, *, weight: float = 0.5, constant: int = 60, depth: int = 50) -> Hybrid:
    """Fuse the rankings of bm25 and dense by reciprocal ranks, 1 / (constant + rank); weight is the share of dense."""
    problems = []
    if not 0 <= weight <= 1:
        problems.append(f"hybrid: weight is {weight}; expected a number from 0 (bm25 alone) to 1 (dense alone)")
    if constant < 0:
        problems.append(f"hybrid: constant is {constant}; expected 0 or more")
    if problems:
        raise InputError(problems)
    check_depth("hybrid", depth)
    return Hybrid(
        (sources.retriever("bm25"), sources.retriever("dense")), (2 - 2 * weight, 2 * weight), constant, depth
    )


class Hybrid:
    """Fuses rankings by rank alone, so that scores of different scales need no weighing.

    The formula is that of Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
    Rank Learning Methods", SIGIR 2009, whose constant is 60.
    """

    def __init__(
        self, retrievers: tuple[Retriever, ...], weights: tuple[float, ...], constant: int, depth: int
    ) -> None:
        self._retrievers = retrievers
        self._weights = weights  # 1 each gives the published formula
        self._constant = constant
        self._depth = depth

    def search(self, question: str) -> list[Passage]:
        """Passages that any of the retrievers found, best first, equal ones as the first retriever ranked them."""
        rankings = [retriever.search(question) for retriever in self._retrievers]
        with stage("search"):
            scores: defaultdict[str, float] = defaultdict(float)
            chunks: dict[str, Chunk] = {}
            for weight, ranking in zip(self._weights, rankings, strict=True):
                for passage in ranking:
                    scores[passage.chunk.id] += weight / (self._constant + passage.rank)
                    chunks.setdefault(passage.chunk.id, passage.chunk)
            found = ((id, score) for id, score in scores.items() if score > 0)
            best = sorted(found, key=lambda pair: -pair[1])[: self._depth]
            return [Passage(chunk=chunks[id], score=score, rank=rank) for rank, (id, score) in enumerate(best, 1)]

"""Reranking for diversity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workbench.booking import stage
from workbench.contracts import Embedder, Tools
from workbench.errors import InputError
from workbench.records import Passage, PluginChoice
from workbench.rerankers._scoring import in_order
from workbench.retrievers._ranking import searchable

needs: frozenset[str] = frozenset({"embedder"})
"""What this reranker depends on."""


def build(tools: Tools, *, diversity: float = 0.3, embedder: PluginChoice | None = None) -> MaximalMarginalRelevance:
    """Put passages first that are close to the question and unlike those before them (MMR); diversity is from 0 to 1.

    ``embedder`` is any embedder by name; without one the configuration's own. Passages are embedded for every question.
    """
    if not 0 <= diversity <= 1:
        raise InputError(
            f"mmr: diversity is {diversity}; expected a number from 0 (relevance alone) to 1 (novelty alone)"
        )
    return MaximalMarginalRelevance(tools.embedder(embedder), diversity)


class MaximalMarginalRelevance:
    """Takes, one after the other, the passage of highest marginal relevance.

    The formula is that of Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking", SIGIR 1998:
    (1 − diversity) × similarity to the question − diversity × highest similarity to what was taken before (0 where
    nothing is similar, so that scores never rise down the ranking).
    """

    def __init__(self, embedder: Embedder, diversity: float) -> None:
        self._embedder = embedder
        self._diversity = diversity

    def rerank(self, question: str, passages: Sequence[Passage]) -> list[Passage]:
        """All passages, each scored by its marginal relevance when it was taken; equal ones in the order they came."""
        if not passages:
            return []
        with stage("rerank"):
            vectors = self._embedder.embed([question, *(searchable(passage.chunk) for passage in passages)])
            vectors = vectors.astype(np.float64)
            relevance, alike = vectors[1:] @ vectors[0], vectors[1:] @ vectors[1:].T
            nearest = np.zeros(len(passages))
            left = list(range(len(passages)))
            taken: list[tuple[Passage, float]] = []
            while left:
                scores = (1 - self._diversity) * relevance[left] - self._diversity * nearest[left]
                best = left.pop(int(scores.argmax()))
                taken.append((passages[best], float(scores.max())))
                nearest = np.maximum(nearest, alike[best])
            return in_order(taken)

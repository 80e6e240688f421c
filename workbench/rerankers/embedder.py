"""Reranking by an embedder, often a better one than the retriever's."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.booking import stage
from workbench.contracts import Embedder, Tools
from workbench.records import Passage, PluginChoice
from workbench.rerankers._scoring import ranked
from workbench.retrievers._ranking import searchable

needs: frozenset[str] = frozenset({"embedder"})
"""What this reranker depends on."""


def build(tools: Tools, *, embedder: PluginChoice | None = None) -> ByEmbedder:
    """Rank by the cosine of question and passage; the passages are embedded for every question, and charged to it.

    ``embedder`` is any embedder by name; without one the configuration's own.
    """
    return ByEmbedder(tools.embedder(embedder))


class ByEmbedder:
    """Embeds question and passages together."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def rerank(self, question: str, passages: Sequence[Passage]) -> list[Passage]:
        """The passages by descending cosine, which is their new score."""
        if not passages:
            return []
        with stage("rerank"):
            texts = [searchable(passage.chunk) for passage in passages]
            vectors = self._embedder.embed([question, *texts])
            return ranked(zip(passages, (vectors[1:] @ vectors[0]).tolist(), strict=True))

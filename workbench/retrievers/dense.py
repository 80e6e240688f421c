"""Semantic search: nearest embeddings in a FAISS index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workbench.booking import stage
from workbench.contracts import Embedder, Sources
from workbench.errors import InputError
from workbench.records import Chunk
from workbench.retrievers import _vectors
from workbench.retrievers._ranking import Ranking, check_depth, passages, searchable

needs: frozenset[str] = frozenset({"chunks", "embedder", "index", "passages"})
"""What this retriever depends on."""


def build(sources: Sources, *, depth: int = 50, nprobe: int | None = None, ef_search: int | None = None) -> Dense:
    """Rank passages by the cosine of their embedding and the question's, found with a FAISS index.

    ``nprobe`` is how many clusters of an IVF index are searched, ``ef_search`` how many candidates an HNSW index keeps; left
    out they are FAISS' own (1 and 16).
    """
    check_depth("dense", depth)
    given = {"nprobe": nprobe, "ef_search": ef_search}
    problems = [
        f"dense: {name} is {value}; expected at least 1"
        for name, value in given.items()
        if value is not None and value < 1
    ]
    if problems:
        raise InputError(problems)
    count = len(sources.chunks)
    _vectors.check(sources.index, sources.precision, count)
    embedder = sources.embedder()
    index = _vectors.load(sources.folder, sources.precision, count)
    if index is None:
        # One passage tells the dimensions: what FAISS will not build for them is refused before all are embedded.
        dimensions = embedder.embed([searchable(sources.chunks[0])]).shape[1]
        empty = _vectors.empty(sources.index, sources.precision, dimensions, **given)
        vectors = np.ascontiguousarray(
            embedder.embed([searchable(chunk) for chunk in sources.chunks]), dtype=np.float32
        )
        index = _vectors.filled(empty, sources.index, sources.precision, vectors)
        _vectors.store(sources.folder, index)
    return Dense(sources.chunks, embedder, index, depth)


class Dense:
    """Embeds the question and asks the index."""

    def __init__(self, chunks: Sequence[Chunk], embedder: Embedder, index: _vectors.VectorIndex, depth: int) -> None:
        self._chunks = chunks
        self._embedder = embedder
        self._index = index
        self._depth = min(depth, len(chunks))

    def search(self, question: str) -> Ranking:
        """The nearest passages, best first, equal ones in the order of the text."""
        with stage("embed"):
            vector = np.asarray(self._embedder.embed([question]), dtype=np.float32)
        with stage("search"):
            cosines, positions = self._index.search(vector, self._depth)
            near, cosines = positions[0], cosines[0]
            if near[-1] < 0:  # FAISS fills up with -1 where an approximate index found fewer
                near, cosines = near[near >= 0], cosines[near >= 0]
            order = np.lexsort((near, -cosines))
            return passages(self._chunks, near[order].tolist(), cosines[order].tolist())

    def index_facts(self) -> dict[str, Any]:
        """Measured when the index was built: ``index_bytes``, ``chunks`` and ``recall_vs_flat@10``."""
        return dict(self._index.facts)

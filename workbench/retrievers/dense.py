"""Semantic search: nearest embeddings in a FAISS index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np

from workbench.contracts import Embedder, Sources
from workbench.errors import InputError
from workbench.ledger import stage
from workbench.records import Chunk, Passage
from workbench.retrievers import _cache
from workbench.retrievers._ranking import check_depth, passages, searchable

needs: frozenset[str] = frozenset({"embedder", "index"})
"""The axes beyond chunking that this retriever depends on."""

_FILE = "index.faiss"


def build(sources: Sources, *, depth: int = 50) -> Dense:
    """Rank passages by the cosine of their embedding and the question's, found with a FAISS index."""
    check_depth("dense", depth)
    embedder = sources.embedder()
    index = _load(sources.folder, len(sources.chunks))
    if index is None:
        index = _index(sources, embedder)
        _cache.store(sources.folder, lambda folder: faiss.write_index(index, str(folder / _FILE)))
    return Dense(sources.chunks, embedder, index, depth)


def _load(folder: Path | None, expected: int) -> faiss.Index | None:
    if folder is None or not _cache.intact(folder):
        return None
    try:
        index = faiss.read_index(str(folder / _FILE))
    except RuntimeError:
        return None
    return index if index.ntotal == expected else None


def _index(sources: Sources, embedder: Embedder) -> faiss.Index:
    vectors = np.ascontiguousarray(embedder.embed([searchable(chunk) for chunk in sources.chunks]), dtype=np.float32)
    count, dimensions = vectors.shape
    try:
        index = faiss.index_factory(dimensions, sources.index, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InputError(
            f"index is {sources.index!r}, which FAISS cannot build for {dimensions} dimensions ({_reason(error)}); "
            "expected a FAISS factory string such as Flat, HNSW32 or IVF64,Flat"
        ) from error
    try:
        index.train(vectors)
        index.add(vectors)
    except RuntimeError as error:
        raise InputError(
            f"index is {sources.index!r}, which cannot be trained on the {count} chunks there are ({_reason(error)}); "
            "use Flat, fewer clusters, or smaller chunks"
        ) from error
    return index


def _reason(error: RuntimeError) -> str:
    """FAISS' message without the place in its source and the condition that failed there."""
    return re.sub(r"^.* at \S+:\d+: (Error: )?('.*' failed: )?", "", str(error), flags=re.DOTALL).strip()


class Dense:
    """Embeds the question and asks the index."""

    def __init__(self, chunks: Sequence[Chunk], embedder: Embedder, index: faiss.Index, depth: int) -> None:
        self._chunks = chunks
        self._embedder = embedder
        self._index = index
        self._depth = min(depth, len(chunks))

    def search(self, question: str) -> list[Passage]:
        """The nearest passages, best first, equal ones in the order of the text."""
        with stage("embed"):
            vector = np.ascontiguousarray(self._embedder.embed([question]), dtype=np.float32)
        with stage("search"):
            scores, positions = self._index.search(vector, self._depth)
            # FAISS fills up with -1 where an approximate index found fewer.
            found = [(p, s) for p, s in zip(positions[0].tolist(), scores[0].tolist(), strict=True) if p >= 0]
            found.sort(key=lambda pair: (-pair[1], pair[0]))
            return passages(self._chunks, found)

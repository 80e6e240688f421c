"""Lexical search: BM25 as Lucene scores it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import bm25s
import numpy as np
from numpy.typing import NDArray

from workbench.contracts import Sources
from workbench.errors import InputError
from workbench.ledger import stage
from workbench.records import Chunk, Passage
from workbench.retrievers import _cache
from workbench.retrievers._ranking import check_depth, passages, searchable

needs: frozenset[str] = frozenset()
"""The axes beyond chunking that this retriever depends on."""

STOPWORDS = "english"
_words = re.compile(r"(?u)\b\w\w+\b").findall  # bm25s' own pattern: runs of two or more letters, digits or underscores


def build(sources: Sources, *, k1: float = 1.5, b: float = 0.75, depth: int = 50) -> Bm25:
    """Rank passages by the words they share with the question (BM25, lower case, English stop words, no stemming)."""
    problems = []
    if k1 < 0:
        problems.append(f"bm25: k1 is {k1}; expected 0 or more")
    if not 0 <= b <= 1:
        problems.append(f"bm25: b is {b}; expected a number from 0 to 1")
    if problems:
        raise InputError(problems)
    check_depth("bm25", depth)
    index = _load(sources.folder, len(sources.chunks))
    if index is None:
        index = bm25s.BM25(k1=k1, b=b)
        texts = [searchable(chunk) for chunk in sources.chunks]
        words = bm25s.tokenize(texts, lower=True, stopwords=STOPWORDS, show_progress=False)
        if not words.vocab:
            return Bm25(sources.chunks, None, depth)
        index.index(words, show_progress=False)
        _cache.store(sources.folder, lambda folder: index.save(folder))
    return Bm25(sources.chunks, index, depth)


def _load(folder: Path | None, expected: int) -> bm25s.BM25 | None:
    if folder is None or not _cache.intact(folder):
        return None
    try:
        index = bm25s.BM25.load(folder, show_progress=False)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return index if index.scores["num_docs"] == expected else None


class Bm25:
    """Searches an index in memory; ``None`` stands for one without a single word."""

    def __init__(self, chunks: Sequence[Chunk], index: bm25s.BM25 | None, depth: int) -> None:
        self._chunks = chunks
        self._index = index
        self._depth = depth

    def search(self, question: str) -> list[Passage]:
        """Passages that share a word with the question, best first, equal ones in the order of the text."""
        with stage("search"):
            if self._index is None:
                return []
            vocabulary = self._index.vocab_dict
            words = [vocabulary[word] for word in _words(question.lower()) if word in vocabulary]
            if not words:
                return []
            scores = self._index.get_scores_from_ids(words)
            best = _best(scores, self._depth)
            return passages(self._chunks, zip(best.tolist(), scores[best].tolist(), strict=True))


def _best(scores: NDArray[np.float32], depth: int) -> NDArray[np.intp]:
    """Positions of the highest scores above 0, descending, equal ones in order."""
    positions = np.flatnonzero(scores > 0)
    if len(positions) > depth:
        found = scores[positions]
        # Every score equal to the last one admitted stays in until the stable sort has decided among them.
        positions = positions[found >= np.partition(found, -depth)[-depth]]
    return positions[np.argsort(-scores[positions], kind="stable")][:depth]

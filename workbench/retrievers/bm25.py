"""Lexical search: BM25 as Lucene scores it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
from numpy.typing import NDArray

from workbench.booking import stage
from workbench.contracts import Sources
from workbench.errors import InputError
from workbench.records import Chunk
from workbench.retrievers import _cache
from workbench.retrievers._ranking import Ranking, check_depth, passages, searchable
from workbench.retrievers._terms import LANGUAGES, STEMMED, Terms, stemmer

needs: frozenset[str] = frozenset({"chunks", "passages"})
"""What this retriever depends on."""


def build(
    sources: Sources,
    *,
    k1: float = 1.5,
    b: float = 0.75,
    language: str = "english",
    stem: bool = False,
    depth: int = 50,
) -> Bm25:
    """Rank passages by the words they share with the question (BM25): without the language's stop words, stemmed if asked.

    Any script is searched, whatever the language: Chinese, Japanese, Thai, Lao, Khmer and Burmese by single characters,
    others by words of two or more letters. ``language: none`` keeps every word; stemming needs PyStemmer.
    """
    problems = []
    if k1 < 0:
        problems.append(f"bm25: k1 is {k1}; expected 0 or more")
    if not 0 <= b <= 1:
        problems.append(f"bm25: b is {b}; expected a number from 0 to 1")
    if language not in ("none", *LANGUAGES):
        problems.append(f"bm25: language is {language!r}; expected none, {', '.join(LANGUAGES)}")
    elif stem and language not in STEMMED:
        problems.append(f"bm25: stem is true, but language is {language}; expected one of {', '.join(STEMMED)}")
    if problems:
        raise InputError(problems)
    check_depth("bm25", depth)
    terms = Terms(language, stemmer(language) if stem else None)
    index = _load(sources.folder, len(sources.chunks))
    if index is None:
        index = bm25s.BM25(k1=k1, b=b)
        found = terms.indexed(map(searchable, sources.chunks))
        if not found.vocab:
            return Bm25(sources.chunks, None, terms, depth)
        index.index(found, show_progress=False)
        _cache.store(sources.folder, lambda folder: index.save(folder))
    return Bm25(sources.chunks, index, terms, depth)


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

    def __init__(self, chunks: Sequence[Chunk], index: bm25s.BM25 | None, terms: Terms, depth: int) -> None:
        self._chunks = chunks
        self._index = index
        self._terms = terms
        self._depth = depth

    def search(self, question: str) -> Ranking:
        """Passages that share a word with the question, best first, equal ones in the order of the text."""
        with stage("search"):
            vocabulary = self._index.vocab_dict if self._index is not None else {}
            asked = [vocabulary[term] for term in self._terms.of(question) if term in vocabulary]
            if self._index is None or not asked:
                return passages((), (), ())
            scores = self._index.get_scores_from_ids(asked)
            best = _best(scores, self._depth)
            return passages(self._chunks, best.tolist(), scores[best].tolist())

    def index_facts(self) -> dict[str, Any]:
        """``index_bytes`` (scores, their places and the vocabulary's text) and ``chunks``."""
        if self._index is None:
            return {"index_bytes": 0, "chunks": len(self._chunks)}
        arrays = sum(self._index.scores[name].nbytes for name in ("data", "indices", "indptr"))
        vocabulary = sum(len(term.encode()) for term in self._index.vocab_dict)
        return {"index_bytes": arrays + vocabulary, "chunks": len(self._chunks)}


def _best(scores: NDArray[np.float32], depth: int) -> NDArray[np.intp]:
    """Positions of the highest scores above 0, descending, equal ones in order."""
    positions = np.flatnonzero(scores > 0)
    if len(positions) > depth:
        found = scores[positions]
        # Every score equal to the last one admitted stays in until the stable sort has decided among them.
        positions = positions[found >= np.partition(found, -depth)[-depth]]
    return positions[np.argsort(-scores[positions], kind="stable")][:depth]

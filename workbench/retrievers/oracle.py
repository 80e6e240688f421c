"""The upper bound of retrieval: exactly what holds the answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from workbench.booking import stage
from workbench.contracts import Sources
from workbench.records import Question, Span
from workbench.retrievers._ranking import Ranking, check_depth, passages

needs: frozenset[str] = frozenset({"chunks", "passages"})
"""What this retriever depends on."""


def build(sources: Sources, *, depth: int = 50) -> Oracle:
    """A bound, not a retriever to use: the passages that hold the answer, known from the evaluation set.

    They are the chunks that touch the question's gold spans, or all chunks of its evidence documents where no span is
    known, in the order of the corpus; nothing for a question that cannot be answered or is not in the evaluation set.
    """
    check_depth("oracle", depth)
    return Oracle(sources, depth)


class Oracle:
    """Looks the gold up."""

    def __init__(self, sources: Sources, depth: int) -> None:
        self._sources = sources
        self._depth = depth
        self._of_document: defaultdict[str, list[int]] = defaultdict(list)
        for position, chunk in enumerate(sources.chunks):
            self._of_document[chunk.document_id].append(position)

    def search(self, question: str) -> Ranking:
        """The gold passages in the order of the corpus, all with score 1."""
        with stage("search"):
            asked = self._sources.question(question)
            found = self._gold(asked)[: self._depth] if asked is not None and asked.answerable else []
            return passages(self._sources.chunks, found, [1.0] * len(found))

    def _gold(self, question: Question) -> Sequence[int]:
        found = {position for span in question.spans for position in self._touching(span)}
        if not found:
            found = {position for id in question.evidence or () for position in self._of_document.get(id, ())}
        return sorted(found)

    def _touching(self, span: Span) -> list[int]:
        chunks = self._sources.chunks
        inside = self._of_document.get(span.document_id, ())
        return [each for each in inside if chunks[each].start < span.end and span.start < chunks[each].end]

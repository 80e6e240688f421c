"""What the metrics of retrieval share: how much of a question's gold each place of a ranking brings.

Over **documents** a ranking is its distinct documents in order, as the field's collections judge it (trec_eval): a document
of ``evidence`` is worth its grade. Over **spans** it is the places themselves, so that chunks of any size are judged alike:
a place is worth the gold characters that no place before it brought. What is found again is worth nothing, and still
takes its rank. Overlapping gold spans count once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from workbench.cutoff import cutoff
from workbench.records import Answer, Question, Score, Span

Over = Literal["auto", "documents", "spans"]
"""``auto`` judges by spans where a question has them, by documents elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One piece of gold: a document (amount 1, gain its grade), or a span (both its characters).

    ``found`` maps a rank from 1 to the share of the piece that was first found there.
    """

    document_id: str
    amount: float
    gain: float
    found: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the first ``k`` ranks brought of a question's gold."""

    k: int
    pieces: tuple[Piece, ...]

    @property
    def amounts(self) -> list[float]:
        """Rank by rank, the share of all gold that is first found there."""
        there = sum(piece.amount for piece in self.pieces)
        return [amount / there for amount in self._by_rank("amount")]

    @property
    def gains(self) -> list[float]:
        """Rank by rank, the gain of what is first found there."""
        return self._by_rank("gain")

    @property
    def ideal(self) -> list[float]:
        """The gains of the best ranking there could be: all gold of a document in one place, the most first."""
        documents: dict[str, float] = defaultdict(float)
        for piece in self.pieces:
            documents[piece.document_id] += piece.gain
        return sorted(documents.values(), reverse=True)[: self.k]

    def _by_rank(self, worth: Literal["amount", "gain"]) -> list[float]:
        ranks = [0.0] * self.k
        for piece in self.pieces:
            for rank, share in piece.found.items():
                ranks[rank - 1] += getattr(piece, worth) * share
        return ranks


class RankingMetric:
    """A metric of the first ``k`` ranks, by a formula of what they brought."""

    judges: Literal["answer", "retrieval"] = "retrieval"

    def __init__(self, name: str, k: str, over: Over, formula: Callable[[Findings], float]) -> None:
        self.k = cutoff(name, k)
        self.name = f"{name}@{self.k}"
        self._over = over
        self._formula = formula

    def score(self, question: Question, answer: Answer) -> Score:
        """0 to 1; not applicable to closed book, to unanswerable questions and where no gold is known."""
        if answer.retrieved is None:
            return Score(metric=self.name, value=None, reason="closed book: nothing was searched")
        if not question.answerable:
            return Score(metric=self.name, value=None, reason="nothing in the corpus answers it")
        spans = () if self._over == "documents" else merged(question.spans)
        if spans:
            pieces = _spans_found(spans, answer.retrieved[: self.k])
        elif self._over == "spans":
            return Score(metric=self.name, value=None, reason="no gold span is known")
        else:
            pieces = _documents_found(question, answer.retrieved, self.k)
        if not pieces:
            return Score(metric=self.name, value=None, reason="no gold document is known")
        return Score(metric=self.name, value=min(float(self._formula(Findings(k=self.k, pieces=pieces))), 1.0))


def merged(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The spans in order of place, empty ones left out, those that overlap or touch made one."""
    united: list[Span] = []
    for span in sorted(span for span in spans if span.end > span.start):
        last = united[-1] if united else None
        if last is not None and last.document_id == span.document_id and span.start <= last.end:
            united[-1] = last._replace(end=max(last.end, span.end))
        else:
            united.append(span)
    return tuple(united)


def _documents_found(question: Question, places: Sequence[Span], k: int) -> tuple[Piece, ...]:
    evidence = question.evidence or ()
    grades = dict(zip(evidence, question.grades or (1.0,) * len(evidence), strict=True))
    documents = list(dict.fromkeys(place.document_id for place in places))[:k]
    ranks = {document: rank for rank, document in enumerate(documents, 1)}
    return tuple(
        Piece(document_id=document, amount=1, gain=grade, found={ranks[document]: 1.0} if document in ranks else {})
        for document, grade in grades.items()
        if grade > 0
    )


def _spans_found(spans: Sequence[Span], places: Sequence[Span]) -> tuple[Piece, ...]:
    pieces = []
    for span in spans:
        length = span.end - span.start
        missing = [(span.start, span.end)]
        found: dict[int, float] = {}
        for rank, place in enumerate(places, 1):
            if place.document_id == span.document_id:
                before = sum(end - start for start, end in missing)
                missing = [
                    (start, end)
                    for low, high in missing
                    for start, end in ((low, min(high, place.start)), (max(low, place.end), high))
                    if start < end
                ]
                if gained := before - sum(end - start for start, end in missing):
                    found[rank] = gained / length
        pieces.append(Piece(document_id=span.document_id, amount=length, gain=length, found=found))
    return tuple(pieces)

"""Recall of gold documents among the first retrieved."""

from __future__ import annotations

from typing import Literal

from workbench.cutoff import cutoff
from workbench.records import Answer, Question, Score


class Recall:
    """Share of a question's gold documents among the first ``k`` distinct documents retrieved."""

    judges: Literal["answer", "retrieval"] = "retrieval"

    def __init__(self, k: int) -> None:
        self.k = k
        self.name = f"recall@{k}"

    def score(self, question: Question, answer: Answer) -> Score:
        """0 to 1; not applicable to closed book, to unanswerable questions and where no gold document is known."""
        if answer.retrieved is None:
            return Score(metric=self.name, value=None, reason="closed book: nothing was searched")
        if not question.evidence:
            reason = "nothing in the corpus answers it" if not question.answerable else "no gold document is known"
            return Score(metric=self.name, value=None, reason=reason)
        found = len(set(question.evidence).intersection(answer.retrieved[: self.k]))
        return Score(metric=self.name, value=found / len(set(question.evidence)))


def build(k: str = "5") -> Recall:
    """Share of gold documents among the first k retrieved (recall@5: among the first five)."""
    return Recall(cutoff("recall", k))

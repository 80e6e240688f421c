"""Recall of gold documents among the first retrieved."""

from __future__ import annotations

from typing import Literal

from workbench.cutoff import cutoff
from workbench.metrics._gold import why_not
from workbench.records import Answer, Question, Score


class Recall:
    """Share of a question's gold documents among the first ``k`` distinct documents retrieved."""

    judges: Literal["answer", "retrieval"] = "retrieval"

    def __init__(self, k: int) -> None:
        self.k = k
        self.name = f"recall@{k}"

    def score(self, question: Question, answer: Answer) -> Score:
        """0 to 1; not applicable to closed book, to unanswerable questions and where no gold document is known."""
        if reason := why_not(question, answer):
            return Score(metric=self.name, value=None, reason=reason)
        gold = set(question.evidence or ())
        return Score(metric=self.name, value=len(gold.intersection((answer.retrieved or ())[: self.k])) / len(gold))


def build(k: str = "5") -> Recall:
    """Share of gold documents among the first k retrieved (recall@5: among the first five)."""
    return Recall(cutoff("recall", k))

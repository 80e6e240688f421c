"""Normalised discounted cumulative gain of the retrieved documents."""

from __future__ import annotations

from math import log2
from typing import Literal

from workbench.cutoff import cutoff
from workbench.metrics._gold import why_not
from workbench.records import Answer, Question, Score


class NDCG:
    """Gold documents found early count more: Σ 1/log2(rank+1) over the first ``k`` distinct documents, over its ideal.

    Formula: Järvelin and Kekäläinen 2002 with binary gain, as trec_eval's ``ndcg_cut``.
    """

    judges: Literal["answer", "retrieval"] = "retrieval"

    def __init__(self, k: int) -> None:
        self.k = k
        self.name = f"ndcg@{k}"

    def score(self, question: Question, answer: Answer) -> Score:
        """0 to 1; not applicable to closed book, to unanswerable questions and where no gold document is known."""
        if reason := why_not(question, answer):
            return Score(metric=self.name, value=None, reason=reason)
        gold = set(question.evidence or ())
        ranked = (answer.retrieved or ())[: self.k]
        gained = sum(1 / log2(rank + 1) for rank, found in enumerate(ranked, 1) if found in gold)
        ideal = sum(1 / log2(rank + 1) for rank in range(1, min(len(gold), self.k) + 1))
        return Score(metric=self.name, value=gained / ideal)


def build(k: str = "10") -> NDCG:
    """Gold documents among the first k retrieved, early ones counting more (ndcg@10)."""
    return NDCG(cutoff("ndcg", k))

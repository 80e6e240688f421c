"""What the metrics of retrieval share: when there is nothing to judge."""

from __future__ import annotations

from workbench.records import Answer, Question


def why_not(question: Question, answer: Answer) -> str:
    """Why retrieval cannot be judged here; empty where it can."""
    if answer.retrieved is None:
        return "closed book: nothing was searched"
    if not question.answerable:
        return "nothing in the corpus answers it"
    return "" if question.evidence else "no gold document is known"

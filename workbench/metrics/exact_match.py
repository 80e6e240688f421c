"""Exact match after SQuAD normalisation."""

from __future__ import annotations

from typing import Literal

from workbench.normalise import declined, normalise
from workbench.records import Answer, Question, Score


class ExactMatch:
    """1 when the normalised answer equals an accepted one; for unanswerable questions, 1 when the answer declines."""

    name = "exact_match"
    judges: Literal["answer", "retrieval"] = "answer"

    def score(self, question: Question, answer: Answer) -> Score:
        """1 or 0; not applicable where no accepted answer is known."""
        if not question.answerable:
            return Score(metric=self.name, value=float(declined(answer.text)))
        if not question.answers:
            return Score(metric=self.name, value=None, reason="no accepted answer is known")
        given = normalise(answer.text)
        return Score(metric=self.name, value=float(any(given == normalise(accepted) for accepted in question.answers)))


def build() -> ExactMatch:
    """Share of answers equal to an accepted one after SQuAD normalisation."""
    return ExactMatch()

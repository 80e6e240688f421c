"""Whether an accepted answer occurs in the answer."""

from __future__ import annotations

from typing import Literal

from workbench.normalise import declined, normalise
from workbench.records import Answer, Question, Score


class Contains:
    """1 when the answer holds an accepted one as whole words; for unanswerable questions, 1 when the answer declines."""

    name = "contains"
    judges: Literal["answer", "retrieval"] = "answer"

    def score(self, question: Question, answer: Answer) -> Score:
        """1 or 0; not applicable where no accepted answer is known."""
        if not question.answerable:
            return Score(metric=self.name, value=float(declined(answer.text)))
        if not question.answers:
            return Score(metric=self.name, value=None, reason="no accepted answer is known")
        given = f" {normalise(answer.text)} "
        wanted = [normalise(accepted) for accepted in question.answers]
        return Score(metric=self.name, value=float(any(plain and f" {plain} " in given for plain in wanted)))


def build() -> Contains:
    """Share of answers that contain an accepted one (as whole words, after SQuAD normalisation)."""
    return Contains()

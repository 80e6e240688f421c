"""Whether it was right to answer or to decline."""

from __future__ import annotations

from typing import Literal

from workbench.metrics._accepted import refused
from workbench.records import Answer, Question, Score


class Abstention:
    """1 for answering what the corpus can answer, whatever the answer, and for declining what it cannot."""

    name = "abstention"
    judges: Literal["answer", "retrieval"] = "answer"

    def score(self, question: Question, answer: Answer) -> Score:
        """1 or 0, and which of the four cases it is."""
        did = "refused" if refused(question, answer) else "answered"
        right = (did == "answered") == question.answerable
        return Score(metric=self.name, value=float(right), reason=f"{'rightly' if right else 'wrongly'} {did}")


def build() -> Abstention:
    """Share of questions rightly refused (unanswerable) or rightly answered (answerable, whatever the answer says)."""
    return Abstention()

"""How long the answer is."""

from __future__ import annotations

from typing import Literal

from workbench.records import Answer, Question, Score
from workbench.words import words

unit: str = "words"


class Length:
    """Words of the answer."""

    name = "length"
    judges: Literal["answer", "retrieval"] = "answer"
    unit = unit

    def score(self, question: Question, answer: Answer) -> Score:
        """A count, which no choice can be decided by."""
        return Score(metric=self.name, value=float(len(words(answer.text))))


def build() -> Length:
    """Words of the answer; characters in scripts without spaces (a count, so it cannot decide)."""
    return Length()

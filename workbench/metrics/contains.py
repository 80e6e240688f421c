"""Whether an accepted answer occurs in the answer."""

from __future__ import annotations

from typing import Literal

from workbench.metrics._accepted import best_agreement
from workbench.normalise import normalise
from workbench.records import Answer, Question, Score


class Contains:
    """1 when the answer holds an accepted one as whole words."""

    name = "contains"
    judges: Literal["answer", "retrieval"] = "answer"

    def score(self, question: Question, answer: Answer) -> Score:
        """1 or 0."""
        return best_agreement(self.name, question, answer, _within)


def _within(given: str, accepted: str) -> float:
    wanted = normalise(accepted)
    return float(bool(wanted) and f" {wanted} " in f" {normalise(given)} ")


def build() -> Contains:
    """Share of answers that contain an accepted one (as whole words, after SQuAD normalisation)."""
    return Contains()

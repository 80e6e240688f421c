"""Exact match after SQuAD normalisation."""

from __future__ import annotations

from typing import Literal

from workbench.metrics._accepted import best_agreement
from workbench.normalise import normalise
from workbench.records import Answer, Question, Score


class ExactMatch:
    """1 when the normalised answer equals an accepted one."""

    name = "exact_match"
    judges: Literal["answer", "retrieval"] = "answer"

    def score(self, question: Question, answer: Answer) -> Score:
        """1 or 0."""
        return best_agreement(self.name, question, answer, _equal)


def _equal(given: str, accepted: str) -> float:
    return float(normalise(given) == normalise(accepted))


def build() -> ExactMatch:
    """Share of answers equal to an accepted one after SQuAD normalisation."""
    return ExactMatch()

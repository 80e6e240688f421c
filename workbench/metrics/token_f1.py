"""Token F1 after SQuAD normalisation."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from workbench.metrics._accepted import best_agreement
from workbench.normalise import tokens
from workbench.records import Answer, Question, Score


class TokenF1:
    """Word overlap with the best-matching accepted answer."""

    name = "token_f1"
    judges: Literal["answer", "retrieval"] = "answer"

    def score(self, question: Question, answer: Answer) -> Score:
        """0 to 1."""
        return best_agreement(self.name, question, answer, _f1)


def _f1(given: str, accepted: str) -> float:
    """Harmonic mean of word precision and recall; two empty texts agree."""
    ours, theirs = tokens(given), tokens(accepted)
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * sum((Counter(ours) & Counter(theirs)).values()) / (len(ours) + len(theirs))


def build() -> TokenF1:
    """Word overlap (F1) with the best-matching accepted answer after SQuAD normalisation."""
    return TokenF1()

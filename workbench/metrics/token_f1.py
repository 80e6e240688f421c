"""Token F1 after SQuAD normalisation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from workbench.normalise import declined, tokens
from workbench.records import Answer, Question, Score


class TokenF1:
    """Word overlap with the best-matching accepted answer; for unanswerable questions, 1 when the answer declines."""

    name = "token_f1"
    judges: Literal["answer", "retrieval"] = "answer"

    def score(self, question: Question, answer: Answer) -> Score:
        """0 to 1; not applicable where no accepted answer is known."""
        if not question.answerable:
            return Score(metric=self.name, value=float(declined(answer.text)))
        if not question.answers:
            return Score(metric=self.name, value=None, reason="no accepted answer is known")
        given = tokens(answer.text)
        return Score(metric=self.name, value=max(_f1(given, tokens(accepted)) for accepted in question.answers))


def _f1(given: Sequence[str], accepted: Sequence[str]) -> float:
    """Harmonic mean of word precision and recall; two empty texts agree."""
    if not given or not accepted:
        return float(given == accepted)
    common = sum((Counter(given) & Counter(accepted)).values())
    return 2 * common / (len(given) + len(accepted))


def build() -> TokenF1:
    """Word overlap (F1) with the best-matching accepted answer after SQuAD normalisation."""
    return TokenF1()

"""What the metrics of answers share: the best agreement with any accepted answer, and what declining is worth."""

from __future__ import annotations

from collections.abc import Callable

from workbench.normalise import declined, normalise
from workbench.records import Answer, Question, Score


def best_agreement(metric: str, question: Question, answer: Answer, agreement: Callable[[str, str], float]) -> Score:
    """The largest ``agreement(given, accepted)``; an unanswerable question is answered rightly by declining.

    Not applicable where no accepted answer is known.
    """
    if not question.answerable:
        return Score(metric=metric, value=float(declined(answer.text)))
    if not question.answers:
        return Score(metric=metric, value=None, reason="no accepted answer is known")
    return Score(metric=metric, value=max(agreement(answer.text, accepted) for accepted in question.answers))


def refused(question: Question, answer: Answer) -> bool:
    """Whether an answer declines; "none" does not where it is an accepted answer."""
    given = normalise(answer.text)
    return declined(answer.text) and not (given and any(normalise(accepted) == given for accepted in question.answers))

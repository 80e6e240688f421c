"""A model's verdict on the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from workbench.metrics import _judging
from workbench.metrics._judging import Judge
from workbench.records import Answer, PluginChoice, Question, Score

_SHIPPED = Path(__file__).with_suffix(".txt")


class Judged:
    """The grade that a model gives the answer; ``prompt`` is what it is asked, with places in braces."""

    name = "judge"
    judges: Literal["answer", "retrieval"] = "answer"

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.prompt = judge.prompt

    def score(self, question: Question, answer: Answer) -> Score:
        """0 to 1; not applicable where the judge fails or gives no grade. An empty answer is not shown to it."""
        if question.answerable and not answer.text.strip():
            return Score(metric=self.name, value=0.0, reason="there is no answer")
        accepted = " / ".join(question.answers) or "not known"
        return self._judge.grade(
            question=question.question,
            accepted=accepted if question.answerable else "nothing in the passages answers the question",
            answer=answer.text.strip() or "(no answer)",
            passages=_judging.numbered(answer) or "(none)",
        )


def build(*, model: PluginChoice = "", prompt: str = "") -> Judged:
    """The grade a model gives the answer, 1 to 5 or yes or no, as 0 to 1; its tokens and energy are overhead.

    ``model`` is any model (``openai:gpt-4.1-mini``), and must be named. ``prompt`` is a text file in place of the shipped
    ``workbench/metrics/judge.txt``; it must hold {answer}, and may hold {question}, {accepted} and {passages}. Judges
    favour answers of their own kind and long ones: check one against metrics that agree by rule before trusting it.
    """
    loaded = _judging.load("judge", model)
    return Judged(Judge("judge", loaded, _judging.template("judge", prompt, _SHIPPED)))

"""Whether the cited passages hold the gold."""

from __future__ import annotations

import re
from typing import Literal

from workbench.records import Answer, Chunk, Question, Score

_ASKS = re.compile(
    r'\bcit(?:e|es|ing|ations?)\b|\bnumbers? of the passages?\b|\bpassage numbers?\b|"passages"\s*:', re.IGNORECASE
)


class Citation:
    """Share of an answer's citations that lead to gold."""

    name = "citation"
    judges: Literal["answer", "retrieval"] = "answer"

    def score(self, question: Question, answer: Answer) -> Score:
        """0 to 1; not applicable where the prompt asks for no citation or no gold is known."""
        if not question.answerable:
            return Score(metric=self.name, value=None, reason="nothing in the corpus answers it")
        if not question.spans and not question.evidence:
            return Score(metric=self.name, value=None, reason="no gold document is known")
        if not answer.citations:
            if not _asked_for(question, answer):
                return Score(metric=self.name, value=None, reason="the prompt asks for no citation")
            return Score(metric=self.name, value=0.0, reason="nothing was cited")
        cited = [answer.passages[number - 1].chunk for number in answer.citations if number <= len(answer.passages)]
        right = sum(_holds_gold(question, chunk) for chunk in cited)
        return Score(metric=self.name, value=right / len(answer.citations))


def _asked_for(question: Question, answer: Answer) -> bool:
    """Whether the prompt speaks of citing, outside the passages and the question in it."""
    instructions = answer.prompt
    for text in (*(passage.chunk.text for passage in answer.passages), question.question):
        instructions = instructions.replace(text, "")
    return bool(answer.passages) and _ASKS.search(instructions) is not None


def _holds_gold(question: Question, chunk: Chunk) -> bool:
    if question.spans:
        return any(
            span.document_id == chunk.document_id and span.start < chunk.end and chunk.start < span.end
            for span in question.spans
        )
    return chunk.document_id in (question.evidence or ())


def build() -> Citation:
    """Share of the cited passages that hold gold: overlap a gold span, or belong to a gold document.

    An answer that cites nothing scores 0 where its prompt asks for citations.
    """
    return Citation()

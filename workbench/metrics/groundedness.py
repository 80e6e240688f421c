"""How much of the answer the passages support."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from workbench.contracts import Embedder
from workbench.errors import InputError
from workbench.metrics import _embedding, _judging
from workbench.metrics._judging import Judge
from workbench.normalise import declined
from workbench.records import Answer, PluginChoice, Question, Score
from workbench.words import words

_SHIPPED = Path(__file__).with_suffix(".txt")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_COMMON = frozenset(
    "a an and are as at be been but by did do does for from had has have he her his how if in is it its not of on or "  # noqa: SIM905
    "she that the their there they this to was we were what when where which who will with you".split()
)


class Groundedness:
    """Share of the answer that the passages in its prompt support."""

    name = "groundedness"
    judges: Literal["answer", "retrieval"] = "answer"

    def __init__(self, support: Callable[[Question, Answer], Score]) -> None:
        self._support = support

    def score(self, question: Question, answer: Answer) -> Score:
        """0 to 1; not applicable without passages, and to answers that decline: they say nothing to be supported."""
        if answer.retrieved is None:
            return Score(metric=self.name, value=None, reason="closed book: there are no passages")
        if declined(answer.text):
            return Score(metric=self.name, value=None, reason="declined: there is nothing to support")
        if not answer.passages:
            return Score(metric=self.name, value=0.0, reason="no passage reached the prompt")
        return self._support(question, answer)


def _by_words(question: Question, answer: Answer) -> Score:
    said = words(answer.text)
    telling = [word for word in said if word not in _COMMON] or said
    if not telling:
        return Score(metric=Groundedness.name, value=None, reason="there is no word in the answer")
    there = {word for passage in answer.passages for word in words(passage.chunk.text)}
    return Score(metric=Groundedness.name, value=sum(word in there for word in telling) / len(telling))


def _by_meaning(embedder: Embedder, threshold: float) -> Callable[[Question, Answer], Score]:
    def support(question: Question, answer: Answer) -> Score:
        theirs = [sentence for passage in answer.passages for sentence in _sentences(passage.chunk.text)]
        likeness = _embedding.similarities(embedder, _sentences(answer.text), theirs).max(axis=1)
        return Score(metric=Groundedness.name, value=float((likeness >= threshold).mean()))

    return support


class JudgedGroundedness(Groundedness):
    """Groundedness as a model sees it; ``prompt`` is what it is asked."""

    def __init__(self, support: Callable[[Question, Answer], Score], prompt: str) -> None:
        super().__init__(support)
        self.prompt = prompt


def _by_judge(judge: Judge) -> Callable[[Question, Answer], Score]:
    def support(question: Question, answer: Answer) -> Score:
        passages = _judging.numbered(answer)
        return judge.grade(question=question.question, answer=answer.text.strip(), passages=passages)

    return support


def _sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence.strip()] or [text]


def build(
    *,
    by: Literal["words", "embedder", "judge"] = "words",
    embedder: PluginChoice = "embedded:minilm-l6",
    threshold: float = 0.6,
    model: PluginChoice = "",
    prompt: str = "",
) -> Groundedness:
    """Share of the answer that the passages support: of its words, of its sentences by meaning, or as a judge grades it.

    By ``words`` (the default; common English words aside) it is cheap, and blind to words put together wrongly. By
    ``embedder`` a sentence is supported when one of the passages' sentences has at least ``threshold`` of cosine with it.
    By ``judge`` a ``model`` is asked with the prompt of ``workbench/metrics/groundedness.txt``, or the text file ``prompt``.
    """
    if by == "words":
        return Groundedness(_by_words)
    if by == "embedder":
        if not 0 <= threshold <= 1:
            raise InputError(f"groundedness: threshold is {threshold}; expected a cosine from 0 to 1")
        return Groundedness(_by_meaning(_embedding.load(embedder), threshold))
    loaded = _judging.load("groundedness", model)
    judge = Judge("groundedness", loaded, _judging.template("groundedness", prompt, _SHIPPED))
    return JudgedGroundedness(_by_judge(judge), judge.prompt)

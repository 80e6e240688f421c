"""Worked examples for prompts, taken from the questions that may be looked at: the development split, never the question itself."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from workbench.normalise import tokens
from workbench.records import Question
from workbench.templates import Example

DECLINE = "unknown"
"""What an example answers that cannot be answered, as the shipped prompts ask for."""


class Examples:
    """Questions with their answers, to be shown in a prompt; the order of ``fixed`` ones is drawn once by the seed."""

    def __init__(self, questions: Sequence[Question], seed: int) -> None:
        usable = [each for each in questions if each.answers or not each.answerable]
        usable.sort(key=lambda question: question.id)
        random.Random(seed).shuffle(usable)  # noqa: S311 - a reproducible order, not a secret
        self._questions = usable
        self._words = [frozenset(tokens(question.question)) for question in usable]
        held = Counter(word for words in self._words for word in words)
        self._rarity = {word: 1 / count for word, count in held.items()}

    def __len__(self) -> int:
        return len(self._questions)

    def fixed(self, count: int, asked: str) -> tuple[Example, ...]:
        """The first examples, the same for every question but those among them."""
        return self._shown([each for each in self._questions[: count + 1] if each.question != asked][:count])

    def nearest(self, count: int, asked: str) -> tuple[Example, ...]:
        """The examples whose questions share most words with this one, rare words counting more; the nearest last."""
        words = frozenset(tokens(asked))
        score = [sum(self._rarity[word] for word in words & known) for known in self._words]
        order = sorted(range(len(score)), key=lambda position: -score[position])
        chosen = [self._questions[position] for position in order if self._questions[position].question != asked]
        return self._shown(chosen[:count][::-1])

    @staticmethod
    def _shown(questions: Sequence[Question]) -> tuple[Example, ...]:
        return tuple(
            Example(question=each.question, answer=each.answers[0] if each.answers else DECLINE) for each in questions
        )

"""ROUGE-L: the longest common subsequence of words."""

from __future__ import annotations

from typing import Literal

from workbench.metrics._accepted import best_agreement
from workbench.records import Answer, Question, Score
from workbench.words import words


class RougeL:
    """Longest common subsequence with the best-matching accepted answer."""

    name = "rouge_l"
    judges: Literal["answer", "retrieval"] = "answer"

    def score(self, question: Question, answer: Answer) -> Score:
        """0 to 1."""
        return best_agreement(self.name, question, answer, _f_measure)


def _f_measure(given: str, accepted: str) -> float:
    """Harmonic mean of what the subsequence covers of either text; two texts without words agree."""
    ours, theirs = words(given), words(accepted)
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * _common_subsequence(ours, theirs) / (len(ours) + len(theirs))


def _common_subsequence(ours: list[str], theirs: list[str]) -> int:
    """Length of the longest common subsequence, a word of ``ours`` at a time over all of ``theirs`` at once.

    Hyyrö 2004: a zero in ``column`` is a word of ``theirs`` where the best length grows by one.
    """
    places: dict[str, int] = {}
    for position, word in enumerate(theirs):
        places[word] = places.get(word, 0) | 1 << position
    everywhere = (1 << len(theirs)) - 1
    column = everywhere
    for word in ours:
        match = column & places.get(word, 0)
        column = ((column + match) | (column - match)) & everywhere
    return len(theirs) - column.bit_count()


def build() -> RougeL:
    """ROUGE-L: longest common subsequence of words with the best-matching accepted answer (F-measure).

    Lin 2004 with β = 1 and without stemming, as the package rouge-score has it for ASCII text; other scripts keep their
    words, and those written without spaces are taken character by character.
    """
    return RougeL()

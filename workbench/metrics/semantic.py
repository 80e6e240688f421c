"""How near the answer's meaning is to an accepted one."""

from __future__ import annotations

from typing import Literal

from workbench.contracts import Embedder
from workbench.metrics._accepted import best_agreement, refused
from workbench.metrics._embedding import load, similarities
from workbench.normalise import normalise
from workbench.records import Answer, PluginChoice, Question, Score


class Semantic:
    """Cosine of the answer's and an accepted answer's embeddings."""

    name = "semantic"
    judges: Literal["answer", "retrieval"] = "answer"

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def score(self, question: Question, answer: Answer) -> Score:
        """0 to 1; 0 for declining what can be answered, though "unknown" has some likeness with any text."""
        if question.answerable and question.answers and refused(question, answer):
            return Score(metric=self.name, value=0.0, reason="declined")
        return best_agreement(self.name, question, answer, self._likeness)

    def _likeness(self, given: str, accepted: str) -> float:
        if normalise(given) == normalise(accepted):
            return 1.0
        return float(similarities(self._embedder, [given], [accepted])[0, 0])


def build(*, embedder: PluginChoice = "embedded:minilm-l6") -> Semantic:
    """Likeness in meaning with the best-matching accepted answer (cosine of embeddings, clipped to 0 to 1).

    Unrelated short texts have a cosine of 0 to 0.3 with MiniLM, so that a low value means nothing; an English embedder
    cannot judge other languages.
    """
    return Semantic(load(embedder))

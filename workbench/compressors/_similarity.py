"""How close sentences are to a question."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from workbench.contracts import Embedder
from workbench.words import words

Similarity = Callable[[str, Sequence[str]], Sequence[float]]
"""How close each of some sentences is to a question."""


def by_embedder(embedder: Embedder) -> Similarity:
    """Cosines of embeddings."""

    def similarity(question: str, found: Sequence[str]) -> Sequence[float]:
        vectors = embedder.embed([question, *found])
        cosines: list[float] = (vectors[1:] @ vectors[0]).tolist()
        return cosines

    return similarity


def by_words(question: str, found: Sequence[str]) -> Sequence[float]:
    """Shared distinct words, each by how rare it is among the sentences, over the root of the sentence's length."""
    asked = set(words(question))
    bags = [set(words(sentence)) for sentence in found]
    held = Counter(word for bag in bags for word in bag & asked)
    rarity = {word: math.log(1 + len(bags) / count) for word, count in held.items()}
    # In the order of the words: a set's own order differs between runs, and with it the last digits of a sum.
    return [sum(rarity[word] for word in sorted(bag & asked)) / math.sqrt(len(bag) or 1) for bag in bags]

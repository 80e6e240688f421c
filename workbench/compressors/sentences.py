"""Extractive compression: the sentences that matter, word for word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from workbench.booking import stage
from workbench.chunkers.sentences import sentences
from workbench.compressors._similarity import Similarity, by_embedder, by_words
from workbench.contracts import Tools
from workbench.errors import InputError
from workbench.packing import MARK_TOKENS
from workbench.records import Passage, PluginChoice

needs: frozenset[str] = frozenset({"embedder"})
"""What this compressor depends on."""


def build(
    tools: Tools,
    *,
    by: Literal["embedder", "words"] = "embedder",
    share: float = 0.5,
    embedder: PluginChoice | None = None,
) -> SentenceExtraction:
    """Keep the sentences most similar to the question: at most share of the tokens, never more than the budget.

    ``by: embedder`` compares embeddings (of ``embedder``, or the configuration's own), ``by: words`` shared words, rare ones
    counting more, which costs next to nothing. Kept sentences stay in their passages and in their order.
    """
    if not 0 < share <= 1:
        raise InputError(f"sentences: share is {share}; expected more than 0, at most 1")
    similarity = by_words if by == "words" else by_embedder(tools.embedder(embedder))
    return SentenceExtraction(similarity, share)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sentence:
    """One sentence of a passage: which passage, where in its text, how many tokens."""

    passage: int
    start: int
    end: int
    tokens: int


class SentenceExtraction:
    """Fills the budget with sentences, the most similar first."""

    def __init__(self, similarity: Similarity, share: float) -> None:
        self._similarity = similarity
        self._share = share

    def compress(
        self, question: str, passages: Sequence[Passage], budget: int, count_tokens: Callable[[str], int]
    ) -> list[Passage]:
        """The passages with what is kept of them; those of which nothing is kept are left out."""
        with stage("compress"):
            texts = [passage.chunk.text for passage in passages]
            whole = sum(map(count_tokens, texts))
            if self._share == 1 and whole + len(texts) * MARK_TOKENS <= budget:
                return list(passages)
            found = [
                _Sentence(passage=number, start=start, end=end, tokens=count_tokens(text[start:end]))
                for number, text in enumerate(texts)
                for start, end in sentences(text, 0, len(text))
            ]
            scores = self._similarity(question, [texts[each.passage][each.start : each.end] for each in found])
            best = sorted(range(len(found)), key=lambda position: -scores[position])
            chosen = _chosen([found[position] for position in best], budget, self._share * whole)
            # Joined, sentences can take more tokens than alone, so the least similar may yet have to go.
            for count in range(len(chosen), 0, -1):
                shortened = _shortened(passages, found, chosen[:count])
                tokens = sum(count_tokens(passage.chunk.text) for passage in shortened)
                fits = tokens + len(shortened) * MARK_TOKENS <= budget
                if fits and (count == 1 or tokens <= self._share * whole):
                    return shortened
            return []


def _chosen(best: Sequence[_Sentence], budget: int, share: float) -> list[_Sentence]:
    """The sentences that fit, the best first; the share never keeps the very best out."""
    kept: list[_Sentence] = []
    opened: set[int] = set()
    for sentence in best:
        needed = sentence.tokens + (0 if sentence.passage in opened else MARK_TOKENS)
        if needed <= budget and (not kept or sentence.tokens <= share):
            kept.append(sentence)
            opened.add(sentence.passage)
            budget -= needed
            share -= sentence.tokens
    return kept


def _shortened(passages: Sequence[Passage], found: Sequence[_Sentence], kept: Sequence[_Sentence]) -> list[Passage]:
    """The passages of which sentences are kept, with nothing but those."""
    shortened = []
    for number, passage in enumerate(passages):
        own = [each for each in found if each.passage == number]
        if text := _joined(passage.chunk.text, own, [each in kept for each in own]):
            shortened.append(replace(passage, chunk=replace(passage.chunk, text=text)))
    return shortened


def _joined(text: str, found: Sequence[_Sentence], kept: Sequence[bool]) -> str:
    """The kept sentences; what stood side by side keeps what was between."""
    if all(kept):
        return text if found else ""
    joined = ""
    for number, sentence in enumerate(found):
        if kept[number]:
            beside = number > 0 and kept[number - 1]
            joined += text[found[number - 1].end : sentence.start] if beside else " " if joined else ""
            joined += text[sentence.start : sentence.end]
    return joined

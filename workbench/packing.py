"""Packing passages into a token budget, and the best sentence where no model answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from workbench.records import Passage

MARK_TOKENS = 4  # the number in brackets and the line break that a passage gets in the prompt
_SMALLEST_CUT = 16  # tokens; a shorter rest of a passage says too little to be worth its place

_SAME_WORDS = 0.9  # shared words over all words of two passages, from where on one of them is superfluous

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_WORD = re.compile(r"\w+")
_COMMON = frozenset(
    "a an and are as at be by do does for from how if in is it of on or that the to what when where which who with".split()  # noqa: SIM905
)


def pack(passages: Sequence[Passage], budget: int, count_tokens: Callable[[str], int]) -> tuple[Passage, ...]:
    """The first passages, in rank order, that fit the budget; the first that does not fit is cut to the rest of it.

    So more passages, or a larger budget, never shrink what is packed.
    """
    packed: list[Passage] = []
    for passage in passages:
        needed = count_tokens(passage.chunk.text) + MARK_TOKENS
        if needed <= budget:
            packed.append(passage)
            budget -= needed
            continue
        if budget - MARK_TOKENS >= _SMALLEST_CUT and (cut := _cut(passage, budget - MARK_TOKENS, count_tokens)):
            packed.append(cut)
        break
    return tuple(packed)


def distinct(passages: Sequence[Passage]) -> tuple[Passage, ...]:
    """Passages without those that say again what one before them says: nearly the same words (Jaccard 0.9 or more)."""
    kept: list[tuple[frozenset[str], Passage]] = []
    for passage in passages:
        words = frozenset(_WORD.findall(passage.chunk.text.lower()))
        if not any(_alike(words, known) for known, _ in kept):
            kept.append((words, passage))
    return tuple(passage for _, passage in kept)


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    common = len(one & other)
    return common >= _SAME_WORDS * (len(one) + len(other) - common)


def _cut(passage: Passage, budget: int, count_tokens: Callable[[str], int]) -> Passage | None:
    """The longest beginning of a passage, ending at white space, that has at most ``budget`` tokens."""
    chunk = passage.chunk
    ends = [match.start() for match in re.finditer(r"\s+", chunk.text)]
    low, high = 0, len(ends)  # ends[:low] fit; found by halving
    while low < high:
        middle = (low + high) // 2
        if count_tokens(chunk.text[: ends[middle]]) <= budget:
            low = middle + 1
        else:
            high = middle
    if low == 0 or not (text := chunk.text[: ends[low - 1]]).strip():
        return None
    end = chunk.start + len(text)
    return replace(passage, chunk=replace(chunk, id=f"{chunk.document_id}#{chunk.start}-{end}", end=end, text=text))


def best_sentence(question: str, text: str) -> str:
    """The sentence of a text that shares most distinct words with the question; the first of equals."""
    asked = _content(question)
    sentences = [" ".join(sentence.split()) for sentence in _SENTENCE_END.split(text) if sentence.strip()]
    return max(sentences, key=lambda sentence: len(asked & _content(sentence)), default="")


def _content(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.lower()) if word not in _COMMON}

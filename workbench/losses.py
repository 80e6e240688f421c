"""Where answers are lost: every wrong answer belongs to the one place in the pipeline where it first went wrong.

The places are looked at in the order of the pipeline, so that a generator is never blamed for evidence it was not given.
Where a question has several pieces of evidence one of them is enough, since eval sets do not say whether they are needed
together. Gold **spans** are followed by their characters. Where only gold **documents** are known, the places where an
accepted answer stands in their text are followed like spans; in a document that says it in other words, any passage of it
is evidence. Without the documents' texts, evidence has arrived where a passage of a gold document holds an accepted
answer's words, in whatever order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal

from workbench.normalise import declined, normalise, tokens
from workbench.records import Answer, Passage, Question, Span
from workbench.words import UNSPACED

Loss = Literal[
    "unknown_evidence",
    "no_evidence",
    "not_retrieved",
    "split_by_chunking",
    "cut",
    "not_known",
    "not_used",
    "wrongly_refused",
    "badly_formed",
    "wrongly_answered",
]

EXPLAINED: dict[Loss, str] = {
    "unknown_evidence": "the eval set does not say where the answer stands, so nothing can be said",
    "no_evidence": "no document of the corpus holds the answer",
    "not_retrieved": "the evidence was not among what was retrieved",
    "split_by_chunking": "only a part of the evidence was in any chunk that was retrieved",
    "cut": "the evidence was retrieved, but did not reach the prompt: `passages`, the token budget or the compression left it out",
    "not_known": "closed book: the model did not know it",
    "not_used": "the evidence was in the prompt, but the answer is wrong",
    "wrongly_refused": "the evidence was in the prompt, but the answer declines",
    "badly_formed": "the answer holds what is right, or is empty or malformed: its form is what is wrong",
    "wrongly_answered": "nothing answers the question, but an answer was given",
}
"""Every place, in the order of the pipeline, with its explanation in one line."""

_REMEDIES: dict[Loss, tuple[str, str]] = {
    "unknown_evidence": ("had no known evidence", "naming the evidence in the eval set would explain {whom}"),
    "no_evidence": ("had no evidence in the corpus", "more documents could recover {whom}"),
    "not_retrieved": (
        "lacked evidence that was never retrieved",
        "another retriever or embedder, or a reranker over more candidates, could recover {whom}",
    ),
    "split_by_chunking": ("had evidence split by chunking", "larger or overlapping chunks could recover {whom}"),
    "cut": ("had evidence retrieved but cut", "more passages or a larger context budget could recover {whom}"),
    "not_known": ("came from a model without documents", "a retriever could recover {whom}"),
    "not_used": ("had the evidence in the prompt and missed it", "a better model or prompt could recover {whom}"),
    "wrongly_refused": ("declined with the evidence in the prompt", "a prompt that declines less could recover {whom}"),
    "badly_formed": ("failed by form alone", "a stricter prompt or a larger max_tokens could recover {whom}"),
    "wrongly_answered": (
        "should have declined",
        "a prompt that abstains when unsure, or a score threshold, could recover {whom}",
    ),
}

_ORDER: list[Loss | None] = [None, "cut", "split_by_chunking", "not_retrieved", "no_evidence", "unknown_evidence"]
"""What became of a piece of evidence, from the best to the worst."""

_IN_WORD = re.compile(rf"[^\W{UNSPACED}]")  # a character that goes on with a word, in scripts that have them
_WHOLE = 0.9  # of a span's characters, from where on it is all there: chunks lose white space at their ends
_ALIKE = 0.75  # of an accepted answer's words, from where on a passage holds it, in whatever order


def place_of_loss(
    question: Question, answer: Answer, *, correct: bool, texts: Mapping[str, str] | None = None
) -> Loss | None:
    """The place where an answer was lost; ``None`` for right answers and for infrastructure failures, which are no answers.

    ``correct`` is for the caller to say, by the metric that decides. ``texts`` are the corpus' documents by identifier,
    where they are at hand; they are read only where a question has gold documents and no gold spans. An answer that holds
    an accepted one, as whole words, is badly formed wherever its evidence was: the rest of the pipeline has done its work.
    """
    failure = answer.failure
    if correct or (failure is not None and failure.kind == "infrastructure"):
        return None
    refused = failure is None and _refuses(question, answer)
    if not question.answerable:
        return "badly_formed" if failure is not None or refused else "wrongly_answered"
    if not refused and _holds_whole(answer.text, question.answers):
        return "badly_formed"
    if answer.retrieved is None:
        return "badly_formed" if failure is not None else "not_known"
    lost = _on_the_way(question, answer, answer.retrieved, texts or {})
    if lost is not None:
        return lost
    if refused:
        return "wrongly_refused"
    if failure is not None:
        return "cut" if failure.code == "context_overflow" else "badly_formed"
    return "not_used"


def summary(losses: Iterable[Loss | None]) -> dict[Loss, int]:
    """How many answers were lost at each place, in the order of the pipeline; places without any are left out."""
    found = [loss for loss in losses if loss is not None]
    return {place: count for place in EXPLAINED if (count := found.count(place))}


def sentence(counts: Mapping[Loss, int], answers: int) -> str:
    """One sentence on where most of the wrong ones of ``answers`` were lost, and what could recover them."""
    wrong = sum(counts.values())
    if not wrong:
        return f"None of {answers} answers is wrong." if answers else "There is no answer yet."
    place = max(
        (place for place in EXPLAINED if place in counts), key=lambda each: counts[each]
    )  # the earliest of equals
    what, remedy = _REMEDIES[place]
    if wrong == 1:
        return f"The one wrong answer (of {answers}) {what}: {remedy.format(whom='it')}."
    if counts[place] == wrong:
        return f"All {wrong} wrong answers (of {answers}) {what}: {remedy.format(whom='them')}."
    return f"Of {wrong} wrong answers (of {answers}) {counts[place]} {what}: {remedy.format(whom='most')}."


# ---------------------------------------------------------------------------------------------------- the pipeline's way


def _on_the_way(question: Question, answer: Answer, retrieved: Sequence[Span], texts: Mapping[str, str]) -> Loss | None:
    """Where the evidence was lost before the model saw it; ``None`` where it saw it."""
    spans = [span for span in question.spans if span.end > span.start]
    found: list[Loss | None]
    if spans:
        found = [_span_lost(span, question, answer, retrieved) for span in spans]
    elif question.evidence:
        found = [_document_lost(each, question, answer, retrieved, texts.get(each)) for each in question.evidence]
    elif any(_holds(passage.chunk.text, question.answers) for passage in answer.passages):
        found = [None]
    else:
        found = ["unknown_evidence" if question.evidence is None else "no_evidence"]
    return min(found, key=_ORDER.index)


def _span_lost(span: Span, question: Question, answer: Answer, retrieved: Sequence[Span]) -> Loss | None:
    shown = [passage for passage in answer.passages if passage.chunk.document_id == span.document_id]
    whole = [_place(passage) for passage in shown if not _shortened(passage)]
    if _covered(span, whole) >= _WHOLE:
        return None
    touching = [passage for passage in shown if _shortened(passage) and _covered(span, [_place(passage)])]
    if any(_holds(passage.chunk.text, question.answers) for passage in touching):
        return None
    if any(_covered(span, [place]) >= _WHOLE for place in retrieved):
        return "cut"
    return "split_by_chunking" if _covered(span, retrieved) else "not_retrieved"


def _document_lost(
    document_id: str, question: Question, answer: Answer, retrieved: Sequence[Span], text: str | None
) -> Loss | None:
    places = [Span(document_id, *found) for found in _occurrences(text, question.answers)] if text else []
    if places:
        return min((_span_lost(place, question, answer, retrieved) for place in places), key=_ORDER.index)
    shown = [passage for passage in answer.passages if passage.chunk.document_id == document_id]
    if any(text is not None or _holds(passage.chunk.text, question.answers) for passage in shown):
        return None
    seen = {_place(passage) for passage in shown}
    others = [place for place in retrieved if place.document_id == document_id and not _within(place, seen)]
    return "cut" if others else "not_retrieved"


@lru_cache(maxsize=4096)  # every configuration gets the same questions wrong in the same documents
def _occurrences(text: str, answers: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Where an accepted answer stands in a text as whole words, whatever its case and white space."""
    return tuple(_found(text, answers))


def _found(text: str, answers: Iterable[str]) -> Iterator[tuple[int, int]]:
    for accepted in answers:
        if normalise(accepted) not in ("", "yes", "no"):
            words = r"\s+".join(re.escape(word) for word in accepted.split())
            # A character class of scripts in every pattern would take milliseconds to compile, so both ends are looked at here.
            for found in re.finditer(words, text, re.IGNORECASE):
                start, end = found.span()
                if not (_IN_WORD.match(text[start - 1 : start]) or _IN_WORD.match(text[end : end + 1])):
                    yield start, end


def _place(passage: Passage) -> Span:
    return Span(passage.chunk.document_id, passage.chunk.start, passage.chunk.end)


def _within(place: Span, others: Iterable[Span]) -> bool:
    return any(
        other.document_id == place.document_id and other.start <= place.start and place.end <= other.end
        for other in others
    )


def _shortened(passage: Passage) -> bool:
    """Whether compression took something out of a passage, so that its place says less than its text."""
    return len(passage.chunk.text) != passage.chunk.end - passage.chunk.start


def _covered(span: Span, places: Iterable[Span]) -> float:
    """The share of a span that the places cover together."""
    at, covered = span.start, 0
    for place in sorted(place for place in places if place.document_id == span.document_id):
        start, end = max(place.start, at), min(place.end, span.end)
        if start < end:
            covered += end - start
            at = end
    return covered / (span.end - span.start)


# ------------------------------------------------------------------------------------------------------------- its words


def _refuses(question: Question, answer: Answer) -> bool:
    given = normalise(answer.text)
    return declined(answer.text) and not (given and any(normalise(accepted) == given for accepted in question.answers))


def _holds_whole(text: str, answers: Iterable[str]) -> bool:
    given = f" {normalise(text)} "
    return any((wanted := normalise(accepted)) and f" {wanted} " in given for accepted in answers)


def _holds(text: str, answers: Sequence[str]) -> bool:
    """Whether a passage holds an accepted answer; "yes" and "no" stand in none, so that any of the right document will do."""
    there = set(tokens(text))
    for accepted in answers:
        wanted = tokens(accepted)
        if wanted in (("yes",), ("no",)) or sum(word in there for word in wanted) >= _ALIKE * len(wanted) > 0:
            return True
    return not answers

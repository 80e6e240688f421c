"""Where in its documents a question's gold stands: spans that fit, and quotes found whatever their line breaks."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from workbench.readers._lines import Problems, shown
from workbench.readers._rows import Asked
from workbench.records import Question, Span

_WORD = re.compile(r"\S+")


def placed(asked: Asked, corpus: str, documents: Mapping[str, str], problems: Problems) -> Question:
    """The question with its quotes as spans; ``documents`` are the corpus's texts by id."""
    at, question, quotes = asked
    for id in sorted(set(question.evidence or ()) - documents.keys()):
        problems.add(at, f"evidence names {id[:80]!r}, which is no document of corpus {corpus}; mend the id")
    for span in question.spans:
        length = len(documents.get(span.document_id, ""))
        if span.document_id in documents and span.end > length:
            problems.add(at, f"spans ends at {span.end}, yet {span.document_id[:80]!r} has {length} characters")
    spans = list(question.spans)
    there = [id for id in question.evidence or () if id in documents]
    for quote in quotes:
        found = next(filter(None, (_found(quote, id, documents[id]) for id in there)), None)
        if found:
            spans.append(found)
        elif there:
            problems.add(at, f"quotes holds {shown(quote)}, which does not occur in {', '.join(there)[:80]}; mend it")
    return replace(question, spans=tuple(dict.fromkeys(spans))) if quotes else question


def _found(quote: str, id: str, text: str) -> Span | None:
    """The first place of a quote, exactly or else with white space set aside."""
    start = text.find(quote)
    if start >= 0:
        return Span(id, start, start + len(quote))
    wanted = " ".join(quote.split())
    words, starts, places = _collapsed(text)
    start = words.find(wanted)
    if start < 0:
        return None

    def place(position: int) -> int:
        word = bisect.bisect_right(starts, position) - 1
        return places[word] + position - starts[word]

    return Span(id, place(start), place(start + len(wanted) - 1) + 1)


@lru_cache(maxsize=8)
def _collapsed(text: str) -> tuple[str, list[int], list[int]]:
    """A text with single spaces, and where each of its words starts in that and in the text itself."""
    starts: list[int] = []
    places: list[int] = []
    length = 0
    for word in _WORD.finditer(text):
        starts.append(length)
        places.append(word.start())
        length += word.end() - word.start() + 1
    return " ".join(text.split()), starts, places

"""From rows to records: one place decides what a document and a question must have, whatever the format."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from workbench.readers._lines import Problems, shown, text, texts
from workbench.records import Document, Question, Span

DOCUMENT_KEYS = {"id", "title", "text", "metadata"}
QUESTION_KEYS = {
    "id",
    "question",
    "answers",
    "evidence",
    "answerable",
    "split",
    "tags",
    "metadata",
    "spans",
    "spans_exact",
    "quotes",
    "grades",
}
NO_METADATA: Mapping[str, Any] = {}
"""Shared by the documents without any: an own empty mapping each would weigh more than many a text."""

Columns = Mapping[str, str]
"""Our field → the name of the column that holds it."""


class Asked(NamedTuple):
    """A question with its place, and the quotes whose places in its evidence are still to be found."""

    at: str
    question: Question
    quotes: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------------------- records


def document(at: str, row: Mapping[Any, Any], problems: Problems) -> Iterator[tuple[str, Document]]:
    """The document of a row with our keys; none if anything about it is a problem."""
    before = problems.count
    id = text(at, row, "id", problems)
    body = text(at, row, "text", problems)
    title = text(at, row, "title", problems, required=False)
    metadata = row.get("metadata") or NO_METADATA
    if not isinstance(metadata, dict):
        problems.add(at, f"metadata is {shown(metadata)}; expected an object such as {{}}")
    elif problems.count == before:
        yield at, Document(id=id, title=title, text=body, metadata=metadata)


def question(at: str, row: Mapping[Any, Any], problems: Problems) -> Iterator[Asked]:
    """The question of a row with our keys; none if anything about it is a problem."""
    before = problems.count
    id = text(at, row, "id", problems)
    asked = text(at, row, "question", problems)
    answers = texts(at, row, "answers", problems)
    evidence = texts(at, row, "evidence", problems)
    tags = texts(at, row, "tags", problems)
    quotes = texts(at, row, "quotes", problems)
    split = text(at, row, "split", problems, required=False, empty=False)
    spans = _spans(at, row, evidence, problems)
    evidence = evidence or tuple(dict.fromkeys(span.document_id for span in spans))
    grades = _grades(at, row, evidence, problems)
    if quotes and not evidence and problems.count == before:
        problems.add(at, "quotes has no evidence to be found in; name the documents with evidence")
    if not isinstance(row.get("spans_exact", True), bool):
        problems.add(at, f"spans_exact is {shown(row['spans_exact'])}; expected true or false")
    answerable = row.get("answerable", True)
    if not isinstance(answerable, bool):
        problems.add(at, f"answerable is {shown(answerable)}; expected true or false")
    elif answerable and not answers and not evidence and problems.count == before:
        problems.add(at, "there is neither an answer nor evidence; give answers, evidence, or answerable: false")
    elif not answerable and answers:
        problems.add(at, f"answerable is false, yet answers holds {shown(answers[0])}; drop one of them")
    if problems.count == before:
        made = Question(
            id=id,
            question=asked,
            answers=answers,
            evidence=evidence if evidence or not answerable else None,
            grades=grades,
            spans=spans,
            answerable=answerable,
            split=split,
            tags=tags,
        )
        yield Asked(at, made, quotes)


def graded(grades: Iterable[float]) -> tuple[float, ...]:
    """Grades as a question keeps them: none where all are 1."""
    found = tuple(grades)
    return () if all(grade == 1 for grade in found) else found


def _grades(at: str, row: Mapping[Any, Any], evidence: tuple[str, ...], problems: Problems) -> tuple[float, ...]:
    value = row.get("grades")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(_is_grade(each) for each in value):
        problems.add(at, f"grades is {shown(value)}; expected a list of numbers above 0, one per document of evidence")
        return ()
    if len(value) != len(evidence):
        problems.add(at, f"grades holds {len(value)} numbers for {len(evidence)} documents of evidence; give one each")
        return ()
    return graded(float(each) for each in value)


def _is_grade(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 < float(value) < math.inf
    except OverflowError:
        return False


def _spans(at: str, row: Mapping[Any, Any], evidence: tuple[str, ...], problems: Problems) -> tuple[Span, ...]:
    value = row.get("spans")
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.add(at, f"spans is {shown(value)}; expected a list such as [[start, end]]")
        return ()
    found: list[Span] = []
    for position, each in enumerate(value):
        place = f"spans[{position}]"
        match each:
            case [int(start), int(end)] if len(evidence) == 1:
                span = Span(evidence[0], start, end)
            case [int(), int()]:
                problems.add(
                    at, f'{place} names no document, and evidence is not exactly one; write ["document", start, end]'
                )
                continue
            case [str(id), int(start), int(end)]:
                span = Span(id, start, end)
            case _:
                problems.add(at, f'{place} is {shown(each)}; expected [start, end] or ["document", start, end]')
                continue
        if isinstance(span.start, bool) or isinstance(span.end, bool) or not 0 <= span.start < span.end:
            problems.add(at, f"{place} is {shown(each)}; expected 0 ≤ start < end, in characters")
        elif evidence and span.document_id not in evidence:
            problems.add(at, f"{place} names {shown(span.document_id)}, which evidence does not; add it there")
        else:
            found.append(span)
    return tuple(dict.fromkeys(found))

"""SQuAD's JSON, versions 1.1 and 2: one document a paragraph; where an answer starts becomes a span."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench.readers._columns import span_of
from workbench.readers._lines import Problems, identifier, objects, parsed, text, whole
from workbench.readers._rows import NO_METADATA, Asked, Columns
from workbench.records import Document, Question, Span


def holds(path: Path, columns: Columns) -> frozenset[str]:
    """Always both."""
    return frozenset({"documents", "questions"})


def documents(path: Path, columns: Columns, problems: Problems) -> Iterator[tuple[str, Document]]:
    """One document a paragraph."""
    for at, id, title, paragraph in _paragraphs(path, problems):
        body = text(at, paragraph, "context", problems)
        if body:
            yield at, Document(id=id, title=title, text=body, metadata=NO_METADATA)


def questions(path: Path, columns: Columns, problems: Problems) -> Iterator[Asked]:
    """The questions of every paragraph."""
    for at, document, _, paragraph in _paragraphs(path, problems):
        context = paragraph.get("context")
        for place, row in objects(at, paragraph, "qas", problems):
            before = problems.count
            id = identifier(place, row, "id", problems)
            asked = text(place, row, "question", problems)
            answerable = not row.get("is_impossible", False)
            found = [
                (text(each, answer, "text", problems), answer.get("answer_start"))
                for each, answer in objects(place, row, "answers", problems)
            ]
            answers = tuple(dict.fromkeys(answer for answer, _ in found)) if answerable else ()
            if answerable and not answers and problems.count == before:
                problems.add(place, "answers is empty; give one, or set is_impossible to true")
            if problems.count == before:
                spans = _spans(document, context, found, path, problems) if answerable else ()
                evidence = (document,) if answerable else ()
                yield Asked(
                    place,
                    Question(
                        id=id,
                        question=asked,
                        answers=answers,
                        evidence=evidence,
                        spans=spans,
                        answerable=answerable,
                        split="",
                    ),
                )


def _spans(
    document: str, context: Any, found: list[tuple[str, Any]], path: Path, problems: Problems
) -> tuple[Span, ...]:
    """The places of all answers, or none: half of them would judge a passage by the wrong half."""
    contexts = [(document, context)] if isinstance(context, str) else []
    spans = [span for answer, start in found for span in span_of(answer, start, contexts)]
    if len(spans) < len(found):
        problems.note(path, "answers that do not stand at their answer_start have no span; their documents still count")
        return ()
    return tuple(dict.fromkeys(Span(*span) for span in spans))


def _paragraphs(path: Path, problems: Problems) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Place, document id (title and number within it), title, and the paragraph."""
    try:
        content = parsed(whole(path, problems))
    except (ValueError, RecursionError) as error:
        problems.add(
            f"{path}:{getattr(error, 'lineno', 1)}", f"not valid JSON: {getattr(error, 'msg', error)}; mend the file"
        )
        return
    if not isinstance(content, dict) or "data" not in content:
        problems.add(path, 'not in SQuAD\'s format; expected {"data": [{"title": …, "paragraphs": […]}, …]}')
        return
    numbers: dict[str, int] = {}
    for position, (at, article) in enumerate(objects(str(path), content, "data", problems)):
        title = text(at, article, "title", problems, required=False)
        prefix = title or f"article-{position}"
        for place, paragraph in objects(at, article, "paragraphs", problems):
            number = numbers.setdefault(prefix, 0)
            numbers[prefix] += 1
            yield place, f"{prefix}-{number}", title.replace("_", " "), paragraph

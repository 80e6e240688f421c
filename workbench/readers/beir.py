"""A BEIR folder: ``corpus.jsonl``, ``queries.jsonl``, and judgements with grades in ``qrels/*.tsv``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from workbench.readers._lines import Problems, identifier, json_lines, lines, shown, text
from workbench.readers._rows import NO_METADATA, Asked, Columns, graded
from workbench.records import Document, Question


def holds(path: Path, columns: Columns) -> frozenset[str]:
    """``documents``, ``questions``, or both."""
    files = {"documents": "corpus.jsonl", "questions": "queries.jsonl"}
    return frozenset(kind for kind, file in files.items() if (path / file).is_file())


def documents(path: Path, columns: Columns, problems: Problems) -> Iterator[tuple[str, Document]]:
    """One document a line of ``corpus.jsonl``."""
    for at, row in json_lines(path / "corpus.jsonl", problems):
        before = problems.count
        id = identifier(at, row, "_id", problems)
        title = text(at, row, "title", problems, required=False)
        # Some sets have documents that are nothing but a title.
        body = text(at, row, "text", problems, required=not title) or title
        metadata = row.get("metadata")
        if problems.count == before:
            kept = metadata if isinstance(metadata, dict) and metadata else NO_METADATA
            yield at, Document(id=id, title=title, text=body, metadata=kept)


def questions(path: Path, columns: Columns, problems: Problems) -> Iterator[Asked]:
    """The queries that are judged; the split is the name of the file that judges them. Grade 0 is no evidence."""
    texts: dict[str, tuple[str, str]] = {}
    for at, row in json_lines(path / "queries.jsonl", problems):
        id, asked = identifier(at, row, "_id", problems), text(at, row, "text", problems)
        if id in texts:
            problems.add(at, f"_id {id!r} stands already at {texts[id][0]}; ids must be unique")
        elif id and asked:
            texts[id] = at, asked
    split_of: dict[str, str] = {}
    files = sorted((path / "qrels").glob("*.tsv"))
    if not files:
        problems.add(path, "there is no qrels/*.tsv, so nothing says which documents answer which query; add one")
    for file in files:
        judged: dict[str, dict[str, float]] = {}
        for at, query, document, grade in _judgements(file, problems):
            if query not in texts:
                problems.add(at, f"query-id {query!r} is not in queries.jsonl; add the query or drop the line")
            elif split_of.setdefault(query, file.stem) != file.stem:
                problems.add(
                    at, f"query-id {query!r} is judged in {split_of[query]}.tsv, too; a question belongs to one split"
                )
            elif judged.setdefault(query, {}).setdefault(document, grade) != grade:
                problems.add(at, f"{query!r} and {document!r} were judged {judged[query][document]:g} before; drop one")
        for query, grades in judged.items():
            at, asked = texts[query]
            relevant = {document: grade for document, grade in grades.items() if grade > 0}
            yield Asked(
                at,
                Question(
                    id=query,
                    question=asked,
                    evidence=tuple(relevant) or None,
                    grades=graded(relevant.values()),
                    split=file.stem,
                ),
            )


def _judgements(path: Path, problems: Problems) -> Iterator[tuple[str, str, str, float]]:
    for number, line in lines(path, problems):
        columns = line.split("\t")
        if not line.strip() or (number == 1 and columns[-1].strip().lower() == "score"):
            continue
        at = f"{path}:{number}"
        try:
            query, document, score = columns
            grade = float(score)
        except ValueError:
            grade = math.nan
        if math.isfinite(grade):
            yield at, query, document, grade
        else:
            problems.add(at, f"found {shown(line)}; expected query-id, corpus-id and a number, separated by tabs")

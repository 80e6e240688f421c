"""The native format: ``documents.jsonl`` and ``questions.jsonl``, one object a line, in a folder or alone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from workbench.readers._columns import USUAL
from workbench.readers._lines import Problems, json_lines, known_keys
from workbench.readers._rows import (
    DOCUMENT_KEYS,
    QUESTION_KEYS,
    Asked,
    Columns,
    document,
    question,
)
from workbench.records import Document

_USUAL = {name for names in USUAL.values() for name in names}


def reads(path: Path) -> bool:
    """Whether a lone file is in this format: its first object has our keys, a slip in one of them allowed."""
    for _, row in json_lines(path, Problems()):
        known = QUESTION_KEYS if "question" in row else DOCUMENT_KEYS
        strange = {key for key in row if key not in known}
        return not any(key in _USUAL or not difflib.get_close_matches(key, known, n=1) for key in strange)
    return True


def holds(path: Path, columns: Columns) -> frozenset[str]:
    """``documents``, ``questions``, or both."""
    if path.is_dir():
        return frozenset(kind for kind in ("documents", "questions") if (path / f"{kind}.jsonl").is_file())
    for _, row in json_lines(path, Problems()):
        return frozenset({"questions" if "question" in row else "documents"})
    return frozenset()


def documents(path: Path, columns: Columns, problems: Problems) -> Iterator[tuple[str, Document]]:
    """One document a line."""
    for at, row in json_lines(path / "documents.jsonl" if path.is_dir() else path, problems):
        before = problems.count
        known_keys(at, row, DOCUMENT_KEYS, problems)
        found = list(document(at, row, problems))
        if problems.count == before:
            yield from found


def questions(path: Path, columns: Columns, problems: Problems) -> Iterator[Asked]:
    """One question a line."""
    for at, row in json_lines(path / "questions.jsonl" if path.is_dir() else path, problems):
        before = problems.count
        known_keys(at, row, QUESTION_KEYS, problems)
        found = list(question(at, row, problems))
        if problems.count == before:
            yield from found

"""Tables as records: which column holds what, numbers for what has no id, documents from texts beside questions."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from workbench.readers._lines import Problems, parsed, shown
from workbench.readers._rows import DOCUMENT_KEYS, QUESTION_KEYS, Asked, Columns, document, question
from workbench.records import Document, digest

Row = tuple[str, Mapping[str, Any]]
"""A place and what stands there, by column."""

_DOCUMENT_IDS = (
    "doc_id",
    "docid",
    "document_id",
    "documentid",
    "passage_id",
    "pid",
    "corpus_id",
    "docno",
    "context_id",
)
USUAL: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "_id", "qid", "question_id", "query_id", "uid", "uuid"),
    "title": ("title", "document_title", "doc_title", "heading", "headline", "name"),
    "text": (
        "text",
        "body",
        "content",
        "contents",
        "passage",
        "context",
        "contexts",
        "reference_contexts",
        "document_text",
        "page_content",
        "paragraph",
        "article",
    ),
    "question": ("question", "query", "user_input", "question_text", "query_text"),
    "answers": (
        "answers",
        "answer",
        "gold_answers",
        "gold_answer",
        "ground_truths",
        "ground_truth",
        "reference",
        "reference_answer",
        "reference_answers",
        "expected_answer",
        "correct_answer",
        "response",
        "target",
    ),
    "evidence": ("evidence", *_DOCUMENT_IDS, "document", "documents", "doc_ids", "document_ids", "gold_documents"),
    "split": ("split", "subset", "fold", "partition"),
    "tags": ("tags", "tag", "category", "categories"),
    "answerable": ("answerable", "is_answerable"),
    "metadata": ("metadata",),
    "spans": ("spans",),
    "quotes": ("quotes", "quote"),
    "grades": ("grades",),
}
"""Our field → the names its column usually has, the likeliest first."""

_LISTS = ("answers", "evidence", "tags", "quotes")
_PARSED = {*_LISTS, "spans", "metadata", "grades", "answerable"}
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def check_columns(columns: Columns) -> None:
    """Refuse a mapping of columns with a field that does not exist."""
    problems = Problems()
    for field in columns:
        if field not in USUAL:
            close = difflib.get_close_matches(field, USUAL, n=1)
            hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(USUAL)}"
            problems.add(f"column {field}={columns[field]}", f"{field} is not a known field; {hint}")
    problems.check()


def assigned(names: Iterable[str], columns: Columns) -> dict[str, str]:
    """Our field → the column that holds it: as ``columns`` says, else by its usual name."""
    names = list(names)
    there = {name.strip().lower().replace("-", "_").replace(" ", "_"): name for name in reversed(names)}
    given = set(columns.values())
    found = {field: column for field, column in columns.items() if column in names}
    for field, usual in USUAL.items():
        if field not in columns:
            column = next((there[name] for name in usual if name in there and there[name] not in given), None)
            if column is not None:
                found[field] = column
    if "question" not in found:
        found = {field: column for field, column in found.items() if field in DOCUMENT_KEYS}
        id = next((there[name] for name in _DOCUMENT_IDS if name in there), None)
        if id is not None and "id" not in found:
            found["id"] = id
    return found


def holds(names: Iterable[str], columns: Columns) -> frozenset[str]:
    """Whether a table with these columns is a corpus (``documents``), an evaluation set (``questions``), or both."""
    found = assigned(names, columns)
    kinds = {"text": "documents", "question": "questions"}
    return frozenset(kind for field, kind in kinds.items() if field in found)


def check_names(source: str, names: Iterable[str], columns: Columns, wanted: str, problems: Problems) -> bool:
    """Whether a table has what is needed to be read as ``documents`` or ``questions``; what is missing is a problem."""
    names = list(names)
    there = ", ".join(map(str, names[:20])) or "none"
    fields = DOCUMENT_KEYS if wanted == "documents" else QUESTION_KEYS
    absent = [field for field, column in columns.items() if field in fields and column not in names]
    for field in absent:
        problems.add(source, f"there is no column {columns[field]!r} for {field}; its columns: {there}")
    if not absent and wanted not in holds(names, columns):
        field = {"documents": "text", "questions": "question"}[wanted]
        problems.add(
            source, f"no column is known to hold the {field}; name it with --column {field}=…; its columns: {there}"
        )
    return wanted in holds(names, columns) and not absent


def documents_of(
    source: str, rows: Iterable[Row], columns: Columns, problems: Problems
) -> Iterator[tuple[str, Document]]:
    """The documents of a table: one a row, or the distinct texts that stand beside its questions."""
    table = _Table(source, columns, problems)
    for at, row in rows:
        values = table.values(row)
        if "question" in table.fields(row):
            for id, piece, new in table.contexts(at, values):
                if new:
                    yield from document(at, _plain({**values, "id": id, "text": piece}, ("title",)), problems)
        else:
            if "id" not in table.fields(row):
                values["id"] = table.number("d")
            yield from document(at, _plain(values, ("id", "title")), problems)


def questions_of(source: str, rows: Iterable[Row], columns: Columns, problems: Problems) -> Iterator[Asked]:
    """The questions of a table; a text beside a question is its evidence."""
    table = _Table(source, columns, problems)
    for at, row in rows:
        values = table.values(row)
        if "id" not in table.fields(row):
            values["id"] = table.number("q")
        if "text" in table.fields(row):
            contexts = [(id, piece) for id, piece, _ in table.contexts(at, values)]
            values["evidence"] = [id for id, _ in contexts]
            values.update(_located(values, contexts))
            if values.get("answerable") is False:
                del values["evidence"]
        values.update({key: _listed(values[key]) for key in _LISTS if key in values})
        yield from question(at, _plain(values, ("id", "split")), problems)


def _located(values: Mapping[str, Any], contexts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Answers kept as SQuAD does, {"text": […], "answer_start": […]}, with their spans; none is: not answerable."""
    match values.get("answers"):
        case {"text": list(found), "answer_start": list(starts)} if found and len(found) == len(starts):
            spans = [span for pair in zip(found, starts, strict=True) for span in span_of(*pair, contexts)]
            return {"answers": found, **({"spans": spans} if len(spans) == len(found) else {})}
        case {"text": list(found)} if found:
            return {"answers": found}
        case {"text": []}:
            return {"answers": [], "answerable": False}
    return {}


def span_of(answer: Any, start: Any, contexts: Sequence[tuple[str, str]]) -> list[list[Any]]:
    """Where an answer stands, if it really stands where its start says in the only text there is."""
    if isinstance(answer, str) and isinstance(start, int) and answer and start >= 0 and len(contexts) == 1:
        id, body = contexts[0]
        if body.startswith(answer, start):
            return [[id, start, start + len(answer)]]
    return []


def _plain(values: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Numbers as texts where a text is meant, as public sets have both."""
    for key in keys:
        if isinstance(values.get(key), int) and not isinstance(values[key], bool):
            values[key] = str(values[key])
    return values


def _listed(value: Any) -> Any:
    """A list of texts, where one text or number may stand for a list of one."""
    found = value if isinstance(value, list) else [value]
    return [str(each) if isinstance(each, int | float) and not isinstance(each, bool) else each for each in found]


def cells(row: Mapping[str, str], fields: Mapping[str, str]) -> dict[str, Any]:
    """The texts of a table's cells as values: lists are split at ``|`` or are JSON; an empty cell is ``None``.

    ``fields`` is our field → the row's column, as ``assigned`` tells.
    """
    found: dict[str, Any] = {name: cell if cell.strip() else None for name, cell in row.items()}
    for field, name in fields.items():
        cell = found[name]
        if cell is None or field not in _PARSED:
            continue
        found[name] = _WORDS.get(cell.strip().lower(), cell) if field == "answerable" else _cell_list(cell, field)
    return found


def _cell_list(cell: str, field: str) -> Any:
    if cell.lstrip()[0] in "[{":
        try:
            return parsed(cell)
        except (ValueError, RecursionError):
            pass  # an answer may begin with a bracket, too
    if field not in _LISTS and field != "grades":
        return cell
    parts = [part.strip() for part in cell.split("|") if part.strip()]
    return [float(part) if _is_number(part) else part for part in parts] if field == "grades" else parts


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


class _Table:
    """The columns of rows that may each have different ones, and the numbers of rows that have no id."""

    def __init__(self, source: str, columns: Columns, problems: Problems) -> None:
        self.source, self.columns, self.problems = source, columns, problems
        self._fields: dict[tuple[str, ...], dict[str, str]] = {}
        self._numbered = 0
        self._contexts: dict[str, str] = {}
        self._texts: dict[str, str] = {}

    def fields(self, row: Mapping[str, Any]) -> dict[str, str]:
        """Our field → the row's column."""
        names = tuple(row)
        if names not in self._fields:
            found = self._fields[names] = assigned(names, self.columns)
            taken = ", ".join(f"{field} from {column}" for field, column in found.items() if field != column)
            if taken:
                self.problems.note(self.source, f"columns were taken by their names: {taken}")
        return self._fields[names]

    def values(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row with our fields for keys, without those that are empty."""
        return {field: row[column] for field, column in self.fields(row).items() if row[column] is not None}

    def number(self, prefix: str) -> str:
        """The next number, for a row without an id."""
        self._numbered += 1
        if self._numbered == 1:
            self.problems.note(self.source, f"without an id column, ids are numbers in order: {prefix}1, {prefix}2, …")
        return f"{prefix}{self._numbered}"

    def contexts(self, at: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
        """Id, text and whether it is new, for each text that stands beside a question."""
        value = values.get("text", [])
        pieces = [value] if isinstance(value, str) else value
        if not isinstance(pieces, list) or not all(isinstance(each, str) and each.strip() for each in pieces):
            self.problems.add(at, f"text is {shown(value)}; expected a text that is not empty, or a list of them")
            return
        ids = self._ids(pieces) if "evidence" not in values else [str(each) for each in _listed(values["evidence"])]
        if len(ids) != len(pieces):
            self.problems.add(at, f"{len(pieces)} texts stand beside the documents {shown(ids)}; give one for each")
            return
        for id, piece in zip(ids, pieces, strict=True):
            key = digest(piece)
            new = id not in self._texts
            if self._texts.setdefault(id, key) == key:
                yield id, piece, new
            else:
                self.problems.add(at, f"document {shown(id)} had another text before; an id must stand for one text")

    def _ids(self, pieces: Sequence[str]) -> list[str]:
        if not self._contexts:
            self.problems.note(self.source, "equal texts beside questions are one document each: d1, d2, …")
        return [self._contexts.setdefault(digest(each), f"d{len(self._contexts) + 1}") for each in pieces]

"""Tables: CSV and TSV with named columns, and JSON lines whose columns have other names than ours."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from workbench.readers import _columns
from workbench.readers._columns import Row
from workbench.readers._lines import Problems, json_lines, lines
from workbench.readers._rows import Asked, Columns
from workbench.records import Document

_LONGEST = 2**31 - 1  # characters in a cell: the library's own limit refuses a document of 40 pages


def holds(path: Path, columns: Columns) -> frozenset[str]:
    """``documents``, ``questions``, or both, as its columns tell."""
    return _columns.holds(_names(path), columns)


def documents(path: Path, columns: Columns, problems: Problems) -> Iterator[tuple[str, Document]]:
    """One document a row, or the distinct texts beside the questions."""
    names = _names(path)
    if not names or _columns.check_names(str(path), names, columns, "documents", problems):
        yield from _columns.documents_of(str(path), _read(path, columns, problems), columns, problems)


def questions(path: Path, columns: Columns, problems: Problems) -> Iterator[Asked]:
    """One question a row."""
    names = _names(path)
    if not names or _columns.check_names(str(path), names, columns, "questions", problems):
        yield from _columns.questions_of(str(path), _read(path, columns, problems), columns, problems)


def _names(path: Path) -> list[str]:
    """The names of the columns: of the header, or of the first object; none where neither can be read."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        return next((list(row) for _, row in json_lines(path, Problems())), [])
    return next((cells for _, cells in _records(path, Problems())), [])


def _read(path: Path, columns: Columns, problems: Problems) -> Iterator[Row]:
    if path.suffix.lower() not in (".csv", ".tsv"):
        yield from json_lines(path, problems)
        return
    records = _records(path, problems)
    at, names = next(records, ("", []))
    for twice in sorted({name for name in names if names.count(name) > 1}):
        problems.add(at, f"column {twice!r} stands twice in the header; rename one")
        return
    fields = _columns.assigned(names, columns)
    for at, cells in records:
        if len(cells) == len(names):
            yield at, _columns.cells(dict(zip(names, cells, strict=True)), fields)
        else:
            problems.add(at, f"found {len(cells)} cells where the header has {len(names)}; mend or quote the row")


def _records(path: Path, problems: Problems) -> Iterator[tuple[str, list[str]]]:
    """Each row's cells, with the line it starts at; rows without any text are passed over."""
    csv.field_size_limit(_LONGEST)
    text = (f"{line}\n" for _, line in lines(path, problems))
    first = next(text, "")
    separator = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in first and "," not in first else ","
    reader = csv.reader((line for part in ([first], text) for line in part), delimiter=separator, strict=True)
    start = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield f"{path}:{start}", cells
            start = reader.line_num + 1
    except csv.Error as error:
        problems.add(f"{path}:{start}", f"not a valid row: {error}; the rest of the file was not read")

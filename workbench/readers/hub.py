"""Data sets of the Hugging Face hub by their id, ``hf:owner/name[/configuration][@split]``, read as tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.errors import InputError, MachineError
from workbench.readers import _columns
from workbench.readers._columns import Row
from workbench.readers._lines import Problems
from workbench.readers._rows import Asked, Columns
from workbench.records import Document
from workbench.registry import require

PREFIX = "hf:"

_ID = re.compile(r"hf:(?P<id>\w[\w.-]*(?:/\w[\w.-]*)?)(?:/(?P<configuration>[\w.-]+))?(?:@(?P<split>[\w.\[\]:%+-]+))?")


def holds(path: Path, columns: Columns) -> frozenset[str]:
    """``documents``, ``questions``, or both, as its columns tell."""
    return _columns.holds(_names(_splits(path)), columns)


def documents(path: Path, columns: Columns, problems: Problems) -> Iterator[tuple[str, Document]]:
    """One document a row, or the distinct texts beside the questions."""
    splits = _splits(path)
    if _columns.check_names(str(path), _names(splits), columns, "documents", problems):
        yield from _columns.documents_of(str(path), _read(path, splits), columns, problems)


def questions(path: Path, columns: Columns, problems: Problems) -> Iterator[Asked]:
    """One question a row; where there are several splits, they are the questions' own."""
    splits = _splits(path)
    if _columns.check_names(str(path), _names(splits), columns, "questions", problems):
        yield from _columns.questions_of(str(path), _read(path, splits), columns, problems)


def _names(splits: Mapping[str, Any]) -> list[str]:
    return list(next(iter(splits.values())).column_names)


def _read(path: Path, splits: Mapping[str, Any]) -> Iterator[Row]:
    for split, rows in splits.items():
        named = {"split": split} if len(splits) > 1 else {}
        for number, row in enumerate(rows):
            yield " ".join(filter(None, (f"{path}:", split, f"row {number}"))), {**named, **row}


@lru_cache(maxsize=1)  # to look at its columns and to read it are two calls
def _splits(path: Path) -> Mapping[str, Any]:
    """The splits by name; nothing but data is ever fetched, no data set's own code runs."""
    found = _ID.fullmatch(str(path))
    if not found:
        raise InputError(
            f"{path}: not an id of a data set; expected hf:owner/name, hf:owner/name/configuration, or either with @split"
        )
    load = require("datasets", str(path)).load_dataset
    try:
        loaded = load(found["id"], found["configuration"], split=found["split"])
    except (ConnectionError, FileNotFoundError, PermissionError) as error:
        raise MachineError(
            f"{path} could not be fetched: {_first_line(error)}; check the name and the network, or give a file's path"
        ) from error
    except Exception as error:  # a configuration or split that is not there, or files that are no table
        raise InputError(f"{path} cannot be read: {_first_line(error)}") from error
    return {str(split): rows for split, rows in loaded.items()} if isinstance(loaded, Mapping) else {"": loaded}


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__

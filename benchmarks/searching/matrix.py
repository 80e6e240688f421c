"""A complete matrix of what every configuration scored and cost on every question, as JSON lines, compressed or not."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InputError

Array = NDArray[np.float64]

_NUMBERS = ("score", "joules", "tokens")
_SHOWN = 5  # problems of one kind that are spelled out


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """``scores`` in 0..1, ``joules`` and ``tokens`` per answer, all of shape (configurations, questions) without a gap."""

    name: str
    configurations: tuple[str, ...]
    axes: tuple[Mapping[str, Any], ...]
    questions: tuple[str, ...]
    scores: Array
    joules: Array
    tokens: Array


def read_matrix(path: Path) -> Matrix:
    """The matrix of a file: one line per answer, its axes on at least one line of each configuration.

    Raises ``InputError`` naming every line that cannot be used and the answers that are missing or stand twice.
    """
    problems: list[str] = []
    cells: dict[tuple[str, str], tuple[float, ...]] = {}
    axes: dict[str, Mapping[str, Any]] = {}
    questions: dict[str, None] = {}
    for number, row in _rows(path):
        where = f"{path.name}:{number}"
        if found := _problem(row):
            problems.append(f"{where}: {found}")
            continue
        key = row["configuration"], row["question"]
        if key in cells:
            problems.append(f"{where}: {key[0]} answers {key[1]} a second time; expected one line for each")
        cells[key] = tuple(float(row[name]) for name in _NUMBERS)
        axes[key[0]] = row.get("axes") or axes.get(key[0], {})
        questions[key[1]] = None
    if not cells and not problems:
        problems.append(f"{path.name}: has no line; expected one JSON object for every answer")
    missing = [(each, question) for each in axes for question in questions if (each, question) not in cells]
    problems += [f"{path.name}: {each} has no answer to {question}" for each, question in missing[:_SHOWN]]
    if len(missing) > _SHOWN:
        problems.append(f"{path.name}: {len(missing)} answers are missing in all; every configuration must answer all")
    if problems:
        raise InputError(problems)
    values = np.array([[cells[each, question] for question in questions] for each in axes])
    return Matrix(
        name=path.name.partition(".")[0],
        configurations=tuple(axes),
        axes=tuple(axes.values()),
        questions=tuple(questions),
        scores=values[..., 0],
        joules=values[..., 1],
        tokens=values[..., 2],
    )


def write_matrix(matrix: Matrix, path: Path) -> None:
    """The matrix as JSON lines, compressed where the name ends in .gz; axes stand on a configuration's first line only."""
    lines = []
    for column, question in enumerate(matrix.questions):
        for row, configuration in enumerate(matrix.configurations):
            line: dict[str, Any] = {"configuration": configuration, "question": question}
            line["score"] = round(float(matrix.scores[row, column]), 6)
            line["joules"] = float(f"{matrix.joules[row, column]:.4g}")
            line["tokens"] = round(matrix.tokens[row, column])
            if column == 0:
                line["axes"] = dict(matrix.axes[row])
            lines.append(json.dumps(line, separators=(",", ":")) + "\n")
    data = "".join(lines).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}; expected JSON lines, as text or as .gz") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path.name}:{number}: not JSON: {error.msg}") from error


def _problem(row: Any) -> str:
    """What is wrong with a line; empty where nothing is."""
    if not isinstance(row, dict):
        return f"is a {type(row).__name__}; expected an object"
    for name in ("configuration", "question"):
        if not isinstance(row.get(name), str):
            return f"{name} is {row.get(name)!r}; expected a text"
    for name in _NUMBERS:
        value = row.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value) or value < 0:
            return f"{name} is {value!r}; expected a number from 0"
    if row["score"] > 1:
        return f"score is {row['score']!r}; expected a number from 0 to 1"
    return "" if isinstance(row.get("axes", {}), dict) else f"axes is {row['axes']!r}; expected an object"

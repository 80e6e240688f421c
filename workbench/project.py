"""What the app writes into the project folder: uploaded data, experiment files, questions; nothing outside, nothing silently over."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench import library
from workbench.errors import InputError
from workbench.forms import UPLOAD_MEGABYTES, UPLOAD_TYPES, experiment_text
from workbench.imports import Imported, import_data, inside, write_files
from workbench.readers._lines import Problems, json_lines
from workbench.records import as_json
from workbench.specification import read_experiment

_LONGEST_FILE_NAME = 80
_NAME = re.compile(r"[\w][\w.-]{0,99}")

Upload = tuple[str, bytes]
"""A file as it was uploaded: its name, which is not trusted, and its content."""


def import_upload(
    documents: Sequence[Upload],
    name: str,
    *,
    questions: Sequence[Upload] = (),
    title: str = "",
    licence: str = "",
    origin: str = "",
    columns: Mapping[str, str] | None = None,
    force: bool = False,
) -> Imported:
    """Make a corpus, an evaluation set and a first experiment of uploaded files, as ``workbench data import`` does.

    Several files together are a folder: texts, the native pair, or a BEIR set, whose ``.tsv`` files are its judgements.
    Problems name the uploaded files. Raises ``InputError``.
    """
    problems = [*_problems_of("documents", documents), *_problems_of("questions", questions)]
    if not documents:
        problems.append("there are no documents; drop at least one file")
    if problems:
        raise InputError(problems)
    with tempfile.TemporaryDirectory(prefix=".upload-", dir=Path.cwd()) as held:
        source = _stored(documents, Path(held) / "documents")
        asked = _stored(questions, Path(held) / "questions") if questions else None
        try:
            return import_data(
                source,
                name,
                questions=asked,
                title=title,
                licence=licence,
                origin=origin
                or f"uploaded: {', '.join(_safe(each) for each, _ in documents[:3])}"
                + (f" and {len(documents) - 3:,} more" if len(documents) > 3 else ""),
                columns=columns,
                force=force,
            )
        except InputError as error:
            raise InputError([_without(problem, Path(held)) for problem in error.problems]) from error


def save_experiment(content: Mapping[str, Any], name: str, *, replace: bool = False) -> Path:
    """Write an experiment to ``evals/NAME/experiment.yaml`` in the project folder, after checking it; returns the file.

    Raises ``InputError`` for everything wrong with it, and where there is another one already unless ``replace``.
    """
    problems = []
    path = None
    if not _NAME.fullmatch(name):
        problems.append(
            f"name is {name[:100]!r}; expected letters, digits, dots, hyphens and underscores, at most 100 of them"
        )
    else:
        path = inside("evals", name) / "experiment.yaml"
        if path.exists() and not replace and path.read_bytes() != experiment_text(content).encode():
            problems.append(f"{path} is there already; choose another name, or tick that it be replaced")
    try:
        read_experiment(content)
    except InputError as error:
        problems += error.problems
    if problems or path is None:
        raise InputError(problems)
    write_files({path: [experiment_text(content)]})
    return path


def own_evalsets() -> list[str]:
    """The evaluation sets of the project folder to which questions can be added: those in the native format."""
    return sorted(path.parent.name for path in Path("evals").glob("*/questions.jsonl") if path.is_file())


def add_question(
    evalset: str, question: str, answers: Sequence[str], *, evidence: Sequence[str] = (), split: str = "dev"
) -> str:
    """Add a question to an evaluation set of the project folder; returns its new id.

    Without ``answers`` it counts as one that the corpus cannot answer. Runs that asked the set before are not continued
    with it: it has changed. Raises ``InputError``.
    """
    path = inside("evals", evalset) / "questions.jsonl"
    if evalset not in own_evalsets():
        raise InputError(f"{evalset!r} is no evaluation set of this folder; choose one of {', '.join(own_evalsets())}")
    text = " ".join(question.split())
    if not text:
        raise InputError("the question is empty; write one")
    problems = Problems()
    rows = [row for _, row in json_lines(path, problems)]
    problems.check()
    same = [row["id"] for row in rows if library.folded(str(row.get("question", ""))) == library.folded(text)]
    if same:
        raise InputError(f"the set asks this already, as question {same[0]}")
    taken = {row.get("id") for row in rows}
    id = next(each for each in (f"added-{number}" for number in range(1, len(rows) + 2)) if each not in taken)
    accepted = [answer.strip() for answer in answers if answer.strip()]
    row: dict[str, Any] = {"id": id, "question": text}
    row |= {"answers": accepted} if accepted else {"answerable": False}
    row |= {"evidence": list(evidence)} if evidence and accepted else {}
    write_files({path: (as_json(each) + "\n" for each in [*rows, {**row, "split": split}])})
    return id


# --------------------------------------------------------------------------------------------------------------- pieces


def _problems_of(what: str, uploads: Sequence[Upload]) -> Iterator[str]:
    for name, _ in uploads:
        if Path(name).suffix.lower() not in UPLOAD_TYPES:
            yield f"{_safe(name)}: not a format that can be read; expected a file {', '.join(UPLOAD_TYPES)}"
    size = sum(len(content) for _, content in uploads)
    if size > UPLOAD_MEGABYTES * 1_000_000:
        yield (
            f"the {what} have {size / 1e6:,.0f} MB; at most {UPLOAD_MEGABYTES} MB can be uploaded: import larger ones with "
            "workbench data import"
        )


def _safe(name: str) -> str:
    """A file's name without folders, and without anything but letters, digits, dots, hyphens and underscores."""
    plain = re.sub(r"[^\w.-]+", "-", Path(name.replace("\\", "/")).name).strip(".-") or "file"
    stem, dot, ending = plain.rpartition(".")
    return f"{stem[:_LONGEST_FILE_NAME]}{dot}{ending[:10]}" if stem else plain[:_LONGEST_FILE_NAME]


def _stored(uploads: Sequence[Upload], place: Path) -> Path:
    """The uploads as files of a folder of their own; one alone as that file."""
    names = {_safe(name) for name, _ in uploads}
    beir = {"corpus.jsonl", "queries.jsonl"} <= names
    place.mkdir()
    for name, content in uploads:
        safe = _safe(name)
        target = place / "qrels" / safe if beir and safe.endswith(".tsv") else place / safe
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            raise InputError(f"{safe} was dropped twice; rename one of the two")
        target.write_bytes(content)
    return place / _safe(uploads[0][0]) if len(uploads) == 1 else place


def _without(problem: str, held: Path) -> str:
    """A problem as it is told of uploaded files: without the folder that held them."""
    for part in (held / "documents", held / "questions", held):
        for text in (str(part), str(part.relative_to(Path.cwd()))):
            problem = problem.replace(f"{text}/", "").replace(text, "the upload")
    return problem

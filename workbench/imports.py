"""Data brought into the project folder: imported from any format, split anew, described."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from workbench import doctor, library
from workbench.errors import InputError, WorkbenchError
from workbench.readers._lines import Problems, json_lines
from workbench.readers._rows import DOCUMENT_KEYS
from workbench.records import Corpus, EvalSet, Question, digest

_NAME = re.compile(r"\w[\w.-]*")
_LONGEST = 100  # bytes of a name: every file system takes it
_RACED = (
    "dev",
    "validation",
    "val",
    "train",
)  # splits to choose on, the likeliest first; test only where there is no other
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import wrote: the files, how much they hold, and what a user should know."""

    name: str
    files: tuple[Path, ...]
    documents: int
    splits: Mapping[str, int]
    notes: tuple[str, ...] = ()


def import_data(
    source: str | Path,
    name: str,
    *,
    questions: str | Path | None = None,
    title: str = "",
    licence: str = "",
    origin: str = "",
    columns: Mapping[str, str] | None = None,
    seed: int = 7,
    force: bool = False,
) -> Imported:
    """Make ``corpora/NAME`` and ``evals/NAME`` in the current folder from data in any format, with a first experiment.

    ``questions`` is where the questions are, if not with the documents. They keep their splits; those without one get a
    seeded one, which is written down. Nothing is written before everything is read; ``force`` replaces data of that
    name, but never an experiment. Raises ``InputError``.
    """
    check_name(name, force)
    corpus_folder, evals_folder = inside("corpora", name), inside("evals", name)
    of_documents, of_questions = _shared(columns or {}, apart=questions is not None)
    there = library.holds(source, of_documents)
    if "documents" not in there:
        raise InputError(f"{source}: there are no documents in it; name those, and these with --questions {source}")
    if questions is None and "questions" in there:
        questions = source
    corpus, notes = library.read_corpus(source, of_documents)
    stated = {
        "title": title or corpus.title or name,
        "licence": licence or corpus.licence or _UNKNOWN,
        "source": origin or corpus.source or _UNKNOWN,
    }
    said = list(notes)
    said += [
        f"{corpus_folder / 'corpus.yaml'}: {key} is not known; write it there"
        for key in stated
        if stated[key] == _UNKNOWN
    ]
    files: dict[Path, Iterable[str]] = {
        corpus_folder / "documents.jsonl": _document_lines(corpus),
        corpus_folder / "corpus.yaml": _yaml(stated),
    }
    splits: Mapping[str, int] = {}
    if questions is None:
        said.append(f"there are no questions; write {evals_folder / 'questions.jsonl'}, or import with --questions")
    else:
        evalset, _, more = library.read_evalset(questions, corpus, seed, of_questions)
        kept = [each for each in evalset.questions if each.answers or each.evidence or not each.answerable]
        splits = _counted(question.split for question in kept)
        said += [*more, *_remarks(name, len(evalset.questions) - len(kept), splits)]
        files[evals_folder / "questions.jsonl"] = _question_lines(kept)
        files[evals_folder / "evalset.yaml"] = _yaml({**stated, **_stated(evalset), "corpus": name})
        starter = evals_folder / "experiment.yaml"
        if starter.exists():
            said.append(f"{starter} was there and stays as it is")
        else:
            files[starter] = _experiment(name, kept, splits)
    write_files(files)
    return Imported(
        name=name,
        files=tuple(files),
        documents=len(corpus.documents),
        splits=splits,
        notes=tuple(dict.fromkeys(said)),
    )


def split(name: str, *, test: float = 1 / 3, seed: int = 7) -> dict[str, int]:
    """Write a new seeded ``dev`` and ``test`` split into the project's evaluation set of that name; returns their sizes.

    Answerable questions and others are divided in the same proportion; the same question twice stays in one split.
    """
    if not 0 < test < 1:
        raise InputError(f"test is {test:g}; expected a share above 0 and below 1, such as 0.33")
    check_name(name, force=True)
    path = inside("evals", name) / "questions.jsonl"
    if not path.is_file():
        raise InputError(f"{path} does not exist; make it with: workbench data import SRC --as {name}")
    evalset = library.load_evalset(path)  # everything wrong with it is told before anything changes
    chosen = _chosen(evalset.questions, test, seed)
    problems = Problems()
    rows = [row for _, row in json_lines(path, problems)]
    problems.check()
    for row in rows:
        row["split"] = "test" if row["id"] in chosen else "dev"
    write_files({path: (_line(row) for row in rows)})
    return dict(_counted(row["split"] for row in rows))


def describe(name: str) -> list[doctor.Finding]:
    """What the project's corpus and evaluation set of that name hold; without one, what ``workbench check`` says of it."""
    corpus, evalset = (str(path) if path.exists() else None for path in (Path("corpora", name), Path("evals", name)))
    if not corpus and not evalset:
        return doctor.check_file(name)
    try:
        return doctor.findings_of(corpus or (library.corpus_of(evalset) if evalset else None), evalset, 0)
    except WorkbenchError as error:
        return [doctor.Finding(what=name, state="bad", detail=str(error))]


# --------------------------------------------------------------------------------------------------------------- pieces


def check_name(name: str, force: bool) -> None:
    """Refuse a name for data that no file system would take, or that is taken, unless by ``force``."""
    if not _NAME.fullmatch(name) or len(name.encode()) > _LONGEST:
        raise InputError(
            f"name is {name[:100]!r}; expected letters, digits, dots, hyphens and underscores, beginning with a letter "
            f"or digit, at most {_LONGEST} bytes"
        )
    kinds: tuple[library.Kind, ...] = ("corpora", "evals")
    taken = [kind for kind in kinds if name in library.available(kind)]
    if taken and not force:
        raise InputError(
            f"name is {name!r}; it is taken in {' and '.join(taken)}: choose another, or replace it with --force"
        )


def inside(kind: str, name: str) -> Path:
    """The folder of a name, which no link may lead out of the project."""
    folder = Path(kind, name)
    if not folder.resolve().is_relative_to(Path.cwd().resolve()):
        raise InputError(f"{folder} leads out of the project folder, to where nothing is written; remove the link")
    if any(each.exists() and not each.is_dir() for each in (folder, folder.parent)):
        raise InputError(f"{folder} cannot be made: a file is in its place; move it")
    return folder


def _shared(columns: Mapping[str, str], *, apart: bool) -> tuple[dict[str, str], dict[str, str]]:
    """The columns of the documents and those of the questions; where these lie apart, ``id`` is the questions'."""
    if not apart:
        return dict(columns), dict(columns)
    documents = {field: column for field, column in columns.items() if field in DOCUMENT_KEYS - {"id"}}
    return documents, {field: column for field, column in columns.items() if field not in documents}


def _remarks(name: str, dropped: int, splits: Mapping[str, int]) -> Iterator[str]:
    if dropped:
        yield f"{dropped} questions with neither an answer nor evidence were left out"
    if len(splits) == 1:
        yield f"every question is in split {next(iter(splits))}; to keep some for a last test: workbench data split {name}"


def _counted(splits: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(splits).items()))


def _stated(evalset: EvalSet) -> dict[str, str]:
    stated = {"title": evalset.title, "licence": evalset.licence, "source": evalset.source}
    return {key: value for key, value in stated.items() if value}


def _chosen(questions: Iterable[Question], share: float, seed: int) -> set[str]:
    """The ids of the questions to test on: of either kind the right number, in the order of a seeded hash."""
    chosen: set[str] = set()
    for answerable in (True, False):
        order: dict[str, list[str]] = {}
        for question in questions:
            if question.answerable is answerable:
                order.setdefault(digest(str(seed), library.folded(question.question)), []).append(question.id)
        wanted = round(share * sum(map(len, order.values())))
        for key in sorted(order):
            if wanted < len(order[key]):
                continue
            wanted -= len(order[key])
            chosen.update(order[key])
    return chosen


def _document_lines(corpus: Corpus) -> Iterator[str]:
    for document in corpus.documents:
        row: dict[str, Any] = {"id": document.id, "title": document.title, "text": document.text}
        yield _line({**row, "metadata": dict(document.metadata)} if document.metadata else row)


def _question_lines(questions: Iterable[Question]) -> Iterator[str]:
    for question in questions:
        row = {
            "id": question.id,
            "question": question.question,
            "answers": question.answers,
            "evidence": question.evidence,
            "grades": question.grades,
            "spans": question.spans,
            "tags": question.tags,
        }
        told = {key: value for key, value in row.items() if value}
        yield _line({**told, **({} if question.answerable else {"answerable": False}), "split": question.split})


def _line(row: Mapping[str, Any]) -> str:
    try:
        return json.dumps(row, ensure_ascii=False, default=str) + "\n"
    except (ValueError, RecursionError) as error:
        raise InputError(f"{row.get('id')}: its metadata cannot be written as JSON: {error}; leave it out") from error


def _yaml(content: Mapping[str, Any]) -> list[str]:
    return [yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)]


def _experiment(name: str, questions: list[Question], splits: Mapping[str, int]) -> Iterator[str]:
    """A first sweep that runs at once, on what can be scored with these questions."""
    answers = any(question.answers for question in questions)
    evidence = any(question.evidence for question in questions)
    metrics = [
        *(("token_f1", "exact_match", "contains") if answers else ()),
        *(("recall@5", "ndcg@10") if evidence else ()),
    ]
    # A path of that name in the project folder would be found before the data.
    shadowed = Path(name).exists()
    content = {
        "corpus": f"corpora/{name}" if shadowed else name,
        "evalset": f"evals/{name}" if shadowed else name,
        "questions": {"split": next((each for each in (*_RACED, *splits) if each in splits), "dev"), "limit": 60},
        "metrics": metrics or ["token_f1"],
        "goal": {"metric": "token_f1" if answers else "ndcg@10" if evidence else "token_f1", "margin": 0.05},
        "space": {
            "model": ["none"],
            "retriever": ["bm25"],
            "chunk_tokens": [64, 128, 256],
            "passages": [1, 3, 5],
        },
    }
    yield "# A first sweep, without any model: add some to space.model and space.retriever (workbench plugins lists them).\n"
    yield from _yaml(content)


def write_files(files: Mapping[Path, Iterable[str]]) -> None:
    """Write files, each replaced only when all are complete; what fails leaves nothing behind."""
    parts: dict[Path, Path] = {}
    made: list[Path] = []
    try:
        for path, pieces in files.items():
            made += [each for each in (path.parent, path.parent.parent) if not each.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            with part.open("x", encoding="utf-8", newline="\n") as file:
                parts[path] = part
                file.writelines(pieces)
        for path, part in parts.items():
            part.replace(path)
        made.clear()
    except OSError as error:
        raise InputError(f"{error.filename or 'the data'} cannot be written: {error.strerror or error}") from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):  # it may hold what somebody else put there meanwhile
                folder.rmdir()

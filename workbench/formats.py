"""Reading documents and questions in every supported format, gathering each problem with its file and line.

Every reader yields records together with the place they stand at (``file:line``), so that later checks can name it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from workbench import python_topics
from workbench.errors import InputError
from workbench.records import Document, Question

_SHOWN = 50
_PROPERTIES = ("title", "licence", "source")
_DOCUMENT = {"id", "title", "text", "metadata"}
_QUESTION = {"id", "question", "answers", "evidence", "answerable", "split", "tags", "metadata", "spans", "spans_exact"}
_LOADERS: Mapping[str, Callable[[], Iterable[Document]]] = {"python-topics": python_topics.documents}
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Problems:
    """Everything found wrong so far; ``check`` raises it together."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def add(self, at: str | Path, problem: str) -> None:
        """Note a problem at a place."""
        self.found.append(f"{at}: {problem}")

    def check(self) -> None:
        """Raise ``InputError`` if there is any problem, showing at most 50."""
        if self.found:
            more = len(self.found) - _SHOWN
            raise InputError([*self.found[:_SHOWN], *([f"… and {more} more"] if more > 0 else [])])


# ------------------------------------------------------------------------------------------------------- documents


def documents(path: Path, loader: str, problems: Problems) -> Iterator[tuple[str, Document]]:
    """The documents at a path, in whichever format it holds, or those of a named loader (empty for none)."""
    if loader:
        yield from _loaded(path / "corpus.yaml", loader, problems)
    elif path.is_dir():
        if (path / "documents.jsonl").is_file():
            yield from _native_documents(path / "documents.jsonl", problems)
        elif (path / "corpus.jsonl").is_file():
            yield from _beir_documents(path / "corpus.jsonl", problems)
        else:
            problems.add(
                path, _nothing_known(path, "documents.jsonl, corpus.yaml with a loader, or corpus.jsonl (BEIR)")
            )
    elif path.suffix == ".jsonl":
        yield from _native_documents(path, problems)
    elif path.suffix == ".json":
        yield from _squad_documents(path, problems)
    else:
        problems.add(
            path, "not a format that can be read; expected a folder, a .jsonl file, or a .json file in SQuAD's format"
        )


def _loaded(path: Path, loader: str, problems: Problems) -> Iterator[tuple[str, Document]]:
    if loader not in _LOADERS:
        problems.add(path, f"loader is {loader!r}; expected one of {', '.join(_LOADERS)}")
        return
    for document in _LOADERS[loader]():
        yield f"{path}: {document.id}", document


def _native_documents(path: Path, problems: Problems) -> Iterator[tuple[str, Document]]:
    for at, row in json_lines(path, problems):
        before = len(problems.found)
        _known_keys(at, row, _DOCUMENT, problems)
        id = _text(at, row, "id", problems)
        text = _text(at, row, "text", problems)
        title = _text(at, row, "title", problems, required=False)
        if len(problems.found) == before:
            yield at, Document(id=id, title=title, text=text)


def _beir_documents(path: Path, problems: Problems) -> Iterator[tuple[str, Document]]:
    for at, row in json_lines(path, problems):
        before = len(problems.found)
        id = _identifier(at, row, "_id", problems)
        title = _text(at, row, "title", problems, required=False)
        # Some sets have documents that are nothing but a title.
        text = _text(at, row, "text", problems, required=not title) or title
        if len(problems.found) == before:
            yield at, Document(id=id, title=title, text=text)


def _squad_documents(path: Path, problems: Problems) -> Iterator[tuple[str, Document]]:
    for at, id, title, paragraph in _squad_paragraphs(path, problems):
        text = _text(at, paragraph, "context", problems)
        if text:
            yield at, Document(id=id, title=title, text=text)


# ------------------------------------------------------------------------------------------------------- questions


def questions(path: Path, problems: Problems) -> Iterator[tuple[str, Question]]:
    """The questions at a path, in whichever format it holds; ``split`` is empty where none is given."""
    if path.is_dir():
        if (path / "questions.jsonl").is_file():
            yield from _native_questions(path / "questions.jsonl", problems)
        elif (path / "queries.jsonl").is_file():
            yield from _beir_questions(path, problems)
        else:
            problems.add(path, _nothing_known(path, "questions.jsonl, or queries.jsonl with qrels/*.tsv (BEIR)"))
    elif path.suffix == ".jsonl":
        yield from _native_questions(path, problems)
    elif path.suffix == ".json":
        yield from _squad_questions(path, problems)
    else:
        problems.add(
            path, "not a format that can be read; expected a folder, a .jsonl file, or a .json file in SQuAD's format"
        )


def _native_questions(path: Path, problems: Problems) -> Iterator[tuple[str, Question]]:
    for at, row in json_lines(path, problems):
        before = len(problems.found)
        _known_keys(at, row, _QUESTION, problems)
        id = _text(at, row, "id", problems)
        question = _text(at, row, "question", problems)
        answers = _texts(at, row, "answers", problems)
        evidence = _texts(at, row, "evidence", problems)
        tags = _texts(at, row, "tags", problems)
        split = _text(at, row, "split", problems, required=False, empty=False)
        answerable = row.get("answerable", True)
        if not isinstance(answerable, bool):
            problems.add(at, f"answerable is {_shown(answerable)}; expected true or false")
        elif answerable and not answers and not evidence and len(problems.found) == before:
            problems.add(at, "there is neither an answer nor evidence; give answers, evidence, or answerable: false")
        elif not answerable and answers:
            problems.add(at, f"answerable is false, yet answers holds {_shown(answers[0])}; drop one of them")
        if len(problems.found) == before:
            known = evidence or not answerable
            yield (
                at,
                Question(
                    id=id,
                    question=question,
                    answers=answers,
                    evidence=evidence if known else None,
                    answerable=answerable,
                    split=split,
                    tags=tags,
                ),
            )


def _beir_questions(folder: Path, problems: Problems) -> Iterator[tuple[str, Question]]:
    """The queries that are judged; the split is the name of the file that judges them."""
    texts: dict[str, tuple[str, str]] = {}
    for at, row in json_lines(folder / "queries.jsonl", problems):
        id, text = _identifier(at, row, "_id", problems), _text(at, row, "text", problems)
        if id in texts:
            problems.add(at, f"_id {id!r} stands already at {texts[id][0]}; ids must be unique")
        elif id and text:
            texts[id] = at, text
    split_of: dict[str, str] = {}
    files = sorted((folder / "qrels").glob("*.tsv"))
    if not files:
        problems.add(folder, "there is no qrels/*.tsv, so nothing says which documents answer which query; add one")
    for file in files:
        judged: dict[str, list[str]] = {}
        for at, query, document, score in _judgements(file, problems):
            if query not in texts:
                problems.add(at, f"query-id {query!r} is not in queries.jsonl; add the query or drop the line")
                continue
            if split_of.setdefault(query, file.stem) != file.stem:
                problems.add(
                    at, f"query-id {query!r} is judged in {split_of[query]}.tsv, too; a question belongs to one split"
                )
                continue
            relevant = judged.setdefault(query, [])
            if score > 0 and document not in relevant:
                relevant.append(document)
        for query, relevant in judged.items():
            at, text = texts[query]
            yield at, Question(id=query, question=text, evidence=tuple(relevant) or None, split=file.stem)


def _judgements(path: Path, problems: Problems) -> Iterator[tuple[str, str, str, float]]:
    for number, line in lines(path, problems):
        columns = line.split("\t")
        if not line.strip() or (number == 1 and columns[-1].strip().lower() == "score"):
            continue
        at = f"{path}:{number}"
        try:
            query, document, score = columns
            yield at, query, document, float(score)
        except ValueError:
            problems.add(at, f"found {_shown(line)}; expected query-id, corpus-id and a number, separated by tabs")


def _squad_questions(path: Path, problems: Problems) -> Iterator[tuple[str, Question]]:
    for at, document, _, paragraph in _squad_paragraphs(path, problems):
        for place, row in _objects(at, paragraph, "qas", problems):
            before = len(problems.found)
            id = _identifier(place, row, "id", problems)
            question = _text(place, row, "question", problems)
            answerable = not row.get("is_impossible", False)
            found = [
                _text(each, answer, "text", problems) for each, answer in _objects(place, row, "answers", problems)
            ]
            answers = tuple(dict.fromkeys(found)) if answerable else ()
            if answerable and not answers and len(problems.found) == before:
                problems.add(place, "answers is empty; give one, or set is_impossible to true")
            if len(problems.found) == before:
                evidence = (document,) if answerable else ()
                yield (
                    place,
                    Question(
                        id=id, question=question, answers=answers, evidence=evidence, answerable=answerable, split=""
                    ),
                )


def _squad_paragraphs(path: Path, problems: Problems) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Place, document id (title and number within it), title, and the paragraph."""
    text = "\n".join(line for _, line in lines(path, problems))
    try:
        content = _parsed(text)
    except (ValueError, RecursionError) as error:
        problems.add(
            f"{path}:{getattr(error, 'lineno', 1)}", f"not valid JSON: {getattr(error, 'msg', error)}; mend the file"
        )
        return
    if not isinstance(content, dict) or "data" not in content:
        problems.add(path, 'not in SQuAD\'s format; expected {"data": [{"title": …, "paragraphs": […]}, …]}')
        return
    numbers: dict[str, int] = {}
    for position, (at, article) in enumerate(_objects(str(path), content, "data", problems)):
        title = _text(at, article, "title", problems, required=False)
        prefix = title or f"article-{position}"
        for place, paragraph in _objects(at, article, "paragraphs", problems):
            number = numbers.setdefault(prefix, 0)
            numbers[prefix] += 1
            yield place, f"{prefix}-{number}", title.replace("_", " "), paragraph


# ---------------------------------------------------------------------------------------------------------- pieces


def read_properties(path: Path, problems: Problems, more: tuple[str, ...] = ()) -> dict[str, str]:
    """What a ``corpus.yaml`` or ``evalset.yaml`` says: title, licence, source and ``more``; empty without a file."""
    if not path.is_file():
        return {}
    text = "\n".join(line for _, line in lines(path, problems))
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else path
        problems.add(place, f"not valid YAML: {getattr(error, 'problem', error)}; mend the line")
        return {}
    if not isinstance(content, dict):
        problems.add(path, f"found {_shown(content)}; expected lines of the form key: value")
        return {}
    known = (*_PROPERTIES, *more)
    _known_keys(str(path), content, set(known), problems)
    return {key: _text(str(path), content, key, problems) for key in known if key in content}


def json_lines(path: Path, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each line's object with its place; lines that hold none are problems, blank ones are passed over."""
    for number, line in lines(path, problems):
        if not line.strip():
            continue
        at = f"{path}:{number}"
        try:
            row = _parsed(line)
        except (ValueError, RecursionError) as error:
            column = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            problems.add(
                at, f"not valid JSON: {getattr(error, 'msg', error)}{column}; every line must hold one whole object"
            )
            continue
        if isinstance(row, dict):
            yield at, row
        else:
            problems.add(at, f'found {_shown(row)}; expected an object such as {{"id": …}}')


def _parsed(text: str) -> Any:
    """A JSON value; raises ``ValueError`` also for half characters, which nothing later could write."""
    value = json.loads(text)
    if _SURROGATE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("an escape such as \\ud83d stands alone, which is half a character") from error
    return value


def lines(path: Path, problems: Problems) -> Iterator[tuple[int, str]]:
    """Each line with its number from 1; what is not UTF-8 is a problem and read with substitutes."""
    try:
        data = path.read_bytes()
    except OSError as error:
        problems.add(path, f"cannot be read: {error.strerror}")
        return
    if data.startswith(_UTF16):
        problems.add(path, "not UTF-8 at byte 0: it looks like UTF-16; save the file as UTF-8")
        return
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.add(
            f"{path}:{line}", f"not UTF-8 at byte {error.start} (0x{data[error.start]:02x}); save the file as UTF-8"
        )
        text = data.decode(errors="replace")
    # str.splitlines would also cut at separators that JSON allows within a text.
    yield from enumerate(text.removeprefix("\ufeff").split("\n"), 1)


def _known_keys(at: str, row: Mapping[Any, Any], known: set[str], problems: Problems) -> None:
    for key in sorted(map(str, row.keys() - known)):
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"expected {', '.join(sorted(known))}"
        problems.add(at, f"{key} is not a known key; {hint}")


def _text(
    at: str, row: Mapping[Any, Any], key: str, problems: Problems, *, required: bool = True, empty: bool = True
) -> str:
    """A text; one that is not ``required`` may be missing, and ``empty`` says whether it may be blank."""
    value = row.get(key)
    if value is None and not required:
        return ""
    if key not in row:
        problems.add(at, f"{key} is missing; every entry needs one")
    elif not isinstance(value, str):
        problems.add(at, f"{key} is {_shown(value)}; expected a text")
    elif (required or not empty) and not value.strip():
        problems.add(at, f"{key} is empty; give it a text or drop the entry")
    else:
        return value
    return ""


def _identifier(at: str, row: Mapping[Any, Any], key: str, problems: Problems) -> str:
    """An id; whole numbers count as texts, as the public sets have both."""
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _text(at, row, key, problems)


def _texts(at: str, row: Mapping[Any, Any], key: str, problems: Problems) -> tuple[str, ...]:
    """A list of texts, each once."""
    value = row.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.add(at, f"{key} is {_shown(value)}; expected a list of texts")
        return ()
    for position, each in enumerate(value):
        if not isinstance(each, str) or not each.strip():
            problems.add(at, f"{key}[{position}] is {_shown(each)}; expected a text that is not empty")
            return ()
    return tuple(dict.fromkeys(value))


def _objects(at: str, row: Mapping[Any, Any], key: str, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects in a list, each with its place; a missing list is an empty one."""
    value = row.get(key, [])
    if not isinstance(value, list):
        problems.add(at, f"{key} is {_shown(value)}; expected a list")
        return
    separator = ": " if at.endswith(".json") else "."
    for position, each in enumerate(value):
        place = f"{at}{separator}{key}[{position}]"
        if isinstance(each, dict):
            yield place, each
        else:
            problems.add(place, f"found {_shown(each)}; expected an object")


def _shown(value: Any) -> str:
    """A value, shortened, as it stands in the file."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _nothing_known(folder: Path, wanted: str) -> str:
    there = sorted(path.name for path in folder.iterdir())
    return f"expected {wanted}; it holds {', '.join(there[:10]) or 'nothing'}{', …' if len(there) > 10 else ''}"

"""Corpora and evaluation sets: found by name, read in any supported format, checked."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import parse_qsl

from workbench import python_topics, tokens
from workbench.errors import InputError
from workbench.readers import beir, folder, hub, native, squad, table
from workbench.readers._columns import check_columns
from workbench.readers._lines import Problems
from workbench.readers._places import placed
from workbench.readers._properties import properties
from workbench.readers._rows import Asked, Columns
from workbench.records import Corpus, Document, EvalSet, Question, digest

Kind = Literal["corpora", "evals"]
Content = Literal["documents", "questions"]

_NOUN = {"corpora": "corpus", "evals": "evaluation set"}
_TEST_SHARE = 1 / 3  # of questions that come without a split
_LOADERS: Mapping[str, Callable[[], Iterable[Document]]] = {"python-topics": python_topics.documents}
_LINES = (".jsonl", ".ndjson")
_TABLES = (".csv", ".tsv")
_FOLDERS = {
    "documents": f"documents.jsonl, corpus.yaml with a loader, corpus.jsonl (BEIR), or files such as {', '.join(folder.KINDS)}",
    "questions": "questions.jsonl, or queries.jsonl with qrels/*.tsv (BEIR)",
}


class Reader(Protocol):
    """One format: a module of ``readers``."""

    def holds(self, path: Path, columns: Columns) -> frozenset[str]: ...
    def documents(self, path: Path, columns: Columns, problems: Problems) -> Iterator[tuple[str, Document]]: ...
    def questions(self, path: Path, columns: Columns, problems: Problems) -> Iterator[Asked]: ...


def locate(kind: Kind, name: str | Path) -> Path:
    """Where a corpus or evaluation set lies: ``name`` as a path, then in the project folder, then in what ships.

    An id of the hub (``hf:owner/name``) is its own place. Raises ``InputError`` with what was looked for and what there is.
    """
    given = Path(name)
    if str(name).startswith(hub.PREFIX) or _exists(given):
        return given
    by_name = len(given.parts) == 1
    for parent in _folders(kind) if by_name else ():
        if _exists(parent / given):
            return parent / given
    looked = f"neither a path nor a name in ./{kind} or in what ships" if by_name else "there is no such file or folder"
    names = ", ".join(available(kind)) or "none"
    raise InputError(f"{_NOUN[kind]} {str(name)!r} was not found: {looked}; available by name: {names}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long for any file, or with a null character
        return False


def available(kind: Kind) -> list[str]:
    """The names that ``locate`` finds without a path."""
    entries = (path for parent in _folders(kind) for path in parent.iterdir())
    files = (*_LINES, *_TABLES, ".json")
    return sorted(
        {path.name for path in entries if not path.name.startswith(".") and (path.is_dir() or path.suffix in files)}
    )


def _folders(kind: Kind) -> list[Path]:
    # In a wheel the shipped folders lie inside the package, in a checkout beside it.
    here = Path(__file__).parent
    return [path for path in (Path(kind), here / kind, here.parent / kind) if path.is_dir()]


# ------------------------------------------------------------------------------------------------------------- reading


def holds(name: str | Path, columns: Columns | None = None) -> frozenset[str]:
    """What there is at a path or hub id: ``documents``, ``questions``, or both; raises ``InputError`` for unknown formats."""
    columns = columns or {}
    check_columns(columns)
    path, found = Path(name), set()
    for content in _FOLDERS:
        reader = _reader(path, content, columns)
        if reader is not None and content in reader.holds(path, columns):
            found.add(content)
    return frozenset(found | ({"documents"} if (path / "corpus.yaml").is_file() else set()))


def corpus_of(evalset: str | Path) -> str | None:
    """The corpus that an evaluation set's own ``evalset.yaml`` names, if it does."""
    return properties(locate("evals", evalset) / "evalset.yaml", Problems(), ("corpus",)).get("corpus") or None


def _reader(path: Path, content: str, columns: Columns) -> Reader | None:
    """The format of a path; ``None`` for a folder without such content."""
    reader = _format(path, content, columns)
    if columns and reader not in (table, hub):
        raise InputError(
            f"{path}: its columns have fixed names; columns are named only for .csv, .tsv and .jsonl files, and hf: data sets"
        )
    return reader


def _format(path: Path, content: str, columns: Columns) -> Reader | None:
    if str(path).startswith(hub.PREFIX):
        return hub
    if path.is_dir():
        found: Iterable[Reader] = (native, beir, folder) if content == "documents" else (native, beir)
        return next((reader for reader in found if content in reader.holds(path, columns)), None)
    suffix = path.suffix.lower()
    readers: dict[str, Reader] = {
        ".json": squad,
        **dict.fromkeys(_TABLES, table),
        **dict.fromkeys(_LINES, table),
        **dict.fromkeys(folder.KINDS, folder),
    }
    if not _exists(path):
        raise InputError(f"{path}: there is no such file or folder; check the path")
    if suffix not in readers or not path.is_file():
        raise InputError(f"{path}: not a format that can be read; expected a folder, or a file {', '.join(readers)}")
    return native if suffix in _LINES and not columns and native.reads(path) else readers[suffix]


def _nothing_known(path: Path, content: str) -> str:
    there = sorted(each.name for each in path.iterdir())
    more = ", …" if len(there) > 10 else ""
    return f"expected {_FOLDERS[content]}; it holds {', '.join(there[:10]) or 'nothing'}{more}"


def load_corpus(name: str | Path, columns: Columns | None = None) -> Corpus:
    """The corpus of that name or path; raises ``InputError`` with every problem as ``file:line: …``.

    ``columns`` names the columns of a table that are not named as usual: our field (``id``, ``title``, ``text``) → column.
    """
    return read_corpus(name, columns)[0]


def read_corpus(name: str | Path, columns: Columns | None = None) -> tuple[Corpus, tuple[str, ...]]:
    """The corpus, and notes on what its reader decided by itself."""
    path, columns = _source("corpora", name, columns)
    problems = Problems()
    stated = properties(path / "corpus.yaml", problems, ("loader",))
    loader = stated.pop("loader", "")
    documents = tuple(_unique(lambda gathered: _documents(path, loader, columns, gathered), problems))
    if not documents and not problems.count:
        problems.add(path, "the corpus is empty; add at least one document")
    problems.check()
    content = (part for document in documents for part in (document.id, document.title, document.text))
    return Corpus(name=_name(path), documents=documents, digest=_digest(content), **stated), tuple(problems.notes)


def _source(kind: Kind, name: str | Path, columns: Columns | None) -> tuple[Path, Columns]:
    """A source's place and its columns, which an experiment writes behind the name: ``faq.csv?question=ask``."""
    path, mark, named = str(name).partition("?")
    if columns is None and mark and not _exists(Path(name)):
        columns = dict(parse_qsl(named, keep_blank_values=True))
        name = path
    check_columns(columns or {})
    return locate(kind, name), columns or {}


def _documents(path: Path, loader: str, columns: Columns, problems: Problems) -> Iterator[tuple[str, Document]]:
    if loader and loader not in _LOADERS:
        problems.add(path / "corpus.yaml", f"loader is {loader!r}; expected one of {', '.join(_LOADERS)}")
    elif loader:
        yield from ((f"{path / 'corpus.yaml'}: {document.id}", document) for document in _LOADERS[loader]())
    elif reader := _reader(path, "documents", columns):
        yield from reader.documents(path, columns, problems)
    else:
        problems.add(path, _nothing_known(path, "documents"))


def _unique(read: Callable[[Problems], Iterator[tuple[str, Document]]], problems: Problems) -> Iterator[Document]:
    """Documents with an id of their own. Places are kept for none of them: where one is needed, all are read again."""
    seen: set[str] = set()
    places: dict[str, str] = {}
    for at, document in read(problems):
        if document.id not in seen:
            seen.add(document.id)
            yield document
            continue
        if not places:
            for place, other in read(Problems()):
                places.setdefault(other.id, place)
        problems.add(at, _twice(document.id, places[document.id]))


def _twice(id: str, place: str) -> str:
    return f"id {id[:80]!r} stands already at {place}; ids must be unique, so rename one"


def _digest(parts: Iterable[str]) -> str:
    """What ``records.digest`` gives for the same parts, which need not all be there at once."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode()
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def load_evalset(
    name: str | Path, corpus: Corpus | None = None, seed: int = 0, columns: Columns | None = None
) -> EvalSet:
    """The evaluation set of that name or path; with its corpus, evidence must name documents of it.

    Questions without a split get one by a hash of ``seed`` and their id: about two thirds ``dev``, one third ``test``,
    the same for a question whatever else the set holds. Quotes become spans, for which the corpus is needed.
    ``columns`` names the columns of a table that are not named as usual. Raises ``InputError`` with every problem as
    ``file:line: …``.
    """
    return read_evalset(name, corpus, seed, columns)[0]


def read_evalset(
    name: str | Path, corpus: Corpus | None = None, seed: int = 0, columns: Columns | None = None
) -> tuple[EvalSet, dict[str, str], tuple[str, ...]]:
    """The evaluation set, the place of every question by its id, and notes on what its reader decided by itself."""
    path, columns = _source("evals", name, columns)
    problems = Problems()
    stated = properties(path / "evalset.yaml", problems, ("corpus",))
    documents = {document.id: document.text for document in corpus.documents} if corpus is not None else {}
    questions: list[Question] = []
    content: list[str] = []
    places: dict[str, str] = {}
    for asked in _questions(path, columns, problems):
        question = asked.question
        if question.id in places:
            problems.add(asked.at, _twice(question.id, places[question.id]))
            continue
        places[question.id] = asked.at
        question = question if question.split else replace(question, split=_seeded_split(question.id, seed))
        content.append(_content(question, asked.quotes))
        if corpus is not None:
            question = placed(asked._replace(question=question), corpus.name, documents, problems)
        questions.append(question)
    if not questions and not problems.count:
        problems.add(path, "the evaluation set is empty; add at least one question")
    problems.check()
    evalset = EvalSet(name=_name(path), questions=tuple(questions), digest=_digest(content), **stated)
    return evalset, places, tuple(problems.notes)


def _questions(path: Path, columns: Columns, problems: Problems) -> Iterator[Asked]:
    reader = _reader(path, "questions", columns)
    if reader is not None:
        yield from reader.questions(path, columns, problems)
    else:
        problems.add(path, _nothing_known(path, "questions"))


def _seeded_split(id: str, seed: int) -> str:
    return "test" if int(digest(str(seed), id)[:12], 16) < _TEST_SHARE * 16**12 else "dev"


def _content(question: Question, quotes: tuple[str, ...]) -> str:
    """What a set's digest is made of: what was read, so that it is the same with and without the corpus."""
    evidence = ("?",) if question.evidence is None else question.evidence
    parts = (
        question.id,
        question.question,
        question.answers,
        evidence,
        question.answerable,
        question.split,
        question.tags,
    )
    gold = (question.grades, tuple(map(tuple, question.spans)), quotes)
    return repr((*parts, *gold) if any(gold) else parts)


def _name(path: Path) -> str:
    if str(path).startswith(hub.PREFIX):
        return str(path)
    path = path.resolve()
    return path.name if path.is_dir() else path.stem


# ------------------------------------------------------------------------------------------------------------ check


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """What a corpus, and an evaluation set over it, hold; ``problems`` should be mended before anything is measured.

    Lengths are in tokens. ``without_evidence`` counts questions that could be answered but whose documents are not known,
    ``with_spans`` those whose very places are.
    """

    corpus: str
    documents: int
    document_tokens_p50: int
    document_tokens_p95: int
    document_tokens_max: int
    duplicate_texts: tuple[tuple[str, ...], ...] = ()
    evalset: str | None = None
    questions: int = 0
    question_tokens_p50: int = 0
    question_tokens_p95: int = 0
    question_tokens_max: int = 0
    unanswerable_share: float | None = None
    without_evidence: int = 0
    with_spans: int = 0
    splits: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def check_data(corpus: Corpus, evalset: EvalSet | None = None, places: Mapping[str, str] | None = None) -> DataReport:
    """Count, measure, and look for questions that could not be answered rightly from their gold documents.

    ``places`` says where each question stands (``file:line``), for the problems to name.
    """
    p50, p95, longest = _lengths(document.text for document in corpus.documents)
    report = DataReport(
        corpus=corpus.name,
        documents=len(corpus.documents),
        document_tokens_p50=p50,
        document_tokens_p95=p95,
        document_tokens_max=longest,
        duplicate_texts=_duplicates((document.id, document.text) for document in corpus.documents),
    )
    if evalset is None:
        return report
    questions = evalset.questions
    p50, p95, longest = _lengths(question.question for question in questions)
    return replace(
        report,
        evalset=evalset.name,
        questions=len(questions),
        question_tokens_p50=p50,
        question_tokens_p95=p95,
        question_tokens_max=longest,
        unanswerable_share=sum(not question.answerable for question in questions) / len(questions),
        without_evidence=sum(question.answerable and not question.evidence for question in questions),
        with_spans=sum(bool(question.spans) for question in questions),
        splits=dict(sorted(Counter(question.split for question in questions).items())),
        problems=(*_unsupported(corpus, evalset, places or {}), *_leaks(questions)),
    )


def _lengths(texts: Iterable[str]) -> tuple[int, int, int]:
    """Median, 95th percentile and maximum."""
    ordered = sorted(tokens.count(text) for text in texts)
    return _percentile(ordered, 50), _percentile(ordered, 95), ordered[-1]


def _unsupported(corpus: Corpus, evalset: EvalSet, places: Mapping[str, str]) -> Iterator[str]:
    """Questions whose gold documents are not there or hold none of the accepted answers."""
    texts = {document.id: document.text for document in corpus.documents}
    compared: dict[str, str] = {}
    for question in evalset.questions:
        at = f"{places.get(question.id, evalset.name)}: question {question.id}"
        gold = question.evidence or ()
        for id in gold:
            if id not in texts:
                yield f"{at}: evidence names {id!r}, which is no document of corpus {corpus.name}"
            elif id not in compared:
                compared[id] = folded(texts[id])
        held = [compared[id] for id in gold if id in compared]
        accepted = [folded(answer) for answer in question.answers]
        if held and accepted and not any(answer in text for answer in accepted for text in held):
            wanted, where = _brief(question.answers), _brief(gold)
            yield f"{at}: no accepted answer ({wanted}) occurs in {where}; mend the answers or the evidence"


def _brief(texts: Sequence[str]) -> str:
    text = ", ".join(texts)
    return text if len(text) <= 200 else f"{text[:199]}…"


def _leaks(questions: Sequence[Question]) -> Iterator[str]:
    """Questions asked in more than one split, which would let a choice made on one be confirmed by itself."""
    asked: defaultdict[str, list[Question]] = defaultdict(list)
    for question in questions:
        asked[folded(question.question)].append(question)
    for same in asked.values():
        if len({question.split for question in same}) > 1:
            where = ", ".join(f"{question.id} ({question.split})" for question in same)
            yield f"the same question stands in several splits: {where}; keep one of them"


def _duplicates(texts: Iterator[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    first: dict[str, str] = {}
    same: defaultdict[str, list[str]] = defaultdict(list)
    for id, text in texts:
        key = digest(folded(text))
        if first.setdefault(key, id) != id:
            same[key].append(id)
    return tuple((first[key], *others) for key, others in same.items())


def folded(text: str) -> str:
    """A text for comparison: white space and case set aside."""
    return " ".join(text.split()).casefold()


def _percentile(ordered: Sequence[int], percent: int) -> int:
    """The smallest value that so many percent do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]

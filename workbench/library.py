"""Corpora and evaluation sets: found by name, read in any supported format, checked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from workbench import formats, tokens
from workbench.errors import InputError
from workbench.formats import Problems
from workbench.records import Corpus, Document, EvalSet, Question, digest

Kind = Literal["corpora", "evals"]

_NOUN = {"corpora": "corpus", "evals": "evaluation set"}
_TEST_SHARE = 1 / 3  # of questions that come without a split


def locate(kind: Kind, name: str | Path) -> Path:
    """Where a corpus or evaluation set lies: ``name`` as a path, then in the project folder, then in what ships.

    Raises ``InputError`` with what was looked for and what there is.
    """
    given = Path(name)
    if _exists(given):
        return given
    by_name = len(given.parts) == 1
    for folder in _folders(kind) if by_name else ():
        if _exists(folder / given):
            return folder / given
    looked = f"neither a path nor a name in ./{kind} or in what ships" if by_name else "there is no such file or folder"
    names = ", ".join(available(kind)) or "none"
    raise InputError(f"{_NOUN[kind]} {str(name)!r} was not found: {looked}; available by name: {names}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name too long for any file
        return False


def available(kind: Kind) -> list[str]:
    """The names that ``locate`` finds without a path."""
    entries = (path for folder in _folders(kind) for path in folder.iterdir())
    return sorted(
        {
            path.name
            for path in entries
            if not path.name.startswith(".") and (path.is_dir() or path.suffix in (".jsonl", ".json"))
        }
    )


def _folders(kind: Kind) -> list[Path]:
    # In a wheel the shipped folders lie inside the package, in a checkout beside it.
    here = Path(__file__).parent
    return [folder for folder in (Path(kind), here / kind, here.parent / kind) if folder.is_dir()]


def load_corpus(name: str | Path) -> Corpus:
    """The corpus of that name or path; raises ``InputError`` with every problem as ``file:line: …``."""
    path = locate("corpora", name)
    problems = Problems()
    properties = formats.read_properties(path / "corpus.yaml", problems, ("loader",))
    documents: list[Document] = []
    places: dict[str, str] = {}
    for at, document in formats.documents(path, properties.pop("loader", ""), problems):
        if _unique(at, document.id, places, problems):
            documents.append(document)
    if not documents and not problems.found:
        problems.add(path, "the corpus is empty; add at least one document")
    problems.check()
    content = (part for document in documents for part in (document.id, document.title, document.text))
    return Corpus(name=_name(path), documents=tuple(documents), digest=digest(*content), **properties)


def load_evalset(name: str | Path, corpus: Corpus | None = None, seed: int = 0) -> EvalSet:
    """The evaluation set of that name or path; with its corpus, evidence must name documents of it.

    Questions without a split get one by a hash of ``seed`` and their id: about two thirds ``dev``, one third ``test``,
    the same for a question whatever else the set holds. Raises ``InputError`` with every problem as ``file:line: …``.
    """
    path = locate("evals", name)
    problems = Problems()
    properties = formats.read_properties(path / "evalset.yaml", problems, ("corpus",))
    documents = {document.id for document in corpus.documents} if corpus is not None else set()
    questions: list[Question] = []
    places: dict[str, str] = {}
    for at, question in formats.questions(path, problems):
        if not _unique(at, question.id, places, problems):
            continue
        if corpus is not None:
            for id in sorted(set(question.evidence or ()) - documents):
                problems.add(at, f"evidence names {id!r}, which is no document of corpus {corpus.name}; mend the id")
        questions.append(question if question.split else replace(question, split=_seeded_split(question.id, seed)))
    if not questions and not problems.found:
        problems.add(path, "the evaluation set is empty; add at least one question")
    problems.check()
    return EvalSet(name=_name(path), questions=tuple(questions), digest=digest(*_content(questions)), **properties)


def _unique(at: str, id: str, places: dict[str, str], problems: Problems) -> bool:
    if id in places:
        problems.add(at, f"id {id!r} stands already at {places[id]}; ids must be unique, so rename one")
        return False
    places[id] = at
    return True


def _seeded_split(id: str, seed: int) -> str:
    return "test" if int(digest(str(seed), id)[:12], 16) < _TEST_SHARE * 16**12 else "dev"


def _content(questions: Sequence[Question]) -> Iterator[str]:
    for question in questions:
        evidence = ("?",) if question.evidence is None else question.evidence
        yield repr(
            (
                question.id,
                question.question,
                question.answers,
                evidence,
                question.answerable,
                question.split,
                question.tags,
            )
        )


def _name(path: Path) -> str:
    path = path.resolve()
    return path.name if path.is_dir() else path.stem


# ------------------------------------------------------------------------------------------------------------ check


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """What a corpus, and an evaluation set over it, hold; ``problems`` should be mended before anything is measured."""

    corpus: str
    documents: int
    document_tokens_p50: int
    document_tokens_p95: int
    document_tokens_max: int
    duplicate_texts: tuple[tuple[str, ...], ...] = ()
    evalset: str | None = None
    questions: int = 0
    unanswerable_share: float | None = None
    splits: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def check_data(corpus: Corpus, evalset: EvalSet | None = None) -> DataReport:
    """Count, measure, and look for questions that could not be answered rightly from their gold documents."""
    lengths = sorted(tokens.count(document.text) for document in corpus.documents)
    report = DataReport(
        corpus=corpus.name,
        documents=len(lengths),
        document_tokens_p50=_percentile(lengths, 50),
        document_tokens_p95=_percentile(lengths, 95),
        document_tokens_max=lengths[-1],
        duplicate_texts=_duplicates((document.id, document.text) for document in corpus.documents),
    )
    if evalset is None:
        return report
    questions = evalset.questions
    return replace(
        report,
        evalset=evalset.name,
        questions=len(questions),
        unanswerable_share=sum(not question.answerable for question in questions) / len(questions),
        splits=dict(sorted(Counter(question.split for question in questions).items())),
        problems=(*_unsupported(corpus, evalset), *_leaks(questions)),
    )


def _unsupported(corpus: Corpus, evalset: EvalSet) -> Iterator[str]:
    """Questions whose gold documents are not there or hold none of the accepted answers."""
    texts = {document.id: document.text for document in corpus.documents}
    folded: dict[str, str] = {}
    for question in evalset.questions:
        at = f"{evalset.name}: question {question.id}"
        gold = question.evidence or ()
        for id in gold:
            if id not in texts:
                yield f"{at}: evidence names {id!r}, which is no document of corpus {corpus.name}"
            elif id not in folded:
                folded[id] = _folded(texts[id])
        held = [folded[id] for id in gold if id in folded]
        accepted = [_folded(answer) for answer in question.answers]
        if held and accepted and not any(answer in text for answer in accepted for text in held):
            wanted, where = ", ".join(question.answers), ", ".join(gold)
            yield f"{at}: no accepted answer ({wanted}) occurs in {where}; mend the answers or the evidence"


def _leaks(questions: Sequence[Question]) -> Iterator[str]:
    """Questions asked in more than one split, which would let a choice made on one be confirmed by itself."""
    asked: defaultdict[str, list[Question]] = defaultdict(list)
    for question in questions:
        asked[_folded(question.question)].append(question)
    for same in asked.values():
        if len({question.split for question in same}) > 1:
            where = ", ".join(f"{question.id} ({question.split})" for question in same)
            yield f"the same question stands in several splits: {where}; keep one of them"


def _duplicates(texts: Iterator[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for id, text in texts:
        ids[digest(_folded(text))].append(id)
    return tuple(tuple(same) for same in ids.values() if len(same) > 1)


def _folded(text: str) -> str:
    """A text for comparison: white space and case set aside."""
    return " ".join(text.split()).casefold()


def _percentile(ordered: Sequence[int], percent: int) -> int:
    """The smallest value that so many percent do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]

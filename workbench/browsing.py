"""Answers page by page: searched, filtered and sorted by the database, so that a million of them cost no more than fifty."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import sqlalchemy as sa

from workbench.coefficients import restore
from workbench.errors import InputError
from workbench.ledger import standalone_cost
from workbench.records import CORRECT_FROM, Chunk, Coefficients, Question, ScoredAnswer
from workbench.schema import ANSWERS, QUESTIONS
from workbench.store import Store

Row = dict[str, Any]

SHOWS = ("all", "wrong", "failures", "disagreements")
ORDERS = ("question", "lowest score", "highest score", "longest time", "shortest time")
MOST_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPage:
    """Some answers of a run, ``offset`` to ``offset + len(rows)`` of the ``total`` that were asked for."""

    rows: tuple[Row, ...]
    offset: int
    total: int


def answer_page(
    run: str = "latest",
    *,
    configuration: str | None = None,
    show: str = "all",
    text: str = "",
    order: str = "question",
    offset: int = 0,
    limit: int = 50,
    store: Store | None = None,
) -> AnswerPage:
    """One page of a run's answers, without prompts and passages, of one configuration by its id or of all.

    ``show``: ``wrong`` keeps those whose deciding score is below 0.5, ``failures`` those that failed, ``disagreements`` those
    to questions that some configurations answered correctly and others not. ``text`` must stand in the question or in the
    answer. Times are those of the answer as it ran.
    """
    problems = []
    if show not in SHOWS:
        problems.append(f"show is {show!r}; expected one of {', '.join(SHOWS)}")
    if order not in ORDERS:
        problems.append(f"order is {order!r}; expected one of {', '.join(ORDERS)}")
    if offset < 0 or not 1 <= limit <= MOST_ROWS:
        problems.append(
            f"offset is {offset} and limit is {limit}; expected at least 0, and 1 to {MOST_ROWS}: ask for the next page"
        )
    if problems:
        raise InputError(problems)
    store = store or Store(create=False)
    record = store.get(run)
    metric = record.experiment["goal"]["metric"]
    query = _wanted(record.id, metric, configuration, show, text.strip())
    with store.reading() as connection:
        total = int(connection.execute(sa.select(sa.func.count()).select_from(query.subquery())).scalar_one())
        offset = min(offset, max(total - 1, 0) // limit * limit)
        keys = connection.execute(query.order_by(*_sorted(order, metric)).offset(offset).limit(limit)).all()
    rows = _rows(
        store, record.id, [tuple(key[:3]) for key in keys], metric, restore(record.environment["coefficients"])
    )
    return AnswerPage(rows=tuple(rows), offset=offset, total=total)


def _wanted(run_id: int, metric: str, configuration: str | None, show: str, text: str) -> sa.Select[Any]:
    """The keys of the answers that were asked for."""
    query = sa.select(ANSWERS.c.configuration, ANSWERS.c.question, ANSWERS.c.repeat).where(ANSWERS.c.run_id == run_id)
    if configuration is not None:
        query = query.where(ANSWERS.c.configuration == configuration)
    if show == "wrong":
        query = query.where(_score(metric) < CORRECT_FROM)
    elif show == "failures":
        query = query.where(ANSWERS.c.failure_kind.is_not(None))
    elif show == "disagreements":
        query = query.where(ANSWERS.c.question.in_(_disagreements(run_id, metric)))
    if text:
        asked = sa.select(QUESTIONS.c.question).where(
            QUESTIONS.c.run_id == run_id, QUESTIONS.c.record["question"].as_string().icontains(text, autoescape=True)
        )
        query = query.where(sa.or_(ANSWERS.c.text.icontains(text, autoescape=True), ANSWERS.c.question.in_(asked)))
    return query


def _score(metric: str) -> sa.ColumnElement[float]:
    return ANSWERS.c.scores[(metric, 0)].as_float()


def _disagreements(run_id: int, metric: str) -> sa.Select[Any]:
    score = _score(metric)
    return (
        sa.select(ANSWERS.c.question)
        .where(ANSWERS.c.run_id == run_id)
        .group_by(ANSWERS.c.question)
        .having(sa.func.min(score) < CORRECT_FROM, sa.func.max(score) >= CORRECT_FROM)
    )


def _sorted(order: str, metric: str) -> list[sa.ColumnElement[Any]]:
    """The columns to sort by; in the end the key, so that pages never overlap."""
    first: dict[str, list[sa.ColumnElement[Any]]] = {
        "question": [],
        "lowest score": [_score(metric).asc().nulls_last()],
        "highest score": [_score(metric).desc().nulls_last()],
        "longest time": [ANSWERS.c.seconds.desc()],
        "shortest time": [ANSWERS.c.seconds.asc()],
    }
    return [*first[order], ANSWERS.c.configuration, ANSWERS.c.question, ANSWERS.c.repeat]


def _rows(
    store: Store, run_id: int, keys: list[tuple[str, str, int]], metric: str, coefficients: Coefficients
) -> list[Row]:
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for configuration, question, _ in keys:
        wanted[configuration].add(question)
    found: dict[tuple[str, str, int], ScoredAnswer] = {}
    for configuration, asked in wanted.items():
        for scored in store.answers(run_id, configuration=configuration, question=asked, figures_only=True):
            answer = scored.answer
            found[answer.configuration, answer.question, answer.repeat] = scored
    questions = {each.id: each for each in store.questions(run_id, among={question for _, question, _ in keys})}
    labels = {trial.configuration.id: trial.configuration.label for trial in store.trials(run_id)}
    return [_row(questions[key[1]], found[key], labels[key[0]], metric, coefficients) for key in keys if key in found]


def _row(question: Question, scored: ScoredAnswer, label: str, metric: str, coefficients: Coefficients) -> Row:
    answer = scored.answer
    score = next((each.value for each in scored.scores if each.metric == metric), None)
    return {
        "id": question.id,
        "repeat": answer.repeat,
        "question": question.question,
        "answer": answer.text,
        "accepted": " | ".join(question.answers) or "none: the corpus does not hold the answer",
        "score": "does not apply" if score is None else f"{score:.3f}",
        "failure": answer.failure.code if answer.failure else "",
        "lost": scored.loss.replace("_", " "),
        **{unit: standalone_cost(answer, unit, coefficients) for unit in ("seconds", "tokens", "joules")},
        "setup": label,
        "configuration": answer.configuration,
    }


def side_by_side(run: str, question: str, *, store: Store | None = None) -> list[Row]:
    """What every configuration answered to one question, with its score and what it took; the best scores first."""
    store = store or Store(create=False)
    record = store.get(run)
    metric = record.experiment["goal"]["metric"]
    known = store.questions(record.id, among={question})
    if not known:
        raise InputError(f"run {record.name!r} has no question {question!r}; see: workbench answers {record.name}")
    coefficients = restore(record.environment["coefficients"])
    labels = {trial.configuration.id: trial.configuration.label for trial in store.trials(record.id)}
    found = [
        (
            -next((score.value or 0.0 for score in scored.scores if score.metric == metric), 0.0),
            _row(known[0], scored, labels[scored.answer.configuration], metric, coefficients),
        )
        for scored in store.answers(record.id, question=question, figures_only=True)
    ]
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def setups(run: str, *, store: Store | None = None) -> dict[str, str]:
    """The configurations of a run: their ids with their names."""
    store = store or Store(create=False)
    return {trial.configuration.id: trial.configuration.label for trial in store.trials(store.get(run).id)}


def highlighted(text: str, answers: Sequence[str]) -> str:
    """A text as HTML that shows it as it is, with the accepted answers in it marked; all of it is escaped."""
    pieces = (f"<mark>{escape(piece)}</mark>" if hit else escape(piece) for piece, hit in _cut(text, answers))
    return f'<div style="white-space:pre-wrap;overflow-wrap:anywhere;font-size:14px">{"".join(pieces)}</div>'


def _cut(text: str, answers: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """The text in pieces, with whether each is an accepted answer word for word, in any case."""
    sought = sorted({answer.strip() for answer in answers if answer.strip()}, key=len, reverse=True)
    if not sought:
        yield text, False
        return
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(answer)}(?!\w)" for answer in sought), re.IGNORECASE)
    at = 0
    for found in pattern.finditer(text):
        yield text[at : found.start()], False
        yield found.group(), True
        at = found.end()
    yield text[at:], False


def gold(question: Question, chunk: Chunk) -> str:
    """What a chunk is for a question: the gold passage (it holds a place of the answer), the gold document, or nothing known."""
    here = (span for span in question.spans if span.document_id == chunk.document_id)
    if any(span.start < chunk.end and chunk.start < span.end for span in here):
        return "gold passage"
    return "gold document" if question.evidence is not None and chunk.document_id in question.evidence else ""

"""Answers as rows of the store and back: texts are named by their digest, and kept once for all who have them."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from workbench.records import Answer, Chunk, Failure, Ledger, Passage, Score, ScoredAnswer, Span, digest

BESIDES = ("completion", "prompt", "passages", "retrieved", "citations")
"""Columns that no figure is made from."""

_LEDGER: TypeAdapter[Ledger] = TypeAdapter(Ledger)
_FAILURE: TypeAdapter[Failure] = TypeAdapter(Failure)

_digest_of_passage = lru_cache(maxsize=16384)(digest)  # the same passages are found again and again


def answer_row(run_id: int, scored: ScoredAnswer, texts: dict[str, str]) -> dict[str, Any]:
    """The row of an answer; its texts are added to ``texts``, by their digests."""
    answer = scored.answer
    prompt = None
    if answer.prompt:
        prompt = digest(answer.prompt)
        texts[prompt] = answer.prompt
    passages = []
    for passage in answer.passages:
        chunk = passage.chunk
        key = _digest_of_passage(chunk.text)
        texts[key] = chunk.text
        passages.append(
            [key, chunk.id, chunk.document_id, chunk.start, chunk.end, chunk.title, passage.score, passage.rank]
        )
    return {
        "run_id": run_id,
        "configuration": answer.configuration,
        "question": answer.question,
        "repeat": answer.repeat,
        "text": answer.text,
        "completion": answer.completion or None,
        "failure": answer.failure
        and {"kind": answer.failure.kind, "code": answer.failure.code, "message": answer.failure.message},
        "failure_kind": answer.failure and answer.failure.kind,
        "seconds": answer.seconds,
        "seconds_to_first_token": answer.seconds_to_first_token,
        "finish_reason": answer.finish_reason,
        "undisturbed": answer.undisturbed,
        "attempts": answer.attempts,
        "prompt": prompt,
        "passages": passages,
        "retrieved": answer.retrieved,
        "citations": answer.citations,
        "reused": answer.reused,
        "ledger": answer.ledger,
        "scores": {score.metric: [score.value, score.reason] for score in scored.scores},
        "loss": scored.loss or None,
    }


def scored_answer(row: Any, texts: dict[str, str], *, figures_only: bool = False) -> ScoredAnswer:
    """The answer of a row; blank where ``texts`` lacks what it names, without what ``BESIDES`` names where only figures are wanted."""
    rest = {} if figures_only else _rest(row, texts)
    answer = Answer(
        configuration=row.configuration,
        question=row.question,
        repeat=row.repeat,
        text=row.text,
        finish_reason=row.finish_reason,
        seconds=row.seconds,
        seconds_to_first_token=row.seconds_to_first_token,
        ledger=_LEDGER.validate_python(row.ledger),
        reused=tuple(row.reused),
        undisturbed=row.undisturbed,
        attempts=row.attempts,
        failure=None if row.failure is None else _FAILURE.validate_python(row.failure),
        **rest,
    )
    scores = tuple(Score(metric=metric, value=value, reason=reason) for metric, (value, reason) in row.scores.items())
    return ScoredAnswer(answer=answer, scores=scores, loss=row.loss or "")


def _rest(row: Any, texts: dict[str, str]) -> dict[str, Any]:
    """What ``BESIDES`` names, as an answer has it."""
    passages = tuple(
        Passage(
            chunk=Chunk(id=key, document_id=document, start=start, end=end, title=title, text=texts.get(content, "")),
            score=score,
            rank=rank,
        )
        for content, key, document, start, end, title, score, rank in row.passages
    )
    return {
        "completion": row.completion or "",
        "citations": tuple(row.citations),
        "passages": passages,
        "retrieved": None if row.retrieved is None else tuple(itertools.starmap(Span, row.retrieved)),
        "prompt": texts.get(row.prompt or "", ""),
    }

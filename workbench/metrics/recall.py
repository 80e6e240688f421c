"""Recall of the gold among the first retrieved."""

from __future__ import annotations

from typing import Literal

from workbench.metrics._gold import Findings, RankingMetric


def build(k: str = "5", *, over: Literal["auto", "documents", "spans"] = "auto") -> RankingMetric:
    """Share of the gold among the first k retrieved: of gold documents, or of the characters of gold spans (recall@5).

    Over documents as trec_eval's ``recall``. Over spans, characters found in any of the first k places, each once: two
    chunks that hold a half each have found the whole. (context-grid's recall@k is the share of all chunks holding at least
    half of a span that were retrieved. Without overlap the two agree but for spans that a boundary cuts; where chunks
    overlap it asks for each that repeats the span, and comes out lower.)
    """
    return RankingMetric("recall", k, over, _recall)


def _recall(findings: Findings) -> float:
    return sum(findings.amounts)

"""Reciprocal rank of the first gold."""

from __future__ import annotations

from typing import Literal

from workbench.metrics._gold import Findings, RankingMetric


def build(k: str = "10", *, over: Literal["auto", "documents", "spans"] = "auto") -> RankingMetric:
    """Reciprocal rank of the first gold among the first k retrieved, 0 where there is none (mrr@10).

    Over spans the rank of a span is that of its characters, each at the first place that holds it: one that is cut by a
    boundary and found half at rank 1 and half at rank 2 has (1 + 1/2) / 2. The span that is found best counts.
    """
    return RankingMetric("mrr", k, over, _reciprocal_rank)


def _reciprocal_rank(findings: Findings) -> float:
    return max(sum(share / rank for rank, share in piece.found.items()) for piece in findings.pieces)

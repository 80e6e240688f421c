"""Normalised discounted cumulative gain of what was retrieved."""

from __future__ import annotations

from collections.abc import Iterable
from math import log2
from typing import Literal

from workbench.metrics._gold import Findings, RankingMetric


def build(k: str = "10", *, over: Literal["auto", "documents", "spans"] = "auto") -> RankingMetric:
    """Gold among the first k retrieved, early ranks and high grades counting more (ndcg@10).

    Järvelin and Kekäläinen 2002 with linear gain, as trec_eval's ``ndcg_cut``: Σ gain/log2(rank+1) over its ideal. The gain
    is a document's grade; over spans, the gold characters that a place is the first to bring, and the ideal has all gold of
    a document in one place.
    """
    return RankingMetric("ndcg", k, over, _ndcg)


def _ndcg(findings: Findings) -> float:
    return _discounted(findings.gains) / _discounted(findings.ideal)


def _discounted(gains: Iterable[float]) -> float:
    return sum(gain / log2(rank + 1) for rank, gain in enumerate(gains, 1))

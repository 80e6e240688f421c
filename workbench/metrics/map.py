"""Average precision of what was retrieved."""

from __future__ import annotations

from typing import Literal

from workbench.metrics._gold import Findings, RankingMetric


def build(k: str = "10", *, over: Literal["auto", "documents", "spans"] = "auto") -> RankingMetric:
    """Precision at each rank that brings gold, averaged over all gold there is (map@10).

    As trec_eval's ``map_cut``: what is not among the first k counts as 0. Over spans each rank weighs as much as the gold
    characters it is the first to bring, and precision is the share of places so far that brought any.
    """
    return RankingMetric("map", k, over, _average_precision)


def _average_precision(findings: Findings) -> float:
    hits, total = 0, 0.0
    for rank, amount in enumerate(findings.amounts, 1):
        if amount > 0:
            hits += 1
            total += amount * hits / rank
    return total

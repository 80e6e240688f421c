"""Precision of the first retrieved."""

from __future__ import annotations

from typing import Literal

from workbench.metrics._gold import Findings, RankingMetric


def build(k: str = "5", *, over: Literal["auto", "documents", "spans"] = "auto") -> RankingMetric:
    """Share of the first k places that bring gold: a gold document, or a part of a gold span not found before (precision@5).

    Over documents as trec_eval's ``P``: divided by k, however few were retrieved. Over spans it counts places and not
    characters, so that a small chunk and a large one that hold the same span are worth the same.
    """
    return RankingMetric("precision", k, over, _precision)


def _precision(findings: Findings) -> float:
    return sum(amount > 0 for amount in findings.amounts) / findings.k

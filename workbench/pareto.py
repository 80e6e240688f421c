"""The frontier: what no other point beats in both quality and cost."""

from __future__ import annotations

from collections.abc import Sequence


def frontier(points: Sequence[tuple[float | None, float | None]]) -> list[bool]:
    """For each (quality, cost): whether no other has at least its quality for at most its cost, one of them strictly better.

    A point without quality or cost is not on the frontier.
    """
    known = [(quality, cost) for quality, cost in points if quality is not None and cost is not None]
    return [
        quality is not None
        and cost is not None
        and not any(
            other_quality >= quality and other_cost <= cost and (other_quality > quality or other_cost < cost)
            for other_quality, other_cost in known
        )
        for quality, cost in points
    ]

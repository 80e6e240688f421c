"""The ``@k`` of a ranking metric's name."""

from __future__ import annotations

from workbench.errors import InputError

DEEPEST = 50


def cutoff(metric: str, text: str) -> int:
    """``5`` of ``recall@5``; a whole number from 1 to 50, the depth that is retrieved."""
    if not (text.isdecimal() and 1 <= int(text) <= DEEPEST):
        raise InputError(f"{metric}@{text}: the cut-off must be a whole number from 1 to {DEEPEST}, such as {metric}@5")
    return int(text)

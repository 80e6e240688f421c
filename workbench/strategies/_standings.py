"""What strategies read from standings alike: who competes, how well each does, and which cells are left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.contracts import Round, Standings
from workbench.errors import InputError


def contenders(standings: Standings) -> list[int]:
    """The rows that compete: all but the bounds, which know the gold and would win everything."""
    return [row for row, each in enumerate(standings.configurations) if not each.is_bound]


def left(standings: Standings, row: int, columns: Iterable[int]) -> list[tuple[int, int]]:
    """The cells of a row that are still to be asked; none where it is closed."""
    if standings.closed[row]:
        return []
    return [(row, column) for column in columns if not standings.answered[row, column]]


def last_round(standings: Standings) -> Round | None:
    """What a search ends with: the bounds answer everything, so that what it found can be held against them."""
    everything = range(standings.answered.shape[1])
    bounds = set(range(len(standings.configurations))) - set(contenders(standings))
    cells = [cell for row in sorted(bounds) for cell in left(standings, row, everything)]
    return Round(cells=cells, said="what knows the gold, to compare with") if cells else None


def leads(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each row of scores (configurations × questions) lies above the others, questions weighed alike.

    The mean of what a score lies above its question's mean: with every score there, rows rank as by their means; where one
    was lost, its row is judged on the questions that it has, without gain or harm from their being easy or hard. A row
    without any score is −∞.
    """
    known = ~np.isnan(scores)
    filled = np.where(known, scores, 0.0)
    of_question = filled.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    above = np.where(known, scores - of_question, 0.0).sum(axis=1)
    count = known.sum(axis=1)
    return np.where(count > 0, (above / np.maximum(count, 1)).round(12), -np.inf)  # rounded: ties must stay ties


def mean(scores: NDArray[np.float64]) -> float:
    """The mean of the scores that are known; NaN where none is."""
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if known.size else float("nan")


def shown(value: float) -> str:
    """A mean as it is said in a reason."""
    return "no score" if np.isnan(value) else f"{value:.3f}"


def check_share(strategy: str, share: float) -> list[str]:
    """What is wrong with a share of the configurations, as problems."""
    return [] if 0 < share <= 1 else [f"{strategy}: share is {share}; expected above 0, at most 1"]


def check_count(strategy: str, parameter: str, value: float, least: float) -> list[str]:
    """What is wrong with a number that must not be smaller than another, as problems."""
    return [] if value >= least else [f"{strategy}: {parameter} is {value}; expected at least {least}"]


def refuse(problems: Sequence[str]) -> None:
    """Raise ``InputError`` with every problem found."""
    if problems:
        raise InputError(problems)
